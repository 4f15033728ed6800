//! Objects that threads wait for, and the waits: for one, for any, for all, for time; each also alertable.
//!
//! All are the library's own, on every system alike. A worker of a port that waits here gives its place to another. A thread
//! with a [`LocalPort`](crate::LocalPort) completes that port's operations meanwhile; packets only queue.
//!
//! | object | signalled | a wait that it satisfies |
//! |---|---|---|
//! | [`Event`] | after `set` | leaves it (manual), or resets it (auto) |
//! | [`Semaphore`] | while its count is over 0 | takes one |
//! | [`Mutex`] | while nobody owns it, or this thread does | owns it |
//! | [`Thread`], [`ThreadRef`] | once the thread has ended | leaves it |
//! | [`CompletionPort`](crate::CompletionPort) | while packets are queued that nobody took | leaves it, and them |
//! | [`Process`](crate::process::Process) | once the process has ended | leaves it |
//! | [`Overlapped`](crate::Overlapped) | once the operation is complete | leaves it |
//!
//! ```
//! use std::time::Duration;
//! use proactor::sync::{self, Event, Semaphore, Waited};
//! let (stop, work) = (Event::manual(), Semaphore::new(0, 100)?);
//! work.release(1)?;
//! assert_eq!(sync::wait_any(&[&stop, &work], None)?, Waited::Signalled(1));
//! assert_eq!(sync::wait_all(&[&stop, &work], Duration::from_millis(1))?, Waited::TimedOut);
//! # Ok::<(), proactor::Error>(())
//! ```

pub mod alertable;
pub(crate) mod apc;
pub(crate) mod blocking;
pub(crate) mod current;
mod event;
pub(crate) mod getting;
mod mutex;
pub(crate) mod object;
pub(crate) mod record;
mod semaphore;
mod thread;
mod wait;
pub(crate) mod waitable;

pub(crate) use object::Core;
pub(crate) use record::{Claim, Record};

pub use event::Event;
pub use mutex::Mutex;
pub use semaphore::Semaphore;
pub use thread::{Thread, ThreadRef};
pub use wait::Waited;
pub use waitable::Waitable;

use crate::error::Error;
use crate::time::Wait;

/// Waits until `wait` is over (`Sleep`): `TimedOut`.
pub fn sleep(wait: impl Into<Wait>) -> Result<Waited, Error> {
    Ok(wait::sleep(wait.into(), false))
}

/// Waits for an object (`WaitForSingleObject`).
///
/// Errors: [`Code::InvalidHandle`](crate::Code::InvalidHandle) (6) for a closed port.
pub fn wait_one(object: &dyn Waitable, wait: impl Into<Wait>) -> Result<Waited, Error> {
    wait::any(&[object], wait.into(), false)
}

/// Waits for one of 1 to 64 objects (`WaitForMultipleObjects`): the lowest index that is signalled, and only that is
/// consumed.
///
/// Errors: [`Code::InvalidParameter`](crate::Code::InvalidParameter) (87) for no objects or more than 64; as `wait_one`.
pub fn wait_any(objects: &[&dyn Waitable], wait: impl Into<Wait>) -> Result<Waited, Error> {
    wait::any(objects, wait.into(), false)
}

/// Waits until 1 to 64 objects are all signalled at once, and then consumes them all; none is consumed before
/// (`WaitForMultipleObjects` with `bWaitAll`).
///
/// Errors: [`Code::InvalidParameter`](crate::Code::InvalidParameter) (87) for no objects, more than 64, or one twice; as
/// `wait_one`.
pub fn wait_all(objects: &[&dyn Waitable], wait: impl Into<Wait>) -> Result<Waited, Error> {
    wait::all(objects, wait.into(), false)
}

/// Signals an event, adds 1 to a semaphore, or releases a mutex; then waits for an object (`SignalObjectAndWait`). The two
/// are not one step: another thread may come between them.
///
/// Errors: of the signal, with no wait: [`Code::InvalidHandle`](crate::Code::InvalidHandle) (6) for an object that cannot
/// be signalled, [`Code::NotOwner`](crate::Code::NotOwner) (288), [`Code::TooManyPosts`](crate::Code::TooManyPosts) (298);
/// as `wait_one`.
pub fn signal_and_wait(signal: &dyn Waitable, object: &dyn Waitable, wait: impl Into<Wait>) -> Result<Waited, Error> {
    wait::signal_and_wait(signal, object, wait.into(), false)
}
