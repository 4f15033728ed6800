//! Sleeping, deadlines and ticks, with the timers of the runtime, or with the process's own outside one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::current::{Current, current};
use super::stay::Stay;
use crate::buf::NoBuffer;
use crate::deliver::Overlapped;
use crate::error::{Code, Error};
use crate::home::{Home, Local, Shared};
use crate::time::Timers;

/// Further off than anybody waits.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// A timer that was armed.
type Started<H> = Overlapped<NoBuffer, (), H>;

/// Those outside a runtime.
fn process_timers() -> &'static Timers {
    static TIMERS: OnceLock<Timers> = OnceLock::new();
    TIMERS.get_or_init(Timers::new)
}

/// Ends when `delay` has passed, counted from this call. Never before, and up to 8.2 µs later by the clock of the timers.
///
/// Works in a runtime and with any executor. Dropping it loses nothing.
///
/// ```
/// use std::time::{Duration, Instant};
/// let begin = Instant::now();
/// proactor::block_on(proactor::rt::sleep(Duration::from_millis(2)));
/// assert!(begin.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    let now = Instant::now();
    sleep_until(now.checked_add(delay).unwrap_or(now + FAR))
}

/// Ends at `deadline`, or at once if that has passed. Otherwise as [`sleep`].
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, armed: Armed::Not }
}

enum Armed {
    Not,
    Shared(Started<Shared>),
    Core(Stay<Started<Local>>),
    Over,
}

/// The future of [`sleep`] and [`sleep_until`]. It may move between runtimes and threads; it is armed where it is first polled. Polled again after its
/// end it is over at once.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: Instant,
    armed: Armed,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sets another end, whatever became of the last.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.armed = Armed::Not;
    }

    /// Whether it has been polled to its end.
    pub fn is_over(&self) -> bool {
        matches!(self.armed, Armed::Over)
    }

    fn arm(&self) -> Armed {
        match current() {
            Some(Current::Core(core)) => {
                let started = core.timers().at(self.deadline).into_future();
                Armed::Core(Stay::new(core.way().clone(), started))
            }
            Some(Current::Shared(shared)) => Armed::Shared(shared.timers().at(self.deadline).into_future()),
            None => Armed::Shared(process_timers().at(self.deadline).into_future()),
        }
    }
}

fn poll_started<H: Home>(started: &mut Started<H>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    Pin::new(started).poll(cx).map(|done| done.result)
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let ended = match &mut this.armed {
                Armed::Over => return Poll::Ready(()),
                Armed::Not if this.deadline <= Instant::now() => Ok(()),
                Armed::Not => {
                    this.armed = this.arm();
                    continue;
                }
                Armed::Shared(started) => ready!(poll_started(started, cx)),
                Armed::Core(stay) => {
                    let here = match current() {
                        Some(Current::Core(core)) => stay.get(core.way()),
                        _ => None,
                    };
                    match here {
                        Some(started) => ready!(poll_started(started, cx)),
                        // It has moved.
                        None => {
                            this.armed = Armed::Not;
                            continue;
                        }
                    }
                }
            };
            if ended.is_ok() || this.deadline <= Instant::now() {
                this.armed = Armed::Over;
                return Poll::Ready(());
            }
            // Refused, for want of a descriptor or in a forked child, or cancelled by the end of its runtime. It still ends when
            // it should: whoever polls looks again.
            this.armed = Armed::Not;
            std::thread::sleep(Duration::from_millis(1));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).field("over", &self.is_over()).finish()
    }
}

/// What [`timeout`] says when the time was over first (258).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over before the future was")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for Error {
    fn from(_: Elapsed) -> Error {
        Error::new(Code::WaitTimeout)
    }
}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Runs a future for so long at most, counted from this call. If both are over the future's output counts.
///
/// When the time is over the future stays in the [`Timeout`] until that is dropped: awaited by value, at once. What its drop loses
/// is lost; give it `&mut future` to keep it.
///
/// ```
/// use std::time::Duration;
/// use proactor::rt;
/// proactor::block_on(async {
///     assert_eq!(rt::timeout(Duration::from_secs(5), async { 7 }).await, Ok(7));
///     assert!(rt::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err());
/// });
/// ```
pub fn timeout<F: Future>(limit: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep(limit) }
}

/// As [`timeout`], until `deadline`.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_until(deadline) }
}

/// The future of [`timeout`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Timeout<F> {
    future: F,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Elapsed>> {
        // SAFETY: the future is pinned as this is, and never moved out; the sleep is Unpin.
        let (future, sleep) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.sleep)
        };
        if let Poll::Ready(output) = future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(sleep).poll(cx).map(|()| Err(Elapsed(())))
    }
}

/// What an [`Interval`] does about ticks nobody was there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTicks {
    /// They come at once, one after the other, until it has caught up. The default.
    #[default]
    Burst,
    /// The next tick comes a whole period after the late one.
    Delay,
    /// They are left out: the next tick comes at the next multiple of the period.
    Skip,
}

/// Ticks every `period`, the first at once.
///
/// ```
/// use std::time::Duration;
/// use proactor::rt;
/// proactor::block_on(async {
///     let mut ticks = rt::interval(Duration::from_millis(1));
///     let first = ticks.tick().await;
///     assert_eq!(ticks.tick().await - first, Duration::from_millis(1));
/// });
/// ```
///
/// A period of no time at all counts as one nanosecond.
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// As [`interval`], the first tick at `start`.
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval { sleep: sleep_until(start), period: period.max(Duration::from_nanos(1)), missed: MissedTicks::default() }
}

/// Ticks: see [`interval`].
#[derive(Debug)]
pub struct Interval {
    /// Until the next tick.
    sleep: Sleep,
    period: Duration,
    missed: MissedTicks,
}

impl Interval {
    /// What it does about ticks that were missed: [`MissedTicks::Burst`] by default.
    #[must_use]
    pub fn missed_ticks(mut self, missed: MissedTicks) -> Interval {
        self.missed = missed;
        self
    }

    /// The time from tick to tick.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Waits for the next tick, and gives the moment it was due at. Dropping the future loses no tick.
    pub async fn tick(&mut self) -> Instant {
        (&mut self.sleep).await;
        let due = self.sleep.deadline();
        let (now, next) = (Instant::now(), due.checked_add(self.period));
        let next = match (self.missed, next) {
            (MissedTicks::Delay, Some(next)) if next <= now => now.checked_add(self.period),
            (MissedTicks::Skip, Some(next)) if next <= now => {
                let behind = (now - due).as_nanos() % self.period.as_nanos();
                let ahead = self.period - Duration::from_nanos(behind as u64);
                now.checked_add(ahead)
            }
            (_, next) => next,
        };
        self.sleep.reset(next.unwrap_or(now + FAR));
        due
    }
}
