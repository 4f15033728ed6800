//! Signals: the console's events, told on the thread that the system makes for each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, PoisonError};

use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, GenerateConsoleCtrlEvent,
    SetConsoleCtrlHandler,
};
use windows_sys::Win32::System::Threading::{INFINITE, Sleep};

use crate::error::{Code, Error};
use crate::signal::Signal;

/// A bit for each event that is caught.
static CAUGHT: AtomicU32 = AtomicU32::new(0);
static TELL: OnceLock<fn(Signal)> = OnceLock::new();
/// Whether the handler is in place.
static IN_PLACE: Mutex<bool> = Mutex::new(false);

fn signal_of(event: u32) -> Option<Signal> {
    match event {
        CTRL_C_EVENT => Some(Signal::Interrupt),
        CTRL_BREAK_EVENT => Some(Signal::Break),
        CTRL_CLOSE_EVENT => Some(Signal::Hangup),
        CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => Some(Signal::Shutdown),
        _ => None,
    }
}

/// The bits of its events.
fn bits_of(signal: Signal) -> u32 {
    (0..32).filter(|event| signal_of(*event) == Some(signal)).map(|event| 1 << event).sum()
}

/// The signal, if there is such an event.
pub(crate) fn check_signal(signal: Signal) -> Result<Signal, Error> {
    match bits_of(signal) {
        0 => Err(Error::new(Code::NotSupported).hint(
            "Windows has no such signal: there are Interrupt (Ctrl-C), Break (Ctrl-Break), Hangup (the console is closed) and Shutdown",
        )),
        _ => Ok(signal),
    }
}

unsafe extern "system" fn handler(event: u32) -> windows_sys::core::BOOL {
    let (Some(signal), Some(tell)) = (signal_of(event), TELL.get()) else { return 0 };
    if CAUGHT.load(Ordering::Acquire) & (1 << event) == 0 {
        // As if this were not here.
        return 0;
    }
    tell(signal);
    if matches!(event, CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT) {
        // The system ends the process when this returns: it has those seconds to end by itself.
        // SAFETY: no pointers.
        unsafe { Sleep(INFINITE) };
    }
    1
}

/// From now on `tell` is called for each of these, on a thread of the system's. The handler stays once it is in place: taking it
/// out could wait for one that runs, and that for its caller.
pub(crate) fn catch_signal(signal: Signal, tell: fn(Signal)) -> Result<(), Error> {
    let mut in_place = IN_PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    TELL.get_or_init(|| tell);
    if !*in_place {
        // SAFETY: a function that is always there.
        if unsafe { SetConsoleCtrlHandler(Some(handler), 1) } == 0 {
            return Err(Error::last_os_error());
        }
        *in_place = true;
    }
    CAUGHT.fetch_or(bits_of(signal), Ordering::Release);
    Ok(())
}

/// The next handler has them again.
pub(crate) fn release_signal(signal: Signal) {
    CAUGHT.fetch_and(!bits_of(signal), Ordering::Release);
}

pub(crate) fn raise_signal(signal: Signal) -> Result<(), Error> {
    let event = match check_signal(signal)? {
        Signal::Interrupt => CTRL_C_EVENT,
        Signal::Break => CTRL_BREAK_EVENT,
        _ => return Err(Error::new(Code::NotSupported).hint("Windows lets nobody send this signal; only Interrupt and Break")),
    };
    // SAFETY: no pointers.
    match unsafe { GenerateConsoleCtrlEvent(event, 0) } {
        0 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}
