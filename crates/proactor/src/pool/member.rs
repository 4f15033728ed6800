//! What every object of a pool has: a callback, and the count of its callbacks that wait or run.
//!
//! A callback that waits is a post on the crew's port whose key is the member; no memory is needed for it. Cancelling those
//! that wait begins a new epoch: what was asked for in an earlier one arrives all the same and finds nothing to do.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use super::crew::Crew;
use super::instance::Instance;
use crate::backend;
use crate::error::{Code, Error};
use crate::shim::{Condvar, Mutex, lock};
use crate::time::Wait;

/// Closes the crew's port when the pool's last handle and its last object are gone.
pub(super) struct Owner(pub Arc<Crew>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.port.close();
    }
}

/// What runs.
pub(super) type Callback = Box<dyn Fn(&Instance<'_>) + Send + Sync>;

pub(super) struct Member {
    owner: Arc<Owner>,
    callback: Callback,
    runs_long: bool,
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
struct Counts {
    /// Of this epoch.
    waiting: usize,
    running: usize,
    epoch: usize,
    /// Its clean-up group was closed: nothing begins any more.
    closed: bool,
    watchers: usize,
}

impl Counts {
    fn check_open(&self) -> Result<(), Error> {
        match self.closed {
            false => Ok(()),
            true => Err(Error::new(Code::InvalidHandle).hint("its clean-up group was closed; make a new object")),
        }
    }
}

thread_local! {
    /// The member whose callback runs on this thread.
    static RUNNING: Cell<*const Member> = const { Cell::new(std::ptr::null()) };
}

impl Member {
    pub fn new(owner: Arc<Owner>, runs_long: bool, callback: Callback) -> Arc<Member> {
        let counts = Mutex::default();
        Arc::new(Member { owner, callback, runs_long, counts, changed: Condvar::new() })
    }

    pub fn crew(&self) -> &Arc<Crew> {
        &self.owner.0
    }

    /// Asks for one more callback.
    pub fn submit(self: &Arc<Member>) -> Result<(), Error> {
        let epoch = self.expect()?;
        if self.crew().port.post(Some(self.clone()), epoch, None).is_err() {
            self.forget(epoch);
            backend::check_fork()?;
            return Err(Error::new(Code::InvalidHandle).hint("the thread pool is closed"));
        }
        self.crew().keep_one_waiting();
        Ok(())
    }

    /// A hold on the member goes, from where no user's code may run: a thread of the pool drops it.
    pub fn let_go(self: Arc<Member>) {
        let crew = self.crew().clone();
        // Of an epoch that never was, so that nothing runs.
        let _ = crew.port.post(Some(self), usize::MAX, None);
    }

    /// Refuses if nothing begins any more.
    pub fn check_open(&self) -> Result<(), Error> {
        backend::check_fork()?;
        lock(&self.counts).check_open()
    }

    /// One more callback will come. Gives the epoch it belongs to.
    pub fn expect(&self) -> Result<usize, Error> {
        backend::check_fork()?;
        let mut counts = lock(&self.counts);
        counts.check_open()?;
        counts.waiting += 1;
        Ok(counts.epoch)
    }

    /// One that was expected does not come.
    pub fn forget(&self, epoch: usize) {
        let mut counts = lock(&self.counts);
        if counts.epoch == epoch {
            counts.waiting -= 1;
            self.tell(&counts);
        }
    }

    /// Runs one callback that was expected in that epoch, unless it was cancelled meanwhile.
    pub fn run(&self, epoch: usize) {
        self.run_with(epoch, |instance| (self.callback)(instance));
    }

    /// As `run`, with a callback of the moment. A panic in it is reported and goes no further.
    pub fn run_with(&self, epoch: usize, callback: impl FnOnce(&Instance<'_>)) {
        if !self.begin(epoch) {
            return;
        }
        let outer = RUNNING.replace(std::ptr::from_ref(self));
        let instance = Instance::new(self);
        if self.runs_long {
            instance.may_run_long();
        }
        if catch_unwind(AssertUnwindSafe(|| callback(&instance))).is_err() {
            log::error!("proactor: a callback of the thread pool panicked");
        }
        RUNNING.set(outer);
        let counted = instance.finish();
        if counted {
            self.end();
        }
    }

    fn begin(&self, epoch: usize) -> bool {
        let mut counts = lock(&self.counts);
        if counts.epoch != epoch {
            return false;
        }
        counts.waiting -= 1;
        counts.running += 1;
        true
    }

    /// A callback is over, or no longer counted.
    pub fn end(&self) {
        let mut counts = lock(&self.counts);
        counts.running -= 1;
        self.tell(&counts);
    }

    fn tell(&self, counts: &Counts) {
        if counts.watchers > 0 && counts.waiting + counts.running == 0 {
            self.changed.notify_all();
        }
    }

    /// Drops the callbacks that wait; how many.
    pub fn cancel(&self) -> usize {
        let mut counts = lock(&self.counts);
        let dropped = std::mem::take(&mut counts.waiting);
        counts.epoch = counts.epoch.wrapping_add(1);
        self.tell(&counts);
        dropped
    }

    /// Nothing begins any more.
    pub fn close(&self) {
        lock(&self.counts).closed = true;
    }

    /// Waits until no callback waits or runs, or `wait` ends; whether none does.
    pub fn settle(&self, wait: Wait) -> Result<bool, Error> {
        backend::check_fork()?;
        if RUNNING.get() == std::ptr::from_ref(self) {
            return Err(Error::new(Code::InvalidParameter)
                .hint("a callback cannot wait for itself to end; call disassociate on its instance first, or wait elsewhere"));
        }
        Ok(backend::while_blocked(|| {
            let mut counts = lock(&self.counts);
            counts.watchers += 1;
            while counts.waiting + counts.running > 0 && !wait.is_over() {
                counts = match wait.left() {
                    None => self.changed.wait(counts).unwrap_or_else(PoisonError::into_inner),
                    Some(left) => self.changed.wait_timeout(counts, left).unwrap_or_else(PoisonError::into_inner).0,
                };
            }
            counts.watchers -= 1;
            counts.waiting + counts.running == 0
        }))
    }

    /// This thread's callback is no longer one of the member's.
    pub fn disown(&self) {
        if RUNNING.get() == std::ptr::from_ref(self) {
            RUNNING.set(std::ptr::null());
        }
    }
}
