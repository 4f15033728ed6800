//! Wait objects: a callback when something is signalled, or when the time for it is over.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::member::Member;
use crate::error::{Code, Error};
use crate::op::Ticket;
use crate::shim::{Mutex, lock};
use crate::sync::{Claim, Core, Record, Waitable, Waited};
use crate::time::{Timers, Wait};

/// A callback for the end of a wait (`PTP_WAIT`): no thread waits for it. It is set for one wait at a time, and for each
/// there is one callback. Dropping it ends the wait; a callback that was due already still runs (`CloseThreadpoolWait`).
///
/// ```
/// use std::{sync::mpsc, time::Duration};
/// use proactor::{pool::Pool, sync::{Event, Waited}};
/// let pool = Pool::process()?;
/// let (tell, told) = mpsc::channel();
/// let wait = pool.wait(move |_, waited| tell.send(waited).unwrap())?;
/// let event = Event::auto();
/// wait.set(event.clone(), None)?;
/// event.set();
/// assert_eq!(told.recv().unwrap(), Waited::Signalled(0));
/// wait.set(event, Duration::from_millis(1))?;
/// assert_eq!(told.recv().unwrap(), Waited::TimedOut);
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct WaitObject {
    inner: Arc<Inner>,
}

/// What a wait object's member calls back with, and what was waited for: an operation's end is a user's code, and who ended
/// the wait may hold what that needs. So the callback drops it.
pub(super) type Results = Arc<Mutex<VecDeque<(Waited, Registered)>>>;

pub(super) struct Inner {
    member: Arc<Member>,
    timers: Timers,
    results: Results,
    /// Held by who sets it.
    setting: Mutex<()>,
    registered: Mutex<Option<Registered>>,
}

/// A wait that goes on.
pub(super) struct Registered {
    /// What keeps the object going meanwhile.
    _attended: Option<Box<dyn Any + Send + Sync>>,
    _object: Box<dyn Waitable + Send + Sync>,
    core: Arc<Core>,
    record: Arc<Record>,
    end: Option<Ticket>,
}

impl WaitObject {
    pub(super) fn new(member: Arc<Member>, timers: Timers, results: Results) -> WaitObject {
        WaitObject { inner: Arc::new(Inner { member, timers, results, setting: Mutex::new(()), registered: Mutex::new(None) }) }
    }

