//! Timers at scale: an object whose operations end at a moment.

use std::time::{Duration, Instant};

use super::{NEVER, nanos_of};
use crate::backend;
use crate::buf::NoBuffer;
use crate::handle::{Handle, Kind, Limits, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{Op, Operation};

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
    /// Timers, none armed. There is no limit to their number but memory; [`set_limits`](Timers::set_limits) sets one.
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
}
