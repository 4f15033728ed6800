//! The way to a runtime from anywhere, and spawning.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::blocking;
use super::cores::{Cores, start_on};
use super::current::{Current, current, current_core};
use super::join::JoinHandle;
use super::shared::Shared;
use crate::error::{Code, Error};

#[derive(Clone)]
pub(super) enum Inner {
    Shared(Arc<Shared>),
    Cores(Arc<Cores>),
}

/// A way to a runtime, for any thread. It does not keep the runtime going; what is spawned after its end is aborted at once.
#[derive(Clone)]
pub struct Handle {
    pub(super) inner: Inner,
}

impl Handle {
    pub(super) fn of_shared(shared: Arc<Shared>) -> Handle {
        Handle { inner: Inner::Shared(shared) }
    }

    pub(super) fn of_cores(cores: Arc<Cores>) -> Handle {
        Handle { inner: Inner::Cores(cores) }
    }

    /// The runtime the calling thread is in: of a task, or inside [`Runtime::block_on`](super::Runtime::block_on).
    ///
    /// Errors: [`Code::NotSupported`] outside a runtime.
    pub fn current() -> Result<Handle, Error> {
        let hint = "the calling thread is in no runtime; call it in a task, or inside Runtime::block_on";
        current().map(Current::handle).ok_or(Error::new(Code::NotSupported).hint(hint))
    }

    /// Spawns a task: on a shared runtime any worker runs it; on a per-core runtime the calling core does, or, called from
    /// outside, the cores in turn.
    ///
    /// A per-core runtime of one thread has a core only while that is in [`block_on`](super::Runtime::block_on); without any the
    /// task is aborted at once.
    ///
    /// ```
    /// let runtime = proactor::rt::Runtime::shared().threads(1).build()?;
    /// let task = runtime.handle().spawn(async { 6 * 7 });
    /// assert_eq!(proactor::block_on(task).unwrap(), 42);
    /// # Ok::<(), proactor::Error>(())
    /// ```
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &self.inner {
            Inner::Shared(shared) => shared.spawn(future),
            Inner::Cores(cores) => match current_core().filter(|core| Arc::ptr_eq(core.cores(), cores)) {
                Some(core) => core.way().spawn(future),
                None => match cores.any() {
                    Some(way) => way.spawn(future),
                    None => JoinHandle::aborted(),
                },
            },
        }
    }

    /// Has the cores of a per-core runtime, in turn, make a future and run it. It stays there, and need not be `Send`.
    ///
    /// Errors: [`Code::NotSupported`] of a shared runtime, whose tasks must be `Send`.
    pub fn spawn_with<M, F>(&self, make: M) -> Result<JoinHandle<F::Output>, Error>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        match &self.inner {
            Inner::Shared(_) => {
                let hint = "any worker of a shared runtime runs any task, so tasks must be Send; use `spawn`";
                Err(Error::new(Code::NotSupported).hint(hint))
            }
            Inner::Cores(cores) => Ok(match cores.any() {
                Some(way) => start_on(&way, make),
                None => JoinHandle::aborted(),
            }),
        }
    }

    /// As [`spawn_blocking`](super::spawn_blocking), on the threads of this runtime for that.
    pub fn spawn_blocking<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        blocking::spawn(Some(self.clone()), f)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner {
            Inner::Shared(_) => "Handle(shared)",
            Inner::Cores(_) => "Handle(per-core)",
        })
    }
}

/// Spawns a task on the runtime the calling thread is in, as [`Handle::spawn`] does.
///
/// # Panics
/// Outside a runtime: there the task would never run. [`Handle::current`] asks without.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match current() {
        Some(Current::Shared(shared)) => shared.spawn(future),
        Some(Current::Core(core)) => core.way().spawn(future),
        None => panic!("rt::spawn outside a runtime: call it in a task or inside Runtime::block_on, or use a Handle"),
    }
}

/// Spawns a task that stays on the calling core, and need not be `Send`.
///
/// ```
/// use std::rc::Rc;
/// use proactor::rt::{self, Runtime};
/// let runtime = Runtime::per_core().threads(1).build()?;
/// runtime.block_on(async {
///     let mine = Rc::new(7);
///     assert_eq!(*rt::spawn_local(async move { mine }).await.unwrap(), 7);
/// });
/// # Ok::<(), proactor::Error>(())
/// ```
///
/// # Panics
/// Outside a per-core runtime: elsewhere tasks move between threads, and must be `Send`.
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    match current_core() {
        Some(core) => core.spawn_local(future),
        None => panic!("rt::spawn_local outside a per-core runtime: elsewhere tasks must be Send, use rt::spawn"),
    }
}
