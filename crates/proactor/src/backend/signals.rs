//! Signals: a handler that counts them and wakes a thread of the library's, which tells.
//!
//! The handler touches atomics and one eventfd, and keeps `errno`. In a forked child it does nothing: the eventfd is its parent's.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::epoll::{check_fork, eventfd_that_blocks, is_forked, watch_forks};
use crate::error::{Code, Error};
use crate::signal::Signal;

/// One more than the largest number.
const MOST: usize = 65;
static CAME: [AtomicU32; MOST] = [const { AtomicU32::new(0) }; MOST];
/// The eventfd, once there is one: it stays.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// What was in place before, of the signals that are caught.
static FORMER: Mutex<[Option<libc::sigaction>; MOST]> = Mutex::new([None; MOST]);

const NAMED: [(Signal, libc::c_int); 11] = [
    (Signal::Interrupt, libc::SIGINT),
    (Signal::Terminate, libc::SIGTERM),
    (Signal::Hangup, libc::SIGHUP),
    (Signal::Quit, libc::SIGQUIT),
    (Signal::User1, libc::SIGUSR1),
    (Signal::User2, libc::SIGUSR2),
    (Signal::Child, libc::SIGCHLD),
    (Signal::Alarm, libc::SIGALRM),
    (Signal::Pipe, libc::SIGPIPE),
    (Signal::Window, libc::SIGWINCH),
    (Signal::Continue, libc::SIGCONT),
];

fn number_of(signal: Signal) -> Result<libc::c_int, Error> {
    let named = NAMED.iter().find(|(name, _)| *name == signal).map(|(_, number)| *number);
    match (named, signal) {
        (Some(number), _) => Ok(number),
        (None, Signal::Other(number)) => Ok(number),
        (None, _) => {
            Err(Error::new(Code::NotSupported).hint("this system has no such signal: Break and Shutdown are those of Windows"))
        }
    }
}

fn signal_of(number: libc::c_int) -> Signal {
    NAMED.iter().find(|(_, own)| *own == number).map_or(Signal::Other(number), |(name, _)| *name)
}

/// The signal by its name, if it can be caught.
pub(crate) fn check_signal(signal: Signal) -> Result<Signal, Error> {
    let hint = match number_of(signal)? {
        libc::SIGKILL | libc::SIGSTOP => "this signal cannot be caught",
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => {
            "this signal is a fault of the thread it comes to, which cannot go on: nobody may wait for it"
        }
        number @ 1.. if (number as usize) < MOST => return Ok(signal_of(number)),
        _ => "there is no signal of this number",
    };
    Err(Error::new(Code::InvalidParameter).hint(hint))
}

extern "C" fn handler(number: libc::c_int) {
    let (Some(count), bell, false) = (CAME.get(number as usize), BELL.load(Ordering::Acquire), is_forked()) else {
        return;
    };
    count.fetch_add(1, Ordering::Release);
    // SAFETY: async-signal-safe, of eight readable bytes; `errno` is the interrupted code's.
    unsafe {
        let errno = *libc::__errno_location();
        let one = 1_u64;
        libc::write(bell, (&raw const one).cast(), 8);
        *libc::__errno_location() = errno;
    }
}

fn sigaction(number: libc::c_int, new: Option<&libc::sigaction>) -> Result<libc::sigaction, Error> {
    // SAFETY: all-zero is a valid sigaction, which is written; the new one is read, if there is one.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        match libc::sigaction(number, new.map_or(std::ptr::null(), std::ptr::from_ref), &raw mut old) {
            0 => Ok(old),
            _ => Err(Error::last_os_error()),
        }
    }
}

fn ours() -> libc::sigaction {
    // SAFETY: all-zero is a valid sigaction with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    action
}

fn former() -> std::sync::MutexGuard<'static, [Option<libc::sigaction>; MOST]> {
    FORMER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on `tell` is called for each of these, on a thread of the library's. The signal is one that `check_signal` gave.
pub(crate) fn catch_signal(signal: Signal, tell: fn(Signal)) -> Result<(), Error> {
    check_fork()?;
    watch_forks();
    let number = number_of(signal)?;
    let mut former = former();
    if BELL.load(Ordering::Relaxed) < 0 {
        let bell = eventfd_that_blocks()?;
        let raw = bell.as_raw_fd();
        let listener = std::thread::Builder::new().name("proactor-signal".into());
        listener.spawn(move || listen(&bell, tell)).map_err(|error| Error::from_io(&error))?;
        BELL.store(raw, Ordering::Release);
    }
    CAME[number as usize].store(0, Ordering::Relaxed);
    former[number as usize] = Some(sigaction(number, Some(&ours()))?);
    Ok(())
}

/// What was in place before is again, unless that is somebody else's by now.
pub(crate) fn release_signal(signal: Signal) {
    let Ok(number) = number_of(signal) else { return };
    let Some(before) = former()[number as usize].take() else { return };
    if sigaction(number, None).is_ok_and(|now| now.sa_sigaction == ours().sa_sigaction) {
        // It was there, so the system takes it.
        let _ = sigaction(number, Some(&before));
    }
}

pub(crate) fn raise_signal(signal: Signal) -> Result<(), Error> {
    let number = number_of(signal)?;
    // To this thread: another's would come some time later, perhaps when nobody catches it any more.
    // SAFETY: no pointers.
    match unsafe { libc::raise(number) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

fn listen(bell: &OwnedFd, tell: fn(Signal)) {
    let mut count = 0_u64;
    loop {
        // SAFETY: eight writable bytes; it waits.
        unsafe { libc::read(bell.as_raw_fd(), (&raw mut count).cast(), 8) };
        for (number, came) in CAME.iter().enumerate() {
            for _ in 0..came.swap(0, Ordering::Acquire) {
                tell(signal_of(number as libc::c_int));
            }
        }
    }
}
