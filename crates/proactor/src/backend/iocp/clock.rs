//! What wakes the library's thread for moments: a waitable timer for each clock. The one of the steady clock is of high
//! resolution where the system has such timers (Windows 10, 1803), and as good as its ticks elsewhere.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;
use std::time::Duration;

use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, CancelWaitableTimer, CreateWaitableTimerExW, INFINITE, SetWaitableTimer,
    TIMER_ALL_ACCESS, WaitForMultipleObjects,
};

use crate::error::Error;

pub(crate) struct AlarmClock {
    steady: OwnedHandle,
    wall: OwnedHandle,
}

/// 1970 in the system's count, of 100 ns since 1601.
const UNIX_EPOCH: i64 = 116_444_736_000_000_000;

/// An auto-reset timer.
fn timer(flags: u32) -> Result<OwnedHandle, Error> {
    // SAFETY: no attributes, no name; the handle returned is new and ours alone.
    unsafe {
        let timer = CreateWaitableTimerExW(null(), null(), flags, TIMER_ALL_ACCESS);
        if timer.is_null() { Err(Error::last_os_error()) } else { Ok(OwnedHandle::from_raw_handle(timer)) }
    }
}

/// Rounded up, so that nothing is early.
fn ticks(nanos: u128) -> i64 {
    i64::try_from(nanos.div_ceil(100)).unwrap_or(i64::MAX)
}

fn set(timer: &OwnedHandle, due: Option<i64>) {
    // SAFETY: our own handle; the due time is read.
    unsafe {
        match due {
            Some(due) => SetWaitableTimer(timer.as_raw_handle(), &raw const due, 0, None, null(), 0),
            None => CancelWaitableTimer(timer.as_raw_handle()),
        };
    }
}

impl AlarmClock {
    pub fn new() -> Result<AlarmClock, Error> {
        let steady = timer(CREATE_WAITABLE_TIMER_HIGH_RESOLUTION).or_else(|_| timer(0))?;
        Ok(AlarmClock { steady, wall: timer(0)? })
    }

    /// From any thread: when to wake the sleeper next, after a time, and at nanoseconds since 1970. Setting the system's clock
    /// moves the latter.
    pub fn set(&self, steady: Option<Duration>, wall: Option<u64>) {
        set(&self.steady, steady.map(|after| -ticks(after.as_nanos()).max(1)));
        set(&self.wall, wall.map(|at| ticks(at.into()).saturating_add(UNIX_EPOCH)));
    }

    /// Sleeps until one of the moments.
    pub fn sleep(&self) {
        let handles = [self.steady.as_raw_handle(), self.wall.as_raw_handle()];
        // SAFETY: two handles, open as long as this.
        unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, INFINITE) };
    }
}
