//! A timer with one expiry and any number of waits, as Asio has it, by the clock that cannot be set.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::waiters::{self, Waiters};
use super::{NEVER, Timers, nanos_of};
use crate::backend;
use crate::buf::NoBuffer;
use crate::home::{Home, Shared};
use crate::op::{OpKind, Operation, Source, Waiting, awaited};
use crate::shim::{Mutex, lock};

/// One moment and any number of waits for it (Asio's `steady_timer`).
///
/// Its waits are operations of the [`Timers`] it is made of: they complete on their port, with any delivery, and cost what a
/// timer of those costs. Setting another expiry cancels the waits there are, and says how many; a wait begun later waits for the
/// new one. Any thread may call anything, if the timers' port is shared. Dropping it cancels its waits.
///
/// No wait completes before the expiry. It is a moment of [`Instant`]'s clock, which does not follow the time of day.
///
/// ```
/// use std::time::Duration;
/// use proactor::{Code, time::{SteadyTimer, Timers}};
/// let timers = Timers::new();
/// let timer = SteadyTimer::new(&timers);
/// timer.expires_after(Duration::from_secs(3600));
/// let (first, second) = (timer.wait().start()?, timer.wait().start()?);
/// assert_eq!(timer.expires_after(Duration::from_millis(1)), 2);         // a new expiry cancels two waits
/// assert_eq!(first.wait().result.unwrap_err().code(), Code::Cancelled);
/// # drop(second);
/// timer.wait().wait().result?;                                          // and this one lasts a millisecond
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SteadyTimer<H: Home = Shared> {
    timers: Timers<H>,
    waits: Arc<Waits>,
}

struct Waits(Mutex<State>);

struct State {
    /// `None` never comes.
    expiry: Option<Instant>,
    waiters: Waiters,
}

impl<H: Home> SteadyTimer<H> {
    /// A timer that has expired already. Its waits live on `timers`: give those their port first.
    pub fn new(timers: &Timers<H>) -> SteadyTimer<H> {
        let state = State { expiry: Some(Instant::now()), waiters: Waiters::default() };
        SteadyTimer { timers: timers.clone(), waits: Arc::new(Waits(Mutex::new(state))) }
    }

    /// Sets the moment it expires at, and cancels the waits there are; how many. A wait whose time has come is not among them: it
    /// completes as it would have.
    pub fn expires_at(&self, moment: Instant) -> usize {
        self.set(Some(moment))
    }

    /// The same, so long from now. What is past the clock's end never comes.
    pub fn expires_after(&self, delay: Duration) -> usize {
        self.set(Instant::now().checked_add(delay))
    }

    fn set(&self, expiry: Option<Instant>) -> usize {
        if backend::check_fork().is_err() {
            return 0;
        }
        let before = {
            let mut state = lock(&self.waits.0);
            state.expiry = expiry;
            std::mem::take(&mut state.waiters)
        };
        before.cancel()
    }

    /// When it expires, or has expired; `None` if never.
    pub fn expiry(&self) -> Option<Instant> {
        lock(&self.waits.0).expiry
    }

    /// Cancels all waits; how many. The expiry stays. They complete with [`Code::Cancelled`](crate::Code::Cancelled).
    pub fn cancel(&self) -> usize {
        if backend::check_fork().is_err() {
            return 0;
        }
        let before = std::mem::take(&mut lock(&self.waits.0).waiters);
        before.cancel()
    }

    /// Cancels the wait that began first, if there is one; how many that were, 1 or 0.
    pub fn cancel_one(&self) -> usize {
        if backend::check_fork().is_err() {
            return 0;
        }
        waiters::cancel_first(|| lock(&self.waits.0).waiters.first())
    }

    /// Completes when the timer expires, at once if it has. Which expiry that is, is settled when the operation starts.
    ///
    /// Errors: [`Code::Cancelled`](crate::Code::Cancelled) by [`cancel`](SteadyTimer::cancel),
    /// [`cancel_one`](SteadyTimer::cancel_one), a new expiry, the drop of the timer, or a cancel of the operation itself (its ticket
    /// is the [`Timers`]').
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use proactor::{CompletionPort, time::{SteadyTimer, Timers}};
    /// let port: CompletionPort<(), usize> = CompletionPort::new(1)?;
    /// let timers = Timers::new();
    /// port.associate(&timers, 7)?;
    /// let timer = SteadyTimer::new(&timers);
    /// let begin = Instant::now();
    /// timer.expires_after(Duration::from_millis(2));
    /// timer.wait().packet(proactor::Block::new(()))?;
    /// assert_eq!(port.get(None)?.packet().unwrap().key, 7);
    /// assert!(begin.elapsed() >= Duration::from_millis(2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.timers.handle(), awaited(OpKind::Timer, self.waits.clone()), NoBuffer)
    }
}

impl Source for Waits {
    fn begin(self: Arc<Self>, arm: &mut dyn FnMut(u64) -> Option<Waiting>) {
        // One step with the expiry: a new one either finds the wait, or is the one it waits for.
        let mut state = lock(&self.0);
        if let Some(waiting) = arm(state.expiry.map_or(NEVER, nanos_of)) {
            state.waiters.push(waiting);
        }
    }

    fn over(&self, sequence: u64) {
        lock(&self.0).waiters.over(sequence);
    }
}

impl<H: Home> Drop for SteadyTimer<H> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<H: Home> std::fmt::Debug for SteadyTimer<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteadyTimer").field("expiry", &self.expiry()).finish_non_exhaustive()
    }
}
