//! What wakes the library's thread for moments: a timerfd for each clock. That of the time of day also expires when the time is
//! set.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::epoll::poll_two;
use crate::error::Error;
use crate::time::Wait;

pub(crate) struct AlarmClock {
    steady: OwnedFd,
    wall: OwnedFd,
}

fn timerfd(clock: libc::c_int) -> Result<OwnedFd, Error> {
    // SAFETY: no pointers.
    match unsafe { libc::timerfd_create(clock, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) } {
        -1 => Err(Error::last_os_error()),
        // SAFETY: just made, for us alone.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// At this value, once; zero disarms.
fn settime(timer: &OwnedFd, flags: libc::c_int, value: Duration) {
    // Whoever waits longer than this will not be there.
    let seconds = value.as_secs().min(1 << 40);
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let value = libc::timespec { tv_sec: seconds as _, tv_nsec: value.subsec_nanos().into() };
    let spec = libc::itimerspec { it_interval: zero, it_value: value };
    // SAFETY: a readable value; nothing is written.
    unsafe { libc::timerfd_settime(timer.as_raw_fd(), flags, &raw const spec, std::ptr::null_mut()) };
}

impl AlarmClock {
    pub fn new() -> Result<AlarmClock, Error> {
        Ok(AlarmClock { steady: timerfd(libc::CLOCK_MONOTONIC)?, wall: timerfd(libc::CLOCK_REALTIME)? })
    }

    /// From any thread: when to wake the sleeper next, after a time, and at nanoseconds since 1970.
    pub fn set(&self, steady: Option<Duration>, wall: Option<u64>) {
        const LEAST: Duration = Duration::from_nanos(1);
        settime(&self.steady, 0, steady.map_or(Duration::ZERO, |after| after.max(LEAST)));
        let at = wall.map_or(Duration::ZERO, |at| Duration::from_nanos(at).max(LEAST));
        settime(&self.wall, libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET, at);
    }

    /// Sleeps until one of the moments, or until somebody sets the clock.
    pub fn sleep(&self) {
        poll_two(self.steady.as_raw_fd(), self.wall.as_raw_fd(), Wait::Forever);
        let mut count = 0_u64;
        for timer in [&self.steady, &self.wall] {
            // SAFETY: eight writable bytes; the descriptor does not block. ECANCELED says that the clock was set.
            unsafe { libc::read(timer.as_raw_fd(), (&raw mut count).cast(), 8) };
        }
    }
}
