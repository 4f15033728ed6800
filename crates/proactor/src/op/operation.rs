//! The typed front: an operation described, not yet started.

use std::marker::PhantomData;

use super::Op;
use crate::deliver::Modifiers;
use crate::handle::Handle;
use crate::home::{Home, Shared};

/// An operation described: what is asked, of which object, with which buffer. Nothing starts until a delivery is chosen:
///
/// | last word | the completion is |
/// |---|---|
/// | [`.wait()`](Operation::wait), [`.wait_timeout(d)`](Operation::wait_timeout) | what the call returns |
/// | [`.packet(block)`](Operation::packet) | a packet on the port the object is associated with |
/// | [`.then(f)`](Operation::then) | a call of `f` by a thread inside that port's `get` |
/// | `.await` | what the future gives, on any executor |
/// | [`.start()`](Operation::start) | an [`Overlapped`](crate::Overlapped) handle: ask, wait, cancel |
/// | [`.routine(f)`](Operation::routine) | a call of `f` on this thread, inside an alertable wait |
///
/// Before that, [`timeout`](Operation::timeout), [`deadline`](Operation::deadline) and [`cancel_on`](Operation::cancel_on) say when
/// it is to be given up, whatever the delivery.
#[must_use = "an operation does nothing until a delivery is chosen: .await, .wait(), .start(), .packet(block), .then(f) or .routine(f)"]
pub struct Operation<'o, C, T, H: Home = Shared> {
    pub(crate) handle: &'o Handle,
    pub(crate) op: Op,
    pub(crate) cargo: C,
    pub(crate) modifiers: Modifiers,
    brings: PhantomData<fn() -> T>,
    home: PhantomData<H>,
}

impl<'o, C, T, H: Home> Operation<'o, C, T, H> {
    #[inline]
    pub(crate) fn new(handle: &'o Handle, op: Op, cargo: C) -> Operation<'o, C, T, H> {
        Operation { handle, op, cargo, modifiers: Modifiers::NONE, brings: PhantomData, home: PhantomData }
    }
}

impl<'o, C, T, H: Home> Operation<'o, C, T, H> {
    /// The same with its buffers carried in another way.
    pub(crate) fn map_cargo<D>(self, map: impl FnOnce(C) -> D) -> Operation<'o, D, T, H> {
        let Operation { handle, op, cargo, modifiers, .. } = self;
        Operation { handle, op, cargo: map(cargo), modifiers, brings: PhantomData, home: PhantomData }
    }
}

impl<C, T, H: Home> std::fmt::Debug for Operation<'_, C, T, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {:?}", self.op.kind(), self.handle)
    }
}
