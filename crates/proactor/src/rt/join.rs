//! What is known of a task from outside.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use async_task::FallibleTask;

use super::task::Fate;
use crate::shim::{Mutex, lock};

/// How the handle waits.
enum Joining<T> {
    Task(FallibleTask<Fate<T>>),
    /// It was asked to end, and does so at its next turn.
    Aborting(Pin<Box<dyn Future<Output = Option<Fate<T>>>>>),
    Over(Option<Fate<T>>),
}

/// A task's handle: a future of its output. Dropping it leaves the task to itself; [`abort`](JoinHandle::abort) ends it.
///
/// Any executor may await it, on any thread. Awaiting it again after it gave the output says that the task was aborted.
///
/// ```
/// use proactor::rt::{self, Runtime};
/// let runtime = Runtime::shared().threads(1).build()?;
/// runtime.block_on(async {
///     assert_eq!(rt::spawn(async { 6 * 7 }).await.unwrap(), 42);
///     let never = rt::spawn(std::future::pending::<()>());
///     never.abort();
///     assert!(never.await.unwrap_err().is_aborted());
/// });
/// # Ok::<(), proactor::Error>(())
/// ```
#[must_use = "dropping the handle leaves the task to itself; call `detach` to say so"]
pub struct JoinHandle<T> {
    joining: Mutex<Joining<T>>,
}

// SAFETY: what is boxed is the task's own future of its end, which is Send if the output is.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: as above, behind a lock.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

impl<T: 'static> JoinHandle<T> {
    pub(super) fn new(task: FallibleTask<Fate<T>>) -> JoinHandle<T> {
        JoinHandle { joining: Mutex::new(Joining::Task(task)) }
    }

    /// Asks the task to end. Its future is dropped at the task's next turn, on a thread of its runtime, and cancels what it waits
    /// for; a poll that is running is finished first. Awaiting the handle waits for that, and says
    /// [`is_aborted`](JoinError::is_aborted); a task that was over gives its output all the same.
    pub fn abort(&self) {
        let mut joining = lock(&self.joining);
        if !matches!(*joining, Joining::Task(_)) {
            return;
        }
        let Joining::Task(task) = std::mem::replace(&mut *joining, Joining::Over(None)) else { return };
        let mut ending = Box::pin(task.cancel());
        // The first poll cancels it.
        *joining = match ending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(fate) => Joining::Over(fate),
            Poll::Pending => Joining::Aborting(ending),
        };
    }
}

impl<T> JoinHandle<T> {
    /// Of a task that nobody will run.
    pub(super) fn aborted() -> JoinHandle<T> {
        JoinHandle { joining: Mutex::new(Joining::Over(None)) }
    }

    /// Whether the task is over: its output is there, or it was aborted and its future is gone.
    pub fn is_finished(&self) -> bool {
        match &mut *lock(&self.joining) {
            Joining::Task(task) => task.is_finished(),
            Joining::Aborting(_) => false,
            Joining::Over(_) => true,
        }
    }

    /// Leaves the task to itself, as dropping the handle does.
    pub fn detach(self) {}
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, JoinError>> {
        let joining = self.get_mut().joining.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        let fate = match joining {
            Joining::Task(task) => std::task::ready!(pin!(task).poll(cx)),
            Joining::Aborting(ending) => std::task::ready!(ending.as_mut().poll(cx)),
            Joining::Over(fate) => fate.take(),
        };
        *joining = Joining::Over(None);
        Poll::Ready(match fate.map(Fate::into_result) {
            Some(Ok(output)) => Ok(output),
            Some(Err(panic)) => Err(JoinError { panic: Some(Mutex::new(panic)) }),
            None => Err(JoinError { panic: None }),
        })
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Joining::Task(task) = std::mem::replace(&mut *lock(&self.joining), Joining::Over(None)) {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

/// Why a task has no output: it was aborted, or it panicked.
pub struct JoinError {
    panic: Option<Mutex<Box<dyn Any + Send>>>,
}

impl JoinError {
    /// The task was aborted, or its runtime ended before it did.
    pub fn is_aborted(&self) -> bool {
        self.panic.is_none()
    }

    /// The task panicked.
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
    }

    /// What it panicked with, for [`std::panic::resume_unwind`]; or the error back, of a task that was aborted.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.panic {
            Some(panic) => Ok(panic.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())),
            None => Err(self),
        }
    }

    fn words(&self) -> String {
        let Some(panic) = &self.panic else {
            return "the task was aborted, or its runtime ended first".to_owned();
        };
        let panic = lock(panic);
        match panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str)) {
            Some(words) => format!("the task panicked: {words}"),
            None => "the task panicked".to_owned(),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words())
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({})", self.words())
    }
}

impl std::error::Error for JoinError {}
