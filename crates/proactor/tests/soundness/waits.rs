//! Waits, signals, resets, APCs and timeouts at random over eight threads: no wake-up is lost and none is delivered twice.
//!
//! Every step is counted. A semaphore's or an auto-reset event's signals are taken by so many waits and left over; every APC
//! that was accepted ran once, or was dropped with its thread. `PROACTOR_SEED` repeats a run; the seed is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proactor::sync::{self, Event, Mutex, Semaphore, Thread, ThreadRef, Waitable, Waited, alertable};

const THREADS: usize = 8;
const STEPS: usize = 100_000;
const MOST: Duration = Duration::from_secs(120);
/// No wait of a step is longer: one that loses its wake-up is seen by its object's count, not by a hang.
const LONGEST: Duration = Duration::from_micros(300);

/// Numbers that look random (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// What is waited for, and what came of it.
struct Shared {
    semaphores: [Semaphore; 3],
    released: [AtomicU64; 3],
    taken: [AtomicU64; 3],
    manual: Event,
    mutex: Mutex,
    inside: AtomicBool,
    /// Handed round: set once, and again by each who got it.
    token: Event,
    holders: AtomicUsize,
    accepted: AtomicU64,
    ran: AtomicU64,
    steps: AtomicUsize,
}

impl Shared {
    /// What a satisfied wait took must be nobody else's.
    fn took(&self, index: usize) {
        match index {
            0..3 => {
                self.taken[index].fetch_add(1, Ordering::SeqCst);
            }
            3 => {
                assert!(!self.inside.swap(true, Ordering::SeqCst), "two threads own the mutex");
                self.inside.store(false, Ordering::SeqCst);
                self.mutex.release().expect("this thread owns it");
            }
            4 => {
                assert_eq!(self.holders.fetch_add(1, Ordering::SeqCst), 0, "two threads took one signal");
                self.holders.fetch_sub(1, Ordering::SeqCst);
                self.token.set();
            }
            _ => {}
        }
    }

    fn object(&self, index: usize) -> &dyn Waitable {
        match index {
            0..3 => &self.semaphores[index],
            3 => &self.mutex,
            4 => &self.token,
            _ => &self.manual,
        }
    }

    fn step(self: &Arc<Self>, random: &mut Random, peers: &[ThreadRef]) {
        let wait = match random.below(4) {
            0 => Duration::ZERO,
            _ => Duration::from_nanos(random.below(LONGEST.as_nanos() as u64)),
        };
        let is_alertable = random.below(2) == 0;
        match random.below(10) {
            0..3 => {
                let at = random.below(3) as usize;
                let n = 1 + random.below(2);
                if self.semaphores[at].release(n as u32).is_ok() {
                    self.released[at].fetch_add(n, Ordering::SeqCst);
                }
            }
            3 => {
                self.manual.set();
                self.manual.reset();
            }
            4 => {
                let to = &peers[random.below(peers.len() as u64) as usize];
                let theirs = self.clone();
                let call = move || {
                    theirs.ran.fetch_add(1, Ordering::SeqCst);
                };
                if to.queue_apc(call).is_ok() {
                    self.accepted.fetch_add(1, Ordering::SeqCst);
                }
            }
            5..8 => {
                let mut which: Vec<usize> = (0..6).collect();
                for at in (1..6).rev() {
                    which.swap(at, random.below(at as u64 + 1) as usize);
                }
                which.truncate(1 + random.below(5) as usize);
                let objects: Vec<_> = which.iter().map(|index| self.object(*index)).collect();
                let waited = if is_alertable { alertable::wait_any(&objects, wait) } else { sync::wait_any(&objects, wait) };
                if let Waited::Signalled(at) = waited.expect("a wait that may be made") {
                    self.took(which[at]);
                }
            }
            8 => {
                let first = random.below(6) as usize;
                let which = [first, (first + 1 + random.below(5) as usize) % 6];
                let objects = which.map(|index| self.object(index));
                let waited = if is_alertable { alertable::wait_all(&objects, wait) } else { sync::wait_all(&objects, wait) };
                if waited.expect("a wait that may be made").is_satisfied() {
                    which.into_iter().for_each(|index| self.took(index));
                }
            }
            _ => {
                let waited = if is_alertable { alertable::sleep(wait) } else { sync::sleep(wait) };
                assert!(matches!(waited, Ok(Waited::TimedOut | Waited::Apc)));
            }
        }
    }
}

