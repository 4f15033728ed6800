//! What wakes one thread in an alertable wait, and the kernel's own APCs, which run there too.
//!
//! | the thread sleeps | woken by |
//! |---|---|
//! | in a port, alertably | an APC of ours that does nothing |
//! | in an alertable wait for objects or for time | its event |
//!
//! Both are alertable waits of the kernel's: an APC that was queued past the library (QueueUserAPC, ReadFileEx, a waitable timer's
//! routine) runs in them. That one did is remembered until the thread's alertable wait says so. The kernel does not tell which ran:
//! a wait in which one of ours did counts for ours alone.
//!
//! | atomic | partner |
//! |---|---|
//! | `in_get` store true, fence, the alert is looked at | the alert is put up, fence, `in_get` load: who rings sees where the thread is, or the thread the alert |

use std::cell::Cell;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, fence};

use windows_sys::Win32::Foundation::WAIT_IO_COMPLETION;
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentThreadId, OpenThread, QueueUserAPC, SetEvent, SleepEx, THREAD_SET_CONTEXT, WaitForSingleObjectEx,
};

use super::sys::millis;
use crate::error::Error;
use crate::shim::{Arc, Ordering};
use crate::time::Wait;

/// The kernel has APCs, which run in alertable waits.
pub(crate) const HAS_APCS: bool = true;

thread_local! {
    /// How many of our own APCs have run.
    static OWN: Cell<u32> = const { Cell::new(0) };
    /// Whether others' have, and no alertable wait has said so.
    static OTHERS: Cell<bool> = const { Cell::new(false) };
}

/// The APC that wakes and does nothing.
pub(super) unsafe extern "system" fn wake(_: usize) {
    OWN.set(OWN.get().wrapping_add(1));
}

/// Waits in the kernel, alertably; `ran` tells of the call's answer whether APCs ran in it.
pub(super) fn noting<T>(call: impl FnOnce() -> T, ran: impl FnOnce(&T) -> bool) -> T {
    let before = OWN.get();
    let answer = call();
    // A wait inside an APC of this one has accounted for its own.
    if ran(&answer) && OWN.replace(before) == before {
        OTHERS.set(true);
    }
    answer
}

/// Whether APCs of the kernel's have run on this thread that no alertable wait has told of.
pub(crate) fn apcs_have_run() -> bool {
    OTHERS.get()
}

/// Runs what is queued with the kernel. Whether APCs have run, now or before, that no alertable wait has told of: this one will.
pub(crate) fn run_apcs() -> bool {
    // SAFETY: no pointers.
    noting(|| unsafe { SleepEx(0, 1) }, |answer| *answer == WAIT_IO_COMPLETION);
    OTHERS.replace(false)
}

/// Sleeps in the kernel until it is done, the time is over, or APCs have run.
pub(crate) fn sleep_alertably(is_done: &dyn Fn() -> bool, wait: Wait, alarm: &Alarm) {
    while !is_done() && !apcs_have_run() && !wait.is_over() {
        // SAFETY: the thread's own event.
        let sleep = || unsafe { WaitForSingleObjectEx(alarm.event.as_raw_handle(), millis(wait), 1) };
        noting(sleep, |answer| *answer == WAIT_IO_COMPLETION);
    }
}

pub(crate) struct Alarm {
    thread: OwnedHandle,
    event: OwnedHandle,
    in_get: AtomicBool,
}

impl Alarm {
    /// The calling thread's.
    pub fn new() -> Result<Alarm, Error> {
        // SAFETY: no pointers; the handles returned are new and ours alone.
        unsafe {
            let thread = OpenThread(THREAD_SET_CONTEXT, 0, GetCurrentThreadId());
            if thread.is_null() {
                return Err(Error::last_os_error());
            }
            let thread = OwnedHandle::from_raw_handle(thread);
            let event = CreateEventW(null(), 0, 0, null());
            if event.is_null() {
                return Err(Error::last_os_error());
            }
            Ok(Alarm { thread, event: OwnedHandle::from_raw_handle(event), in_get: AtomicBool::new(false) })
        }
    }

    /// From any thread.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        // SAFETY: our own handles, open for this; the function needs nothing.
        unsafe {
            match self.in_get.load(Ordering::Relaxed) {
                true => QueueUserAPC(Some(wake), self.thread.as_raw_handle(), 0),
                false => SetEvent(self.event.as_raw_handle()).cast_unsigned(),
            }
        };
    }
}

/// Held while the alarm's thread is in an alertable get, maybe inside another.
pub(super) struct InGet<'a> {
    alarm: &'a Alarm,
    before: bool,
}

impl Drop for InGet<'_> {
    fn drop(&mut self) {
        self.alarm.in_get.store(self.before, Ordering::Relaxed);
    }
}

/// An alertable get of the thread whose alarm it is.
pub(crate) struct Alert<'a> {
    pub alarm: Option<&'a Arc<Alarm>>,
    /// Whether the thread has something else to do. Set before the alarm rings.
    pub is_up: &'a dyn Fn() -> bool,
}

impl Alert<'_> {
    pub fn is_up(&self) -> bool {
        (self.is_up)()
    }

    /// From here on the alarm, if there is one, finds the thread in the port.
    pub(super) fn enter(&self) -> Option<InGet<'_>> {
        let alarm = self.alarm?;
        let before = alarm.in_get.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Some(InGet { alarm, before })
    }
}

/// Overlapped operations complete on threads of the library's: a thread has nothing to drive.
pub(crate) fn drives() -> bool {
    false
}

/// Nothing to drive.
pub(crate) fn drive(_: &dyn Fn() -> bool, _: Wait, _: Option<&Arc<Alarm>>) {}
