//! The block of an overlapped operation, shared by the completer and the handle.
//!
//! Seen to fail here:
//!
//! | change | fails |
//! |---|---|
//! | `publish` relaxed | the result, freeing |
//! | `leave` relaxed | freeing |
//! | `is_complete` relaxed | the result |
//! | `event` does not look at COMPLETE | the event is never set |
//! | `publish` looks for the event before it is made | the event is never set |
//! | `wait` does not leave WAITING | the waiter sleeps on |
//! | `publish` reads the slot without clearing WAKER | the slot has two owners |
//! | `publish` looks for a waker once, before its loop | a waker of the last moment is never woken |
//! | `register` writes the slot while WAKER stands | the slot has two owners |
//! | a poll that finds its waker taken does not wake itself | the last waker is never woken |
//! | `register` does not look at COMPLETE after it set WAKER | a waker of the last moment is never woken |

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

use loom::cell::UnsafeCell;
use loom::thread;

use crate::Wait;
use crate::backend;
use crate::deliver::overlapped::Shared;

/// A block: the shared word, and a result that the word alone must order. `Track` reports a block nobody freed.
struct Block {
    shared: Shared,
    result: UnsafeCell<u32>,
    freed: std::sync::Arc<AtomicU32>,
    _leak: loom::alloc::Track<()>,
}

#[derive(Clone, Copy)]
struct Pointer(*mut Block);

// SAFETY: the models move it to the thread that is the other owner.
unsafe impl Send for Pointer {}

impl Pointer {
    fn new(freed: &std::sync::Arc<AtomicU32>) -> Pointer {
        let (shared, result) = (Shared::new(), UnsafeCell::new(0));
        let block = Block { shared, result, freed: freed.clone(), _leak: loom::alloc::Track::new(()) };
        Pointer(Box::into_raw(Box::new(block)))
    }

    fn shared(&self) -> &Shared {
        // SAFETY: the handle's owner calls it before it gives the block up.
        unsafe { &(*self.0).shared }
    }

    fn result(&self) -> u32 {
        // SAFETY: loom checks that nobody writes meanwhile.
        unsafe { (*self.0).result.with(|result| *result) }
    }

    /// `deliver::complete`.
    fn complete(self) {
        // SAFETY: as there.
        unsafe {
            (*self.0).result.with_mut(|result| *result = 7);
            let (gone, waker) = Shared::publish(&raw const (*self.0).shared);
            if let Some(waker) = waker {
                waker.wake();
            }
            if gone {
                self.free();
            }
        }
    }

    /// `Overlapped::poll`: whether it is ready.
    fn poll(&self, task: &std::sync::Arc<Task>, polled: &mut bool) -> bool {
        let waker = Waker::from(task.clone());
        // SAFETY: the one handle's thread calls it.
        let ready = self.shared().is_complete() || unsafe { self.shared().register(&waker, *polled) };
        *polled = true;
        ready
    }

    /// The end of the handle, by `take` or by drop.
    fn leave(self) -> bool {
        let last = self.shared().leave();
        if last {
            self.free();
        }
        last
    }

    fn free(self) {
        // SAFETY: the caller was told that the block is its own; loom checks that the other side is done with the result.
        unsafe {
            let block = Box::from_raw(self.0);
            block.result.with_mut(|_| ());
            assert_eq!(block.freed.fetch_add(1, Ordering::Relaxed), 0, "freed twice");
        }
    }
}

/// A task of an executor: a word to sleep on.
struct Task(loom::sync::atomic::AtomicU32);

impl Task {
    fn new() -> std::sync::Arc<Task> {
        std::sync::Arc::new(Task(loom::sync::atomic::AtomicU32::new(0)))
    }

    /// Sleeps until woken since the last time.
    fn sleep(&self) {
        // A task that woke itself is polled again only when the completer had its turn: what it waits for is a step of that.
        thread::yield_now();
        while self.0.load(Ordering::SeqCst) == 0 {
            backend::futex_wait(&self.0, 0, Wait::Forever);
        }
        self.0.swap(0, Ordering::SeqCst);
    }
}

