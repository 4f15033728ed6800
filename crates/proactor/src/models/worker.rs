//! The worker's word against the block monitor: the slot of a thread that is detached and attached again belongs to one
//! of the two at every moment.
//!
//! Seen to fail here:
//!
//! | change | fails |
//! |---|---|
//! | `quit` looks at the word and writes it in two steps | a slot is left over: the monitor gave it back in between |
//! | the monitor attaches before it counts the slot | the counters run below zero |
//! | `detach` writes without comparing | the counters |
//! | `enter` looks and writes in two steps | the counters |

use loom::sync::Arc;
use loom::thread;

use crate::Wait;
use crate::backend::{Gate, Parked, Worker};

struct Bound {
    gate: Gate,
    worker: Worker,
}

impl Bound {
    /// A worker that runs a handler.
    fn running() -> Arc<Bound> {
        let bound = Arc::new(Bound { gate: Gate::new(1), worker: Worker::new() });
        bound.get_slowly();
        bound
    }

    /// `Port::get`, with a packet there.
    fn get(&self) {
        if self.worker.runs() && !self.gate.is_over(self.gate.counts()) {
            self.worker.turn();
        } else {
            self.get_slowly();
        }
    }

    fn get_slowly(&self) {
        let has_slot = self.worker.enter();
        let must_park = if has_slot { self.gate.is_over(self.gate.counts()) } else { !self.gate.try_enter() };
        if must_park {
            assert_eq!(self.gate.park(&self.worker.permit, has_slot, Wait::Forever), Parked::Admitted);
        }
        self.worker.leave();
    }

    /// `monitor::tick`, which finds the thread asleep and then awake.
    fn tick(&self) {
        let word = self.worker.look();
        if Worker::is_running(word) && self.worker.detach(word) {
            let _ = self.gate.release(|| true);
        }
        let word = self.worker.look();
        if Worker::is_detached(word) {
            self.gate.unblock();
            if !self.worker.attach(word) {
                let _ = self.gate.release(|| true);
            }
        }
    }

    /// The thread ends.
    fn quit(&self) {
        if self.worker.quit() {
            let _ = self.gate.release(|| true);
        }
    }
}

fn against_the_monitor(thread_does: fn(&Bound)) {
    loom::model(move || {
        let bound = Bound::running();
        let monitor = thread::spawn({
            let bound = bound.clone();
            move || bound.tick()
        });
        thread_does(&bound);
        assert!(bound.gate.counts().slots() <= 3, "a slot was given up before it was taken");
        bound.quit();
        monitor.join().unwrap();
        let counts = bound.gate.counts();
        assert_eq!((counts.slots(), counts.idle(), counts.parked()), (0, 0, 0), "{counts:?}");
    });
}

#[test]
fn a_thread_that_ends_gives_up_the_slot_it_has() {
    against_the_monitor(|_| ());
}

#[test]
fn a_thread_that_comes_back_has_one_slot() {
    against_the_monitor(Bound::get_slowly);
}

#[test]
fn a_thread_that_goes_from_packet_to_packet_has_one_slot() {
    against_the_monitor(|bound| {
        bound.get();
        bound.get();
    });
}

#[test]
fn a_thread_that_blocks_in_the_library_gives_its_slot_up_once() {
    against_the_monitor(|bound| {
        if bound.worker.block() {
            let _ = bound.gate.release(|| true);
            bound.gate.unblock();
            bound.worker.leave();
        }
    });
}
