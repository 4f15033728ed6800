//! Work objects.

use std::sync::Arc;

use super::member::Member;
use crate::error::{Code, Error};
use crate::time::Wait;

/// A callback to run whenever it is submitted (`PTP_WORK`). Dropping it lets the callbacks that were submitted still run
/// (`CloseThreadpoolWork`).
///
/// ```
/// use proactor::{pool::Pool, sync::Event};
/// let pool = Pool::process()?;
/// let done = Event::manual();
/// let signal = done.clone();
/// let work = pool.work(move |instance| instance.set_when_done(&signal));
/// work.submit()?;
/// done.wait();
/// # Ok::<(), proactor::Error>(())
/// ```
#[derive(Clone)]
pub struct Work {
    pub(super) member: Arc<Member>,
}

impl Work {
    /// Asks for one more run (`SubmitThreadpoolWork`). Allocates nothing.
    ///
    /// Errors: [`Code::InvalidHandle`] if its clean-up group was closed, [`Code::Forked`] in a forked child.
    pub fn submit(&self) -> Result<(), Error> {
        self.member.submit()
    }

    /// Waits until no run is waiting or running (`WaitForThreadpoolWorkCallbacks`). A worker of a port that waits here
    /// releases another.
    ///
    /// Errors: [`Code::InvalidParameter`] from its own callback, which would wait for itself.
    pub fn wait_for_callbacks(&self) -> Result<(), Error> {
        self.member.settle(Wait::Forever).map(drop)
    }

    /// As `wait_for_callbacks`, but for so long at most; then [`Code::WaitTimeout`].
    pub fn wait_for_callbacks_timeout(&self, wait: impl Into<Wait>) -> Result<(), Error> {
        match self.member.settle(wait.into())? {
            true => Ok(()),
            false => Err(Error::new(Code::WaitTimeout)),
        }
    }

    /// Drops the runs that have not begun, and waits for those that have (`WaitForThreadpoolWorkCallbacks` with
    /// `fCancelPendingCallbacks`). How many were dropped.
    ///
    /// Errors: as for [`wait_for_callbacks`](Work::wait_for_callbacks); the runs are dropped all the same.
    pub fn cancel(&self) -> Result<usize, Error> {
        let dropped = self.member.cancel();
        self.wait_for_callbacks()?;
        Ok(dropped)
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}
