//! `hyper::rt`: [`Stream`] as its `Read` and `Write`, an [`Executor`], a [`Timer`].

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::hyper::rt::{self, ReadBufCursor};

use super::{Reads, Stream, Writes};
use crate::buf::NoBuffer;
use crate::deliver::Overlapped;
use crate::time::Timers;

impl<S: Reads> rt::Read for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_give(cx, buf.remaining(), |here| buf.put_slice(here))
    }
}

impl<S: Writes> rt::Write for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_take(cx, std::iter::once(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writing.poll_sent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_end(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_take(cx, bufs.iter().map(|buf| &buf[..]))
    }
}

/// A task as [`Executor`] hands it on.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where hyper spawns its tasks (those of HTTP/2 connections): whatever the function makes of them, on any runtime.
///
/// ```
/// use proactor::compat::hyper::{Executor, Task};
/// // tokio:  Executor::new(|task: Task| { tokio::spawn(task); })
/// // smol:   Executor::new(|task: Task| smol::spawn(task).detach())
/// let threads = Executor::new(|task: Task| {
///     std::thread::spawn(|| proactor::block_on(task));
/// });
/// # let (tell, told) = std::sync::mpsc::channel();
/// hyper::rt::Executor::execute(&threads, async move { tell.send(7).unwrap() });
/// assert_eq!(told.recv(), Ok(7));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Executor<F>(F);

impl<F: Fn(Task)> Executor<F> {
    /// `spawn` gets each task, to be run to its end; what it returns hyper never asks for.
    pub fn new(spawn: F) -> Executor<F> {
        Executor(spawn)
    }
}

impl<F: Fn(Task), T> rt::Executor<T> for Executor<F>
where
    T: Future + Send + 'static,
{
    fn execute(&self, task: T) {
        (self.0)(Box::pin(async {
            task.await;
        }));
    }
}

/// hyper's tasks as tasks of this library's runtime, the one they are spawned in ([`rt::spawn`](crate::rt::spawn)).
///
/// ```
/// use proactor::compat::hyper::RuntimeExecutor;
/// # use std::sync::mpsc::channel;
/// #[proactor::main(threads = 1)]
/// async fn main() {
///     let (tell, told) = channel();
///     hyper::rt::Executor::execute(&RuntimeExecutor, async move { tell.send(7).unwrap() });
///     assert_eq!(told.recv(), Ok(7));
/// }
/// ```
///
/// # Panics
/// Outside a runtime, as `rt::spawn` does.
#[derive(Clone, Copy, Debug, Default)]
pub struct RuntimeExecutor;

impl<T> rt::Executor<T> for RuntimeExecutor
where
    T: Future + Send + 'static,
    T::Output: Send + 'static,
{
    fn execute(&self, task: T) {
        crate::rt::spawn(task).detach();
    }
}

/// hyper's tasks as tasks of the core they are spawned on ([`rt::spawn_local`](crate::rt::spawn_local)): for connections that are
/// not `Send`, those of per-thread ports.
///
/// # Panics
/// Outside a per-core runtime, as `rt::spawn_local` does.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExecutor;

impl<T> rt::Executor<T> for LocalExecutor
where
    T: Future + 'static,
    T::Output: 'static,
{
    fn execute(&self, task: T) {
        crate::rt::spawn_local(task).detach();
    }
}

/// hyper's timer, over [`Timers`]: with it, hyper's own timeouts work (`header_read_timeout`, HTTP/2's `keep_alive_interval`).
///
/// ```
/// use std::time::{Duration, Instant};
/// use hyper::rt::Timer as _;
/// let timer = proactor::compat::hyper::Timer::default();
/// let begin = Instant::now();
/// proactor::block_on(timer.sleep(Duration::from_millis(2)));
/// assert!(begin.elapsed() >= Duration::from_millis(2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Timer(Timers);

impl Timer {
    /// Sleeps are operations of `timers`, whose limits and port they share. A sleep that is refused or cancelled ends early.
    pub fn new(timers: Timers) -> Timer {
        Timer(timers)
    }

    fn until(&self, deadline: Instant) -> Sleep {
        Sleep { op: self.begin(deadline), timers: self.0.clone() }
    }

    fn begin(&self, deadline: Instant) -> Option<Pending> {
        Some(self.0.at(deadline).into_future())
    }
}

type Pending = Overlapped<NoBuffer, ()>;

/// One sleep. Dropping it disarms it.
struct Sleep {
    /// None once it is over.
    op: Option<Pending>,
    /// The last handle's drop would end it.
    timers: Timers,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(op) = &mut self.op {
            let done = ready!(Pin::new(op).poll(cx));
            if let Err(error) = done.result {
                log::warn!("proactor: a sleep of hyper's ended early: {error}");
            }
            self.op = None;
        }
        Poll::Ready(())
    }
}

impl rt::Sleep for Sleep {}

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        // Past the clock's end: far enough.
        let end = Instant::now().checked_add(duration);
        self.sleep_until(end.unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 32)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(self.until(deadline))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        if let Some(sleep) = sleep.as_mut().downcast_mut_pin::<Sleep>() {
            let sleep = sleep.get_mut();
            sleep.op = Timer(sleep.timers.clone()).begin(deadline);
            return;
        }
        *sleep = self.sleep_until(deadline);
    }
}
