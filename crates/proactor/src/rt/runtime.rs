//! The runtime itself: its life and its end.

use std::fmt;
use std::future::Future;
use std::thread;

use super::builder::Builder;
use super::core::Core;
use super::current::{self, Current, current};
use super::handle::{Handle, Inner};
use crate::backend;
use crate::time::Wait;

/// The threads that run tasks, until it is dropped.
///
/// Dropping it ends it: each thread finishes the poll it is in, then every task that is not over is dropped, which cancels what it
/// waits for; the drop returns when all threads have ended, so a task that never returns from a poll holds it up
/// ([`shutdown_timeout`](Runtime::shutdown_timeout) does not wait for ever). In one of its own tasks it can be dropped, too: it ends
/// then after that poll, and nobody waits.
///
/// Objects that live on it go on working, like any whose port was closed; their operations can be awaited elsewhere.
///
/// ```
/// use std::time::Duration;
/// use proactor::rt::{self, Runtime};
/// let runtime = Runtime::shared().threads(2).build()?;
/// let answer = runtime.block_on(async {
///     let task = rt::spawn(async {
///         rt::sleep(Duration::from_millis(1)).await;
///         42
///     });
///     task.await.unwrap()
/// });
/// assert_eq!(answer, 42);
/// # Ok::<(), proactor::Error>(())
/// ```
#[must_use = "dropping the runtime ends it"]
pub struct Runtime {
    inner: Inner,
    pub(super) threads: Vec<thread::JoinHandle<()>>,
}

impl Runtime {
    /// Workers of one port: a task is `Send`, and any of them runs it.
    pub fn shared() -> Builder {
        Builder::shared()
    }

    /// Threads with a port each: a task stays where it was spawned, and need not be `Send`.
    pub fn per_core() -> Builder {
        Builder::per_core()
    }

    pub(super) fn of(inner: Inner) -> Runtime {
        Runtime { inner, threads: Vec::new() }
    }

    /// A way to spawn from anywhere.
    pub fn handle(&self) -> Handle {
        Handle { inner: self.inner.clone() }
    }

    /// Runs a future on the calling thread, inside the runtime, until it is over. Several threads may.
    ///
    /// On a shared runtime this thread runs the future alone, and sleeps while there is nothing to poll. On a per-core runtime it is
    /// the first core meanwhile, with its tasks; those are dropped at the end. Of several threads at once one is the first core, and
    /// the others are cores that nobody knows of.
    ///
    /// # Panics
    /// In a runtime already: a thread that waits here would keep its tasks from running; `.await` does not. On a per-core runtime, if
    /// the system has no descriptors left for this thread's port.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        assert!(current().is_none(), "Runtime::block_on inside a runtime would keep its tasks from running: use .await");
        match &self.inner {
            Inner::Shared(shared) => {
                let _entered = current::enter(Current::Shared(shared.clone()));
                crate::block_on(future)
            }
            Inner::Cores(cores) => {
                let core = Core::new(cores).unwrap_or_else(|error| panic!("no port for the calling thread: {error}"));
                let _seat = cores.seat(0, &core);
                core.block_on(future)
            }
        }
    }

    /// Ends the runtime as dropping it does, but waits no longer than `wait`. Whether all threads have ended; those that have not
    /// end by themselves, after the poll they are in.
    pub fn shutdown_timeout(mut self, wait: impl Into<Wait>) -> bool {
        self.stop();
        self.join(wait.into())
    }

    fn stop(&self) {
        match &self.inner {
            Inner::Shared(shared) => shared.stop(),
            Inner::Cores(cores) => cores.stop(),
        }
    }

    /// Whether the calling thread is one of those to wait for.
    fn is_own(&self) -> bool {
        self.threads.iter().any(|thread| thread.thread().id() == thread::current().id())
    }

    fn join(&mut self, wait: Wait) -> bool {
        if self.is_own() {
            self.threads.clear();
            return false;
        }
        backend::while_blocked(|| {
            let threads = std::mem::take(&mut self.threads);
            if wait != Wait::Forever {
                let mut pause = std::time::Duration::from_micros(50);
                while !threads.iter().all(thread::JoinHandle::is_finished) {
                    if wait.is_over() {
                        return false;
                    }
                    thread::sleep(pause);
                    pause = (pause * 2).min(std::time::Duration::from_millis(5));
                }
            }
            // A task's panic ends no thread.
            threads.into_iter().for_each(|thread| drop(thread.join()));
            true
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop();
        self.join(Wait::Forever);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("handle", &self.handle()).field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}
