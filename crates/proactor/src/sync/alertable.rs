//! The waits of [`sync`](crate::sync), alertable: they also end when APCs and completion routines have run.
//!
//! A signalled object beats an APC. If nothing is signalled and APCs are queued to this thread, or come while it waits, all
//! of them run on it, those that they queue too, and the wait returns [`Waited::Apc`] (192). A panic in one leaves the wait;
//! the rest run in the next.
//!
//! On Windows the kernel's own APCs are among them: those of `QueueUserAPC`, `ReadFileEx`, a waitable timer's routine, whoever asked
//! for them. One that ran inside a `get` of a port that was not alertable is reported by the thread's next wait that is.
//!
//! ```
//! use std::time::Duration;
//! use proactor::sync::{Event, Thread, Waited, alertable};
//! Thread::current().queue_apc(|| println!("in this thread's next alertable wait"))?;
//! let event = Event::auto();
//! assert_eq!(alertable::wait_one(&event, Duration::from_secs(1))?, Waited::Apc);
//! assert_eq!(alertable::wait_one(&event, Duration::ZERO)?, Waited::TimedOut);
//! # Ok::<(), proactor::Error>(())
//! ```

use super::wait::{self, Waited};
use super::waitable::Waitable;
use crate::error::Error;
use crate::time::Wait;

/// Waits until `wait` is over, or APCs have run (`SleepEx`).
pub fn sleep(wait: impl Into<Wait>) -> Result<Waited, Error> {
    Ok(wait::sleep(wait.into(), true))
}

/// As [`sync::wait_one`](crate::sync::wait_one) (`WaitForSingleObjectEx`).
pub fn wait_one(object: &dyn Waitable, wait: impl Into<Wait>) -> Result<Waited, Error> {
    wait::any(&[object], wait.into(), true)
}

/// As [`sync::wait_any`](crate::sync::wait_any) (`WaitForMultipleObjectsEx`).
pub fn wait_any(objects: &[&dyn Waitable], wait: impl Into<Wait>) -> Result<Waited, Error> {
    wait::any(objects, wait.into(), true)
}

/// As [`sync::wait_all`](crate::sync::wait_all) (`WaitForMultipleObjectsEx` with `bWaitAll`).
pub fn wait_all(objects: &[&dyn Waitable], wait: impl Into<Wait>) -> Result<Waited, Error> {
    wait::all(objects, wait.into(), true)
}

/// As [`sync::signal_and_wait`](crate::sync::signal_and_wait) (`SignalObjectAndWait`, alertable).
pub fn signal_and_wait(signal: &dyn Waitable, object: &dyn Waitable, wait: impl Into<Wait>) -> Result<Waited, Error> {
    wait::signal_and_wait(signal, object, wait.into(), true)
}
