//! Waitable timers: objects that threads wait for, signalled at a moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use super::service::{Clock, Moment, Service, Sleeper, service, wall_nanos};
use super::{NEVER, nanos_of};
use crate::backend;
use crate::error::{Code, Error};
use crate::shim::{Mutex, MutexGuard, lock};
use crate::sync::apc::Apc;
use crate::sync::current::ThreadState;
use crate::sync::object::{Core, Kind};
use crate::sync::waitable::sealed::Sealed;

/// When a [`WaitableTimer`] is due. A moment that has passed is due at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// So long from now. Setting the system's clock does not move it.
    After(Duration),
    /// At this moment of the clock that cannot be set.
    At(Instant),
    /// At this time of day: setting the system's clock moves it.
    Clock(SystemTime),
}

impl From<Duration> for Due {
    fn from(after: Duration) -> Due {
        Due::After(after)
    }
}

impl From<Instant> for Due {
    fn from(at: Instant) -> Due {
        Due::At(at)
    }
}

impl From<SystemTime> for Due {
    fn from(at: SystemTime) -> Due {
        Due::Clock(at)
    }
}

/// How a [`WaitableTimer`] loses its signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// It stays signalled until it is set again: all who wait are released.
    Manual,
    /// Each signal releases one who waits: a synchronization timer.
    Auto,
}

/// A waitable timer (`CreateWaitableTimer`): signalled at a moment, and again each period. Cloning shares it.
///
/// Wait for it with the functions of [`sync`](crate::sync), alone or with other objects. It is never signalled early. When the
/// last handle is dropped it is cancelled, its routine too. One thread of the library serves all of them, over the kernel's
/// high-resolution timers. For timers by the thousands, and as operations, there is [`Timers`](super::Timers).
///
/// ```
/// use std::time::{Duration, Instant};
/// use proactor::{sync::{self, Waited}, time::WaitableTimer};
/// let timer = WaitableTimer::auto()?;
/// let begin = Instant::now();
/// timer.set_periodic(Duration::from_millis(2), Duration::from_millis(3))?;
/// for turn in 0..3 {
///     assert_eq!(sync::wait_one(&timer, None)?, Waited::Signalled(0));
///     assert!(begin.elapsed() >= Duration::from_millis(2 + 3 * turn));
/// }
/// # Ok::<(), proactor::Error>(())
/// ```
#[derive(Clone)]
pub struct WaitableTimer {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    service: Arc<Service>,
    name: Option<String>,
    state: Mutex<State>,
    this: Weak<Shared>,
}

#[derive(Default)]
struct State {
    /// What the service has it registered for.
    moment: Option<Moment>,
    /// Nanoseconds; 0 for none.
    period: u64,
    routine: Option<Arc<Routine>>,
}

/// What runs on the thread that set the timer.
struct Routine {
    thread: Arc<ThreadState>,
    /// It is in the thread's queue.
    queued: AtomicBool,
    call: Box<dyn Fn() + Send + Sync>,
}

/// Timers with names. Weak: a name goes with its timer.
static NAMES: std::sync::Mutex<BTreeMap<String, Weak<Shared>>> = std::sync::Mutex::new(BTreeMap::new());

