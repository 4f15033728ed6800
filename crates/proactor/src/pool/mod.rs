//! Thread-pool I/O: callbacks for work, timers, waits and I/O, on threads the pool keeps.
//!
//! | Win32 | here |
//! |---|---|
//! | `CreateThreadpool`, `SetThreadpoolThreadMinimum`, `SetThreadpoolThreadMaximum` | [`Pool::new`], [`Pool::set_threads`] |
//! | `InitializeThreadpoolEnvironment`, `SetThreadpoolCallbackPool`, `…CleanupGroup`, `…RunsLong` | [`Pool::environment`], [`Environment`] |
//! | `TrySubmitThreadpoolCallback` | [`Pool::submit`] |
//! | `CreateThreadpoolWork`, `SubmitThreadpoolWork` | [`Pool::work`], [`Work::submit`] |
//! | `CreateThreadpoolTimer`, `SetThreadpoolTimer`, `IsThreadpoolTimerSet` | [`Pool::timer`], [`Timer::set`], [`Timer::is_set`] |
//! | `CreateThreadpoolWait`, `SetThreadpoolWait` | [`Pool::wait`], [`WaitObject::set`] |
//! | `CreateThreadpoolIo` | [`Pool::io`] |
//! | `StartThreadpoolIo`, the operation, `CancelThreadpoolIo` if it was refused | [`Io::start`] |
//! | `WaitForThreadpool…Callbacks` | `wait_for_callbacks` of each object |
//! | `CreateThreadpoolCleanupGroup`, `CloseThreadpoolCleanupGroupMembers` | [`CleanupGroup`] |
//! | `CallbackMayRunLong`, `SetEventWhenCallbackReturns`, `DisassociateCurrentThreadFromCallback` | [`Instance`] |
//! | `CloseThreadpool…` | drop: callbacks that were asked for still come |
//!
//! The pool is a completion port and the threads inside its `get`: as many run at once as there are processors, more
//! threads are there (up to the maximum) for those that block or may run long. On a pool's threads the callback is the
//! handler; a panic in it is logged, and the thread goes on.

mod crew;
mod environment;
mod group;
mod instance;
mod io;
mod member;
mod timer;
mod waits;
mod work;

use std::sync::{Arc, OnceLock};

use crate::error::{Code, Error};
use crate::handle::AsObject;
use crate::sync::Waited;

pub use environment::Environment;
pub use group::CleanupGroup;
pub use instance::Instance;
pub use io::Io;
pub use timer::Timer;
pub use waits::WaitObject;
pub use work::Work;

use crew::Crew;
use member::Owner;

/// A thread pool. Cloning shares it; when the last handle and the last object of it are gone, its threads end.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// use proactor::pool::Pool;
/// let pool = Pool::new(1, 4)?;
/// let count = Arc::new(AtomicU32::new(0));
/// let counted = count.clone();
/// let work = pool.work(move |_| _ = counted.fetch_add(1, Ordering::Relaxed));
/// for _ in 0..3 {
///     work.submit()?;
/// }
/// work.wait_for_callbacks()?;
/// assert_eq!(count.load(Ordering::Relaxed), 3);
/// # Ok::<(), proactor::Error>(())
/// ```
#[derive(Clone)]
pub struct Pool {
    owner: Arc<Owner>,
}

impl Pool {
    /// A pool that keeps at least `least` threads and has at most `most` (`CreateThreadpool`). While it has anything to
    /// do at all it keeps one, even if `least` is 0.
    ///
    /// Errors: [`Code::InvalidParameter`] for a maximum of 0 or under the minimum, [`Code::InsufficientResources`] and
    /// [`Code::TooManyDescriptors`] from the system, [`Code::Forked`] in a forked child.
    pub fn new(least: usize, most: usize) -> Result<Pool, Error> {
        check(least, most)?;
        Ok(Pool { owner: Arc::new(Owner(Crew::new("proactor-pool".to_owned(), least, most)?)) })
    }

    /// The process's own pool, made at its first use: no minimum, 512 threads at most, as on Windows.
    pub fn process() -> Result<Pool, Error> {
        static PROCESS: OnceLock<Result<Pool, Error>> = OnceLock::new();
        PROCESS.get_or_init(|| Pool::new(0, 512)).clone()
    }

    /// Changes minimum and maximum (`SetThreadpoolThreadMinimum`, `SetThreadpoolThreadMaximum`). Threads above a lowered
    /// maximum end when they have had nothing to do for ten seconds.
    ///
    /// Errors: as for [`Pool::new`].
    pub fn set_threads(&self, least: usize, most: usize) -> Result<(), Error> {
        check(least, most)?;
        self.owner.0.resize(|l, m| (*l, *m) = (least, most))
    }

    /// How many threads it has now.
    pub fn threads(&self) -> usize {
        self.owner.0.threads()
    }

    /// How its objects are to be made (`InitializeThreadpoolEnvironment`): in which clean-up group, and whether their
    /// callbacks may run long.
    pub fn environment(&self) -> Environment {
        Environment::new(self.owner.clone())
    }

    /// Runs `f` once, on a thread of the pool (`TrySubmitThreadpoolCallback`).
    ///
    /// Errors: [`Code::Forked`] in a forked child.
    pub fn submit(&self, f: impl FnOnce(&Instance<'_>) + Send + 'static) -> Result<(), Error> {
        self.environment().submit(f)
    }

    /// A work object, in no group: see [`Environment::work`].
    pub fn work(&self, callback: impl Fn(&Instance<'_>) + Send + Sync + 'static) -> Work {
        self.environment().work(callback)
    }

    /// A timer object, in no group: see [`Environment::timer`].
    pub fn timer(&self, callback: impl Fn(&Instance<'_>) + Send + Sync + 'static) -> Result<Timer, Error> {
        self.environment().timer(callback)
    }

    /// A wait object, in no group: see [`Environment::wait`].
    pub fn wait(&self, callback: impl Fn(&Instance<'_>, Waited) + Send + Sync + 'static) -> Result<WaitObject, Error> {
        self.environment().wait(callback)
    }

    /// An I/O object, in no group: see [`Environment::io`].
    pub fn io(&self, object: &impl AsObject) -> Result<Io, Error> {
        self.environment().io(object)
    }
}

fn check(least: usize, most: usize) -> Result<(), Error> {
    if most == 0 || least > most {
        let hint = "the maximum of threads must be at least 1 and at least the minimum";
        return Err(Error::new(Code::InvalidParameter).hint(hint));
    }
    Ok(())
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}
