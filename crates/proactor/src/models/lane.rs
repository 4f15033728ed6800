//! The ownership word of a lane, around a list of operations and a socket that is a count of bytes.
//!
//! Seen to fail here:
//!
//! | change | fails |
//! |---|---|
//! | `acquire` drops the flags it finds | a start, an event |
//! | `release` stores instead of comparing | everything |
//! | `release` stores BUSY after its failure instead of swapping | everything |
//! | `release` relaxed | everything |
//! | an event is skipped when BUSY stands | an event |
//! | an event with HUP is skipped when READY stands | the peer's close |
//! | a start that met BUSY does not leave WORK | an operation in the inbox |
//! | `work` forgets READY when `release` fails | an event |

use std::collections::VecDeque;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::backend::{BUSY, CLOSE, CLOSED, HUP, Ownership, READY, WORK};

const OPERATIONS: usize = 2;

/// The states of an operation.
const NEW: u32 = 0;
const STARTED: u32 = 1;
const OVER: u32 = 2;

#[derive(Default)]
struct Owned {
    list: VecDeque<usize>,
    ready: bool,
    hup: bool,
}

/// `Lane` and the part of `Slot` around it, with an operation that takes one byte.
struct Lane {
    state: Ownership,
    /// One bit per operation.
    inbox: AtomicU32,
    owned: UnsafeCell<Owned>,
    /// Written by who starts the operation, read by who performs it: that must be ordered by the lane alone.
    operations: [UnsafeCell<u32>; OPERATIONS],
    /// The socket's own lock orders a call that would block before the event of the bytes it missed.
    socket: Mutex<u32>,
    handles: AtomicU32,
    finished: std::sync::atomic::AtomicU32,
    aborted: std::sync::atomic::AtomicU32,
    closed: std::sync::atomic::AtomicU32,
}

// SAFETY: the cells are loom's, which checks each access; that is what the models are for.
unsafe impl Sync for Lane {}
// SAFETY: plain data otherwise.
unsafe impl Send for Lane {}

/// What the models count is no part of what they check the order of.
const PLAIN: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

impl Lane {
    fn new(state: u32, handles: u32) -> Arc<Lane> {
        Arc::new(Lane {
            state: Ownership::new(state),
            inbox: AtomicU32::new(0),
            owned: UnsafeCell::new(Owned::default()),
            operations: [UnsafeCell::new(NEW), UnsafeCell::new(NEW)],
            socket: Mutex::new(0),
            handles: AtomicU32::new(handles),
            finished: Default::default(),
            aborted: Default::default(),
            closed: Default::default(),
        })
    }

    /// What only the owner of BUSY touches.
    fn owned<T>(&self, f: impl FnOnce(&mut Owned) -> T) -> T {
        // SAFETY: the caller owns BUSY, or all threads are joined; loom reports it if that is not so.
        self.owned.with_mut(|owned| unsafe { f(&mut *owned) })
    }

    /// An operation's own memory, from one state to the next.
    fn moves_on(&self, operation: usize, from: u32, to: u32) {
        self.operations[operation].with_mut(|cell| {
            // SAFETY: the caller has the operation; loom reports it if another has it too.
            let cell = unsafe { &mut *cell };
            assert_eq!(*cell, from, "an operation is started once and completed once");
            *cell = to;
        });
    }

    /// `Slot::start`.
    fn start(&self, operation: usize) {
        self.moves_on(operation, NEW, STARTED);
        if let Some(flags) = self.state.try_acquire() {
            self.drain_inbox();
            self.owned(|owned| owned.list.push_back(operation));
            let flags = match (flags == 0).then(|| self.state.release(0)) {
                Some(Ok(())) => return,
                Some(Err(news)) => news,
                None => flags,
            };
            self.work(flags);
        } else {
            self.inbox.fetch_or(1 << operation, Ordering::SeqCst);
            if let Some(flags) = self.state.acquire(WORK) {
                self.work(flags);
            }
        }
    }

    /// The kernel: a byte arrives, and then its edge.
    fn arrive(&self, news: u32) {
        *self.socket.lock().unwrap() += 1;
        self.event(news);
    }

    /// `Slot::event`.
    fn event(&self, news: u32) {
        if let Some(flags) = self.state.acquire_with_news(news) {
            self.work(flags);
        }
    }

    /// `Slot::cancel`, of everything; how many.
    fn cancel(&self) -> u32 {
        let flags = loop {
            if let Some(flags) = self.state.try_acquire() {
                break flags;
            }
            if self.state.load() & CLOSED != 0 {
                return 0;
            }
            thread::yield_now();
        };
        self.drain_inbox();
        let meant = self.abort_all();
        self.work(flags);
        meant
    }

    /// A user's handle goes; the last one closes.
    fn drop_handle(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(flags) = self.state.acquire(CLOSE)
        {
            self.work(flags);
        }
    }

    fn drain_inbox(&self) {
        if self.inbox.load(Ordering::SeqCst) == 0 {
            return;
        }
        let came = self.inbox.swap(0, Ordering::SeqCst);
        let came = (0..OPERATIONS).filter(|operation| came & (1 << operation) != 0);
        self.owned(|owned| owned.list.extend(came));
    }

