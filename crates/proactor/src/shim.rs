//! The synchronization primitives the models are checked over: the standard library's, or loom's under `--cfg loom`.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
};

#[cfg(not(loom))]
#[allow(unused_imports, reason = "not every backend has need of it")]
pub(crate) use std::sync::atomic::fence;

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;

/// The standard library's, with the interface of loom's.
#[cfg(not(loom))]
#[derive(Default)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Locks, taking over from a thread that panicked: every critical section here leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Makes what loom's read-modify-writes lack: a SeqCst one is in one order with all SeqCst loads, as a fence after it
/// would have it; loom has that order for fences alone.
#[allow(dead_code, reason = "the packets of Windows are in its kernel's queue")]
#[inline]
pub(crate) fn fence_after_rmw() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// Waits a little for another thread's next instructions, the longer the more often.
#[cfg(not(loom))]
#[allow(dead_code, reason = "the packets of Windows are in its kernel's queue")]
pub(crate) fn pause(tries: &mut u32) {
    if *tries < 7 {
        (0..1 << *tries).for_each(|_| std::hint::spin_loop());
        *tries += 1;
    } else {
        std::thread::yield_now();
    }
}

#[cfg(loom)]
pub(crate) fn pause(_: &mut u32) {
    loom::thread::yield_now();
}

/// Room for a value that is handed from one thread to another.
#[cfg(not(loom))]
#[allow(dead_code, reason = "the packets of Windows are in its kernel's queue")]
pub(crate) struct Place<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
#[allow(dead_code, reason = "the packets of Windows are in its kernel's queue")]
impl<T: Copy> Place<T> {
    /// # Safety
    /// Nobody else has the place.
    #[inline]
    pub unsafe fn write(&self, value: T) {
        // SAFETY: the caller's promise.
        unsafe { *self.0.get() = value };
    }

    /// # Safety
    /// Nobody else has the place.
    #[inline]
    pub unsafe fn read(&self) -> T {
        // SAFETY: the caller's promise.
        unsafe { *self.0.get() }
    }
}

/// The same, watched by loom.
#[cfg(loom)]
pub(crate) struct Place<T>(loom::cell::UnsafeCell<T>);

#[cfg(loom)]
impl<T: Copy> Place<T> {
    pub fn new(value: T) -> Place<T> {
        Place(loom::cell::UnsafeCell::new(value))
    }

    /// # Safety
    /// Nobody else has the place.
    pub unsafe fn write(&self, value: T) {
        // SAFETY: the caller's promise.
        self.0.with_mut(|place| unsafe { *place = value });
    }

    /// # Safety
    /// Nobody else has the place.
    pub unsafe fn read(&self) -> T {
        // SAFETY: the caller's promise.
        self.0.with_mut(|place| unsafe { *place })
    }
}
