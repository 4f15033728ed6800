//! A context with threads of its own.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::{Executor, IoContext, IoExecutor, Service, WorkGuard};
use crate::error::{Code, Error};
use crate::handle::AsObject;
use crate::shim::{Mutex, lock};

/// An [`IoContext`] that owns the threads which run it (`boost::asio::thread_pool`); unlike Asio's it has objects, too.
///
/// It runs until it is [joined](ThreadPool::join), which first lets everything outstanding run; or [stopped](ThreadPool::stop),
/// which abandons it. Dropping it stops it and waits for its threads (on one of these: for the others). A panic in a handler is
/// logged, and the thread goes on.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// use proactor::context::{Executor, ThreadPool};
/// let pool = ThreadPool::new(2)?;
/// let count = Arc::new(AtomicU32::new(0));
/// for _ in 0..100 {
///     let count = count.clone();
///     pool.executor().post(move || _ = count.fetch_add(1, Ordering::Relaxed));
/// }
/// pool.join()?;
/// assert_eq!(count.load(Ordering::Relaxed), 100);
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct ThreadPool {
    context: Arc<IoContext>,
    /// What keeps it running until it is joined.
    guard: Mutex<WorkGuard<IoExecutor>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl ThreadPool {
    /// A pool of so many threads, which run handlers at once; 0 means as many as there are processors.
    ///
    /// Errors: as [`IoContext::new`], and [`Code::InsufficientResources`] if the system gives no more threads.
    pub fn new(threads: u32) -> Result<ThreadPool, Error> {
        let count = match threads {
            0 => thread::available_parallelism().map_or(1, |count| count.get() as u32),
            count => count,
        };
        // Those that attach are to run, too: it is their number that limits.
        let context = Arc::new(IoContext::new(u32::MAX)?);
        let guard = Mutex::new(context.work_guard());
        let pool = ThreadPool { context, guard, threads: Mutex::default() };
        for _ in 0..count {
            let context = pool.context.clone();
            let thread = thread::Builder::new().name("proactor-threads".to_owned()).spawn(move || serve(&context));
            lock(&pool.threads).push(thread.map_err(|error| Error::from_io(&error))?);
        }
        Ok(pool)
    }

    /// The way to post here.
    pub fn executor(&self) -> IoExecutor {
        self.context.executor()
    }

    /// Makes the pool the object's home, for life: as [`IoContext::associate`].
    pub fn associate(&self, object: &impl AsObject) -> Result<(), Error> {
        self.context.associate(object)
    }

    /// The pool's one service of this type: as [`IoContext::use_service`].
    pub fn use_service<S: Service>(&self) -> Arc<S> {
        self.context.use_service()
    }

    /// Has the calling thread run handlers as one more of the pool's, until that ends. How many it ran; a panic in one leaves this
    /// call.
    ///
    /// Errors: as [`IoContext::run`].
    pub fn attach(&self) -> Result<usize, Error> {
        self.context.run()
    }

    /// Waits until everything outstanding has run, and all threads have ended. What is posted later is never run.
    ///
    /// Errors: [`Code::InvalidParameter`] on a thread that runs the pool: it would wait for itself.
    pub fn join(&self) -> Result<(), Error> {
        if self.executor().running_in_this_thread() {
            let hint = "a handler of the pool cannot wait for the pool; join it from another thread, or stop it";
            return Err(Error::new(Code::InvalidParameter).hint(hint));
        }
        lock(&self.guard).reset();
        crate::backend::while_blocked(|| self.wait());
        Ok(())
    }

    /// Has its threads end as soon as the handlers they are in have. What is outstanding is dropped with the pool, uncalled.
    pub fn stop(&self) {
        self.context.stop();
    }

    /// Whether it was stopped, or joined and everything has run.
    pub fn is_stopped(&self) -> bool {
        self.context.is_stopped()
    }

    /// Waits for the threads, but for the calling one.
    fn wait(&self) {
        // Held meanwhile: who joins at the same time waits too.
        let mut threads = lock(&self.threads);
        for thread in threads.drain(..).filter(|thread| thread.thread().id() != thread::current().id()) {
            // A thread of the pool catches every panic.
            let _ = thread.join();
        }
    }
}

/// One thread of a pool.
fn serve(context: &IoContext) {
    loop {
        match catch_unwind(AssertUnwindSafe(|| context.run())) {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => {
                log::error!("proactor: a thread of a pool ends: {error}");
                return;
            }
            Err(_) => log::error!("proactor: a handler panicked in a thread of a pool, which goes on"),
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.stop();
        crate::backend::while_blocked(|| self.wait());
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}
