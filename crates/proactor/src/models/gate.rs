//! The gate alone: parking, release, time-out, close and overshoot.
//!
//! Seen to fail here:
//!
//! | change | fails |
//! |---|---|
//! | `release` does not refill, or refill does not wake | a parked thread sleeps on |
//! | `park` does not look at the counters again | a parked thread sleeps on |
//! | refill, or `try_enter`, does not ask whether the gate admits | more run than may |
//! | a thread that times out ignores the permit it was given | slots are left over |
//! | a time-out takes no slot | the counters |
//! | `close` does not stay | a thread that comes later sleeps on |

use std::sync::atomic::{AtomicU32, Ordering};

use loom::sync::Arc;
use loom::thread;

use crate::Wait;
use crate::backend::{Gate, Parked, Permit};

struct Room {
    gate: Gate,
    running: AtomicU32,
}

impl Room {
    fn new(max: u32) -> Arc<Room> {
        Arc::new(Room { gate: Gate::new(max), running: AtomicU32::new(0) })
    }

    /// A thread without a slot arrives.
    fn arrive(&self, wait: Wait) -> Parked {
        if self.gate.try_enter() { Parked::Admitted } else { self.gate.park(&Arc::new(Permit::new()), false, wait) }
    }

    /// Runs with a slot; at most `most` do.
    fn run(&self, most: u32) {
        assert!(self.running.fetch_add(1, Ordering::Relaxed) < most, "more threads run than may");
        thread::yield_now();
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    /// Blocks or exits, with packets queued.
    fn release(&self) {
        let _ = self.gate.release(|| true);
    }

    fn is_back_to_zero(&self) {
        let counts = self.gate.counts();
        assert_eq!((counts.slots(), counts.idle(), counts.parked()), (0, 0, 0), "{counts:?}");
    }
}

fn spawn(room: &Arc<Room>, f: impl FnOnce(&Room) + 'static) -> thread::JoinHandle<()> {
    let room = room.clone();
    thread::spawn(move || f(&room))
}

#[test]
fn parked_threads_run_one_after_the_other() {
    loom::model(|| {
        let room = Room::new(1);
        assert!(room.gate.try_enter());
        let others = [0; 2].map(|_| {
            spawn(&room, |room| {
                assert_eq!(room.arrive(Wait::Forever), Parked::Admitted);
                room.run(1);
                room.release();
            })
        });
        room.run(1);
        room.release();
        for other in others {
            other.join().unwrap();
        }
        room.is_back_to_zero();
    });
}

/// A thread that times out runs beside the one released: overshoot is legal, a lost permit is not.
#[test]
fn a_time_out_against_a_release_loses_no_permit() {
    loom::model(|| {
        let room = Room::new(1);
        assert!(room.gate.try_enter());
        let hasty = spawn(&room, |room| {
            assert_ne!(room.arrive(Wait::Poll), Parked::Closed);
            room.run(2);
            room.release();
        });
        let patient = spawn(&room, |room| {
            assert_eq!(room.arrive(Wait::Forever), Parked::Admitted);
            room.run(2);
            room.release();
        });
        room.release();
        hasty.join().unwrap();
        patient.join().unwrap();
        room.is_back_to_zero();
    });
}

/// Nobody may count on the one that runs: it ends only after the others were told.
#[test]
fn a_close_releases_everybody_without_a_slot() {
    loom::model(|| {
        let room = Room::new(1);
        assert!(room.gate.try_enter());
        let others = [0; 2].map(|_| spawn(&room, |room| assert_eq!(room.arrive(Wait::Forever), Parked::Closed)));
        room.gate.close();
        for other in others {
            other.join().unwrap();
        }
        room.release();
        room.is_back_to_zero();
    });
}

/// A thread unblocks over the limit and comes back: it waits until there is room, behind nobody for ever.
#[test]
fn an_overshooting_thread_comes_back_and_waits() {
    loom::model(|| {
        let room = Room::new(1);
        assert!(room.gate.try_enter());
        let other = spawn(&room, |room| {
            assert_eq!(room.arrive(Wait::Forever), Parked::Admitted);
            room.run(2);
            room.release();
        });
        room.release();
        room.gate.unblock();
        room.run(2);
        if room.gate.is_over(room.gate.counts()) {
            assert_eq!(room.gate.park(&Arc::new(Permit::new()), true, Wait::Forever), Parked::Admitted);
        }
        room.release();
        other.join().unwrap();
        room.is_back_to_zero();
    });
}
