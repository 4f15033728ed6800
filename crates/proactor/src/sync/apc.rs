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
pub(crate) enum Apc {
    /// A user's, or one of the library's objects, which may name it to take it back.
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
        let waiting = {
            let mut inner = lock(&self.0);
            if inner.closed {
                return Err(apc);
            }
            inner.queue.push_back(apc);
            inner.waiting.clone()
        };
        if let Some(record) = waiting
            && record.claim(Claim::Apc)
        {
            record.wake();
        }
        Ok(())
    }

    /// Takes back what is queued by this name; it is the caller's to drop.
    pub fn withdraw(&self, name: usize) -> Option<Apc> {
        let mut inner = lock(&self.0);
        let at = inner.queue.iter().position(|apc| matches!(apc, Apc::Call { name: n, .. } if *n == name))?;
        inner.queue.remove(at)
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.0).queue.is_empty()
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

    /// It is over.
    pub fn not_alertable(&self, before: Option<Arc<Record>>) {
        lock(&self.0).waiting = before;
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
