//! The process's own pool of threads.

use std::sync::OnceLock;

use super::{Executor, IoExecutor, Job, ThreadPool};
use crate::error::Error;

/// The executor of the process's own [`ThreadPool`], as many threads as processors, made at its first use and never ended
/// (`boost::asio::system_executor`). All are equal.
///
/// ```
/// use proactor::context::{Executor, SystemExecutor};
/// let (tell, told) = std::sync::mpsc::channel();
/// SystemExecutor::new()?.post(move || tell.send(1).unwrap());
/// assert_eq!(told.recv(), Ok(1));
/// # Ok::<(), proactor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemExecutor(());

static POOL: OnceLock<Result<(ThreadPool, IoExecutor), Error>> = OnceLock::new();

impl SystemExecutor {
    /// The executor; the threads are there when this returns.
    ///
    /// Errors: those of [`ThreadPool::new`]; the first answer stays.
    pub fn new() -> Result<SystemExecutor, Error> {
        let made = POOL.get_or_init(|| ThreadPool::new(0).map(|pool| (pool.executor(), pool)).map(|(to, pool)| (pool, to)));
        made.as_ref().map(|_| SystemExecutor(())).map_err(|error| *error)
    }

    fn executor() -> &'static IoExecutor {
        match POOL.get() {
            Some(Ok((_, executor))) => executor,
            _ => unreachable!("a SystemExecutor is made with the pool"),
        }
    }
}

impl Executor for SystemExecutor {
    fn post_job(&self, job: Job) {
        Self::executor().post_job(job);
    }

    fn running_in_this_thread(&self) -> bool {
        Self::executor().running_in_this_thread()
    }

    fn defer_job(&self, job: Job) {
        Self::executor().defer_job(job);
    }
}
