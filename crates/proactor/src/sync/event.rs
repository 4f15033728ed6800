//! Events, manual and auto reset.

use std::sync::Arc;

use super::object::{Core, Kind};
use super::wait;
use super::waitable::sealed::Sealed;
use crate::error::Error;
use crate::time::Wait;

/// An event (`CreateEvent`): signalled or not, waited for by any threads. Cloning shares it.
///
/// A manual-reset event stays signalled until [`reset`](Event::reset); an auto-reset one releases one waiter per
/// signal.
///
/// ```
/// use std::time::Duration;
/// use proactor::sync::Event;
/// let event = Event::auto();
/// event.set();
/// assert!(event.wait_timeout(Duration::from_secs(1)));
/// assert!(!event.wait_timeout(Duration::ZERO));
/// ```
#[derive(Clone)]
pub struct Event {
    core: Arc<Core>,
}

impl Event {
    /// A manual-reset event, not signalled.
    pub fn manual() -> Event {
        Event { core: Core::event(false) }
    }

    /// An auto-reset event, not signalled.
    pub fn auto() -> Event {
        Event { core: Core::event(true) }
    }

    /// Signals it (`SetEvent`). Who waits at this moment is released, be it reset at once: an auto-reset event releases
    /// the one that waits longest, a manual-reset one all.
    pub fn set(&self) {
        self.core.signal();
    }

    /// Takes the signal back (`ResetEvent`).
    pub fn reset(&self) {
        self.core.unsignal();
    }

    /// Waits until it is signalled; an auto-reset event is unsignalled by that. A worker of a port that waits here
    /// releases another.
    pub fn wait(&self) {
        while !self.wait_timeout(Wait::Forever) {}
    }

    /// Waits until it is signalled or `wait` ends; whether it was signalled.
    pub fn wait_timeout(&self, wait: impl Into<Wait>) -> bool {
        wait::any(&[self], wait.into(), false).is_ok_and(|waited| waited.is_satisfied())
    }
}

impl Sealed for Event {
    fn core(&self) -> Result<&Arc<Core>, Error> {
        Ok(&self.core)
    }

    fn signal(&self) -> Result<(), Error> {
        self.set();
        Ok(())
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let auto = self.core.look(|kind| matches!(kind, Kind::Auto(_)));
        f.debug_struct("Event").field("auto", &auto).finish_non_exhaustive()
    }
}
