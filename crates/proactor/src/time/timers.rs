//! Timers at scale: an object whose operations end at a moment.

use std::time::{Duration, Instant};

use super::{NEVER, nanos_of};
use crate::backend;
use crate::buf::NoBuffer;
use crate::error::{Code, Error};
use crate::handle::{Handle, Kind, Limits, Object, Which, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{Op, OpKind, Operation, Ticket};

/// A source of timers: as many as wanted, each an operation, with the delivery its user chooses.
///
/// An object like a socket: associate it with a port and a timer's completion is a packet there; without a port it lives on the
/// process's own, and `.start()` gives a handle. Arming, cancelling and firing take constant time whatever is armed, and
/// nothing is allocated for a timer besides its block. Cloning shares it; dropping the last handle cancels what is armed.
///
/// A timer never fires before its deadline. Deadlines are rounded up to the next 8.2 µs of the library's clock, and equal ones
/// fire in the order they were started in. The clock is [`Instant`]'s: it does not follow the time of day.
///
/// ```
/// use std::time::{Duration, Instant};
/// use proactor::{Block, CompletionPort, Concurrency, time::Timers};
///
/// let port: CompletionPort<&str, usize> = CompletionPort::new(Concurrency::Cores)?;
/// let timers = Timers::new();
/// port.associate(&timers, 7)?;
/// let begin = Instant::now();
/// timers.after(Duration::from_millis(2)).packet(Block::new("later"))?;
/// let never = timers.after(Duration::from_secs(3600)).packet(Block::new("cancelled"))?;
/// timers.cancel(never)?;
///
/// let first = port.get(None)?.packet().unwrap();
/// assert_eq!(first.done.result.unwrap_err().code(), proactor::Code::Cancelled);
/// let second = port.get(None)?.packet().unwrap();
/// assert_eq!((second.key, *second.block.unwrap()), (7, "later"));
/// assert!(begin.elapsed() >= Duration::from_millis(2));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Timers<H: Home = Shared> {
    inner: Opaque<H>,
}

object!(Timers);

impl Default for Timers {
    fn default() -> Timers {
        Timers::new()
    }
}

impl Timers {
    /// Timers, none armed. The first that is armed takes a descriptor from the system on Linux, the object's only one: where
    /// descriptors may run out, arm one early. There is no limit to their number but memory; [`set_limits`](Timers::set_limits) sets one.
    pub fn new() -> Timers {
        let handle = Handle::new(Kind::Timers, backend::ObjectState::timers());
        handle.set_limits(Limits { operations: u32::MAX - 1, ..Limits::default() });
        Timers::from_handle(handle)
    }
}

impl<H: Home> Timers<H> {
    /// Completes when `delay` has passed from now (from this call, not from the start). No delay at all is due at once.
    ///
    /// Brings nothing and moves no bytes. Errors: `Cancelled`. On Linux one timerfd stands behind all timers of an object, or
    /// on a per-thread port the end of the port's wait; on Windows one high-resolution waitable timer behind all of the
    /// process.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// let begin = Instant::now();
    /// let timers = proactor::time::Timers::new();
    /// timers.after(Duration::from_millis(1)).start()?.wait().result?;
    /// assert!(begin.elapsed() >= Duration::from_millis(1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn after(&self, delay: Duration) -> Operation<'_, NoBuffer, (), H> {
        self.operation(Instant::now().checked_add(delay))
    }

    /// Completes at `deadline`, or at once if that has passed. Otherwise as [`after`](Timers::after).
    #[inline]
    pub fn at(&self, deadline: Instant) -> Operation<'_, NoBuffer, (), H> {
        self.operation(Some(deadline))
    }

    #[inline]
    fn operation(&self, deadline: Option<Instant>) -> Operation<'_, NoBuffer, (), H> {
        // Past the clock's end it is armed for ever.
        let at = deadline.map_or(NEVER, nanos_of);
        Operation::new(self.handle(), Op::Timer { at }, NoBuffer)
    }

    /// Posts a packet without a block when `delay` has passed: it brings the timers' key, and `token` as its bytes
    /// (`PostQueuedCompletionStatus`, later). The least that a timer can cost: no block, no memory beside the wheel.
    ///
    /// The ticket cancels it ([`cancel`](Timers::cancel)): then no packet comes. `NotFound` says that it has been queued. So
    /// do [`cancel_all`](Timers::cancel_all), and dropping the last handle; `cancel_thread` leaves it.
    ///
    /// # Errors
    /// [`Code::InvalidParameter`] without a port, [`Code::InvalidHandle`] if it is closed, [`Code::TooManyOperations`] at the
    /// object's [`Limits`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use proactor::{CompletionPort, time::Timers};
    /// let port: CompletionPort<(), usize> = CompletionPort::new(1)?;
    /// let timers = Timers::new();
    /// port.associate(&timers, 7)?;
    /// let never = timers.post_after(Duration::from_secs(3600), 1)?;
    /// timers.post_after(Duration::from_millis(1), 2)?;
    /// timers.cancel(never)?;
    /// let packet = port.get(None)?.packet().unwrap();
    /// assert_eq!((packet.key, packet.done.bytes), (7, 2));
    /// # Ok::<(), proactor::Error>(())
    /// ```
    #[inline]
    pub fn post_after(&self, delay: Duration, token: usize) -> Result<Ticket, Error> {
        self.post(Instant::now().checked_add(delay).map_or(NEVER, nanos_of), token)
    }

    /// As [`post_after`](Timers::post_after), at `deadline`.
    #[inline]
    pub fn post_at(&self, deadline: Instant, token: usize) -> Result<Ticket, Error> {
        self.post(nanos_of(deadline), token)
    }

    #[inline]
    fn post(&self, at: u64, token: usize) -> Result<Ticket, Error> {
        let handle = self.handle();
        backend::check_fork()?;
        let home = handle.home().filter(|home| home.port.contract().block_type.is_some());
        let (Some(home), Some(timing)) = (home, handle.sys.timing()) else {
            let hint = "associate the timers with a completion port first";
            return Err(Error::new(Code::InvalidParameter).hint(hint).of(OpKind::Timer));
        };
        let closed = || Error::new(Code::InvalidHandle).hint("the completion port is closed").of(OpKind::Timer);
        if home.port.is_closed() {
            return Err(closed());
        }
        handle.admit(&Op::Timer { at }, || 0)?;
        let Some(ticket) = timing.post(handle.object(), token, at) else {
            // SAFETY: the count that was admitted just now.
            unsafe { Object::operation_ended(handle.object()) };
            return Err(Error::new(Code::InsufficientResources).of(OpKind::Timer));
        };
        // As for a packet's operation: a close may have looked before it was armed.
        if home.port.is_closed() {
            backend::cancel(handle, Which::Packets);
            return Err(closed());
        }
        Ok(ticket)
    }
}