fn names() -> std::sync::MutexGuard<'static, BTreeMap<String, Weak<Shared>>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WaitableTimer {
    /// A timer without a name, not set.
    ///
    /// Errors: of the system, if the library's thread cannot be started.
    pub fn new(reset: Reset) -> Result<WaitableTimer, Error> {
        Ok(WaitableTimer::on(service()?.clone(), reset, None))
    }

    /// A manual-reset timer.
    pub fn manual() -> Result<WaitableTimer, Error> {
        WaitableTimer::new(Reset::Manual)
    }

    /// A synchronization timer.
    pub fn auto() -> Result<WaitableTimer, Error> {
        WaitableTimer::new(Reset::Auto)
    }

    /// The timer of this name within this process, which is made if there is none; one that is there stays as it is. Names
    /// are case-sensitive.
    pub fn named(name: &str, reset: Reset) -> Result<WaitableTimer, Error> {
        let service = service()?;
        let mut named = names();
        if let Some(shared) = named.get(name).and_then(Weak::upgrade) {
            drop(named);
            return Ok(WaitableTimer { shared });
        }
        let timer = WaitableTimer::on(service.clone(), reset, Some(name.to_owned()));
        named.insert(name.to_owned(), Arc::downgrade(&timer.shared));
        Ok(timer)
    }

    /// The timer of this name within this process (`OpenWaitableTimer`).
    ///
    /// Errors: [`Code::NotFound`] if nobody has one of this name.
    pub fn open(name: &str) -> Result<WaitableTimer, Error> {
        let found = names().get(name).and_then(Weak::upgrade);
        let hint = "no waitable timer has this name in this process; names are case-sensitive";
        found.map(|shared| WaitableTimer { shared }).ok_or(Error::new(Code::NotFound).hint(hint))
    }

    fn on(service: Arc<Service>, reset: Reset, name: Option<String>) -> WaitableTimer {
        let core = Core::event(reset == Reset::Auto);
        let state = Mutex::new(State::default());
        WaitableTimer { shared: Arc::new_cyclic(|this| Shared { core, service, name, state, this: this.clone() }) }
    }

    /// Has it signalled once, at `due` (`SetWaitableTimer`): a `Duration` from now, an `Instant`, or a `SystemTime`.
    ///
    /// Setting it clears its signal and takes what it was set to before, its routine, and an APC of that which is queued.
    ///
    /// Errors: [`Code::Forked`] in a forked child.
    pub fn set(&self, due: impl Into<Due>) -> Result<(), Error> {
        self.arm(due.into(), Duration::ZERO, None)
    }

    /// As [`set`](WaitableTimer::set), and then again each `period`, counted from `due` without drift. Periods are whole
    /// milliseconds, rounded up; none at all is `set`.
    ///
    /// A signal that nobody took is not counted twice. Of periods that passed unserved only the last is signalled.
    ///
    /// Errors: [`Code::InvalidParameter`] (87) for a period of 2^31 milliseconds or more.
    pub fn set_periodic(&self, due: impl Into<Due>, period: Duration) -> Result<(), Error> {
        self.arm(due.into(), period, None)
    }

    /// As [`set_periodic`](WaitableTimer::set_periodic), and each time `routine` is queued to the calling thread as an APC: it
    /// runs inside that thread's next alertable wait (the `pfnCompletionRoutine` of `SetWaitableTimer`).
    ///
    /// At most one APC of a timer is queued at a time. When the calling thread ends, the timer is cancelled.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
    /// use std::time::Duration;
    /// use proactor::{sync::{Waited, alertable}, time::WaitableTimer};
    /// let count = Arc::new(AtomicU32::new(0));
    /// let timer = WaitableTimer::manual()?;
    /// let counts = count.clone();
    /// timer.set_routine(Duration::from_millis(1), Duration::from_millis(1), move || {
    ///     counts.fetch_add(1, Ordering::Relaxed);
    /// })?;
    /// while count.load(Ordering::Relaxed) < 3 {
    ///     assert_eq!(alertable::sleep(None)?, Waited::Apc);
    /// }
    /// timer.cancel();
    /// # Ok::<(), proactor::Error>(())
    /// ```
    ///
    /// Errors: as `set_periodic`; [`Code::ThreadEnded`] (31) on a thread that is ending.
    pub fn set_routine(
        &self,
        due: impl Into<Due>,
        period: Duration,
        routine: impl Fn() + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let thread = ThreadState::current();
        if thread.detached {
            return Err(Error::new(Code::ThreadEnded).hint("the calling thread is ending and runs no APCs any more"));
        }
        let routine = Routine { thread, queued: AtomicBool::new(false), call: Box::new(routine) };
        self.arm(due.into(), period, Some(Arc::new(routine)))
    }

    fn arm(&self, due: Due, period: Duration, routine: Option<Arc<Routine>>) -> Result<(), Error> {
        backend::check_fork()?;
        let ms = period.as_nanos().div_ceil(1_000_000);
        if ms > i32::MAX as u128 {
            return Err(Error::new(Code::InvalidParameter).hint("a period is at most 2^31 - 1 milliseconds"));
        }
        let shared = &self.shared;
        let moment = match due {
            Due::After(after) => {
                let after = u64::try_from(after.as_nanos()).unwrap_or(NEVER);
                Moment::Steady(shared.service.clock.steady().saturating_add(after))
            }
            Due::At(at) => Moment::Steady(nanos_of(at)),
            Due::Clock(at) => Moment::Wall(wall_nanos(at)),
        };
        let mut state = shared.lock();
        let before = shared.disarm(&mut state);
        shared.core.unsignal();
        (state.period, state.routine) = (ms as u64 * 1_000_000, routine);
        let has_passed = match moment {
            Moment::Steady(at) => at <= shared.service.clock.steady(),
            Moment::Wall(at) => at <= shared.service.clock.wall(),
        };
        if has_passed {
            shared.ring(&mut state, moment)
        } else {
            shared.register(&mut state, Some(moment))
        }
        drop(state);
        drop(before);
        Ok(())
    }

    /// Cancels it (`CancelWaitableTimer`): it will not be signalled, and its routine not run, an APC of it that is queued
    /// included. A signal that it has stays.
    pub fn cancel(&self) {
        if backend::check_fork().is_err() {
            return;
        }
        let mut state = self.shared.lock();
        let before = self.shared.disarm(&mut state);
        drop(state);
        drop(before);
    }
}