    fn abort_all(&self) -> u32 {
        let gone = self.owned(|owned| std::mem::take(&mut owned.list));
        for operation in &gone {
            self.moves_on(*operation, STARTED, OVER);
        }
        self.aborted.fetch_add(gone.len() as u32, PLAIN);
        gone.len() as u32
    }

    /// `Slot::work`.
    fn work(&self, mut flags: u32) {
        loop {
            self.owned(|owned| {
                owned.ready |= flags & READY != 0;
                owned.hup |= flags & HUP != 0;
            });
            self.drain_inbox();
            if flags & CLOSE != 0 {
                self.abort_all();
                self.state.reset(BUSY | CLOSED);
                self.closed.fetch_add(1, PLAIN);
                return;
            }
            self.perform();
            let idle = self.owned(|owned| if std::mem::take(&mut owned.ready) { READY } else { 0 });
            match self.state.release(idle) {
                Ok(()) => return,
                Err(news) => flags = news | idle,
            }
        }
    }

    /// `Slot::perform`: while the socket may have something, take a byte for the oldest operation.
    fn perform(&self) {
        loop {
            let next = self.owned(|owned| if owned.ready { owned.list.front().copied() } else { None });
            let Some(operation) = next else { return };
            let mut bytes = self.socket.lock().unwrap();
            if *bytes == 0 {
                self.owned(|owned| owned.ready = false);
                continue;
            }
            *bytes -= 1;
            drop(bytes);
            self.owned(|owned| owned.list.pop_front());
            self.moves_on(operation, STARTED, OVER);
            self.finished.fetch_add(1, PLAIN);
        }
    }

    fn counted(&self) -> [u32; 3] {
        [&self.finished, &self.aborted, &self.closed].map(|count| count.load(PLAIN))
    }
}

fn spawn(lane: &Arc<Lane>, f: impl FnOnce(&Lane) + 'static) -> thread::JoinHandle<()> {
    let lane = lane.clone();
    thread::spawn(move || f(&lane))
}

/// Two starts and two bytes, from three threads: every operation gets its byte.
fn starts_meet_events(state: u32) {
    loom::model(move || {
        let lane = Lane::new(state, 1);
        let first = spawn(&lane, |lane| lane.start(0));
        let second = spawn(&lane, |lane| lane.start(1));
        lane.arrive(READY);
        lane.arrive(READY);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(lane.counted(), [2, 0, 0], "an operation or an event was left behind");
        assert_eq!(lane.inbox.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn no_operation_and_no_event_is_left_behind_on_an_armed_lane() {
    starts_meet_events(0);
}

#[test]
fn no_operation_and_no_event_is_left_behind_on_a_ready_lane() {
    starts_meet_events(READY);
}

/// An owner that just saw "would block", two events at once, one of them with the sticky flag.
#[test]
fn an_event_is_not_lost_against_an_owner_about_to_leave() {
    loom::model(|| {
        let lane = Lane::new(READY, 1);
        let bytes = spawn(&lane, |lane| lane.arrive(READY));
        let hup = spawn(&lane, |lane| lane.event(READY | HUP));
        lane.start(0);
        bytes.join().unwrap();
        hup.join().unwrap();
        assert_eq!(lane.counted(), [1, 0, 0]);
        assert!(lane.owned(|owned| owned.hup), "the peer's close was lost");
    });
}

/// Two handles, an operation started through each, both dropped, while a byte arrives.
#[test]
fn a_lane_closes_once_and_completes_everything() {
    loom::model(|| {
        let lane = Lane::new(READY, 2);
        let other = spawn(&lane, |lane| {
            lane.start(0);
            lane.drop_handle();
        });
        let kernel = spawn(&lane, |lane| lane.arrive(READY));
        lane.start(1);
        lane.drop_handle();
        other.join().unwrap();
        kernel.join().unwrap();
        let [finished, aborted, closed] = lane.counted();
        assert_eq!((finished + aborted, closed), (2, 1));
        assert_eq!(lane.state.load() & (BUSY | CLOSED), BUSY | CLOSED);
    });
}

/// A cancel takes an operation or leaves it its byte, and leaves nobody else's news behind.
#[test]
fn a_cancel_ends_an_operation_once() {
    loom::model(|| {
        let lane = Lane::new(0, 1);
        lane.start(0);
        let cancel = spawn(&lane, |lane| {
            lane.cancel();
        });
        let kernel = spawn(&lane, |lane| lane.arrive(READY));
        lane.start(1);
        cancel.join().unwrap();
        kernel.join().unwrap();
        let [finished, aborted, _] = lane.counted();
        let left = *lane.socket.lock().unwrap();
        let pending = OPERATIONS as u32 - finished - aborted;
        assert_eq!(finished + left, 1, "the byte is taken once");
        assert!(pending == 0 || left == 0, "a byte lies there and an operation waits for it");
        assert_eq!(lane.inbox.load(Ordering::Relaxed), 0);
    });
}
