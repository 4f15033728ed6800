//! What the calling thread is inside of: the contexts it runs and the strands it drains, innermost first.
//!
//! Frames lie on the thread's own stack, linked from the innermost outwards; nothing here is shared.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;

use super::job::{Job, Jobs};

/// One context or strand that the thread is inside of.
pub(super) struct Frame {
    /// The address of what it is.
    id: *const (),
    below: *const Frame,
    /// A handler of it runs on this thread, in this frame.
    handles: Cell<bool>,
    /// What that handler deferred.
    deferred: RefCell<Jobs>,
    stays: PhantomData<*const ()>,
}

thread_local! {
    static INNERMOST: Cell<*const Frame> = const { Cell::new(std::ptr::null()) };
}

/// Runs `f` inside of what has this address.
#[inline]
pub(super) fn within<R>(id: *const (), f: impl FnOnce(&Frame) -> R) -> R {
    struct Leave(*const Frame);
    impl Drop for Leave {
        fn drop(&mut self) {
            INNERMOST.set(self.0);
        }
    }
    let below = INNERMOST.get();
    let frame = Frame { id, below, handles: Cell::new(false), deferred: RefCell::new(Jobs::new()), stays: PhantomData };
    let _leave = Leave(below);
    INNERMOST.set(&raw const frame);
    f(&frame)
}

/// Whether the calling thread is inside of what has this address.
#[inline]
pub(super) fn is_inside(id: *const ()) -> bool {
    !find(id).is_null()
}

#[inline]
fn find(id: *const ()) -> *const Frame {
    let mut at = INNERMOST.get();
    // SAFETY: frames are on this thread's stack and leave the list before they go.
    while let Some(frame) = unsafe { at.as_ref() } {
        if frame.id == id {
            return at;
        }
        at = frame.below;
    }
    std::ptr::null()
}

/// Keeps a job until the running handler of what has this address ends, or gives it back: there is none on this thread.
pub(super) fn defer(id: *const (), job: Job) -> Option<Job> {
    // SAFETY: as in `find`.
    match unsafe { find(id).as_ref() } {
        Some(frame) if frame.handles.get() => {
            frame.deferred.borrow_mut().push(job);
            None
        }
        _ => Some(job),
    }
}

impl Frame {
    /// Runs a handler; then, be it by a panic, `after` gets what it deferred.
    #[inline]
    pub fn handle(&self, handler: impl FnOnce(), after: impl FnMut(Option<Job>)) {
        struct After<'f, A: FnMut(Option<Job>)>(&'f Frame, A);
        impl<A: FnMut(Option<Job>)> Drop for After<'_, A> {
            fn drop(&mut self) {
                self.0.handles.set(false);
                loop {
                    let job = self.0.deferred.borrow_mut().pop();
                    let is_last = job.is_none();
                    (self.1)(job);
                    if is_last {
                        return;
                    }
                }
            }
        }
        let _after = After(self, after);
        self.handles.set(true);
        handler();
    }
}
