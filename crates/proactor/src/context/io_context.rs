//! The context, and its executor.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inner::Inner;
use super::inside;
use super::services::Service;
use super::{Executor, Job, WorkGuard};
use crate::error::Error;
use crate::handle::AsObject;
use crate::port::Settings;
use crate::time::Wait;

/// Runs handlers and posted functions, in the threads that are inside its `run`, and in no others (`boost::asio::io_context`).
///
/// It is a completion port and a count of outstanding work: functions that were posted, handlers
/// ([`then`](crate::Operation::then)) of operations on the objects that are [associated](IoContext::associate) with it, and
/// [`WorkGuard`]s. When nothing is left, it stops, and `run` returns. (An operation started with another delivery, `.await` say,
/// is no work of the context's, but goes on while a thread is inside.)
///
/// A panic in a handler leaves the `run` that called it. Nothing else is lost, and the thread may call `run` again.
///
/// Dropping the context drops what was not called yet, uncalled: first what was queued, the last first; then the handlers of
/// pending operations, which are cancelled. Services are shut down before that and dropped after it, the last made first. Executors
/// and objects may outlive their context: functions posted then are dropped, operations refused.
///
/// ```
/// use std::sync::Arc;
/// use proactor::context::{Executor, IoContext};
/// use proactor::net::UdpSocket;
///
/// let context = IoContext::new(1)?;
/// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// context.associate(&socket)?;
/// let executor = context.executor();
/// socket.recv_from(vec![0; 64]).then(move |done| {
///     assert_eq!(&done.buffer[..done.bytes], b"hello");
///     executor.post(|| println!("and one more"));
/// })?;
/// # std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", socket.local_addr()?)?;
/// assert_eq!(context.run()?, 2);
/// assert!(context.is_stopped()); // nothing was left to do
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct IoContext {
    pub(super) inner: Arc<Inner>,
}

impl IoContext {
    /// A context whose handlers run on so many threads at once, at most, however many are inside `run`; 0 means as many as there are
    /// processors. [`Settings`] may say more.
    ///
    /// Errors: as [`CompletionPort::new`](crate::CompletionPort::new).
    pub fn new(settings: impl Into<Settings>) -> Result<IoContext, Error> {
        Ok(IoContext { inner: Inner::new(settings.into().plan())? })
    }

    /// Makes this context the object's home, for life: handlers of its operations run here.
    ///
    /// Errors: as [`CompletionPort::associate`](crate::CompletionPort::associate).
    pub fn associate(&self, object: &impl AsObject) -> Result<(), Error> {
        self.inner.associate(object)
    }

    /// Runs handlers until the context stops: it is told to, or nothing is left to do. How many.
    ///
    /// Errors: [`Code::Forked`](crate::Code::Forked) in a forked child, and on Windows those of the kernel's wait.
    ///
    /// ```
    /// use proactor::context::{Executor, IoContext};
    /// let context = IoContext::new(1)?;
    /// (0..3).for_each(|n| context.executor().post(move || println!("{n}")));
    /// assert_eq!(context.run()?, 3);
    /// assert_eq!(context.run()?, 0); // it has stopped
    /// # Ok::<(), proactor::Error>(())
    /// ```
    pub fn run(&self) -> Result<usize, Error> {
        self.inner.run(usize::MAX, Wait::Forever)
    }

    /// As [`run`](IoContext::run), for one handler: 1, or 0 if the context stopped first.
    pub fn run_one(&self) -> Result<usize, Error> {
        self.inner.run(1, Wait::Forever)
    }

    /// As [`run`](IoContext::run), until so much time has passed. A handler that runs then is not interrupted.
    pub fn run_for(&self, time: Duration) -> Result<usize, Error> {
        self.inner.run(usize::MAX, at_end(time))
    }

    /// As [`run`](IoContext::run), until that moment. In the past it runs nothing.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use proactor::context::{Executor, IoContext, WorkGuard};
    /// let context = IoContext::new(1)?;
    /// let _guard = WorkGuard::new(context.executor());
    /// let end = Instant::now() + Duration::from_millis(2);
    /// assert_eq!(context.run_until(end)?, 0);
    /// assert!(Instant::now() >= end && !context.is_stopped());
    /// # Ok::<(), proactor::Error>(())
    /// ```
    pub fn run_until(&self, end: Instant) -> Result<usize, Error> {
        self.inner.run(usize::MAX, Wait::Until(end))
    }

    /// As [`run_one`](IoContext::run_one), until so much time has passed.
    pub fn run_one_for(&self, time: Duration) -> Result<usize, Error> {
        self.inner.run(1, at_end(time))
    }

    /// As [`run_one`](IoContext::run_one), until that moment.
    pub fn run_one_until(&self, end: Instant) -> Result<usize, Error> {
        self.inner.run(1, Wait::Until(end))
    }

