//! Strands: one function at a time, in the order they came.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::sync::Arc;

use super::chain::Chain;
use super::inside;
use super::job::Jobs;
use super::{Executor, IoExecutor, Job, StrandCell};
use crate::op::Header;

/// Functions a strand runs before it lets others of its executor have their turn.
const AT_ONCE: usize = 64;

/// An executor over another that runs its functions one at a time, in the order they came, on whichever thread (`boost::asio::strand`).
/// So what only functions of one strand touch needs no lock: [`cell`](Strand::cell) holds it.
///
/// Cloning shares it; equal strands are the same one. A strand over a strand keeps the rules of both. `dispatch` runs inline only
/// inside the strand; a function that panics leaves the rest of the strand's in their places. A strand with much to do lets others
/// have a turn after every 64 functions.
///
/// Nothing waits in a strand, and no lock is taken: what comes is linked into a list by one atomic exchange, and who finds the strand
/// idle posts one job to the inner executor, which runs all that waits.
///
/// One for each connection keeps its handlers in order with any number of threads in `run`:
///
/// ```
/// use std::sync::Arc;
/// use proactor::context::{Executor, IoContext, Strand};
/// let context = IoContext::new(2)?;
/// let strand = Strand::new(context.executor());
/// let order = Arc::new(strand.cell(Vec::new()));
/// for turn in 0..100 {
///     let order = order.clone();
///     strand.post(move || order.with(|order| order.push(turn)));
/// }
/// std::thread::scope(|scope| {
///     (0..2).for_each(|_| _ = scope.spawn(|| context.run()));
/// });
/// assert_eq!(Arc::into_inner(order).unwrap().into_inner(), Vec::from_iter(0..100));
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct Strand<E: Executor = IoExecutor> {
    line: Arc<Line<E>>,
}

struct Line<E> {
    chain: Chain<Header>,
    /// What was taken from the chain and not run yet: the drainer's.
    ready: UnsafeCell<Jobs>,
    executor: E,
}

// SAFETY: `ready` is touched by the one who drains alone, and each sees what the one before it left (`Chain`).
unsafe impl<E: Sync> Sync for Line<E> {}
// SAFETY: it owns its jobs, which are Send.
unsafe impl<E: Send> Send for Line<E> {}

/// The right to drain a line. Dropped unused, its executor will never run anything again: so it drops what waits.
struct Turn<E: Executor>(Option<Arc<Line<E>>>);

impl<E: Executor> Line<E> {
    fn id(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    /// The next job, for who drains; at `None` the caller drains no longer.
    ///
    /// # Safety
    /// The caller drains.
    #[inline]
    unsafe fn next(&self) -> Option<Job> {
        // SAFETY: the caller drains, so `ready` is its own, until `take_or_rest` says no. What it gives are jobs.
        unsafe {
            if let Some(job) = (*self.ready.get()).pop() {
                return Some(job);
            }
            let oldest = self.chain.take_or_rest()?;
            (*self.ready.get()).take_over(oldest);
            (*self.ready.get()).pop()
        }
    }

    /// Whether nothing waits, so that the caller drains no longer.
    ///
    /// # Safety
    /// The caller drains.
    unsafe fn is_over(&self) -> bool {
        // SAFETY: as in `next`.
        unsafe {
            if !(*self.ready.get()).is_empty() {
                return false;
            }
            let Some(oldest) = self.chain.take_or_rest() else { return true };
            (*self.ready.get()).take_over(oldest);
            false
        }
    }
}

impl<E: Executor> Turn<E> {
    /// Runs what waits, as much as is fair. What is left has another turn, after a panic too.
    fn run(mut self) {
        struct Again<'l, E: Executor>(&'l Arc<Line<E>>, Cell<bool>);
        impl<E: Executor> Drop for Again<'_, E> {
            fn drop(&mut self) {
                // SAFETY: this turn drains until `next` or this said that nothing is left.
                if self.1.get() && !unsafe { self.0.is_over() } {
                    let next = Turn(Some(self.0.clone()));
                    self.0.executor.post_job(next.into_job());
                }
            }
        }
        let Some(line) = self.0.take() else { return };
        // Outside: once another drains, this thread is not inside any more (`StrandCell` counts on it).
        let again = Again(&line, Cell::new(true));
        inside::within(line.id(), |_| {
            for _ in 0..AT_ONCE {
                // SAFETY: this turn drains.
                match unsafe { line.next() } {
                    Some(job) => job.run(),
                    None => return again.1.set(false),
                }
            }
        });
    }

    fn into_job(self) -> Job {
        Job::new(move || self.run())
    }
}

impl<E: Executor> Drop for Turn<E> {
    fn drop(&mut self) {
        let Some(line) = self.0.take() else { return };
        // Others may post without end, and have turns of their own to drop, once this one is over.
        // SAFETY: this turn drains until `abandon`, which gives jobs to nobody else.
        let waiting = unsafe {
            let ready = std::mem::replace(&mut *line.ready.get(), Jobs::new());
            let mut waiting = Jobs::new();
            if let Some(oldest) = line.chain.abandon() {
                waiting.take_over(oldest);
            }
            [ready, waiting]
        };
        drop(waiting);
    }
}

impl<E: Executor> Strand<E> {
    /// A strand whose functions run on this executor.
    pub fn new(executor: E) -> Strand<E> {
        let line = Line { chain: Chain::new(), ready: UnsafeCell::new(Jobs::new()), executor };
        Strand { line: Arc::new(line) }
    }

    /// The executor below.
    pub fn inner(&self) -> &E {
        &self.line.executor
    }

    /// Holds a value for the functions of this strand, which need no lock to change it.
    pub fn cell<T: Send>(&self, value: T) -> StrandCell<T, E> {
        StrandCell::new(self.clone(), value)
    }

    /// Appends a job; if nobody drains, that is the caller's to see to.
    #[inline]
    fn push(&self, job: Job) -> Option<Turn<E>> {
        self.line.chain.push(job.into_raw()).then(|| Turn(Some(self.line.clone())))
    }
}

impl<E: Executor> Executor for Strand<E> {
    #[inline]
    fn post_job(&self, job: Job) {
        if let Some(turn) = self.push(job) {
            self.line.executor.post_job(turn.into_job());
        }
    }

    fn running_in_this_thread(&self) -> bool {
        inside::is_inside(self.line.id())
    }

    fn defer_job(&self, job: Job) {
        if let Some(turn) = self.push(job) {
            self.line.executor.defer_job(turn.into_job());
        }
    }

    /// Runs here and now if this thread is inside the executor below and nobody drains: no function is on the stack that this
    /// could surprise.
    #[inline]
    fn complete_job(&self, job: Job) {
        if let Some(turn) = self.push(job) {
            if self.line.executor.running_in_this_thread() {
                turn.run();
            } else {
                self.line.executor.complete_job(turn.into_job());
            }
        }
    }

    fn work_started(&self) {
        self.line.executor.work_started();
    }

    fn work_finished(&self) {
        self.line.executor.work_finished();
    }
}

impl<E: Executor> Clone for Strand<E> {
    fn clone(&self) -> Strand<E> {
        Strand { line: self.line.clone() }
    }
}

impl<E: Executor> PartialEq for Strand<E> {
    fn eq(&self, other: &Strand<E>) -> bool {
        Arc::ptr_eq(&self.line, &other.line)
    }
}

impl<E: Executor> Eq for Strand<E> {}

impl<E: Executor> fmt::Debug for Strand<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strand").finish_non_exhaustive()
    }
}
