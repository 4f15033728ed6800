//! Posts from other threads: a queue, and an eventfd the ring polls.
//!
//! | atomic | partner |
//! |---|---|
//! | queue push, fence, `asleep` swap | `asleep` store, fence, queue look: one of the two sees the other |
//! | `poked` store, fence, `asleep` swap | `asleep` store, fence, `poked` look: the same |
//! | queue push, `closed` load | `closed` store, queue emptied: one of the two drops the packet |

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::SegQueue;

use super::super::epoll::{eventfd, signal};
use crate::backend::Contract;
use crate::error::Error;
use crate::port::Entry;

pub(crate) struct Remote {
    queue: SegQueue<Entry>,
    /// The owner waits in the kernel, or is about to.
    asleep: AtomicBool,
    closed: AtomicBool,
    /// The owner's wait is to end without a packet.
    poked: AtomicBool,
    pub wake: OwnedFd,
    contract: Contract,
}

impl Remote {
    pub fn new(contract: Contract) -> Result<Remote, Error> {
        Ok(Remote {
            queue: SegQueue::new(),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            poked: AtomicBool::new(false),
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

    fn rouse(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            signal(&self.wake);
        }
    }

    /// Ends the owner's wait, or its next, from any thread.
    pub fn poke(&self) {
        self.poked.store(true, Ordering::SeqCst);
        self.rouse();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    // ---- the owner's side ----

    pub fn pop(&self) -> Option<Entry> {
        self.queue.pop()
    }

    /// Whether there was a poke since the last look.
    #[inline]
    pub fn take_poke(&self) -> bool {
        self.poked.load(Ordering::Relaxed) && self.poked.swap(false, Ordering::SeqCst)
    }

    /// Whether the owner may wait; a post or a poke from now on wakes it.
    pub fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.queue.is_empty() && !self.poked.load(Ordering::SeqCst)
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
