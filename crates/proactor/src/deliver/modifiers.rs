//! What may be asked of any operation before its delivery is chosen: a deadline, a token that cancels it.
//!
//! Contract: [`launch`] starts a begun operation, [`complete`](super::complete) undoes what that attached before the completion goes
//! anywhere. In between the wheel of the port's deadlines and the token know the operation. Each looks at it under its own lock only,
//! where the operation is taken off its list as well: so what is listed is alive, and its object with it.
//!
//! | race | answer |
//! |---|---|
//! | a deadline passes before the start has returned | a deadline stays armed, a little later each time, until the completion takes it out |
//! | a token is cancelled before the start has returned | the start looks at the token afterwards; both sides have a fence between |
//! | the real result comes first | it is the result: a cancel that finds nothing does nothing |

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use crate::backend;
use crate::cancel::{CancelToken, Cancellation, Tree};
use crate::error::{Code, Error};
use crate::handle::{Handle, Kept, Which};
use crate::home::Home;
use crate::op::{Boxed, Header, Operation, Ticket};
use crate::time::{NEVER, NOWHERE, Place, nanos_of};

/// How long after its deadline an operation is asked again, if it is still there; doubled each time.
const AGAIN: u64 = 1_000_000;
const MOST_DOUBLINGS: u32 = 10;

/// What is asked, before the start.
#[derive(Clone)]
pub(crate) struct Modifiers {
    /// In nanoseconds of this process's clock.
    pub(crate) deadline: u64,
    pub(crate) token: Option<Arc<Tree>>,
    /// The least that a cancel must put up with, besides what the operation itself asks.
    pub(crate) harm: Cancellation,
}

impl Modifiers {
    pub const NONE: Modifiers = Modifiers { deadline: NEVER, token: None, harm: Cancellation::Total };

    #[inline]
    pub fn is_none(&self) -> bool {
        self.deadline == NEVER && self.token.is_none()
    }

    /// A deadline so much later than now; the earlier of two counts.
    pub fn within(&mut self, time: Duration) {
        if let Some(end) = Instant::now().checked_add(time) {
            self.until(end);
        }
    }

    pub fn until(&mut self, end: Instant) {
        self.deadline = self.deadline.min(nanos_of(end));
    }

    /// The last token counts.
    pub fn cancelled_by(&mut self, token: &CancelToken) {
        self.token = Some(token.tree().clone());
    }

    /// What can fail of it, before the operation is admitted. The object has its home.
    #[inline]
    pub fn check(&self, handle: &Handle) -> Result<(), Error> {
        if self.deadline == NEVER {
            return Ok(());
        }
        match handle.home() {
            Some(home) => home.port.make_deadlines(),
            None => Err(Error::new(Code::InvalidHandle)),
        }
    }
}

/// What is attached, until the completion.
pub(crate) struct Attached {
    /// In the wheel of the port's deadlines. Under that wheel's lock.
    place: Place,
    /// How often the deadline has passed. As `place`.
    times: u32,
    /// Whether it has a deadline at all.
    timed: bool,
    token: Option<(Arc<Tree>, u32)>,
}

/// Starts a begun operation, with what is asked besides. Where it is, if it is a timer.
///
/// # Safety
/// As `backend::start`. The handle is that of the block's object; `check` has passed.
#[inline]
pub(crate) unsafe fn launch(header: NonNull<Header>, handle: &Handle, modifiers: Modifiers) -> Place {
    // SAFETY: the caller's promise.
    unsafe {
        match modifiers.is_none() {
            true => backend::start(header),
            false => launch_modified(header, handle, modifiers),
        }
    }
}

/// # Safety
/// As `launch`.
#[inline(never)]
unsafe fn launch_modified(header: NonNull<Header>, handle: &Handle, modifiers: Modifiers) -> Place {
    let Modifiers { deadline, token, harm } = modifiers;
    // SAFETY: the block is the caller's until it is started; what is attached then is guarded by the locks named above.
    unsafe {
        let block = header.as_ptr();
        let mut ticket = Ticket { block: block.addr(), sequence: (*block).work.sequence, place: NOWHERE };
        let harm = (*block).work.op.harm().max(harm);
        let Some(home) = handle.home() else { unreachable!("an operation was begun on an object without a home") };
        let member = match &token {
            None => None,
            Some(tree) => match tree.enter(handle.object(), ticket, harm, home.port.own_thread()) {
                Some(index) => Some((tree.clone(), index)),
                None => {
                    backend::end(header, Error::new(Code::Cancelled));
                    return NOWHERE;
                }
            },
        };
        (*block).attached = Some(Boxed::new(Attached { place: NOWHERE, times: 0, timed: deadline != NEVER, token: member }));
        if deadline != NEVER {
            home.port.deadlines(|timing| timing.guard(header, deadline));
        }
        ticket.place = backend::start(header);
        if let Some(tree) = token {
            fence(Ordering::SeqCst);
            if tree.cancels(harm) {
                backend::cancel(handle, Which::One(ticket));
            }
        }
        ticket.place
    }
}

