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
//!
//! A worker that runs and finds its next packet queued stays RUNNING and pays for neither: it only counts in `quick`,
//! which is its own to write. The monitor compares that too, before it looks whether the thread sleeps. A thread that
//! wakes after that look is detached as one that wakes after the exchange would be: its next `get` sees it.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
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
    /// Turns taken without a change of `word`.
    quick: AtomicU32,
}

/// What the monitor saw of a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    word: u32,
    quick: u32,
}

impl Worker {
    pub fn new() -> Worker {
        // SAFETY: a call without arguments or effects.
        let tid = unsafe { libc::gettid() };
        Worker {
            permit: shim::Arc::new(Permit::new()),
            tid: tid.unsigned_abs(),
            word: AtomicU32::new(FREE),
            quick: AtomicU32::new(0),
        }
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

    /// Whether the thread has no slot.
    fn is_free(&self) -> bool {
        self.word.load(Ordering::Relaxed) & STATE == FREE
    }

    /// The thread stops working for its port; whether it held a slot. One step: the monitor may give a slot back
    /// meanwhile, and then it is this thread's to free.
    pub fn quit(&self) -> bool {
        let turns = self.word.load(Ordering::Relaxed) & !STATE;
        self.word.swap(turns | FREE, Ordering::AcqRel) & STATE == RUNNING
    }

    /// Whether the thread runs with its slot: it may take a packet without entering.
    #[inline]
    pub fn runs(&self) -> bool {
        self.word.load(Ordering::Relaxed) & STATE == RUNNING
    }

    /// The thread goes from one handler to the next without having entered.
    #[inline]
    pub fn turn(&self) {
        self.quick.store(self.quick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// For the monitor: what to compare with the next tick's.
    pub fn look(&self) -> Seen {
        let quick = self.quick.load(Ordering::Acquire);
        Seen { word: self.word.load(Ordering::Acquire), quick }
    }

    pub fn is_running(seen: Seen) -> bool {
        seen.word & STATE == RUNNING
    }

    pub fn is_detached(seen: Seen) -> bool {
        seen.word & STATE == DETACHED
    }

    /// For the monitor: takes the slot of a thread that has not moved since it was looked at.
    pub fn detach(&self, seen: Seen) -> bool {
        self.word.compare_exchange(seen.word, seen.word | DETACHED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// For the monitor: the detached thread runs again and counts again.
    pub fn attach(&self, seen: Seen) -> bool {
        let running = (seen.word & !STATE) | RUNNING;
        self.word.compare_exchange(seen.word, running, Ordering::AcqRel, Ordering::Relaxed).is_ok()
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
        CURRENT.set((std::ptr::null(), std::ptr::null()));
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
    /// The same in short, for who only looks: the port and the worker of the binding, which keeps the memory of both.
    static CURRENT: Cell<(*const Port, *const Worker)> = const { Cell::new((std::ptr::null(), std::ptr::null())) };
}

/// What `get` knows of its thread while it runs. Not Send: the thread's own binding keeps the worker.
pub(crate) struct Inside {
    worker: *const Worker,
    pub has_slot: bool,
}

/// This thread's worker, if it works for the port and runs with its slot. Not Send: the binding keeps the worker.
#[inline]
pub(crate) fn running(port: &Arc<Port>) -> Option<Running> {
    let (bound, worker) = CURRENT.get();
    // SAFETY: `unbind` clears the pair before the binding lets go of the worker.
    (bound == Arc::as_ptr(port) && unsafe { &*worker }.runs()).then_some(Running { worker })
}

/// A worker's turn from one handler to the next.
pub(crate) struct Running {
    worker: *const Worker,
}

impl Running {
    #[inline]
    pub fn turn(self) {
        // SAFETY: as in `running`; nothing ended the binding since, within one `get`.
        unsafe { &*self.worker }.turn();
    }
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
            CURRENT.set((Arc::as_ptr(port), Arc::as_ptr(&binding.worker)));
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

/// Whether the calling thread has a slot to give up if it waits.
pub(crate) fn holds_slot() -> bool {
    let holds = |slot: &RefCell<Option<Binding>>| match slot.try_borrow().as_deref() {
        Ok(Some(binding)) => Worker::is_running(binding.worker.look()) && binding.port.strong_count() > 0,
        Ok(None) => false,
        Err(_) => true,
    };
    BINDING.try_with(holds).unwrap_or(false)
}

/// Runs `f`, which may wait, with this worker's slot given to another for that long.
pub(crate) fn while_blocked<T>(f: impl FnOnce() -> T) -> T {
    let _given_up = give_slot_up();
    f()
}

/// Gives this worker's slot to another until the value is dropped. `None`: it has none to give.
pub(crate) fn give_slot_up() -> Option<SlotGivenUp> {
    let binding = BINDING.try_with(|slot| match slot.try_borrow().as_deref() {
        Ok(Some(binding)) if binding.worker.block() => binding.port.upgrade().map(|port| (port, binding.worker.clone())),
        _ => None,
    });
    let (port, worker) = binding.ok()??;
    port.slot_freed();
    Some(SlotGivenUp { port, worker, stays: PhantomData })
}

/// The calling thread goes on to other things: its slot is another's, until its next `get`.
pub(crate) fn leave(port: &Arc<Port>) {
    let held = BINDING.try_with(|slot| match slot.try_borrow().as_deref() {
        Ok(Some(binding)) => std::ptr::eq(binding.port.as_ptr(), Arc::as_ptr(port)) && binding.worker.quit(),
        _ => false,
    });
    if held == Ok(true) {
        port.slot_freed();
    }
}

/// A worker's slot, given up while this lives. It is the thread's: not Send.
pub(crate) struct SlotGivenUp {
    port: Arc<Port>,
    worker: Arc<Worker>,
    stays: PhantomData<*const ()>,
}

impl Drop for SlotGivenUp {
    /// The thread counts again, unless it came to other terms with a port meanwhile.
    fn drop(&mut self) {
        let same = BINDING.try_with(|slot| match slot.try_borrow().as_deref() {
            Ok(Some(binding)) => std::ptr::eq(binding.port.as_ptr(), Arc::as_ptr(&self.port)),
            _ => false,
        });
        if same == Ok(true) && self.worker.is_free() {
            self.port.slot_taken();
            self.worker.leave();
        }
    }
}