    /// Runs the handlers that are ready, timers that are due among them, and those that they make ready; never waits. How many.
    ///
    /// ```
    /// use proactor::context::{Executor, IoContext};
    /// let context = IoContext::new(1)?;
    /// context.executor().post(|| ());
    /// assert_eq!(context.poll()?, 1);
    /// # Ok::<(), proactor::Error>(())
    /// ```
    pub fn poll(&self) -> Result<usize, Error> {
        self.inner.run(usize::MAX, Wait::Poll)
    }

    /// As [`poll`](IoContext::poll), for one handler.
    pub fn poll_one(&self) -> Result<usize, Error> {
        self.inner.run(1, Wait::Poll)
    }

    /// Has every `run` return as soon as the handler it is in has; from any thread. What is queued stays.
    ///
    /// ```
    /// use proactor::context::{Executor, IoContext};
    /// let context = IoContext::new(1)?;
    /// context.executor().post(|| ());
    /// context.stop();
    /// assert_eq!(context.run()?, 0);
    /// context.restart();
    /// assert_eq!(context.run()?, 1);
    /// # Ok::<(), proactor::Error>(())
    /// ```
    pub fn stop(&self) {
        self.inner.stop();
    }

    /// Whether it has stopped, for lack of work or by [`stop`](IoContext::stop).
    pub fn is_stopped(&self) -> bool {
        self.inner.is_stopped()
    }

    /// Makes it run again after it has stopped. Call it when no thread is inside any more.
    pub fn restart(&self) {
        self.inner.restart();
    }

    /// The way to post here.
    pub fn executor(&self) -> IoExecutor {
        IoExecutor { inner: self.inner.clone() }
    }

    /// A guard that keeps `run` from returning for lack of work.
    pub fn work_guard(&self) -> WorkGuard<IoExecutor> {
        WorkGuard::new(self.executor())
    }

    /// The context's one service of this type, made now if there is none.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
    /// use proactor::context::{IoContext, IoExecutor, Service};
    /// #[derive(Default)]
    /// struct Visits(AtomicUsize);
    /// impl Service for Visits {
    ///     fn make(_: &IoExecutor) -> Visits {
    ///         Visits::default()
    ///     }
    /// }
    /// let context = IoContext::new(1)?;
    /// context.use_service::<Visits>().0.fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(context.use_service::<Visits>().0.load(Ordering::Relaxed), 1);
    /// # Ok::<(), proactor::Error>(())
    /// ```
    ///
    /// # Panics
    /// If [`Service::make`] does, or asks for its own type.
    pub fn use_service<S: Service>(&self) -> Arc<S> {
        self.executor().use_service()
    }

    /// Whether it has a service of this type.
    pub fn has_service<S: Service>(&self) -> bool {
        self.inner.services.has::<S>()
    }
}

/// The moment that is so far away.
fn at_end(time: Duration) -> Wait {
    Instant::now().checked_add(time).map_or(Wait::Forever, Wait::Until)
}

impl Drop for IoContext {
    fn drop(&mut self) {
        self.inner.stop();
        let services = self.inner.services.shutdown();
        self.inner.destroy();
        services.into_iter().for_each(|service| crate::deliver::unharmed(|| drop(service)));
    }
}

impl fmt::Debug for IoContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoContext").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

/// The executor of an [`IoContext`]: functions run in the threads inside its `run`. Two are equal if they are of one context.
///
/// It does not keep its context: posting once that is gone drops the function.
#[derive(Clone)]
pub struct IoExecutor {
    inner: Arc<Inner>,
}

impl IoExecutor {
    /// As [`IoContext::associate`].
    pub fn associate(&self, object: &impl AsObject) -> Result<(), Error> {
        self.inner.associate(object)
    }

    /// As [`IoContext::use_service`].
    pub fn use_service<S: Service>(&self) -> Arc<S> {
        self.inner.services.get(|| S::make(self))
    }
}

impl PartialEq for IoExecutor {
    fn eq(&self, other: &IoExecutor) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for IoExecutor {}

impl Executor for IoExecutor {
    #[inline]
    fn post_job(&self, job: Job) {
        self.inner.post(job);
    }

    #[inline]
    fn running_in_this_thread(&self) -> bool {
        inside::is_inside(self.inner.id())
    }

    fn defer_job(&self, job: Job) {
        // The running handler counts until it is posted.
        if let Some(job) = inside::defer(self.inner.id(), job) {
            self.inner.post(job);
        }
    }

    fn work_started(&self) {
        self.inner.work_started();
    }

    fn work_finished(&self) {
        self.inner.work_finished();
    }
}

impl fmt::Debug for IoExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoExecutor").finish_non_exhaustive()
    }
}
