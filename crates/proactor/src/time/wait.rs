//! How long a wait may last: for ever, for a while, or until a moment.

use std::time::{Duration, Instant};

/// The end of a wait. A deadline, not a duration that restarts: a wait that is interrupted goes on to the same moment.
///
/// ```
/// use std::time::{Duration, Instant};
/// use proactor::Wait;
/// let _for_ever: Wait = None.into();
/// let _a_while: Wait = Duration::from_millis(5).into();
/// let _until: Wait = (Instant::now() + Duration::from_secs(1)).into();
/// assert!(Wait::from(Duration::ZERO).is_poll());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// No end.
    Forever,
    /// Do not wait: look once.
    Poll,
    /// Until this moment.
    Until(Instant),
}

impl Wait {
    /// Whether this wait does not wait at all.
    pub fn is_poll(&self) -> bool {
        matches!(self, Wait::Poll)
    }

    /// What is left; `None` for no end.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self {
            Wait::Forever => None,
            Wait::Poll => Some(Duration::ZERO),
            Wait::Until(end) => Some(end.saturating_duration_since(Instant::now())),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

impl From<Duration> for Wait {
    fn from(duration: Duration) -> Wait {
        if duration.is_zero() {
            return Wait::Poll;
        }
        // A moment past the clock's end is no end.
        Instant::now().checked_add(duration).map_or(Wait::Forever, Wait::Until)
    }
}

impl From<Option<Duration>> for Wait {
    fn from(duration: Option<Duration>) -> Wait {
        duration.map_or(Wait::Forever, Wait::from)
    }
}

impl From<Instant> for Wait {
    fn from(end: Instant) -> Wait {
        Wait::Until(end)
    }
}
