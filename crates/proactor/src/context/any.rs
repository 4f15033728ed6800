//! Executors whose type is not known.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Executor, Job};

/// Any executor, its type forgotten (`boost::asio::any_io_executor`). Two are equal if what they hold is of one type, and equal.
///
/// Making one allocates once; cloning it, and posting through it, does not.
///
/// ```
/// use proactor::context::{AnyExecutor, Executor, InlineExecutor, IoContext};
/// let context = IoContext::new(1)?;
/// let (a, b) = (AnyExecutor::new(context.executor()), AnyExecutor::new(context.executor()));
/// assert!(a == b && a != AnyExecutor::new(InlineExecutor));
/// a.post(|| println!("on the context's threads"));
/// assert_eq!(context.run()?, 1);
/// # Ok::<(), proactor::Error>(())
/// ```
#[derive(Clone)]
pub struct AnyExecutor {
    inner: Arc<dyn Erased>,
}

/// An executor as an object.
trait Erased: Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn Any) -> bool;
    fn post_job(&self, job: Job);
    fn dispatch_job(&self, job: Job);
    fn defer_job(&self, job: Job);
    fn complete_job(&self, job: Job);
    fn running_in_this_thread(&self) -> bool;
    fn work_started(&self);
    fn work_finished(&self);
}

impl<E: Executor> Erased for E {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }

    fn post_job(&self, job: Job) {
        Executor::post_job(self, job);
    }

    fn dispatch_job(&self, job: Job) {
        Executor::dispatch_job(self, job);
    }

    fn defer_job(&self, job: Job) {
        Executor::defer_job(self, job);
    }

    fn complete_job(&self, job: Job) {
        Executor::complete_job(self, job);
    }

    fn running_in_this_thread(&self) -> bool {
        Executor::running_in_this_thread(self)
    }

    fn work_started(&self) {
        Executor::work_started(self);
    }

    fn work_finished(&self) {
        Executor::work_finished(self);
    }
}

impl AnyExecutor {
    /// Forgets the type of an executor.
    pub fn new(executor: impl Executor) -> AnyExecutor {
        if let Some(already) = (&executor as &dyn Any).downcast_ref::<AnyExecutor>() {
            return already.clone();
        }
        AnyExecutor { inner: Arc::new(executor) }
    }

    /// What it holds, if that is an `E`.
    pub fn target<E: Executor>(&self) -> Option<&E> {
        (*self.inner).as_any().downcast_ref()
    }
}

impl PartialEq for AnyExecutor {
    fn eq(&self, other: &AnyExecutor) -> bool {
        self.inner.equals((*other.inner).as_any())
    }
}

impl Eq for AnyExecutor {}

impl Executor for AnyExecutor {
    fn post_job(&self, job: Job) {
        (*self.inner).post_job(job);
    }

    fn dispatch_job(&self, job: Job) {
        (*self.inner).dispatch_job(job);
    }

    fn defer_job(&self, job: Job) {
        (*self.inner).defer_job(job);
    }

    fn complete_job(&self, job: Job) {
        (*self.inner).complete_job(job);
    }

    fn running_in_this_thread(&self) -> bool {
        (*self.inner).running_in_this_thread()
    }

    fn work_started(&self) {
        (*self.inner).work_started();
    }

    fn work_finished(&self) {
        (*self.inner).work_finished();
    }
}

impl fmt::Debug for AnyExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyExecutor").finish_non_exhaustive()
    }
}
