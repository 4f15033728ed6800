//! Cores and CPU clocks.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use super::sys::check;

/// Keeps the calling thread, and those it will start, on these cores.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    // SAFETY: a cpu_set_t of zeros is the empty set; CPU_SET ignores cores beyond its size; the call reads the set.
    unsafe {
        let mut set: libc::cpu_set_t = MaybeUninit::zeroed().assume_init();
        for core in cores {
            libc::CPU_SET(*core, &mut set);
        }
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set))?;
    }
    Ok(())
}

/// How many cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The first core and the last: two that differ, if there are two.
pub fn first_and_last() -> (usize, usize) {
    (0, cores() - 1)
}

/// A CPU clock, user and system time together, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock(libc::clockid_t);

impl Clock {
    /// All threads of a process of this user.
    pub fn of_process(pid: u32) -> io::Result<Clock> {
        let mut id = 0;
        // SAFETY: writes one clock id.
        match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut id) } {
            0 => Ok(Clock(id)),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// All threads of this process.
    pub fn of_this_process() -> Clock {
        Clock(libc::CLOCK_PROCESS_CPUTIME_ID)
    }

    /// Its reading.
    pub fn now(self) -> io::Result<Duration> {
        let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes one timespec.
        check(unsafe { libc::clock_gettime(self.0, &mut at) })?;
        Ok(Duration::new(at.tv_sec as u64, at.tv_nsec as u32))
    }
}
