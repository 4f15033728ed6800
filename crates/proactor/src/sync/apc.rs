//! A thread's queue of APCs: what others, and its own completions, have it run inside its next alertable wait.
//!
//! Contract: any thread queues; the thread itself alone takes out and runs, one at a time, so that a panic in one loses none
//! of the rest. Closed at the thread's end: what is queued later is refused. Who queues wakes the thread's alertable wait.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;

use super::record::{Claim, Record};
use crate::op::Header;
use crate::shim::{Mutex, lock};

/// One entry.
#[allow(dead_code, reason = "waitable timers name their calls, to take them back")]
pub(crate) enum Apc {
    /// A user's (0), or one of the library's objects, which may name it to take it back.
    Call { run: Box<dyn FnOnce() + Send>, name: usize },
    /// The completion of an operation that this thread started with a routine.
    Routine(NonNull<Header>),
}

// SAFETY: a call is Send; a routine's block is only moved through here: its closure is run and dropped on the thread that
// owns the queue, its cargo is the library's lowered buffers, whose memory any thread may hold.
unsafe impl Send for Apc {}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Apc>,
    /// The thread's alertable wait.
    waiting: Option<Arc<Record>>,
    closed: bool,
}

#[derive(Default)]
pub(crate) struct Queue(Mutex<Inner>);

impl Queue {
    /// Queues an entry, and ends the thread's alertable wait if there is one. Gives it back if the thread has ended.
    pub fn push(&self, apc: Apc) -> Result<(), Apc> {
        let claimed = {
            let mut inner = lock(&self.0);
            if inner.closed {
                return Err(apc);
            }
            inner.queue.push_back(apc);
            // Under the lock: the record is this wait's only as long as it is here.
            inner.waiting.as_ref().filter(|record| record.claim(Claim::Apc)).cloned()
        };
        if let Some(record) = claimed {
            record.wake();
        }
        Ok(())
    }

    #[allow(dead_code, reason = "as above")]
    /// Takes back what is queued by this name; it is the caller's to drop.
    pub fn withdraw(&self, name: usize) -> Option<Apc> {
        let mut inner = lock(&self.0);
        let at = inner.queue.iter().position(|apc| matches!(apc, Apc::Call { name: n, .. } if *n == name))?;
        inner.queue.remove(at)
    }

    pub fn len(&self) -> usize {
        lock(&self.0).queue.len()
    }

    /// The thread's alertable wait begins, inside another perhaps, which is given back. From now on a push ends it; if
    /// something is queued already it ends at once.
    pub fn alertable(&self, record: &Arc<Record>) -> Option<Arc<Record>> {
        let (before, pending) = {
            let mut inner = lock(&self.0);
            (inner.waiting.replace(record.clone()), !inner.queue.is_empty())
        };
        if pending {
            record.claim(Claim::Apc);
        }
        before
    }

    /// It is over. What was queued after it was claimed for something else ends the wait around it.
    pub fn not_alertable(&self, before: Option<Arc<Record>>) {
        let mut inner = lock(&self.0);
        if let Some(record) = &before
            && !inner.queue.is_empty()
        {
            // It is this thread's, which looks before it sleeps again.
            record.claim(Claim::Apc);
        }
        inner.waiting = before;
    }

    pub fn pop(&self) -> Option<Apc> {
        lock(&self.0).queue.pop_front()
    }

    /// The thread ends: what is queued comes back, and nothing is queued any more.
    pub fn close(&self) -> VecDeque<Apc> {
        let mut inner = lock(&self.0);
        inner.closed = true;
        std::mem::take(&mut inner.queue)
    }
}
