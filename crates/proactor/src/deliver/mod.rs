//! Deliveries: where an operation's one completion goes.
//!
//! Contract: the backend calls [`complete`] exactly once for each started operation, after it settled the header and
//! with nothing of it in the kernel's hands. The match below is the only place that knows the deliveries; a new one is
//! a variant of [`Delivery`], an arm here, and a module with its front.

mod after;
mod blocking;
mod future;
pub(crate) mod handler;
pub(crate) mod overlapped;
pub(crate) mod packet;
mod promise;
pub(crate) mod routine;

use std::ptr::NonNull;

use crate::backend;
use crate::buf::Buffers;
use crate::error::{Code, Error};
use crate::handle::Handle;
use crate::op::{Delivery, Header, Op, Value, take_shell};
use crate::port::Entry;

pub(crate) use after::After;
#[allow(unused_imports, reason = "as there")]
pub(crate) use after::Later;
pub use future::block_on;
pub use overlapped::Overlapped;
pub use promise::{Promise, Promised, promise};

/// Where a backend puts completed packets: a port's queue, or the thread that is fetching right now.
pub(crate) trait Packets {
    fn packet(&mut self, entry: Entry);
    /// User code that the delivery leaves to run: a backend that holds something does it later.
    fn after(&mut self, after: After);
}

/// Delivers a settled operation.
///
/// # Safety
/// The caller owns the block; the operation is over and nothing outside holds its addresses. The block is the
/// delivery's afterwards.
#[inline(always)]
pub(crate) unsafe fn complete(header: NonNull<Header>, packets: &mut impl Packets) {
    // SAFETY: owned by the caller until the routes below hand it on; an overlapped handle may look at `delivery`
    // meanwhile, so only that is shared and only `work` is written.
    unsafe {
        let block = header.as_ptr();
        let budget = std::mem::take(&mut (*block).work.budget);
        if let (Some(object), true) = ((*block).object, budget > 0) {
            object.as_ref().sent(budget);
        }
        match &(*block).delivery {
            Delivery::Packet | Delivery::Part | Delivery::Handler(_) => packets.packet(Entry::of_block(header)),
            Delivery::Overlapped(_) => overlapped::complete(header, packets),
            Delivery::Routine(_) => {
                if routine::complete(header) {
                    packets.after(After::Free(header));
                }
            }
            Delivery::None => unreachable!("an operation without a delivery was started"),
        }
    }
}

/// Delivers one of several completions of an operation that goes on.
///
/// # Safety
/// The caller owns the operation, whose delivery is a packet and whose object is alive.
#[inline]
pub(crate) unsafe fn part(of: NonNull<Header>, bytes: usize, value: Value, packets: &mut impl Packets) {
    let shell = take_shell();
    // SAFETY: the shell is fresh and ours; the operation is the caller's, its count keeps the object while the shell takes
    // one of its own.
    unsafe {
        let (work, part) = (&(*of.as_ptr()).work, shell.as_ptr());
        let object = (*of.as_ptr()).object;
        if let Some(object) = object {
            object.as_ref().operation_added();
        }
        (*part).object = object;
        (*part).delivery = Delivery::Part;
        (*part).work.op = match work.op {
            Op::AcceptMulti => Op::AcceptMulti,
            _ => Op::RecvMulti,
        };
        (*part).work.bytes = bytes;
        (*part).work.result = Ok(value);
    }
    packets.packet(Entry::of_block(shell));
}

/// Runs a user's drop on a thread that has other people's completions in hand: a panic in it is reported and goes no
/// further.
pub(crate) fn unharmed(drop: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(drop)).is_err() {
        log::error!("proactor: dropping the contents of a finished operation panicked");
    }
}

/// What every delivery checks before it starts an operation. Returns the send budget taken; an operation count of the
/// object is taken with it.
#[inline(always)]
pub(crate) fn check_and_admit(handle: &Handle, op: &Op, buffers: &Buffers) -> Result<usize, Error> {
    backend::check_fork()?;
    if !matches!(op, Op::Recv | Op::Send) || buffers.count() != 1 {
        check(op, buffers)?;
    }
    handle.admit(op, || buffers.total())
}

/// Whether the operation makes sense with these buffers.
#[inline(never)]
fn check(op: &Op, buffers: &Buffers) -> Result<(), Error> {
    let wants_buffers = !matches!(
        op,
        Op::Accept
            | Op::AcceptMulti
            | Op::RecvMulti
            | Op::Connect { .. }
            | Op::PipeConnect
            | Op::Ready { .. }
            | Op::Shutdown { .. }
            | Op::Disconnect { .. }
            | Op::Transmit(_)
            | Op::Sync { .. }
            | Op::Open { .. }
            | Op::Close
            | Op::Allocate { .. }
            | Op::SetLen { .. }
            | Op::Metadata
            | Op::Timer { .. }
            | Op::Awaited { .. }
            | Op::Exited
            | Op::Raw
            | Op::Post
    );
    if wants_buffers && buffers.count() == 0 {
        return Err(Error::new(Code::InvalidParameter).hint("the list of buffers is empty; give at least one").of(op.kind()));
    }
    if buffers.count() > Buffers::MOST {
        return Err(Error::new(Code::InvalidParameter).hint("more than 1024 buffers in one operation; use fewer").of(op.kind()));
    }
    if matches!(op, Op::Transmit(_)) && buffers.count() > 2 {
        let hint = "a file is sent with one buffer before it and one after it, not more";
        return Err(Error::new(Code::InvalidParameter).hint(hint).of(op.kind()));
    }
    op.check_numbers()
}