#[test]
fn no_wake_up_is_lost_and_none_is_delivered_twice() {
    let from_clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(7, |since| since.as_nanos() as u64);
    let seed = std::env::var("PROACTOR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(from_clock);
    println!("seed {seed}: repeat with PROACTOR_SEED={seed}");
    let semaphore = || Semaphore::new(0, u32::MAX).expect("a semaphore");
    let shared = Arc::new(Shared {
        semaphores: [semaphore(), semaphore(), semaphore()],
        released: Default::default(),
        taken: Default::default(),
        manual: Event::manual(),
        mutex: Mutex::new(),
        inside: AtomicBool::new(false),
        token: Event::auto(),
        holders: AtomicUsize::new(0),
        accepted: AtomicU64::new(0),
        ran: AtomicU64::new(0),
        steps: AtomicUsize::new(0),
    });
    shared.token.set();
    let (send, receive) = std::sync::mpsc::channel::<Arc<Vec<ThreadRef>>>();
    let receive = Arc::new(std::sync::Mutex::new(receive));
    let end = Instant::now() + MOST;
    let go = Event::manual();
    let threads: Vec<_> = (0..THREADS as u64)
        .map(|number| {
            let (shared, receive, go) = (shared.clone(), receive.clone(), go.clone());
            let run = move || {
                let peers = receive.lock().expect("it is not poisoned").recv().expect("the others");
                go.wait();
                let mut random = Random(seed ^ number << 56);
                while shared.steps.fetch_add(1, Ordering::SeqCst) < STEPS && Instant::now() < end {
                    shared.step(&mut random, &peers);
                }
                // All are through before any looks: what is queued to it has come.
                peers
            };
            Thread::spawn(run).expect("a thread")
        })
        .collect();
    let peers = Arc::new(threads.iter().map(|thread| thread.thread().clone()).collect::<Vec<_>>());
    for _ in 0..THREADS {
        send.send(peers.clone()).expect("a thread takes it");
    }
    go.set();
    for thread in threads {
        thread.join().expect("no step fails");
    }
    assert!(shared.steps.load(Ordering::SeqCst) >= STEPS, "too slow: {} steps", shared.steps.load(Ordering::SeqCst));
    for at in 0..3 {
        let mut left = 0;
        while sync::wait_one(&shared.semaphores[at], Duration::ZERO) == Ok(Waited::Signalled(0)) {
            left += 1;
        }
        let (released, taken) = (shared.released[at].load(Ordering::SeqCst), shared.taken[at].load(Ordering::SeqCst));
        assert_eq!(released, taken + left, "semaphore {at}: {released} signals, {taken} taken, {left} left");
        assert!(taken > 0);
    }
    assert_eq!(sync::wait_one(&shared.token, Duration::ZERO), Ok(Waited::Signalled(0)), "the token is lost");
    assert_eq!(sync::wait_one(&shared.token, Duration::ZERO), Ok(Waited::TimedOut), "there are two tokens");
    assert_eq!(sync::wait_one(&shared.mutex, Duration::ZERO), Ok(Waited::Signalled(0)), "nobody owns the mutex");
    shared.mutex.release().expect("this thread owns it");
    // What did not run was dropped with its thread: a call holds one count of `shared`.
    let (accepted, ran) = (shared.accepted.load(Ordering::SeqCst), shared.ran.load(Ordering::SeqCst));
    println!("{accepted} APCs accepted, {ran} ran; {:?} signals taken", shared.taken);
    assert!(0 < ran && ran <= accepted);
    assert_eq!(Arc::strong_count(&shared), 1, "a call is left over");
}

/// Pairs hand one signal to and fro without timeouts: a wake-up that is lost would be a hang.
#[test]
fn ten_thousand_turns_of_each_kind_without_a_timeout() {
    const TURNS: usize = 10_000;
    let (ping, pong) = (Event::auto(), Semaphore::new(0, 1).expect("a semaphore"));
    let always = Event::manual();
    always.set();
    let other = {
        let (ping, pong, always) = (ping.clone(), pong.clone(), always.clone());
        std::thread::spawn(move || {
            for turn in 0..TURNS {
                let waited = match turn % 3 {
                    0 => sync::wait_one(&ping, None),
                    1 => sync::wait_all(&[&always, &ping], None),
                    _ => sync::wait_any(&[&ping], None),
                };
                assert_eq!(waited, Ok(Waited::Signalled(0)));
                pong.release(1).expect("it was taken");
            }
        })
    };
    for _ in 0..TURNS {
        assert_eq!(sync::signal_and_wait(&ping, &pong, None), Ok(Waited::Signalled(0)));
    }
    other.join().expect("every turn came");
}
