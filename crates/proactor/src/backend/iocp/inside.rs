//! The threads inside a port's `get`, so that its close can wake them.
//!
//! The gate holds waiting threads back while others run, so a packet would not reach them; an APC does.
//!
//! | atomic | partner |
//! |---|---|
//! | `inside` store true (SeqCst), then the port's `closed` is looked at | `closed` is set (SeqCst), then `inside` is looked at |
//! | the same, then the port's `stows` is looked at | see `attend.rs` |
//!
//! So the wait is alertable, and the APCs others queue to a thread run there too: the thread's next alertable wait says so.
//!
//! An APC that comes before the thread waits ends the wait at once; one that finds it gone runs in its next alertable
//! wait and does nothing.

use std::cell::RefCell;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::sync::Weak;
use std::sync::atomic::AtomicBool;

use windows_sys::Win32::System::Threading::{GetCurrentThreadId, OpenThread, QueueUserAPC, THREAD_SET_CONTEXT};

use super::alarm;
use super::port::Port;
use crate::error::Error;
use crate::shim::{Arc, Mutex, MutexGuard, Ordering, lock};

/// One thread, as the port it last waited on knows it.
struct Member {
    thread: OwnedHandle,
    inside: AtomicBool,
}

/// The threads that wait on a port, or did last.
#[derive(Default)]
pub(super) struct Members(Mutex<Vec<Arc<Member>>>);

impl Members {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Member>>> {
        lock(&self.0)
    }

    /// Whether any thread is inside.
    pub fn any_inside(&self) -> bool {
        self.lock().iter().any(|member| member.inside.load(Ordering::SeqCst))
    }

    /// Ends the waits of all threads inside.
    pub fn wake(&self) {
        for member in self.lock().iter().filter(|member| member.inside.load(Ordering::SeqCst)) {
            // SAFETY: our own handle of the thread, open for this; the function needs nothing.
            unsafe { QueueUserAPC(Some(alarm::wake), member.thread.as_raw_handle(), 0) };
        }
    }
}

/// The thread's own side.
struct Binding {
    member: Arc<Member>,
    port: Weak<Port>,
}

impl Binding {
    fn new() -> Result<Binding, Error> {
        // SAFETY: no pointers; the handle returned is new and ours alone.
        let thread = unsafe {
            let thread = OpenThread(THREAD_SET_CONTEXT, 0, GetCurrentThreadId());
            if thread.is_null() {
                return Err(Error::last_os_error());
            }
            OwnedHandle::from_raw_handle(thread)
        };
        Ok(Binding { member: Arc::new(Member { thread, inside: AtomicBool::new(false) }), port: Weak::new() })
    }

    fn leave(&mut self) {
        if let Some(port) = std::mem::take(&mut self.port).upgrade() {
            port.members().lock().retain(|member| !Arc::ptr_eq(member, &self.member));
        }
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.leave();
    }
}

thread_local! {
    static BINDING: RefCell<Option<Binding>> = const { RefCell::new(None) };
}

/// Held while a thread is inside a port's `get`.
pub(super) struct Inside(Arc<Member>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.store(false, Ordering::SeqCst);
    }
}

/// Whether the calling thread waited on this port last.
pub(super) fn is_bound(port: &Port) -> bool {
    BINDING.with_borrow(|slot| slot.as_ref().is_some_and(|binding| std::ptr::eq(binding.port.as_ptr(), port)))
}

/// Enters a port's `get`.
pub(super) fn enter(port: &Port) -> Result<Inside, Error> {
    BINDING.with_borrow_mut(|slot| {
        let binding = match slot {
            Some(binding) => binding,
            None => slot.insert(Binding::new()?),
        };
        if !std::ptr::eq(binding.port.as_ptr(), port) {
            binding.leave();
            binding.port = port.downgrade();
            port.members().lock().push(binding.member.clone());
        }
        binding.member.inside.store(true, Ordering::SeqCst);
        Ok(Inside(binding.member.clone()))
    })
}
