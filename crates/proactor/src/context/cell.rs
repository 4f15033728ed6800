//! What only functions of one strand touch.

use std::cell::{Cell, UnsafeCell};
use std::fmt;

use super::{Executor, Strand};

/// A value that functions of one strand change without a lock: [`Strand::cell`] makes it. Share it in an `Arc`.
///
/// The strand sees to it that one function has it at a time, and that each sees what the one before it left; the call looks, which
/// costs a few instructions, that the calling thread is inside the strand.
///
/// ```
/// use std::sync::Arc;
/// use proactor::context::{Executor, IoContext, Strand};
/// let context = IoContext::new(1)?;
/// let strand = Strand::new(context.executor());
/// let count = Arc::new(strand.cell(0));
/// let counted = count.clone();
/// strand.post(move || counted.with(|count| *count += 1));
/// context.run()?;
/// assert_eq!(Arc::into_inner(count).unwrap().into_inner(), 1);
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct StrandCell<T, E: Executor> {
    strand: Strand<E>,
    /// Somebody further out on the stack has it.
    busy: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: value and flag are touched inside the strand alone, which is one thread at a time, each after the one before it.
unsafe impl<T: Send, E: Executor> Sync for StrandCell<T, E> {}

impl<T, E: Executor> StrandCell<T, E> {
    pub(super) fn new(strand: Strand<E>, value: T) -> StrandCell<T, E> {
        StrandCell { strand, busy: Cell::new(false), value: UnsafeCell::new(value) }
    }

    /// Lends the value to `f`.
    ///
    /// # Panics
    /// Outside the strand, and inside another `with` of this cell.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        struct Free<'c>(&'c Cell<bool>);
        impl Drop for Free<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        assert!(self.strand.running_in_this_thread(), "a strand's cell is for functions of its strand");
        assert!(!self.busy.replace(true), "this strand's cell is in use further out");
        let _free = Free(&self.busy);
        // SAFETY: this thread is inside the strand, where no other is, and nobody on its stack has the value.
        f(unsafe { &mut *self.value.get() })
    }

    /// The strand.
    pub fn strand(&self) -> &Strand<E> {
        &self.strand
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T, E: Executor> fmt::Debug for StrandCell<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StrandCell").finish_non_exhaustive()
    }
}
