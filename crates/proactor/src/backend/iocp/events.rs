//! Who finishes overlapped operations: events, each with a wait registered for good, used again and again.
//!
//! A wait on an auto-reset event is registered once with the system's pool of waiting threads. An operation borrows the
//! event from its start to its completion; its callback then finishes the operation, whatever the user's threads do.
//! There are as many as operations were pending at once; they are kept.
//!
//! | `block` | meaning | leaves by |
//! |---|---|---|
//! | null | free, or being finished | `arm` |
//! | a block | its completion will set the event | the callback's swap, or `disarm` of an operation that failed to start, or was over when its call returned: who gets the block completes it |
//!
//! An event set for no reason finds null, or a block that is not over yet and is put back.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{NonNull, null, null_mut};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, RegisterWaitForSingleObject, ResetEvent, WT_EXECUTEINWAITTHREAD,
};

use super::object;
use crate::error::Error;
use crate::op::Header;
use crate::shim::{AtomicPtr, Mutex, MutexGuard, Ordering, lock};

pub(crate) struct Waiter {
    event: OwnedHandle,
    block: AtomicPtr<Header>,
}

static FREE: Mutex<Vec<&'static Waiter>> = Mutex::new(Vec::new());

fn free() -> MutexGuard<'static, Vec<&'static Waiter>> {
    lock(&FREE)
}

/// A free event with somebody waiting for it.
pub(super) fn take() -> Result<&'static Waiter, Error> {
    match free().pop() {
        Some(waiter) => Ok(waiter),
        None => Waiter::make(),
    }
}

/// Gives back one whose operation is over.
pub(super) fn give_back(waiter: &'static Waiter) {
    free().push(waiter);
}

impl Waiter {
    fn make() -> Result<&'static Waiter, Error> {
        // SAFETY: no pointers; the handle returned is new and ours alone.
        let event = unsafe {
            let event = CreateEventW(null(), 0, 0, null());
            if event.is_null() {
                return Err(Error::last_os_error());
            }
            OwnedHandle::from_raw_handle(event)
        };
        let waiter = Box::into_raw(Box::new(Waiter { event, block: AtomicPtr::new(null_mut()) }));
        let mut wait = null_mut();
        // SAFETY: the waiter was leaked for good just above, except if registering fails and nobody else has it.
        unsafe {
            let event = (*waiter).event.as_raw_handle();
            let context = waiter.cast_const().cast();
            if RegisterWaitForSingleObject(&raw mut wait, event, Some(signalled), context, INFINITE, WT_EXECUTEINWAITTHREAD) == 0
            {
                let error = Error::last_os_error();
                drop(Box::from_raw(waiter));
                return Err(error);
            }
            Ok(&*waiter)
        }
    }

    pub fn event(&self) -> HANDLE {
        self.event.as_raw_handle()
    }

    /// Lends the event to an operation that is about to start.
    pub fn arm(&self, header: NonNull<Header>) -> HANDLE {
        // SAFETY: our own event.
        unsafe { ResetEvent(self.event()) };
        let before = self.block.swap(header.as_ptr(), Ordering::AcqRel);
        debug_assert!(before.is_null(), "an event serves one operation at a time");
        self.event()
    }

    /// The same for one that is pending still.
    pub fn arm_again(&self, header: NonNull<Header>) {
        self.block.store(header.as_ptr(), Ordering::Release);
    }

    /// Takes the event back from an operation that failed to start, or was over at once. False if its thread has the block already.
    pub fn disarm(&self) -> bool {
        !self.block.swap(null_mut(), Ordering::AcqRel).is_null()
    }
}

/// The event of a waiter was set.
unsafe extern "system" fn signalled(context: *mut std::ffi::c_void, _timed_out: bool) {
    // SAFETY: the context is the leaked waiter this wait was registered with. A block found in it is pending, and this
    // thread's alone from the swap on.
    unsafe {
        let waiter: &'static Waiter = &*context.cast::<Waiter>();
        let Some(header) = NonNull::new(waiter.block.swap(null_mut(), Ordering::AcqRel)) else { return };
        object::event_set(header, waiter);
    }
}
