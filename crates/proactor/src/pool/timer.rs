//! Timer objects: a callback at a moment, once or again and again.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::member::Member;
use crate::error::{Code, Error};
use crate::op::Ticket;
use crate::shim::{Mutex, lock};
use crate::time::{Timers, Wait};

/// A callback that is due at a moment (`PTP_TIMER`). Dropping it cancels what is due; callbacks that were due already still
/// run (`CloseThreadpoolTimer`).
///
/// ```
/// use std::time::Duration;
/// use proactor::{pool::Pool, sync::Event};
/// let pool = Pool::process()?;
/// let due = Event::auto();
/// let signal = due.clone();
/// let timer = pool.timer(move |_| signal.set())?;
/// timer.set(Duration::from_millis(1), Some(Duration::from_millis(1)))?;
/// due.wait();
/// due.wait();
/// timer.unset();
/// assert!(!timer.is_set());
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct Timer {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub member: Arc<Member>,
    timers: Timers,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is armed, and which setting it belongs to.
    armed: Option<Ticket>,
    setting: u64,
    next: Option<Instant>,
    period: Option<Duration>,
}

impl Timer {
    pub(super) fn new(member: Arc<Member>, timers: Timers) -> Timer {
        Timer { inner: Arc::new(Inner { member, timers, state: Mutex::new(State::default()) }) }
    }

    pub(super) fn inner(&self) -> Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// The callback is due after `due`, then every `period` if there is one (`SetThreadpoolTimer`). A timer that is set
    /// already is set anew. Periods do not drift: each is counted from when the last was due. A period of no time is
    /// [`Code::InvalidParameter`].
    ///
    /// Errors: also [`Code::InvalidHandle`] if its clean-up group was closed, [`Code::Forked`] in a forked child.
    pub fn set(&self, due: Duration, period: Option<Duration>) -> Result<(), Error> {
        let now = Instant::now();
        match now.checked_add(due) {
            Some(due) => self.set_at(due, period),
            None => Err(Error::new(Code::InvalidParameter).hint("that is further away than the clock can count")),
        }
    }

    /// As [`set`](Timer::set), due at a moment; at once if it is past.
    pub fn set_at(&self, due: Instant, period: Option<Duration>) -> Result<(), Error> {
        if period.is_some_and(|period| period.is_zero()) {
            return Err(Error::new(Code::InvalidParameter).hint("a period must last some time; give None for a single callback"));
        }
        self.inner.member.check_open()?;
        let mut state = lock(&self.inner.state);
        self.inner.disarm(&mut state);
        state.next = Some(due);
        state.period = period;
        self.inner.arm(&mut state, due)
    }

    /// Nothing is due any more (`SetThreadpoolTimer` without a time). Callbacks that were due already still come.
    pub fn unset(&self) {
        self.inner.unset();
    }

    /// Whether a callback is due (`IsThreadpoolTimerSet`).
    pub fn is_set(&self) -> bool {
        lock(&self.inner.state).next.is_some()
    }

    /// Waits until no callback waits or runs (`WaitForThreadpoolTimerCallbacks`). One that is not due yet does not count.
    ///
    /// Errors: [`Code::InvalidParameter`] from its own callback.
    pub fn wait_for_callbacks(&self) -> Result<(), Error> {
        self.inner.member.settle(Wait::Forever).map(drop)
    }

    /// Drops the callbacks that have not begun, and waits for those that have; how many were dropped. What is due later
    /// stays due.
    pub fn cancel_callbacks(&self) -> Result<usize, Error> {
        let dropped = self.inner.member.cancel();
        self.wait_for_callbacks()?;
        Ok(dropped)
    }
}

impl Inner {
    pub fn unset(&self) {
        let mut state = lock(&self.state);
        self.disarm(&mut state);
        state.next = None;
    }

    fn disarm(&self, state: &mut State) {
        state.setting += 1;
        if let Some(ticket) = state.armed.take() {
            // Not found: it has expired, and will see that it was set anew.
            let _ = self.timers.cancel(ticket);
        }
    }

    fn arm(self: &Arc<Inner>, state: &mut State, due: Instant) -> Result<(), Error> {
        let (inner, setting) = (Arc::downgrade(self), state.setting);
        let armed = self.timers.at(due).then(move |done| {
            if let (Some(inner), Ok(())) = (inner.upgrade(), done.result) {
                inner.expired(setting);
            }
        });
        match armed {
            Ok(ticket) => {
                state.armed = Some(ticket);
                Ok(())
            }
            Err(refused) => {
                state.next = None;
                Err(refused.error)
            }
        }
    }

    /// On a thread of the pool, inside its port.
    fn expired(self: &Arc<Inner>, setting: u64) {
        {
            let mut state = lock(&self.state);
            if state.setting != setting {
                return;
            }
            state.armed = None;
            state.next = state.next.zip(state.period).and_then(|(due, period)| following(due, period, Instant::now()));
            if let Some(next) = state.next
                && let Err(error) = self.arm(&mut state, next)
            {
                log::warn!("proactor: a periodic timer of the thread pool ends: {error}");
            }
        }
        // Refused only if it was closed meanwhile.
        let _ = self.member.submit();
    }
}

/// When a periodic timer is due next: on its grid, the first moment that is not past. What was missed is not made up for.
fn following(due: Instant, period: Duration, now: Instant) -> Option<Instant> {
    let late = now.saturating_duration_since(due).as_nanos();
    let periods = u32::try_from(late / period.as_nanos()).unwrap_or(u32::MAX);
    due.checked_add(period.checked_mul(periods.saturating_add(1))?)
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.unset();
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer").field("set", &self.is_set()).finish_non_exhaustive()
    }
}
