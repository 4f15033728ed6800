//! Posts from other threads: a queue, and an eventfd the ring polls.
//!
//! | atomic | partner |
//! |---|---|
//! | queue push or `nudged` store, fence, `asleep` swap | `asleep` store, fence, queue and `nudged` look: one of the two sees the other |
//! | `calls` push, `called` store, fence, `asleep` swap | `asleep` store, fence, `called` look; `called` cleared before `calls` is emptied |
//! | queue push, `closed` load | `closed` store, queue emptied: one of the two drops the packet |

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::SegQueue;

use super::super::epoll::{eventfd, signal};
use crate::backend::Contract;
use crate::cancel::Tree;
use crate::error::Error;
use crate::port::Entry;

pub(crate) struct Remote {
    queue: SegQueue<Entry>,
    /// Tokens that another thread cancelled, with operations of this port.
    calls: SegQueue<Arc<Tree>>,
    /// There may be such.
    called: AtomicBool,
    /// The owner waits in the kernel, or is about to.
    asleep: AtomicBool,
    closed: AtomicBool,
    /// Something besides a post is to be looked at before the owner sleeps.
    nudged: AtomicBool,
    pub wake: OwnedFd,
    contract: Contract,
}

impl Remote {
    pub fn new(contract: Contract) -> Result<Remote, Error> {
        Ok(Remote {
            queue: SegQueue::new(),
            calls: SegQueue::new(),
            called: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            nudged: AtomicBool::new(false),
            wake: eventfd()?,
            contract,
        })
    }

    /// From any thread.
    pub fn post(&self, entry: Entry) -> Result<(), Entry> {
        if self.is_closed() {
            return Err(entry);
        }
        self.queue.push(entry);
        self.rouse();
        if self.is_closed() {
            self.drain();
        }
        Ok(())
    }

    /// From any thread: has the owner look at its timers before it sleeps on.
    pub fn nudge(&self) {
        self.nudged.store(true, Ordering::Release);
        self.rouse();
    }

    fn rouse(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            signal(&self.wake);
        }
    }

    /// From any thread: the owner is to cancel its operations of this token. A closed port may still have some.
    pub fn call(&self, tree: Arc<Tree>) {
        self.calls.push(tree);
        self.called.store(true, Ordering::SeqCst);
        self.rouse();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    // ---- the owner's side ----

    /// Does what was called for. With nothing of the port borrowed.
    #[inline]
    pub fn answer(&self) {
        if self.called.load(Ordering::Relaxed) {
            self.answer_all();
        }
    }

    #[cold]
    fn answer_all(&self) {
        self.called.store(false, Ordering::SeqCst);
        while let Some(tree) = self.calls.pop() {
            tree.cancel_own();
        }
    }

    pub fn pop(&self) -> Option<Entry> {
        self.queue.pop()
    }

    /// Whether the owner may wait; a post from now on wakes it.
    pub fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let nudged = self.nudged.load(Ordering::Relaxed) && self.nudged.swap(false, Ordering::Acquire);
        self.queue.is_empty() && !nudged && !self.called.load(Ordering::SeqCst)
    }

    pub fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.drain();
    }

    /// Posted from another thread, an entry may be dropped on any.
    fn drain(&self) {
        while let Some(entry) = self.queue.pop() {
            entry.discard(&self.contract);
        }
    }
}
