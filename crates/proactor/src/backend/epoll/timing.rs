//! Timers on a shared port: each object of them has a timerfd in the port's instance, set to its earliest deadline. On a
//! thread's own ring (`local/`) the end of its wait takes the timerfd's place.
//!
//! A thread that is told of the timerfd delivers what is due. One that comes while another does leaves it to that.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::super::local::Remote;
use super::port::{Port, TIMERS, ToQueue};
use super::sys;
use crate::deliver::Packets;
use crate::error::{Code, Error};
use crate::handle::Object;
use crate::op::{Header, Op, Ticket, Value, begin_awaited};
use crate::time::{Armed, NOWHERE, Place, until};

/// What timers are on Linux.
pub(crate) struct Timing {
    pub(in crate::backend) armed: Armed,
    alarm: OnceLock<Alarm>,
    home: OnceLock<Whose>,
}

/// Who delivers what is completed from elsewhere.
enum Whose {
    /// Whoever completes it.
    Anyones(Weak<Port>),
    /// The thread whose port it is, which is told by the timerfd.
    Owners,
    /// The same, told by its ring.
    Local(Arc<Remote>),
}

struct Alarm {
    timer: OwnedFd,
    /// Its place among the port's.
    index: usize,
}

impl Timing {
    pub fn new() -> Timing {
        Timing { armed: Armed::new(), alarm: OnceLock::new(), home: OnceLock::new() }
    }

    /// Arms an operation.
    #[inline]
    pub(in crate::backend) fn arm(self: &Arc<Self>, header: NonNull<Header>) -> Option<Place> {
        let arm = |at| self.armed.arm(header, at, |nanos| self.set(nanos));
        // SAFETY: begun, and the caller's alone, until it is armed.
        unsafe {
            match &(*header.as_ptr()).work.op {
                Op::Timer { at } => arm(*at),
                Op::Awaited { .. } => begin_awaited(header, self, arm),
                _ => unreachable!("timers have no other operations"),
            }
        }
    }

    /// Completes an operation that is armed, on the calling thread, or on the one whose port it is. The result comes back if the
    /// operation is not armed.
    pub fn fulfil(&self, ticket: Ticket, result: Result<Value, Error>) -> Result<(), Result<Value, Error>> {
        match self.home.get() {
            Some(Whose::Anyones(port)) => match port.upgrade() {
                Some(port) => {
                    let fulfilled = self.armed.fulfil(ticket, result, Some(&mut port.packets()));
                    port.settled();
                    fulfilled
                }
                // A port that is gone had nothing armed on it.
                None => Err(result),
            },
            Some(Whose::Owners) => {
                self.armed.fulfil(ticket, result, None::<&mut ToQueue<'_>>)?;
                self.set(0);
                Ok(())
            }
            Some(Whose::Local(port)) => {
                self.armed.fulfil(ticket, result, None::<&mut ToQueue<'_>>)?;
                port.nudge();
                Ok(())
            }
            None => Err(result),
        }
    }

    /// These are at home on the ring of one thread.
    pub(in crate::backend) fn settle_local(&self, port: Arc<Remote>) {
        let _ = self.home.set(Whose::Local(port));
    }

    /// Guards an operation, as `Armed::guard`.
    pub fn guard(&self, header: NonNull<Header>, at: u64) {
        self.armed.guard(header, at, |nanos| self.set(nanos));
    }

    /// As `Armed::release`.
    pub fn release(&self, header: NonNull<Header>) -> u32 {
        self.armed.release(header)
    }

    /// Arms a bare packet, as `Armed::post`.
    #[inline]
    pub fn post(&self, object: NonNull<Object>, token: usize, at: u64) -> Option<Ticket> {
        self.armed.post(object, token, at, |nanos| self.set(nanos))
    }

    fn set(&self, nanos: u64) {
        if let Some(alarm) = self.alarm.get() {
            sys::set_timer(&alarm.timer, until(nanos));
        }
    }
}

/// A port's timers, by what their events say.
#[derive(Default)]
pub(super) struct Timings(Mutex<Vec<Option<Arc<Timing>>>>);

impl Timings {
    fn list(&self) -> MutexGuard<'_, Vec<Option<Arc<Timing>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn each(&self) -> Vec<Arc<Timing>> {
        self.list().iter().flatten().cloned().collect()
    }
}

/// More timers than there are places for.
pub(in crate::backend) fn no_room() -> Error {
    Error::new(Code::InsufficientResources)
}

impl Port {
    pub(super) fn watch_timers(&self, timing: &Arc<Timing>) -> Result<(), Error> {
        let timer = sys::timerfd()?;
        let mut list = self.timings.list();
        let index = list.iter().position(Option::is_none).unwrap_or(list.len());
        let tag = TIMERS | index as u64;
        // An event that is left of another's in this place only has this one looked at.
        sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_ADD, timer.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, tag)?;
        if index == list.len() {
            list.push(None);
        }
        list[index] = Some(timing.clone());
        // Set once: a home is for life.
        let _ = timing.alarm.set(Alarm { timer, index });
        let _ = timing.home.set(if self.has_owner() { Whose::Owners } else { Whose::Anyones(self.this.clone()) });
        Ok(())
    }

    /// The wheel of its operations' deadlines, if any had one.
    pub fn deadlines(&self) -> Option<&Timing> {
        self.deadlines.get().map(Arc::as_ref)
    }

    /// Makes that wheel.
    pub fn make_deadlines(&self) -> Result<(), Error> {
        if self.deadlines.get().is_some() {
            return Ok(());
        }
        let timing = Arc::new(Timing::new());
        self.watch_timers(&timing)?;
        if self.deadlines.set(timing.clone()).is_err() {
            // Another thread was faster.
            self.unwatch_timers(&timing);
        }
        Ok(())
    }

    pub(super) fn unwatch_timers(&self, timing: &Timing) {
        if let Some(alarm) = timing.alarm.get() {
            self.unwatch(alarm.timer.as_raw_fd());
            self.timings.list()[alarm.index] = None;
        }
    }

    /// Arms a timer. Where it is.
    #[inline]
    pub(super) fn arm(&self, object: &Object, header: NonNull<Header>) -> Place {
        let Some(timing) = object.sys.timing() else { unreachable!("only timers are armed") };
        timing.arm(header).unwrap_or_else(|| {
            super::settle(header, 0, Err(no_room()), self);
            NOWHERE
        })
    }

    /// A timerfd has expired.
    pub(super) fn ring_out(&self, index: u64, packets: &mut impl Packets) {
        let timing = usize::try_from(index).ok().and_then(|index| self.timings.list().get(index).cloned().flatten());
        if let Some(timing) = timing {
            timing.armed.expire(packets, |nanos| timing.set(nanos));
        }
    }
}
