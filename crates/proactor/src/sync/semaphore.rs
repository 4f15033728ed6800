//! Semaphores.

use std::sync::Arc;

use super::object::{Core, Kind};
use super::waitable::sealed::Sealed;
use crate::error::{Code, Error};

/// A semaphore (`CreateSemaphore`): a count that each wait takes one from, signalled while it is over 0. Cloning shares it.
///
/// ```
/// use std::time::Duration;
/// use proactor::sync::{self, Semaphore, Waited};
/// let permits = Semaphore::new(1, 3)?;
/// assert_eq!(sync::wait_one(&permits, None)?, Waited::Signalled(0));
/// assert_eq!(sync::wait_one(&permits, Duration::ZERO)?, Waited::TimedOut);
/// assert_eq!(permits.release(2)?, 0);
/// # Ok::<(), proactor::Error>(())
/// ```
#[derive(Clone)]
pub struct Semaphore {
    core: Arc<Core>,
}

impl Semaphore {
    /// A semaphore of this count, which is never more than `maximum`.
    ///
    /// Errors: [`Code::InvalidParameter`] (87) for a maximum of 0, or an initial count past it.
    pub fn new(initial: u32, maximum: u32) -> Result<Semaphore, Error> {
        if maximum == 0 || initial > maximum {
            let hint = "a semaphore's maximum is at least 1, and its initial count at most that";
            return Err(Error::new(Code::InvalidParameter).hint(hint));
        }
        Ok(Semaphore { core: Core::new(Kind::Semaphore { count: initial, maximum }) })
    }

    /// Adds to the count (`ReleaseSemaphore`), for so many waits; the count before it.
    ///
    /// Errors: [`Code::TooManyPosts`] (298) if the count would pass the maximum, [`Code::InvalidParameter`] (87) for
    /// nothing to add. The count is as before then.
    pub fn release(&self, n: u32) -> Result<u32, Error> {
        if n == 0 {
            return Err(Error::new(Code::InvalidParameter).hint("a semaphore is released by at least 1"));
        }
        self.core.change(|kind| match kind {
            Kind::Semaphore { count, maximum } => match count.checked_add(n) {
                Some(sum) if sum <= *maximum => Ok(std::mem::replace(count, sum)),
                _ => Err(Error::new(Code::TooManyPosts)),
            },
            _ => unreachable!("a semaphore's core is one"),
        })
    }
}

impl Sealed for Semaphore {
    fn core(&self) -> Result<&Arc<Core>, Error> {
        Ok(&self.core)
    }

    fn signal(&self) -> Result<(), Error> {
        self.release(1).map(drop)
    }
}

impl std::fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (count, maximum) = self.core.look(|kind| match kind {
            Kind::Semaphore { count, maximum } => (*count, *maximum),
            _ => (0, 0),
        });
        f.debug_struct("Semaphore").field("count", &count).field("maximum", &maximum).finish()
    }
}
