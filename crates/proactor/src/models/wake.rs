//! The wake protocol: the gate, the token and `Port::fetch`'s order of steps, over a made-up poll and queue.
//!
//! Seen to fail here:
//!
//! | change | fails |
//! |---|---|
//! | no look at the queue after `idle_begin` | a packet is left |
//! | no fence in `idle_begin`, in the push, in `left`, or in `refill` | a packet is left |
//! | the token is never returned, or after the last look at the queue | a packet is left |
//! | `kicked` stores instead of swapping | a packet whose kick was left out is left |
//! | nobody refills after `idle_end`, or refill lets one in where two fit | a parked worker sleeps beside a packet |
//! | who leaves the poll does not pass the wake on | the second packet is left |
//! | nor who was over the limit in between | the second packet is left |
//! | `KickPoller` is ignored | a packet is left when a worker ends |

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::Wait;
use crate::backend::{Call, Counts, Freed, Gate, Parked, Permit, Wake};
use crate::shim::fence_after_rmw;

/// What an epoll instance reports, one event to one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Nothing,
    Kick,
    /// A socket had something; that is a packet.
    Socket,
}

/// An epoll instance with an edge-triggered eventfd, whose edges coalesce, and a socket.
#[derive(Default)]
struct Events {
    kick: bool,
    sockets: u32,
}

struct Poll {
    events: Mutex<Events>,
    came: Condvar,
}

impl Poll {
    fn signal(&self) {
        self.events.lock().unwrap().kick = true;
        self.came.notify_one();
    }

    fn socket_event(&self) {
        self.events.lock().unwrap().sockets += 1;
        self.came.notify_one();
    }

    fn wait(&self, wait: Wait) -> Came {
        let mut events = self.events.lock().unwrap();
        let came = loop {
            if std::mem::take(&mut events.kick) {
                break Came::Kick;
            }
            if events.sockets > 0 {
                events.sockets -= 1;
                break Came::Socket;
            }
            if wait == Wait::Poll {
                return Came::Nothing;
            }
            events = self.came.wait(events).unwrap();
        };
        // As the kernel does for what it did not report.
        if events.kick || events.sockets > 0 {
            self.came.notify_one();
        }
        came
    }
}

struct Port {
    gate: Gate,
    wake: Wake,
    /// How many packets are queued, with no more order than the real queue has.
    queue: AtomicU32,
    poll: Poll,
    taken: Mutex<u32>,
    all_taken: Condvar,
}

#[derive(Debug, PartialEq, Eq)]
enum Got {
    Packet,
    TimedOut,
}

impl Port {
    fn new(max: u32) -> Arc<Port> {
        Arc::new(Port {
            gate: Gate::new(max),
            wake: Wake::new(),
            queue: AtomicU32::new(0),
            poll: Poll { events: Mutex::default(), came: Condvar::new() },
            taken: Mutex::new(0),
            all_taken: Condvar::new(),
        })
    }

    fn is_queued(&self) -> bool {
        self.queue.load(Ordering::Acquire) > 0
    }

