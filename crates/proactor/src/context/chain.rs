//! A strand's word: a list that any thread pushes to and one drains, and who that one is.
//!
//! | word | meaning | leaves by |
//! |---|---|---|
//! | IDLE (null) | nothing waits, nobody drains | a push, whose caller sees to the drain |
//! | BUSY | nothing waits, somebody drains | a push; the drainer's `take_or_rest`, to IDLE |
//! | a node | the youngest of those that wait; somebody drains, or is about to | a push; the drainer's `take_or_rest`, to BUSY, or `abandon`, to IDLE |
//!
//! Every change is one read-modify-write with AcqRel, so that a drainer sees what the one before it left, and what pushers
//! wrote to their nodes. A push may meet the same node as before, used again: then that is the youngest again, and all it
//! says still holds.

use std::ptr::{NonNull, null_mut};

use crate::shim::{AtomicPtr, Ordering};

/// A node that has room for the address of the next.
///
/// # Safety
/// `next` gives what `set_next` was last given, null at first or not.
pub(crate) unsafe trait Link {
    /// # Safety
    /// The caller owns the node.
    unsafe fn set_next(this: NonNull<Self>, next: *mut Self);

    /// # Safety
    /// The caller owns the node, and `set_next` was called.
    unsafe fn next(this: NonNull<Self>) -> *mut Self;
}

pub(crate) struct Chain<N> {
    word: AtomicPtr<N>,
}

impl<N: Link> Chain<N> {
    pub fn new() -> Chain<N> {
        Chain { word: AtomicPtr::new(null_mut()) }
    }

    fn busy() -> *mut N {
        std::ptr::without_provenance_mut(1)
    }

    /// Appends a node, which is the chain's from then on. Whether nobody drains: then the caller is to see to it.
    #[inline]
    pub fn push(&self, node: NonNull<N>) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            // SAFETY: the node is the caller's until the exchange.
            unsafe { N::set_next(node, seen) };
            match self.word.compare_exchange_weak(seen, node.as_ptr(), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return seen.is_null(),
                Err(now) => seen = now,
            }
        }
    }

    /// For who drains: all that waits, oldest first, linked and ended by null; or `None`: nothing waited, and the caller
    /// drains no longer.
    #[inline]
    pub fn take_or_rest(&self) -> Option<NonNull<N>> {
        loop {
            if self.word.load(Ordering::Relaxed) != Self::busy() {
                return self.take(Self::busy());
            }
            if self.word.compare_exchange(Self::busy(), null_mut(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return None;
            }
        }
    }

    /// For who drains, and does no longer: all that waits, as `take_or_rest` gives it.
    pub fn abandon(&self) -> Option<NonNull<N>> {
        self.take(null_mut())
    }

    #[inline]
    fn take(&self, leave: *mut N) -> Option<NonNull<N>> {
        let mut node = self.word.swap(leave, Ordering::AcqRel);
        let mut oldest = null_mut();
        while node != Self::busy() && !node.is_null() {
            // SAFETY: the swap made all of the list the caller's; neither mark is a node.
            unsafe {
                let this = NonNull::new_unchecked(node);
                node = N::next(this);
                N::set_next(this, oldest);
                oldest = this.as_ptr();
            }
        }
        NonNull::new(oldest)
    }
}
