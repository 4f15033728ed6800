//! Jobs: functions that wait for their one call, each in a recycled block.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{NonNull, null_mut};

use super::chain::Link;
use crate::op::{Delivery, Header, Layered, Op, alloc_block, free_block, free_shell};
use crate::port::Entry;

/// A function on its way to the thread that calls it: what [`Executor`](super::Executor)s pass on.
///
/// It owns the function in memory that the library uses again, so making one allocates nothing in the steady state. The memory is
/// given back before the function is called. Dropped, it drops the function uncalled.
///
/// ```
/// use proactor::context::Job;
/// let job = Job::new(|| println!("called once"));
/// job.run();
/// ```
#[must_use = "a job that is dropped is never run"]
pub struct Job(NonNull<Header>);

// SAFETY: what a job holds is Send: the bound of `new`, and of `Operation::on` for the handlers of operations.
unsafe impl Send for Job {}

/// # Safety
/// A block that `Job::new` made for this function, and the caller's.
unsafe fn call<F: FnOnce()>(header: NonNull<Header>) {
    // SAFETY: the caller's promise. The function is read out once and the shell freed, before the call: what it posts takes
    // the same memory.
    unsafe {
        let function = (&raw const (*header.cast::<Layered<F>>().as_ptr()).cargo).read();
        free_shell(header);
        function();
    }
}

impl Job {
    /// Wraps a function.
    #[inline]
    pub fn new<F: FnOnce() + Send + 'static>(function: F) -> Job {
        let header = alloc_block(function);
        // SAFETY: a fresh block, ours alone.
        unsafe { (*header.as_ptr()).delivery = Delivery::Handler(call::<F>) };
        Job(header)
    }

    /// Calls the function, here and now.
    #[inline]
    pub fn run(self) {
        let header = ManuallyDrop::new(self).0;
        // SAFETY: owned; a job's delivery is a handler, and nothing is pending on it.
        match unsafe { &(*header.as_ptr()).delivery } {
            // SAFETY: as above; the function is the block's own.
            Delivery::Handler(run) => unsafe { run(header) },
            _ => unreachable!("a job's block keeps its delivery"),
        }
    }

    /// A job of the handler of an operation that is over.
    ///
    /// # Safety
    /// The block is the caller's, its delivery a handler, its contents `Send`, its operation over.
    pub(crate) unsafe fn of_completed(header: NonNull<Header>) -> Job {
        // SAFETY: owned. To a port it is a post from now on; the error keeps the name of its operation.
        unsafe {
            let work = &raw mut (*header.as_ptr()).work;
            let kind = (*work).op.kind();
            if let Err(error) = &mut (*work).result {
                *error = error.of(kind);
            }
            if let Op::Transmit(sent) = &mut (*work).op {
                drop(sent.file.take());
            }
            (*work).op = Op::Post;
            (*header.as_ptr()).key = 0;
        }
        Job(header)
    }

    /// For a port's queue. Its key is 0, which a context's key type takes for none.
    #[inline]
    pub(super) fn into_entry(self) -> Entry {
        Entry::of_block(ManuallyDrop::new(self).0)
    }

    #[inline]
    pub(super) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    /// From `into_raw`, once.
    pub(super) unsafe fn from_raw(header: NonNull<Header>) -> Job {
        Job(header)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: owned, and nothing is pending on it.
        unsafe { free_block(self.0) }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

// SAFETY: a job's key serves nobody while it is in a list: `into_entry`'s users take it out of the list first.
unsafe impl Link for Header {
    unsafe fn set_next(this: NonNull<Header>, next: *mut Header) {
        // SAFETY: the caller owns the job.
        unsafe { (*this.as_ptr()).key = next.expose_provenance() }
    }

    unsafe fn next(this: NonNull<Header>) -> *mut Header {
        // SAFETY: as above.
        std::ptr::with_exposed_provenance_mut(unsafe { (*this.as_ptr()).key })
    }
}

/// A list of jobs, first in, first out, linked through their blocks.
pub(super) struct Jobs {
    first: *mut Header,
    last: *mut Header,
}

// SAFETY: it owns its jobs, which are Send.
unsafe impl Send for Jobs {}

impl Jobs {
    pub const fn new() -> Jobs {
        Jobs { first: null_mut(), last: null_mut() }
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    pub fn push(&mut self, job: Job) {
        let header = job.into_raw();
        // SAFETY: the new job and the last of the list are this list's own.
        unsafe {
            Header::set_next(header, null_mut());
            match NonNull::new(self.last) {
                Some(last) => Header::set_next(last, header.as_ptr()),
                None => self.first = header.as_ptr(),
            }
        }
        self.last = header.as_ptr();
    }

    #[inline]
    pub fn pop(&mut self) -> Option<Job> {
        let header = NonNull::new(self.first)?;
        // SAFETY: the first of this list's own, which leaves it here.
        unsafe {
            self.first = Header::next(header);
            if self.first.is_null() {
                self.last = null_mut();
            }
            (*header.as_ptr()).key = 0;
            Some(Job::from_raw(header))
        }
    }

    /// Takes over a run of jobs linked from the oldest to the youngest.
    ///
    /// # Safety
    /// They are the caller's, linked by `Link` and ended by null; this list is empty, and only popped from then on.
    pub unsafe fn take_over(&mut self, oldest: NonNull<Header>) {
        debug_assert!(self.is_empty());
        self.first = oldest.as_ptr();
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        while let Some(job) = self.pop() {
            crate::deliver::unharmed(|| drop(job));
        }
    }
}
