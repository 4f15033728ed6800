//! The routines of waitable timers. A closure stays with the thread that set its timer: it is called and dropped there alone.
//!
//! Contract: what goes round between threads is a [`Routine`], which names a closure. Once it is gone, the closure is dropped by
//! the next `add`, `call` or `sweep` of its thread, or at that thread's end.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::deliver::unharmed;
use crate::error::{Code, Error};
use crate::sync::apc::Apc;
use crate::sync::current::ThreadState;
use crate::sync::object::Kind;

/// What is to run on the thread that set the timer.
pub(super) struct Routine {
    pub thread: Arc<ThreadState>,
    /// It is in the thread's queue.
    queued: AtomicBool,
}

/// A closure and the routine that names it.
struct Kept {
    routine: Weak<Routine>,
    call: Rc<RefCell<dyn FnMut()>>,
}

/// The calling thread's.
struct Own(RefCell<Vec<Kept>>);

thread_local! {
    static OWN: Own = const { Own(RefCell::new(Vec::new())) };
}

fn ending() -> Error {
    Error::new(Code::ThreadEnded).hint("the calling thread is ending and runs no APCs any more")
}

/// Keeps a closure with the calling thread.
pub(super) fn add(call: impl FnMut() + 'static) -> Result<Arc<Routine>, Error> {
    let thread = ThreadState::current();
    if thread.detached {
        return Err(ending());
    }
    sweep();
    let routine = Arc::new(Routine { thread, queued: AtomicBool::new(false) });
    let kept = Kept { routine: Arc::downgrade(&routine), call: Rc::new(RefCell::new(call)) };
    OWN.try_with(|own| own.0.borrow_mut().push(kept)).map_err(|_| ending())?;
    Ok(routine)
}

/// Drops those of the calling thread's closures that nothing names any more.
pub(super) fn sweep() {
    let next = || {
        let taken = OWN.try_with(|own| {
            let mut kept = own.0.borrow_mut();
            let at = kept.iter().position(|kept| kept.routine.strong_count() == 0)?;
            Some(kept.swap_remove(at))
        });
        taken.ok().flatten()
    };
    // User's code, with nothing borrowed.
    while let Some(kept) = next() {
        unharmed(|| drop(kept));
    }
}

impl Routine {
    /// Queues it to its thread by this name, unless it is there already. Whether the thread takes any.
    pub fn queue(self: &Arc<Self>, name: usize) -> bool {
        if self.queued.swap(true, Ordering::AcqRel) {
            return true;
        }
        let queued = self.clone();
        let run = move || {
            queued.queued.store(false, Ordering::Release);
            queued.call();
            drop(queued);
            sweep();
        };
        self.thread.apcs.push(Apc::Call { run: Box::new(run), name }).is_ok()
    }

    /// On its thread. Inside its own call it is left out.
    fn call(self: &Arc<Self>) {
        let is_it = |kept: &&Kept| std::ptr::eq(kept.routine.as_ptr(), Arc::as_ptr(self));
        let found = OWN.try_with(|own| own.0.borrow().iter().find(is_it).map(|kept| kept.call.clone()));
        let Some(call) = found.ok().flatten() else { return };
        // Held while it runs, so a call that cancels its own timer is not dropped under itself.
        if let Ok(mut call) = call.try_borrow_mut() {
            call();
        }
    }

    pub fn has_ended(&self) -> bool {
        self.thread.ended.look(|kind| matches!(kind, Kind::Manual(true)))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for kept in self.0.take() {
            unharmed(|| drop(kept));
        }
    }
}