/// The operation is over: nobody outside knows it any more. Names a cancel by the deadline for what it was.
///
/// # Safety
/// As `deliver::complete`; something is attached.
#[inline(never)]
pub(super) unsafe fn undo(header: NonNull<Header>) {
    // SAFETY: the block is the caller's, but for what is attached: that is read under the wheel's lock, and taken out of the
    // block when nobody lists that any more.
    unsafe {
        let block = header.as_ptr();
        let mut times = 0;
        let timed = (*block).attached.as_ref().is_some_and(|attached| (&raw const attached.timed).read());
        if let Some(home) = (*block).object.as_ref().and_then(|object| object.as_ref().home()).filter(|_| timed) {
            home.port.deadlines(|timing| times = timing.release(header));
        }
        if let Some((tree, index)) = (*block).attached.take().and_then(|attached| attached.into_inner().token) {
            tree.leave(index);
        }
        if times > 0 && (*block).work.result.as_ref().is_err_and(|error| error.code() == Code::Cancelled) {
            let hint = "the operation did not end in time and was cancelled; start it again if it is still wanted";
            (*block).work.result = Err(Error::new(Code::WaitTimeout).hint(hint));
        }
    }
}

/// Where a block's deadline is armed, and how often it has passed.
///
/// # Safety
/// The block has something attached and is not over; the caller has the lock of its port's deadlines.
pub(crate) unsafe fn guarded<'a>(header: NonNull<Header>) -> (&'a mut Place, &'a mut u32) {
    // SAFETY: the caller's promise; only under that lock are these two touched.
    unsafe {
        match &mut (*header.as_ptr()).attached {
            Some(attached) => {
                let attached: &mut Attached = attached;
                (&mut attached.place, &mut attached.times)
            }
            None => unreachable!("a guarded operation has its deadline attached"),
        }
    }
}

/// What to do for an operation whose deadline has passed, and when to look again.
///
/// # Safety
/// As `guarded`; the thread may touch the operation's object.
pub(crate) unsafe fn passed(header: NonNull<Header>, now: u64) -> (Kept, Ticket, u64) {
    // SAFETY: listed, so begun and not over: its object is alive, and neither that nor its sequence changes.
    unsafe {
        let (_, times) = guarded(header);
        let wait = AGAIN << (*times).min(MOST_DOUBLINGS);
        *times += 1;
        let block = header.as_ptr();
        let ticket = Ticket { block: block.addr(), sequence: (*block).work.sequence, place: NOWHERE };
        match (*block).object {
            Some(object) => (Kept::new(object), ticket, now.saturating_add(wait)),
            None => unreachable!("a started operation has its object"),
        }
    }
}

impl<C, T, H: Home> Operation<'_, C, T, H> {
    /// Gives the operation so much time, counted from this call. When that has passed the library cancels it, and its result is
    /// [`Code::WaitTimeout`] (258), which no user's cancel gives; the bytes transferred so far are counted and the buffer comes
    /// back. A real result that won the race is delivered as it is.
    ///
    /// With every delivery. What cannot be cancelled, as a file's operation that has begun, ends late with its real result. On a
    /// port the time is looked at by the threads inside `get`, as its timers are. It costs two turns of the port's timer wheel;
    /// nothing is allocated in the steady state.
    ///
    /// Starting it can fail, besides, with [`Code::TooManyDescriptors`] at a port's first use of a timeout.
    ///
    /// ```
    /// use std::time::Duration;
    /// use proactor::{Code, net::UdpSocket};
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// let done = socket.recv_from(vec![0; 64]).timeout(Duration::from_millis(5)).wait();
    /// assert_eq!(done.result.unwrap_err().code(), Code::WaitTimeout);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn timeout(mut self, time: Duration) -> Self {
        self.modifiers.within(time);
        self
    }

    /// As [`timeout`](Operation::timeout), until a moment. The earlier of two deadlines counts.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use proactor::{Code, net::UdpSocket};
    /// let end = Instant::now() + Duration::from_millis(5);
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// // Both within the same five milliseconds.
    /// assert!(socket.recv_from(vec![0; 64]).deadline(end).wait().result.is_err());
    /// assert!(socket.recv_from(vec![0; 64]).deadline(end).wait().result.is_err());
    /// assert!(Instant::now() >= end);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn deadline(mut self, end: Instant) -> Self {
        self.modifiers.until(end);
        self
    }

    /// Has the token cancel the operation. An operation started on a token that is cancelled already ends as
    /// [`Code::Cancelled`] through its delivery, without being tried. One token counts, the last.
    ///
    /// ```
    /// use proactor::{CancelToken, Code, net::UdpSocket};
    /// let token = CancelToken::new();
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// let op = socket.recv_from(vec![0; 64]).cancel_on(&token).start()?;
    /// token.cancel();
    /// assert_eq!(op.wait().result.unwrap_err().code(), Code::Cancelled);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cancel_on(mut self, token: &CancelToken) -> Self {
        self.modifiers.cancelled_by(token);
        self
    }
}
