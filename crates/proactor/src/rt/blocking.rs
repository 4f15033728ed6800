//! Work that blocks, beside the runtime: a pool of threads of its own.

use std::sync::OnceLock;

use super::current::{self, Current, current};
use super::handle::{Handle, Inner};
use super::join::JoinHandle;
use super::task;
use crate::error::Error;
use crate::pool::Pool;

/// A runtime's threads for what blocks, once there is any.
pub(super) struct Lazy {
    most: usize,
    pool: OnceLock<Result<Pool, Error>>,
}

impl Lazy {
    pub fn new(most: usize) -> Lazy {
        Lazy { most, pool: OnceLock::new() }
    }

    fn pool(&self) -> Result<Pool, Error> {
        self.pool.get_or_init(|| Pool::new(0, self.most)).clone()
    }
}

impl Handle {
    fn pool(&self) -> Result<Pool, Error> {
        match &self.inner {
            Inner::Shared(shared) => shared.blocking.pool(),
            Inner::Cores(cores) => cores.blocking.pool(),
        }
    }
}

/// Runs `f`, which may block, on a thread for that: one of the runtime's, or, outside a runtime, of the process's thread pool. At
/// most so many run as [`Builder::blocking_threads`](super::Builder::blocking_threads) says (512 by default), the others wait their
/// turn.
///
/// Aborting the handle keeps `f` from being called if it was not yet; a call that is running is not stopped. At the end of the runtime
/// calls that run are left to themselves, and those that wait are dropped.
///
/// The pool is a completion port's: as many calls as there are processors *run* at once, and one that blocks makes room for another.
///
/// ```
/// let sum = proactor::block_on(proactor::rt::spawn_blocking(|| (1..=100).sum::<u32>()));
/// assert_eq!(sum.unwrap(), 5050);
/// ```
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn(current().map(Current::handle), f)
}

pub(super) fn spawn<F, T>(handle: Option<Handle>, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let pool = match &handle {
        Some(handle) => handle.pool(),
        None => Pool::process(),
    };
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => {
            log::error!("proactor: there is no thread for a blocking call, which is aborted: {error}");
            return JoinHandle::aborted();
        }
    };
    let shared = match handle {
        Some(Handle { inner: Inner::Shared(shared) }) => Some(shared),
        _ => None,
    };
    let call = async move {
        let _in_the_runtime = shared.map(|shared| current::enter(Current::Shared(shared)));
        f()
    };
    // Refused, it is dropped: the handle says that it was aborted.
    task::spawn_apart(call, move |runnable| {
        let _ = pool.submit(move |_| {
            runnable.run();
        });
    })
}
