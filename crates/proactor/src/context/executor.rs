//! What an executor is.

use super::job::Job;

/// Where functions are run: a context, a strand over one, or anything of a user's own. A small value that is cloned and
/// compared: equal executors run functions in the same place, under the same rules.
///
/// | call | when the function runs |
/// |---|---|
/// | [`post`](Executor::post) | later, never inside the call |
/// | [`dispatch`](Executor::dispatch) | inside the call if the calling thread is inside the executor already; else as `post` |
/// | [`defer`](Executor::defer) | as `post`, and it may wait for the end of the handler that calls: for what goes on from there |
///
/// None of them fails. A function that can never run, because its context is gone, is dropped.
///
/// To make one, say how a [`Job`] is queued and whether the calling thread is inside; the other methods follow from these:
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use proactor::context::{Executor, Job};
///
/// /// Runs everything on one thread of its own.
/// #[derive(Clone)]
/// struct Own(Arc<(mpsc::Sender<Job>, std::thread::ThreadId)>);
///
/// impl Own {
///     fn new() -> Own {
///         let (sender, jobs) = mpsc::channel::<Job>();
///         let thread = std::thread::spawn(move || jobs.into_iter().for_each(Job::run));
///         Own(Arc::new((sender, thread.thread().id())))
///     }
/// }
///
/// impl PartialEq for Own {
///     fn eq(&self, other: &Own) -> bool {
///         Arc::ptr_eq(&self.0, &other.0)
///     }
/// }
/// impl Eq for Own {}
///
/// impl Executor for Own {
///     fn post_job(&self, job: Job) {
///         // A job that comes back is dropped: the thread is gone.
///         let _ = self.0.0.send(job);
///     }
///     fn running_in_this_thread(&self) -> bool {
///         std::thread::current().id() == self.0.1
///     }
/// }
///
/// let own = Own::new();
/// let (tell, told) = mpsc::channel();
/// let other = own.clone();
/// own.post(move || {
///     let now = tell.clone();
///     other.dispatch(move || now.send(1).unwrap()); // inside already: at once
///     tell.send(2).unwrap();
/// });
/// assert_eq!(told.iter().collect::<Vec<_>>(), [1, 2]);
/// ```
pub trait Executor: Clone + Eq + Send + Sync + 'static {
    /// Queues a job. Never runs it inside the call.
    fn post_job(&self, job: Job);

    /// Whether the calling thread is inside this executor now: runs a function of it, further out on its stack.
    fn running_in_this_thread(&self) -> bool;

    /// Runs a job at once if the calling thread is inside, else queues it.
    fn dispatch_job(&self, job: Job) {
        if self.running_in_this_thread() { job.run() } else { self.post_job(job) }
    }

    /// Queues a job that goes on from the running handler. It may be held until that handler ends.
    fn defer_job(&self, job: Job) {
        self.post_job(job);
    }

    /// Takes the handler of an operation from the thread that took the completion from its port. As `dispatch_job`; an
    /// executor may run it at once where nothing of its own runs yet.
    fn complete_job(&self, job: Job) {
        self.dispatch_job(job);
    }

    /// Somebody will post here: what runs the executor's functions is not to end for lack of them. See
    /// [`WorkGuard`](super::WorkGuard).
    fn work_started(&self) {}

    /// The opposite of one `work_started`.
    fn work_finished(&self) {}

    /// Has a function run later, never inside this call.
    fn post(&self, function: impl FnOnce() + Send + 'static)
    where
        Self: Sized,
    {
        self.post_job(Job::new(function));
    }

    /// Runs a function, at once if the calling thread is inside this executor already.
    fn dispatch(&self, function: impl FnOnce() + Send + 'static)
    where
        Self: Sized,
    {
        if self.running_in_this_thread() { function() } else { self.dispatch_job(Job::new(function)) }
    }

    /// Has a function run later, as the continuation of what runs now: other threads may hear of it only when that ends.
    fn defer(&self, function: impl FnOnce() + Send + 'static)
    where
        Self: Sized,
    {
        self.defer_job(Job::new(function));
    }
}
