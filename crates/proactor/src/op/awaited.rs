//! Operations that are over when something outside the kernel says so: a name is resolved, a signal has come, a permit is free.
//!
//! Contract: such an operation lies in the wheel of its object (`time/armed.rs`) like a timer whose moment may never come, so
//! every port and every delivery has it, and cancelling it, dropping its object and closing its port are what they are for a
//! timer. Its [`Source`] is told once that it begins, by the starting thread, and once that it is over. In between the source
//! may complete it, from any thread.
//!
//! | who | does | and the other |
//! |---|---|---|
//! | [`Waiting::complete`] | takes it out of the wheel, under its lock, and delivers it | a cancel finds nothing |
//! | a cancel, a close | takes it out likewise, and delivers `Cancelled` | `complete` finds nothing, and gives the result back |

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Header, Op, OpKind, Ticket, Value};
use crate::backend;
use crate::error::Error;
use crate::time::Place;

/// Where the end of an operation comes from.
pub(crate) trait Source: Send + Sync {
    /// An operation begins. Calls `arm` once, with the latest moment it ends at, in nanoseconds of this process's clock; what
    /// that gives completes it before, and is nothing if the system has no memory for it. The port may be borrowed by the
    /// caller: nothing but the library's own may run in here, and no other operation be completed.
    fn begin(self: Arc<Self>, arm: &mut dyn FnMut(u64) -> Option<Waiting>);

    /// The operation of this number is over, and its delivery about to begin. As in `begin`, nothing of the user's may run.
    fn over(&self, sequence: u64);
}

impl fmt::Debug for dyn Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a source")
    }
}

/// Asks for an operation of a source's.
pub(crate) fn awaited(kind: OpKind, source: Arc<dyn Source>) -> Op {
    Op::Awaited { kind, source: Some(source) }
}

/// The right to complete one operation, if it is still there. Keeps neither the operation nor its object.
pub(crate) struct Waiting {
    timing: Arc<backend::Timing>,
    ticket: Ticket,
}

impl Waiting {
    /// The operation's number, the same that `over` is told.
    pub fn sequence(&self) -> u64 {
        self.ticket.sequence
    }

    /// Completes the operation, with no lock held: it may run the code of whoever waits. The result comes back if the operation is
    /// over already.
    pub fn complete(&self, result: Result<Value, Error>) -> Result<(), Result<Value, Error>> {
        if backend::check_fork().is_err() {
            return Ok(());
        }
        self.timing.fulfil(self.ticket, result)
    }
}

/// Has an operation begin: arms it by `arm`, at a moment, and tells its source. Where it is, if there was room.
///
/// # Safety
/// The block is begun, the caller's alone, and its object's timing is this; it is the wheel's once it is armed.
pub(crate) unsafe fn begin(
    header: NonNull<Header>,
    timing: &Arc<backend::Timing>,
    mut arm: impl FnMut(u64) -> Option<Place>,
) -> Option<Place> {
    // SAFETY: the caller's promise.
    let (source, sequence) = match unsafe { &(*header.as_ptr()).work } {
        work @ super::Work { op: Op::Awaited { source: Some(source), .. }, .. } => (source.clone(), work.sequence),
        _ => unreachable!("it begins once, with its source"),
    };
    let mut place = None;
    source.begin(&mut |at| {
        place = arm(at);
        let ticket = Ticket { block: header.as_ptr().addr(), sequence, place: place? };
        Some(Waiting { timing: timing.clone(), ticket })
    });
    place
}
