//! The wake protocol of a port: a packet that may be taken always has somebody on the way to it.
//!
//! Who queues a packet: push, then [`Wake::pushed`]; who leaves or gives back some: [`Wake::left`]. Who waits: [`Gate::idle_begin`], which looks at the queue again,
//! then the poll, then [`Gate::idle_end`] and, if the gate wants it, a refill. Who was kicked returns the token with
//! [`Wake::kicked`] before it pops, and calls `left` for what it leaves in the queue: edges of one eventfd coalesce, so
//! one token is passed along.
//!
//! | atomic | partner |
//! |---|---|
//! | queue push (a SeqCst +1 of its tail) or a fence, `counts` load | `counts` idle +1 or slots −1, fence, queue look: one of the two sees the other |
//! | `notified` seen true, or swapped so, after the push | swap false by the kicked, before it pops: it sees what was pushed before a kick left out |

use super::gate::Gate;
use crate::shim::{AtomicU32, Ordering, fence, fence_after_rmw};

const FREE: u32 = 0;
const ON_ITS_WAY: u32 = 1;

/// Who must hear of a packet that was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Call {
    /// Nobody waits, or somebody is on the way.
    Nobody,
    /// Signal the poll.
    Signal,
    /// Threads wait, but all that may run do: the block monitor sees to it that they do run.
    Monitor,
}

/// The one kick that may be on its way into the poll.
pub(crate) struct Wake {
    notified: AtomicU32,
}

impl Wake {
    pub fn new() -> Wake {
        Wake { notified: AtomicU32::new(FREE) }
    }

    /// After a packet was queued: the push itself is in one order with the look at the counters.
    #[inline]
    pub fn pushed(&self, gate: &Gate) -> Call {
        self.look(gate)
    }

    /// After packets were seen in the queue, or given back to it.
    pub fn left(&self, gate: &Gate) -> Call {
        fence(Ordering::SeqCst);
        self.look(gate)
    }

    #[inline]
    fn look(&self, gate: &Gate) -> Call {
        let counts = gate.counts();
        match (counts.idle() > 0, gate.admits(counts)) {
            (false, _) => Call::Nobody,
            (true, false) => Call::Monitor,
            (true, true) if self.kick() => Call::Signal,
            (true, true) => Call::Nobody,
        }
    }

    /// Takes the token: whether the caller must signal the poll.
    pub fn kick(&self) -> bool {
        self.notified.load(Ordering::SeqCst) == FREE && self.notified.swap(ON_ITS_WAY, Ordering::SeqCst) == FREE
    }

    /// The poll reported the signal: the next packet kicks again.
    pub fn kicked(&self) {
        self.notified.swap(FREE, Ordering::SeqCst);
        fence_after_rmw();
    }
}
