//! The same by the time of day, which may be set.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::service::{Moment, Service, Sleeper, service, wall_nanos};
use super::waiters::{self, Waiters};
use super::{NEVER, Timers};
use crate::backend;
use crate::buf::NoBuffer;
use crate::error::Error;
use crate::home::{Home, Shared};
use crate::op::{OpKind, Operation, Source, Waiting, awaited};
use crate::shim::{Mutex, MutexGuard, lock};

/// One time of day and any number of waits for it (Asio's `system_timer`).
///
/// As a [`SteadyTimer`](super::SteadyTimer), but it follows the system's clock: set forward past the expiry, the waits complete
/// at once; set back, they wait for as much longer. Linux wakes the library for that (a timerfd with `TFD_TIMER_CANCEL_ON_SET`),
/// Windows moves the due time of its timer by itself. No wait completes while the clock is before the expiry.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use proactor::time::{SystemTimer, Timers};
/// let timer = SystemTimer::new(&Timers::new())?;
/// timer.expires_at(SystemTime::now() + Duration::from_millis(2));
/// timer.wait().wait().result?;
/// assert!(SystemTime::now() >= timer.expiry());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SystemTimer<H: Home = Shared> {
    timers: Timers<H>,
    waits: Arc<Waits>,
}

struct Waits {
    service: Arc<Service>,
    state: Mutex<State>,
}

struct State {
    expiry: SystemTime,
    waiters: Waiters,
    /// What the library's thread for moments has this registered for.
    registered: Option<Moment>,
}

impl<H: Home> SystemTimer<H> {
    /// A timer that has expired already. Its waits live on `timers`: give those their port first.
    ///
    /// Errors: the system's, if it has no thread or descriptor for the library's thread for moments, the first time one is
    /// needed; [`Code::Forked`](crate::Code::Forked) in a forked child.
    pub fn new(timers: &Timers<H>) -> Result<SystemTimer<H>, Error> {
        backend::check_fork()?;
        let state = State { expiry: SystemTime::now(), waiters: Waiters::default(), registered: None };
        let waits = Arc::new(Waits { service: service()?.clone(), state: Mutex::new(state) });
        Ok(SystemTimer { timers: timers.clone(), waits })
    }

    /// Sets the time it expires at, and cancels the waits there are; how many.
    pub fn expires_at(&self, time: SystemTime) -> usize {
        if backend::check_fork().is_err() {
            return 0;
        }
        let before = {
            let mut state = lock(&self.waits.state);
            state.expiry = time;
            self.waits.take(&mut state)
        };
        before.cancel()
    }

    /// The same, so long from now by the clock as it stands: setting the clock moves it.
    pub fn expires_after(&self, delay: Duration) -> usize {
        const LAST: Duration = Duration::from_secs(1 << 38);
        let last = SystemTime::UNIX_EPOCH + LAST;
        self.expires_at(SystemTime::now().checked_add(delay).map_or(last, |time| time.min(last)))
    }

    /// When it expires, or has expired.
    pub fn expiry(&self) -> SystemTime {
        lock(&self.waits.state).expiry
    }

    /// Cancels all waits; how many. The expiry stays.
    pub fn cancel(&self) -> usize {
        if backend::check_fork().is_err() {
            return 0;
        }
        let before = self.waits.take(&mut lock(&self.waits.state));
        before.cancel()
    }

    /// Cancels the wait that began first, if there is one; how many that were, 1 or 0.
    pub fn cancel_one(&self) -> usize {
        if backend::check_fork().is_err() {
            return 0;
        }
        waiters::cancel_first(|| lock(&self.waits.state).waiters.first())
    }

    /// Completes when the timer expires, at once if it has. As [`SteadyTimer::wait`](super::SteadyTimer::wait).
    pub fn wait(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.timers.handle(), awaited(OpKind::Timer, self.waits.clone()), NoBuffer)
    }
}

impl Waits {
    fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn deregister(&self, state: &mut State) {
        if state.registered.is_some() {
            self.service.set(self.number(), state.registered.take(), None);
        }
    }

    fn take(&self, state: &mut MutexGuard<'_, State>) -> Waiters {
        self.deregister(state);
        std::mem::take(&mut state.waiters)
    }
}

impl Source for Waits {
    fn begin(self: Arc<Self>, arm: &mut dyn FnMut(u64) -> Option<Waiting>) {
        let mut state = lock(&self.state);
        let at = wall_nanos(state.expiry);
        if self.service.clock.wall() >= at {
            // Due at once.
            arm(0);
            return;
        }
        let Some(waiting) = arm(NEVER) else { return };
        state.waiters.push(waiting);
        if state.registered.is_none() {
            let sleeper: Weak<dyn Sleeper> = Arc::<Waits>::downgrade(&self);
            self.service.set(self.number(), None, Some((Moment::Wall(at), sleeper)));
            state.registered = Some(Moment::Wall(at));
        }
    }

    fn over(&self, sequence: u64) {
        let mut state = lock(&self.state);
        state.waiters.over(sequence);
        if state.waiters.is_empty() {
            self.deregister(&mut state);
        }
    }
}

impl Sleeper for Waits {
    fn wake(self: Arc<Self>, moment: Moment) {
        let due = {
            let mut state = lock(&self.state);
            // It may have been set again, or cancelled, since the service took it off its list.
            if state.registered != Some(moment) {
                return;
            }
            state.registered = None;
            std::mem::take(&mut state.waiters)
        };
        due.complete();
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if backend::check_fork().is_ok() {
            let mut state = lock(&self.state);
            self.deregister(&mut state);
        }
    }
}

impl<H: Home> Drop for SystemTimer<H> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<H: Home> std::fmt::Debug for SystemTimer<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemTimer").field("expiry", &self.expiry()).finish_non_exhaustive()
    }
}
