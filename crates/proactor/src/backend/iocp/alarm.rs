//! What wakes one thread in an alertable get: an APC of the kernel's that does nothing.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::System::Threading::{GetCurrentThreadId, OpenThread, QueueUserAPC, THREAD_SET_CONTEXT};

use crate::error::Error;
use crate::shim::Arc;
use crate::time::Wait;

pub(crate) struct Alarm {
    thread: OwnedHandle,
}

impl Alarm {
    /// The calling thread's.
    pub fn new() -> Result<Alarm, Error> {
        // SAFETY: no pointers; the handle returned is new and ours alone.
        unsafe {
            let thread = OpenThread(THREAD_SET_CONTEXT, 0, GetCurrentThreadId());
            if thread.is_null() {
                return Err(Error::last_os_error());
            }
            Ok(Alarm { thread: OwnedHandle::from_raw_handle(thread) })
        }
    }

    /// From any thread.
    pub fn ring(&self) {
        unsafe extern "system" fn nothing(_: usize) {}
        // SAFETY: our own handle of the thread, open for this; the function needs nothing.
        unsafe { QueueUserAPC(Some(nothing), self.thread.as_raw_handle(), 0) };
    }
}

/// An alertable get of the thread whose alarm it is.
pub(crate) struct Alert<'a> {
    #[expect(dead_code, reason = "the kernel's wait is alertable as it is")]
    pub alarm: Option<&'a Arc<Alarm>>,
    /// Whether the thread has something else to do. Set before the alarm rings.
    pub is_up: &'a dyn Fn() -> bool,
}

impl Alert<'_> {
    pub fn is_up(&self) -> bool {
        (self.is_up)()
    }
}

/// Overlapped operations complete on threads of the library's: a thread has nothing to drive.
pub(crate) fn drives() -> bool {
    false
}

/// Nothing to drive.
pub(crate) fn drive(_: &dyn Fn() -> bool, _: Wait, _: Option<&Arc<Alarm>>) {}