    pub(super) fn inner(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// Waits for `object` until `wait` ends (`SetThreadpoolWait`), in place of what it waited for before. The callback is
    /// told how the wait ended: [`Waited::Signalled`]`(0)`, having consumed the signal as any wait does, or
    /// [`Waited::TimedOut`]. Then it can be set again.
    ///
    /// Errors: [`Code::InvalidParameter`] for a [`Mutex`](crate::sync::Mutex), which a thread would have to own;
    /// [`Code::InvalidHandle`] if its clean-up group was closed.
    pub fn set(&self, object: impl Waitable + Send + Sync + 'static, wait: impl Into<Wait>) -> Result<(), Error> {
        let wait = wait.into();
        self.inner.member.check_open()?;
        let core = object.core()?.clone();
        if core.is_mutex() {
            let hint = "a mutex is owned by a thread, and no thread waits here; use a semaphore or an event";
            return Err(Error::new(Code::InvalidParameter).hint(hint));
        }
        let _one_at_a_time = lock(&self.inner.setting);
        self.inner.unset();
        let inner = Arc::downgrade(&self.inner);
        let record = Record::calling(move |record| {
            if let Some(inner) = inner.upgrade() {
                inner.over(record);
                // Its object was dropped meanwhile: the callback's closure is a user's, too.
                if let Some(Inner { member, .. }) = Arc::into_inner(inner) {
                    member.let_go();
                }
            }
        });
        record.begin(None);
        let registered = Registered {
            _attended: object.attend(),
            _object: Box::new(object),
            core: core.clone(),
            record: record.clone(),
            end: None,
        };
        *lock(&self.inner.registered) = Some(registered);
        // From here on anybody may end it.
        if core.enlist(&record, 0) {
            record.wake();
        } else {
            self.inner.limit(&record, wait)?;
        }
        Ok(())
    }

    /// Ends the wait without a callback (`SetThreadpoolWait` without an object). One that was due already still comes.
    pub fn unset(&self) {
        self.inner.stop();
    }

    /// Waits until no callback waits or runs (`WaitForThreadpoolWaitCallbacks`). A wait that goes on does not count.
    ///
    /// Errors: [`Code::InvalidParameter`] from its own callback.
    pub fn wait_for_callbacks(&self) -> Result<(), Error> {
        self.inner.member.settle(Wait::Forever).map(drop)
    }

    /// Drops the callbacks that have not begun, and waits for those that have; how many were dropped. A wait that goes on
    /// goes on.
    pub fn cancel_callbacks(&self) -> Result<usize, Error> {
        let dropped = self.inner.cancel();
        self.wait_for_callbacks()?;
        Ok(dropped)
    }
}

impl Inner {
    /// The wait has an end in time, maybe now.
    fn limit(self: &Arc<Inner>, record: &Arc<Record>, wait: Wait) -> Result<(), Error> {
        let end = match wait {
            Wait::Forever => return Ok(()),
            Wait::Poll => {
                if record.claim(Claim::TimedOut) {
                    record.wake();
                }
                return Ok(());
            }
            Wait::Until(end) => end,
        };
        let timed = record.clone();
        let armed = self.timers.at(end).then(move |done| {
            if done.result.is_ok() && timed.claim(Claim::TimedOut) {
                timed.wake();
            }
        });
        let ticket = armed.map_err(|refused| {
            self.unset();
            refused.error
        })?;
        if let Some(registered) = &mut *lock(&self.registered)
            && Arc::ptr_eq(&registered.record, record)
        {
            registered.end = Some(ticket);
            return Ok(());
        }
        // It is over already.
        let _ = self.timers.cancel(ticket);
        Ok(())
    }

    /// A wait was claimed: its callback is due.
    fn over(&self, record: &Record) {
        if let Some(registered) = self.take(Some(record)) {
            self.finish(registered);
        }
    }

    fn finish(&self, registered: Registered) {
        let claim = self.leave(&registered);
        // Nobody but the callback takes a result, and a cancel drops as many of both.
        let mut results = lock(&self.results);
        results.push_back((claim.into(), registered));
        // Refused if it was closed: no callback comes for this result, nor for a later one, and it goes with the member.
        let _ = self.member.submit();
    }

    /// Takes what is registered, if it is this.
    fn take(&self, record: Option<&Record>) -> Option<Registered> {
        let mut slot = lock(&self.registered);
        let is_it = |registered: &Registered| record.is_none_or(|record| std::ptr::eq(Arc::as_ptr(&registered.record), record));
        if slot.as_ref().is_some_and(is_it) { slot.take() } else { None }
    }

    fn leave(&self, registered: &Registered) -> Claim {
        registered.core.forget(&registered.record);
        if let Some(ticket) = registered.end {
            let _ = self.timers.cancel(ticket);
        }
        registered.record.end()
    }

    /// Ends the wait that goes on, if there is one.
    pub fn stop(&self) {
        let _one_at_a_time = lock(&self.setting);
        self.unset();
    }

    /// As `stop`, by who sets it.
    fn unset(&self) {
        let Some(registered) = self.take(None) else { return };
        if registered.record.claim(Claim::TimedOut) {
            self.leave(&registered);
            return;
        }
        // Somebody ended it just now, and what it consumed must be told of.
        self.finish(registered);
    }

    pub fn cancel(&self) -> usize {
        let mut results = lock(&self.results);
        let count = self.member.cancel();
        let dropped = std::mem::take(&mut *results);
        drop(results);
        drop(dropped);
        count
    }
}

impl Drop for WaitObject {
    fn drop(&mut self) {
        self.inner.stop();
    }
}

impl std::fmt::Debug for WaitObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitObject").field("set", &lock(&self.inner.registered).is_some()).finish_non_exhaustive()
    }
}
