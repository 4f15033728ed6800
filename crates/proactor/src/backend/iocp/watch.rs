//! The port as an object that threads wait for.
//!
//! The kernel signals a port's handle while packets are queued. While a thread waits for it a wait on the handle is
//! registered, once for each thread, with the system's pool of waiting threads; its callback signals the port's core.

use std::any::Any;
use std::os::windows::io::AsRawHandle;
use std::ptr::null_mut;
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEONLYONCE, WaitForSingleObject,
};

use super::port::Port;
use crate::error::{Code, Error};
use crate::shim::Arc;
use crate::sync::object::{Core, Kind};

/// The core, once somebody has waited.
#[derive(Default)]
pub(super) struct Watch(OnceLock<Arc<Core>>);

/// A registered wait of one thread's.
struct Registered {
    wait: HANDLE,
    /// Keeps the handle that is waited for, and is the callback's context.
    port: Arc<Port>,
}

// SAFETY: the handle of a registered wait is taken back by any thread, once.
unsafe impl Send for Registered {}
// SAFETY: a shared one does nothing.
unsafe impl Sync for Registered {}

impl Port {
    /// Packets came to `front`, or the port is closed: who waits for it is told.
    pub(super) fn tell_waiters(&self) {
        if let Some(core) = self.watch().0.get() {
            self.look(core);
        }
    }

    fn look(&self, core: &Core) {
        // SAFETY: our own handle; no wait.
        let queued = || unsafe { WaitForSingleObject(self.borrow().as_raw_handle(), 0) } == WAIT_OBJECT_0;
        core.change(|kind| *kind = Kind::Manual(self.is_closed() || self.has_front() || queued()));
    }

    /// The port as an object to wait for, up to date.
    pub fn core(&self) -> Result<&Arc<Core>, Error> {
        if self.is_closed() {
            return Err(Error::new(Code::InvalidHandle).hint("the completion port is closed"));
        }
        let core = self.watch().0.get_or_init(|| Core::event(false));
        self.look(core);
        Ok(core)
    }

    /// Somebody waits for it: has the kernel tell of packets.
    pub fn await_packets(self: &Arc<Self>) -> Option<Box<dyn Any + Send + Sync>> {
        let (mut wait, context) = (null_mut(), Arc::as_ptr(self).cast());
        // SAFETY: handle and context are the port's, which is kept until the wait is unregistered.
        let ok = unsafe {
            let handle = self.borrow().as_raw_handle();
            RegisterWaitForSingleObject(&raw mut wait, handle, Some(signalled), context, INFINITE, WT_EXECUTEONLYONCE)
        };
        if ok == 0 {
            log::error!("proactor: a wait for a port sees only what comes by itself: {}", Error::last_os_error());
            return None;
        }
        self.attend();
        Some(Box::new(Registered { wait, port: self.clone() }))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: registered once; returns when no callback runs any more.
        unsafe { UnregisterWaitEx(self.wait, INVALID_HANDLE_VALUE) };
        self.port.attended();
    }
}

/// The kernel has a packet queued.
unsafe extern "system" fn signalled(context: *mut std::ffi::c_void, _timed_out: bool) {
    // SAFETY: the port, which is kept until this wait is unregistered, after this call.
    let port: &Port = unsafe { &*context.cast::<Port>() };
    if let Some(core) = port.watch().0.get() {
        // Somebody may have fetched it already: it was signalled all the same.
        core.signal();
    }
}