impl Wake for Task {
    fn wake(self: std::sync::Arc<Task>) {
        self.0.swap(1, Ordering::SeqCst);
        backend::futex_wake_one(&self.0);
    }
}

/// Runs a handle's life against the completer; the block must be freed once.
fn against_the_completer(handle: fn(Pointer)) {
    loom::model(move || {
        let freed = std::sync::Arc::default();
        let block = Pointer::new(&freed);
        let completer = thread::spawn(move || block.complete());
        handle(block);
        completer.join().unwrap();
        assert_eq!(freed.load(Ordering::Relaxed), 1, "freed once");
    });
}

#[test]
fn a_dropped_handle_leaves_the_block_to_one_side() {
    against_the_completer(|block| {
        block.leave();
    });
}

#[test]
fn a_waiter_is_woken_and_sees_the_result() {
    against_the_completer(|block| {
        assert!(block.shared().wait(Wait::Forever));
        assert_eq!(block.result(), 7);
        assert!(block.leave(), "a complete block is the handle's to free");
    });
}

#[test]
fn a_look_at_the_status_orders_the_result() {
    against_the_completer(|block| {
        if block.shared().wait(Wait::Poll) || block.shared().is_complete() {
            assert_eq!(block.result(), 7);
        }
        block.leave();
    });
}

#[test]
fn an_event_made_at_the_last_moment_is_set() {
    against_the_completer(|block| {
        let event = block.shared().event().clone();
        event.wait();
        // The event may be set before the status: it is waited for as well, as `take` does.
        assert!(block.shared().wait(Wait::Forever));
        assert_eq!(block.result(), 7);
        block.leave();
    });
}

#[test]
fn an_event_outlives_its_handle() {
    against_the_completer(|block| {
        let event = block.shared().event().clone();
        block.leave();
        event.wait();
    });
}

/// One thread waits for the event, the handle for the operation.
#[test]
fn a_waiter_for_the_event_and_one_for_the_operation_are_both_woken() {
    against_the_completer(|block| {
        let event = block.shared().event().clone();
        let other = thread::spawn(move || event.wait());
        assert!(block.shared().wait(Wait::Forever));
        block.leave();
        other.join().unwrap();
    });
}

#[test]
fn a_task_is_woken_and_sees_the_result() {
    against_the_completer(|block| {
        let (task, mut polled) = (Task::new(), false);
        while !block.poll(&task, &mut polled) {
            task.sleep();
        }
        assert_eq!(block.result(), 7);
        assert!(block.leave(), "a complete block is the handle's to free");
    });
}

/// An executor polls for no reason, with another waker: the last one is woken, whatever became of the first.
#[test]
fn the_last_of_two_wakers_is_woken() {
    against_the_completer(|block| {
        let (first, last, mut polled) = (Task::new(), Task::new(), false);
        if !block.poll(&first, &mut polled) {
            while !block.poll(&last, &mut polled) {
                last.sleep();
            }
        }
        assert_eq!(block.result(), 7);
        assert!(block.leave());
    });
}

#[test]
fn a_dropped_future_leaves_block_and_waker_to_one_side() {
    against_the_completer(|block| {
        let (task, mut polled) = (Task::new(), false);
        if !block.poll(&task, &mut polled) {
            // SAFETY: polled, by this thread.
            unsafe { block.shared().unregister() };
        }
        block.leave();
    });
}

/// A poll, then a wait of the same handle.
#[test]
fn a_polled_operation_may_be_waited_for() {
    against_the_completer(|block| {
        let (task, mut polled) = (Task::new(), false);
        block.poll(&task, &mut polled);
        assert!(block.shared().wait(Wait::Forever));
        assert_eq!(block.result(), 7);
        assert!(block.leave());
    });
}
