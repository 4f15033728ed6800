//! A box in memory the library keeps: no allocation in the steady state.

use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::recycle;

/// An owned value, as in a `Box`, whose memory is used again for the next of its size.
pub struct Boxed<T> {
    value: NonNull<T>,
    owns: PhantomData<T>,
}

// SAFETY: an owning pointer.
unsafe impl<T: Send> Send for Boxed<T> {}
// SAFETY: shared, it gives out only `&T`.
unsafe impl<T: Sync> Sync for Boxed<T> {}

impl<T> Boxed<T> {
    /// Puts a value in a box.
    pub fn new(value: T) -> Boxed<T> {
        const { assert!(size_of::<T>() > 0) };
        let place = recycle::take(Layout::new::<T>()).cast::<T>();
        // SAFETY: memory of the type's own layout, nobody else's.
        unsafe { place.write(value) };
        Boxed { value: place, owns: PhantomData }
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        let this = ManuallyDrop::new(self);
        // SAFETY: the box is not used again; its value is read once and the memory given back with its own layout.
        unsafe {
            let value = this.value.read();
            recycle::give(this.value.cast(), Layout::new::<T>());
            value
        }
    }
}

impl<T> Drop for Boxed<T> {
    fn drop(&mut self) {
        /// A panic in the value's drop does not lose the memory.
        struct Memory(NonNull<u8>, Layout);
        impl Drop for Memory {
            fn drop(&mut self) {
                // SAFETY: from `take` with this layout; the value in it is dropped.
                unsafe { recycle::give(self.0, self.1) }
            }
        }
        let _memory = Memory(self.value.cast(), Layout::new::<T>());
        // SAFETY: owned, and dropped once.
        unsafe { self.value.drop_in_place() }
    }
}

impl<T> Deref for Boxed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: owned and initialized.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for Boxed<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, borrowed exclusively.
        unsafe { self.value.as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Boxed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
