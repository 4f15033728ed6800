//! A thread's binding to the port it works for, and what the block monitor may see of it.
//!
//! | state | the thread | its slot | who may change it |
//! |---|---|---|---|
//! | FREE | works for no port, or gave its slot up for a wait inside the library | none | the thread |
//! | INSIDE | is inside `get` | held or being waited for | the thread |
//! | RUNNING | runs a handler | held | the thread; the monitor, to DETACHED |
//! | DETACHED | blocked outside the library, as the monitor saw | given to another | the thread; the monitor, back to RUNNING |
//!
//! `word` = turns << 2 | state. `turns` counts the handlers run, so the monitor's compare-exchange fails if the thread
//! moved on since it was looked at. The thread enters with a swap (AcqRel) and leaves with a plain store (Release):
//! INSIDE is a state the monitor never writes over.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use super::epoll::Port;
use super::gate::Permit;
use crate::shim::{self, AtomicU32, Ordering};

const FREE: u32 = 0;
const INSIDE: u32 = 1;
const RUNNING: u32 = 2;
const DETACHED: u32 = 3;
const STATE: u32 = 3;

/// One thread's record, shared with the monitor.
pub(crate) struct Worker {
    pub permit: shim::Arc<Permit>,
    /// The kernel's number of the thread.
    pub tid: u32,
    word: AtomicU32,
}

impl Worker {
    pub fn new() -> Worker {
        // SAFETY: a call without arguments or effects.
        let tid = unsafe { libc::gettid() };
        Worker { permit: shim::Arc::new(Permit::new()), tid: tid.unsigned_abs(), word: AtomicU32::new(FREE) }
    }

    /// Enters `get`; whether the thread still holds its slot.
    pub fn enter(&self) -> bool {
        let turns = self.word.load(Ordering::Relaxed) & !STATE;
        self.word.swap(turns | INSIDE, Ordering::AcqRel) & STATE == RUNNING
    }

    /// Leaves `get` with a slot.
    pub fn leave(&self) {
        let turns = (self.word.load(Ordering::Relaxed) & !STATE).wrapping_add(STATE + 1);
        self.word.store(turns | RUNNING, Ordering::Release);
    }

    fn forget(&self) {
        let turns = self.word.load(Ordering::Relaxed) & !STATE;
        self.word.store(turns | FREE, Ordering::Release);
    }

    /// The thread gives its slot up for a wait; false if it has none to give.
    pub fn block(&self) -> bool {
        let seen = self.word.load(Ordering::Relaxed);
        seen & STATE == RUNNING && self.word.compare_exchange(seen, seen & !STATE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The thread stops working for its port; whether it held a slot. One step: the monitor may give a slot back
    /// meanwhile, and then it is this thread's to free.
    pub fn quit(&self) -> bool {
        let turns = self.word.load(Ordering::Relaxed) & !STATE;
        self.word.swap(turns | FREE, Ordering::AcqRel) & STATE == RUNNING
    }

    /// How many handlers the thread has run.
    pub fn turns(&self) -> u32 {
        self.word.load(Ordering::Relaxed) >> 2
    }

    /// For the monitor: the word to compare with the next tick's.
    pub fn look(&self) -> u32 {
        self.word.load(Ordering::Acquire)
    }

    pub fn is_running(word: u32) -> bool {
        word & STATE == RUNNING
    }

    pub fn is_detached(word: u32) -> bool {
        word & STATE == DETACHED
    }

    /// For the monitor: takes the slot of a thread that has not moved since it was looked at.
    pub fn detach(&self, seen: u32) -> bool {
        self.word.compare_exchange(seen, seen | DETACHED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// For the monitor: the detached thread runs again and counts again.
    pub fn attach(&self, seen: u32) -> bool {
        self.word.compare_exchange(seen, (seen & !STATE) | RUNNING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The thread's own side.
struct Binding {
    worker: Arc<Worker>,
    port: Weak<Port>,
}

impl Binding {
    /// Stops working for the port it is bound to: *block(old)*.
    fn unbind(&mut self) {
        let held = self.worker.quit();
        if let Some(port) = std::mem::take(&mut self.port).upgrade() {
            if held {
                port.slot_freed();
            }
            port.dismiss(&self.worker);
        }
    }
}

impl Drop for Binding {
    /// The thread ends: its slot goes to another.
    fn drop(&mut self) {
        self.unbind();
    }
}

thread_local! {
    static BINDING: RefCell<Option<Binding>> = const { RefCell::new(None) };
}

/// What `get` knows of its thread while it runs. Not Send: the thread's own binding keeps the worker.
pub(crate) struct Inside {
    worker: *const Worker,
    pub has_slot: bool,
}

/// Whether the calling thread works for this port.
pub(crate) fn is_bound(port: &Arc<Port>) -> bool {
    BINDING.with_borrow(|slot| slot.as_ref().is_some_and(|binding| std::ptr::eq(binding.port.as_ptr(), Arc::as_ptr(port))))
}

/// Enters a port's `get`: binds the thread to it, leaving another port if it worked there.
pub(crate) fn enter(port: &Arc<Port>) -> Inside {
    BINDING.with_borrow_mut(|slot| {
        let binding = slot.get_or_insert_with(|| Binding { worker: Arc::new(Worker::new()), port: Weak::new() });
        if !std::ptr::eq(binding.port.as_ptr(), Arc::as_ptr(port)) {
            binding.unbind();
            binding.port = Arc::downgrade(port);
            port.enlist(&binding.worker);
        }
        let has_slot = binding.worker.enter();
        Inside { worker: Arc::as_ptr(&binding.worker), has_slot }
    })
}

impl Inside {
    pub fn worker(&self) -> &Worker {
        // SAFETY: made by `enter` from this thread's binding, which lives in thread-local storage until the thread ends;
        // an Inside stays on its thread and within one `get`.
        unsafe { &*self.worker }
    }

    /// Leaves `get` for good, without a slot: the port is closed.
    pub fn leave_free(self) {
        self.worker().forget();
        std::mem::forget(self);
    }
}

impl Drop for Inside {
    /// Leaves `get` holding a slot, be it by a panic of a user's drop: the thread runs now.
    fn drop(&mut self) {
        self.worker().leave();
    }
}

/// Runs `f`, which may wait, with this worker's slot given to another for that long.
pub(crate) fn while_blocked<T>(f: impl FnOnce() -> T) -> T {
    let port = BINDING.try_with(|slot| match slot.try_borrow().as_deref() {
        Ok(Some(binding)) if binding.worker.block() => binding.port.upgrade().map(|port| (port, binding.worker.clone())),
        _ => None,
    });
    let Ok(Some((port, worker))) = port else {
        return f();
    };
    port.slot_freed();
    /// Runs even if `f` panics.
    struct Unblock(Arc<Port>, Arc<Worker>);
    impl Drop for Unblock {
        fn drop(&mut self) {
            self.0.slot_taken();
            self.1.leave();
        }
    }
    let _unblock = Unblock(port, worker);
    f()
}