/// What a timer gave up: user's code, dropped with no lock held.
type Before = (Option<Arc<Routine>>, Option<Apc>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn register(&self, state: &mut State, moment: Option<Moment>) {
        if state.moment.is_none() && moment.is_none() {
            return;
        }
        let now = moment.map(|moment| (moment, self.this.clone() as Weak<dyn Sleeper>));
        self.service.set(self.number(), state.moment, now);
        state.moment = moment;
    }

    /// Not set any more; what that leaves is the caller's to drop.
    #[must_use]
    fn disarm(&self, state: &mut State) -> Before {
        self.register(state, None);
        state.period = 0;
        let routine = state.routine.take();
        let apc = routine.as_ref().and_then(|routine| routine.thread.apcs.withdraw(self.number()));
        (routine, apc)
    }

    /// Signals it, queues its routine, and sets it for the next period.
    fn ring(&self, state: &mut State, moment: Moment) {
        // A timer with a routine is its thread's, and ends with it. Dropping the routine is the next `set`'s.
        let has_ended = |routine: &Arc<Routine>| routine.thread.ended.look(|kind| matches!(kind, Kind::Manual(true)));
        if state.routine.as_ref().is_some_and(has_ended) {
            state.period = 0;
            return;
        }
        // First, so that the routine finds it signalled.
        self.core.signal();
        if state.routine.as_ref().is_some_and(|routine| !queue(routine, self.number())) {
            state.period = 0;
        }
        if state.period > 0 {
            let next = next(&*self.service.clock, moment, state.period);
            self.register(state, Some(next));
        }
    }
}

/// Queues a timer's routine to its thread, unless it is there already. Whether the thread takes any.
fn queue(routine: &Arc<Routine>, name: usize) -> bool {
    if routine.queued.swap(true, Ordering::AcqRel) {
        return true;
    }
    let queued = routine.clone();
    let run = move || {
        queued.queued.store(false, Ordering::Release);
        (queued.call)();
    };
    routine.thread.apcs.push(Apc::Call { run: Box::new(run), name }).is_ok()
}

/// The first of the following periods that has not passed. From the first on they count by the clock that cannot be set.
fn next(clock: &dyn Clock, moment: Moment, period: u64) -> Moment {
    let now = clock.steady();
    let due = match moment {
        Moment::Steady(at) => at,
        // Late by more than that is late because the clock was set.
        Moment::Wall(at) => now - Some(clock.wall().saturating_sub(at)).filter(|late| *late < period).unwrap_or(0).min(now),
    };
    let passed = now.saturating_sub(due) / period;
    Moment::Steady(due.saturating_add((passed + 1).saturating_mul(period)))
}

impl Sleeper for Shared {
    fn wake(self: Arc<Self>, moment: Moment) {
        let mut state = self.lock();
        // It may have been set again, or cancelled, since the service took it off its list.
        if state.moment == Some(moment) {
            state.moment = None;
            self.ring(&mut state, moment);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Locks that a fork found held stay so in the child.
        if backend::check_fork().is_err() {
            return;
        }
        let mut state = std::mem::take(&mut *self.lock());
        let before = self.disarm(&mut state);
        if let Some(name) = &self.name {
            let mut named = names();
            // Another may have the name by now.
            if named.get(name).is_some_and(|weak| weak.strong_count() == 0) {
                named.remove(name);
            }
        }
        drop(before);
    }
}

impl Sealed for WaitableTimer {
    fn core(&self) -> Result<&Arc<Core>, Error> {
        Ok(&self.shared.core)
    }
}

impl std::fmt::Debug for WaitableTimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let auto = self.shared.core.look(|kind| matches!(kind, Kind::Auto(_)));
        let mut shown = f.debug_struct("WaitableTimer");
        shown.field("auto", &auto).field("name", &self.shared.name).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
#[path = "waitable_tests.rs"]
mod tests;