    fn pop(&self) -> bool {
        let mut seen = self.queue.load(Ordering::Acquire);
        while seen > 0 {
            match self.queue.compare_exchange(seen, seen - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// `Port::push`.
    fn post(&self) {
        self.queue.fetch_add(1, Ordering::SeqCst);
        fence_after_rmw();
        self.tell(self.wake.pushed(&self.gate));
    }

    fn tell(&self, call: Call) {
        match call {
            Call::Signal => self.poll.signal(),
            Call::Nobody | Call::Monitor => {}
        }
    }

    fn freed(&self, freed: Freed) {
        if freed == Freed::KickPoller && self.wake.kick() {
            self.poll.signal();
        }
    }

    /// A worker blocks or ends.
    fn slot_freed(&self) {
        self.freed(self.gate.release(|| self.is_queued()));
    }

    /// `Port::fetch`, one packet.
    fn fetch(&self, has_slot: bool, wait: Wait) -> Got {
        let permit = Arc::new(Permit::new());
        let must_park = if has_slot { self.gate.is_over(self.gate.counts()) } else { !self.gate.try_enter() };
        if must_park && self.gate.park(&permit, has_slot, wait) == Parked::TimedOut {
            return Got::TimedOut;
        }
        let mut polled = false;
        loop {
            if self.pop() {
                return self.leave_with(polled);
            }
            let queued = self.gate.idle_begin(|| self.is_queued());
            let came = self.poll.wait(if queued { Wait::Poll } else { wait });
            let counts = self.gate.idle_end();
            polled = true;
            if self.gate.wants_refill(counts) {
                self.freed(self.gate.refill(|| self.is_queued()));
            }
            let over = self.gate.is_over(counts);
            let mut is_fetched = false;
            match came {
                Came::Nothing => {}
                Came::Kick => self.wake.kicked(),
                Came::Socket if over => _ = self.queue.fetch_add(1, Ordering::AcqRel),
                Came::Socket => is_fetched = true,
            }
            if over {
                if self.gate.park(&permit, true, wait) == Parked::TimedOut {
                    return Got::TimedOut;
                }
                continue;
            }
            if is_fetched {
                return self.leave_with(polled);
            }
            if came == Came::Nothing && !queued && wait == Wait::Poll {
                return if self.pop() { self.leave_with(polled) } else { Got::TimedOut };
            }
        }
    }

    fn leave_with(&self, polled: bool) -> Got {
        if polled && self.is_queued() {
            self.tell(self.wake.left(&self.gate));
        }
        Got::Packet
    }

    /// Runs a handler that ends when `all` packets are taken: nobody may count on this thread's coming back.
    fn run_until_all_are_taken(&self, all: u32) {
        let mut taken = self.taken.lock().unwrap();
        *taken += 1;
        if *taken == all {
            self.all_taken.notify_all();
        }
        while *taken < all {
            taken = self.all_taken.wait(taken).unwrap();
        }
    }

    /// Lets the others run until the counters say so: a scene is set, no interleaving is looked for.
    fn until(&self, is_so: impl Fn(Counts) -> bool) {
        while !is_so(self.gate.counts()) {
            thread::yield_now();
        }
    }

    fn is_empty_at_last(&self) {
        assert_eq!(self.queue.load(Ordering::Relaxed), 0);
        let counts = self.gate.counts();
        assert_eq!((counts.slots(), counts.idle(), counts.parked()), (0, 0, 0), "{counts:?}");
    }
}

fn spawn(port: &Arc<Port>, f: impl FnOnce(&Port) + 'static) -> thread::JoinHandle<()> {
    let port = port.clone();
    thread::spawn(move || f(&port))
}

/// Many threads or long ones have too many interleavings for three preemptions.
fn model_with_preemptions(most: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.map_or(most, |set| set.min(most)));
    builder.check(f);
}

/// Two workers, and room for both: both packets are taken though neither worker comes back.
fn two_workers_take_two_packets(post: fn(&Arc<Port>)) -> impl Fn() + Send + Sync {
    move || {
        let port = Port::new(2);
        let workers = [0; 2].map(|_| {
            spawn(&port, |port| {
                assert_eq!(port.fetch(false, Wait::Forever), Got::Packet);
                port.run_until_all_are_taken(2);
                port.slot_freed();
            })
        });
        post(&port);
        for worker in workers {
            worker.join().unwrap();
        }
        port.is_empty_at_last();
    }
}

#[test]
fn two_packets_of_one_poster_find_two_workers() {
    loom::model(two_workers_take_two_packets(|port| {
        port.post();
        port.post();
    }));
}

#[test]
fn two_packets_of_two_posters_find_two_workers() {
    model_with_preemptions(
        2,
        two_workers_take_two_packets(|port| {
            let other = spawn(port, Port::post);
            port.post();
            other.join().unwrap();
        }),
    );
}

/// With room for one, the second packet waits until the first worker ends.
#[test]
fn a_worker_that_ends_passes_the_next_packet_on() {
    model_with_preemptions(2, || {
        let port = Port::new(1);
        let workers = [0; 2].map(|_| {
            spawn(&port, |port| {
                assert_eq!(port.fetch(false, Wait::Forever), Got::Packet);
                port.slot_freed();
            })
        });
        let poster = spawn(&port, Port::post);
        port.post();
        poster.join().unwrap();
        for worker in workers {
            worker.join().unwrap();
        }
        port.is_empty_at_last();
    });
}

/// Room for two. One worker sits in the poll, one is parked because two ran when it came, and then one of those blocks.
/// Two packets: the first empties the poll, the second must find the parked worker.
#[test]
fn a_parked_worker_takes_over_an_empty_poll() {
    loom::model(|| {
        let port = Port::new(2);
        assert!(port.gate.try_enter() && port.gate.try_enter());
        let parked = spawn(&port, |port| {
            assert_eq!(port.fetch(false, Wait::Forever), Got::Packet);
            port.run_until_all_are_taken(2);
            port.slot_freed();
        });
        let polling = spawn(&port, |port| {
            assert_eq!(port.fetch(true, Wait::Forever), Got::Packet);
            port.run_until_all_are_taken(2);
            port.slot_freed();
        });
        port.slot_freed();
        port.post();
        port.post();
        parked.join().unwrap();
        polling.join().unwrap();
        port.is_empty_at_last();
    });
}

/// Room for two, two workers in the poll. Two others unblock over them, a late kick fetches one worker out of the poll,
/// it finds the gate over its limit; then the two block again and two packets come, whose kicks were left out because
/// of the late one. Whoever has that one must pass it on.
#[test]
fn a_worker_that_gets_in_after_all_passes_its_wake_on() {
    model_with_preemptions(2, || {
        let port = Port::new(2);
        let workers = [0; 2].map(|_| {
            spawn(&port, |port| {
                assert_eq!(port.fetch(false, Wait::Forever), Got::Packet);
                port.run_until_all_are_taken(2);
                port.slot_freed();
            })
        });
        port.until(|counts| counts.idle() == 2);
        port.gate.unblock();
        port.gate.unblock();
        if port.wake.kick() {
            port.poll.signal();
        }
        port.slot_freed();
        port.slot_freed();
        port.post();
        port.post();
        for worker in workers {
            worker.join().unwrap();
        }
        port.is_empty_at_last();
    });
}

/// Room for three. One worker sits in the poll and two are parked, because three ran when they came; those then block.
/// The worker in the poll leaves with a socket's packet: the two parked ones must be there for what is posted.
#[test]
fn parked_workers_take_over_a_poll_that_a_socket_emptied() {
    model_with_preemptions(2, || {
        let port = Port::new(3);
        for _ in 0..3 {
            port.gate.unblock();
        }
        let worker = |has_slot| {
            spawn(&port, move |port| {
                assert_eq!(port.fetch(has_slot, Wait::Forever), Got::Packet);
                port.run_until_all_are_taken(3);
                port.slot_freed();
            })
        };
        let parked = [worker(false), worker(false)];
        port.until(|counts| counts.parked() == 2);
        let polling = worker(true);
        port.until(|counts| counts.idle() == 1);
        port.slot_freed();
        port.slot_freed();
        port.poll.socket_event();
        port.post();
        port.post();
        for worker in parked {
            worker.join().unwrap();
        }
        polling.join().unwrap();
        port.is_empty_at_last();
    });
}

/// A worker that leaves the poll for no reason must not take another's wake with it.
#[test]
fn a_time_out_does_not_swallow_a_wake() {
    loom::model(|| {
        let port = Port::new(1);
        let patient = spawn(&port, |port| {
            assert_eq!(port.fetch(false, Wait::Forever), Got::Packet);
            port.slot_freed();
        });
        let hasty = spawn(&port, |port| {
            if port.fetch(false, Wait::Poll) == Got::Packet {
                port.post();
            }
            port.slot_freed();
        });
        port.post();
        hasty.join().unwrap();
        patient.join().unwrap();
        port.is_empty_at_last();
    });
}

/// Workers that come back for more than one packet.
#[test]
fn workers_that_come_back_take_everything() {
    loom::model(|| {
        let port = Port::new(1);
        let worker = spawn(&port, |port| {
            assert_eq!(port.fetch(false, Wait::Forever), Got::Packet);
            assert_eq!(port.fetch(true, Wait::Forever), Got::Packet);
            port.slot_freed();
        });
        let other = spawn(&port, |port| {
            assert_eq!(port.fetch(false, Wait::Forever), Got::Packet);
            port.slot_freed();
        });
        port.post();
        port.post();
        port.post();
        worker.join().unwrap();
        other.join().unwrap();
        port.is_empty_at_last();
    });
}
