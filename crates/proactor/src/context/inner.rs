//! What a context is to its executors and its objects: a port, and a count of what is still to be run.
//!
//! | counted in `work` | from | until |
//! |---|---|---|
//! | a guard, a running thread pool | it is made | it is dropped |
//! | a posted function | it is posted | it has returned or panicked |
//! | an operation of `.then` on an object of the context | it starts | its handler has returned or panicked |
//!
//! Every entry of the port's queue is one of the latter two, or the one wake-up there may be at a time: a bare post, with
//! which a stop wakes one thread, which wakes the next.
//!
//! | atomic | partner |
//! |---|---|
//! | `stopped` store (SeqCst), then `told` is set, and a wake-up queued if it was not | who takes the wake-up clears `told` (SeqCst), then looks at `stopped`: one of the two queues the next |

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::inside::{self, Frame};
use super::job::Job;
use super::services::Services;
use crate::backend::{self, Plan};
use crate::error::Error;
use crate::handle::{AsObject, Home};
use crate::op::Block;
use crate::port::{self, Entry, Fetch, Key};
use crate::time::Wait;

pub(crate) struct Inner {
    port: Arc<backend::Port>,
    work: AtomicUsize,
    stopped: AtomicBool,
    /// A wake-up is in the queue.
    told: AtomicBool,
    pub services: Services,
}

/// The blocks a context's port carries as packets: none that anybody could make.
struct NoPackets;

/// The key of an object: its context. A job's is none.
type Context = Option<Arc<Inner>>;

/// The context that is an object's home, if one is.
#[inline]
pub(crate) fn of_home(home: &Home) -> Option<&Inner> {
    if !home.port.contract().is_context {
        return None;
    }
    // SAFETY: the key of an object of a context's port is its context, which the home keeps.
    unsafe {
        let context = ManuallyDrop::new(Context::from_raw(home.key));
        context.as_ref().map(|context| &*Arc::as_ptr(context))
    }
}

impl Inner {
    pub fn new(plan: Plan) -> Result<Arc<Inner>, Error> {
        let contract = port::contract::<Context>(Some(Block::<NoPackets>::block_type()));
        let port = backend::Port::new(plan, backend::Contract { is_context: true, ..contract })?;
        Ok(Arc::new(Inner {
            port,
            work: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            told: AtomicBool::new(false),
            services: Services::default(),
        }))
    }

    /// What the frames of threads that run it are known by.
    #[inline]
    pub fn id(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    pub fn associate(self: &Arc<Inner>, object: &impl AsObject) -> Result<(), Error> {
        let key = Some(self.clone()).into_raw();
        object.opaque().0.associate(&self.port.clone().into(), key).inspect_err(|_| {
            // SAFETY: `associate` failed, so the key is still ours.
            drop(unsafe { Context::from_raw(key) });
        })
    }

    // ---- work ----

    #[inline]
    pub fn work_started(&self) {
        self.work.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub fn work_finished(&self) {
        if self.work.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stop();
        }
    }

    /// Queues a job. Where nobody will ever run it, it is dropped.
    #[inline]
    pub fn post(&self, job: Job) {
        self.work_started();
        if let Err(entry) = self.port.post(job.into_entry()) {
            self.refused(entry);
        }
    }

    #[cold]
    fn refused(&self, entry: Entry) {
        if self.port.is_closed() || backend::check_fork().is_err() {
            entry.discard(self.port.contract());
            self.work_finished();
        } else {
            // The system is out of memory for the packet; the port has room of its own.
            self.port.give_back(std::iter::once(entry));
        }
    }

    // ---- stop ----

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.tell();
    }

    pub fn restart(&self) {
        self.stopped.store(false, Ordering::SeqCst);
    }

    #[inline]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn tell(&self) {
        if !self.told.swap(true, Ordering::SeqCst)
            && let Err(entry) = self.port.post(Entry::bare(0, 0))
            && !self.port.is_closed()
        {
            self.port.give_back(std::iter::once(entry));
        }
    }

    // ---- run ----

    /// Runs `most` handlers at most, as long as `wait` allows; how many it ran.
    pub fn run(&self, most: usize, wait: Wait) -> Result<usize, Error> {
        /// The thread goes on to other things: the port is not to count it any more, unless it is still inside further out.
        struct Leave<'i>(&'i Inner);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                if !inside::is_inside(self.0.id()) {
                    backend::leave(&self.0.port);
                }
            }
        }
        if self.work.load(Ordering::SeqCst) == 0 {
            self.stop();
            return Ok(0);
        }
        let _leave = Leave(self);
        inside::within(self.id(), |frame| self.run_inside(frame, most, wait))
    }

    #[inline]
    fn run_inside(&self, frame: &Frame, most: usize, wait: Wait) -> Result<usize, Error> {
        let mut ran = 0;
        while ran < most && !self.is_stopped() {
            // A time that is over already is too late even for what could run at once.
            if matches!(wait, Wait::Until(_)) && wait.is_over() {
                break;
            }
            let mut slots = [None];
            self.port.get(&mut Fetch::new(&mut slots), wait)?;
            let [Some(entry)] = slots else { break };
            if !entry.is_handler() {
                self.told.store(false, Ordering::SeqCst);
                if self.is_stopped() {
                    self.tell();
                }
                continue;
            }
            if self.is_stopped() {
                self.port.give_back(std::iter::once(entry));
                break;
            }
            let after = |deferred| match deferred {
                Some(job) => self.post(job),
                None => self.work_finished(),
            };
            frame.handle(|| _ = entry.unless_handler(), after);
            ran += 1;
        }
        Ok(ran)
    }

    // ---- the end ----

    /// Drops what is queued, uncalled, the youngest first, and cancels and drops what is pending.
    pub fn destroy(&self) {
        let mut queued = Vec::new();
        // Others may post without end: no more than there are now, and the wake-up. What comes later the close drops.
        for _ in 0..self.work.load(Ordering::SeqCst).saturating_add(1) {
            let mut slots = [None];
            if self.port.get(&mut Fetch::new(&mut slots), Wait::Poll).is_err() {
                break;
            }
            let [Some(entry)] = slots else { break };
            queued.push(entry);
        }
        backend::leave(&self.port);
        queued.into_iter().rev().for_each(|entry| entry.discard(self.port.contract()));
        self.port.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Of a context that was never given out.
        self.port.close();
    }
}
