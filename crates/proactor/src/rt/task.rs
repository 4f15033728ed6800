//! A task: a future and its seat among those of its port, made into something to run by `async_task`.

use std::any::Any;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_task::{Builder, Runnable};

use super::join::JoinHandle;
use super::registry::{Registry, Ticket};
use crate::deliver::unharmed;
use crate::trace;

/// What became of a task: its output, or its panic. Dropped where nobody may be harmed by a panic.
pub(super) struct Fate<T>(ManuallyDrop<Result<T, Box<dyn Any + Send>>>);

impl<T> Fate<T> {
    fn new(result: Result<T, Box<dyn Any + Send>>) -> Fate<T> {
        Fate(ManuallyDrop::new(result))
    }

    pub fn into_result(self) -> Result<T, Box<dyn Any + Send>> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once, out of a value that is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T> Drop for Fate<T> {
    fn drop(&mut self) {
        // SAFETY: dropped here alone.
        unharmed(|| unsafe { ManuallyDrop::drop(&mut self.0) });
    }
}

/// A task's future. A panic in it is its output, and one in its drop is reported: neither reaches who runs it.
struct Body<F> {
    span: trace::Span,
    future: ManuallyDrop<F>,
    /// After the future.
    _seat: Option<Ticket>,
}

impl<F: Future> Future for Body<F> {
    type Output = Fate<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fate<F::Output>> {
        // SAFETY: the future is pinned as this is: it moves nowhere, and is dropped in its place. The span may move.
        let (span, future) = unsafe {
            let this = self.get_unchecked_mut();
            (&this.span, Pin::new_unchecked(&mut *this.future))
        };
        let _inside = span.enter();
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Fate::new(Ok(output))),
            Err(panic) => Poll::Ready(Fate::new(Err(panic))),
        }
    }
}

impl<F> Drop for Body<F> {
    fn drop(&mut self) {
        let _inside = self.span.enter();
        // SAFETY: dropped here alone.
        unharmed(|| unsafe { ManuallyDrop::drop(&mut self.future) });
    }
}

/// Makes a task and schedules it. If its port is closing the future is dropped at once, and the handle says so.
///
/// # Safety
/// If the future is not `Send`, `schedule` takes the task to the thread it belongs to, wherever it is called, and so it is
/// run and dropped there alone; only before the first run may it be dropped elsewhere, which then has to be sound.
pub(super) unsafe fn spawn<F, S>(registry: &Arc<Registry>, future: F, schedule: S) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
    S: Fn(Runnable) + Send + Sync + 'static,
{
    let seat = registry.reserve();
    let index = seat.as_ref().map(|seat| seat.index);
    let body = Body { span: trace::task(), future: ManuallyDrop::new(future), _seat: seat };
    // SAFETY: everything is 'static, the schedule function is Send and Sync, and the future as the caller promises.
    let (runnable, task) = unsafe { Builder::new().spawn_unchecked(|()| body, schedule) };
    match index {
        Some(index) if registry.fill(index, runnable.waker()) => runnable.schedule(),
        _ => drop(runnable),
    }
    JoinHandle::new(task.fallible())
}

/// The same of a future that no port has to wait for.
pub(super) fn spawn_apart<F, S>(future: F, schedule: S) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Fn(Runnable) + Send + Sync + 'static,
{
    let body = Body { span: trace::task(), future: ManuallyDrop::new(future), _seat: None };
    let (runnable, task) = Builder::new().spawn(|()| body, schedule);
    runnable.schedule();
    JoinHandle::new(task.fallible())
}
