//! Work guards.

use super::Executor;

/// Keeps what runs an executor's functions from ending for lack of them: while one lives, `run` of the context does not
/// return (`boost::asio::executor_work_guard`). Dropping it, or [`reset`](WorkGuard::reset), ends that.
///
/// ```
/// use proactor::context::{IoContext, WorkGuard};
/// let context = IoContext::new(1)?;
/// let guard = WorkGuard::new(context.executor());
/// std::thread::scope(|scope| {
///     let runner = scope.spawn(|| context.run());
///     // The thread stays in `run` though there is nothing to do, until:
///     drop(guard);
///     assert_eq!(runner.join().unwrap(), Ok(0));
/// });
/// # Ok::<(), proactor::Error>(())
/// ```
#[must_use = "it holds only while it lives"]
#[derive(Debug)]
pub struct WorkGuard<E: Executor = super::IoExecutor> {
    executor: E,
    owns: bool,
}

impl<E: Executor> WorkGuard<E> {
    /// A guard for this executor.
    pub fn new(executor: E) -> WorkGuard<E> {
        executor.work_started();
        WorkGuard { executor, owns: true }
    }

    /// The executor.
    pub fn executor(&self) -> &E {
        &self.executor
    }

    /// Whether it still holds: `reset` was not called.
    pub fn owns_work(&self) -> bool {
        self.owns
    }

    /// Ends it now. Again: nothing.
    pub fn reset(&mut self) {
        if std::mem::take(&mut self.owns) {
            self.executor.work_finished();
        }
    }
}

impl<E: Executor> Clone for WorkGuard<E> {
    /// Another guard for the same executor; of one that was reset, one that does not hold either.
    fn clone(&self) -> WorkGuard<E> {
        if self.owns {
            return WorkGuard::new(self.executor.clone());
        }
        WorkGuard { executor: self.executor.clone(), owns: false }
    }
}

impl<E: Executor> Drop for WorkGuard<E> {
    fn drop(&mut self) {
        self.reset();
    }
}
