//! The packet queue of a port: FIFO, any threads at both ends, unbounded, without locks, and without allocation while it is
//! short.
//!
//! | part | when it is used |
//! |---|---|
//! | `ring` | always, while `overflow` is empty |
//! | `overflow` | pushes while the ring is full, and then all pushes until it drained: order |
//! | `front` | packets a worker fetched and gave back unhandled; popped first |
//!
//! A push that finds the overflow empty beside another that fills it goes to the ring, which no order forbids: they are
//! concurrent. A pop that misses one is repeated by whoever pushed (the wake protocol). `front_len` is written under the
//! lock and read without it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::{ArrayQueue, SegQueue};

use crate::port::Entry;

const RING: usize = 1024;

pub(crate) struct Queue {
    ring: ArrayQueue<Entry>,
    overflow: SegQueue<Entry>,
    front_len: AtomicUsize,
    front: Mutex<VecDeque<Entry>>,
}

impl Queue {
    pub fn new() -> Queue {
        Queue { ring: ArrayQueue::new(RING), overflow: SegQueue::new(), front_len: AtomicUsize::new(0), front: Mutex::default() }
    }

    fn front(&self) -> std::sync::MutexGuard<'_, VecDeque<Entry>> {
        self.front.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    #[inline]
    pub fn push(&self, entry: Entry) {
        let full = if self.overflow.is_empty() { self.ring.push(entry).err() } else { Some(entry) };
        if let Some(entry) = full {
            self.overflow.push(entry);
        }
    }

    /// Gives packets back unhandled, to be fetched before all others, in the order given.
    pub fn give_back(&self, entries: impl DoubleEndedIterator<Item = Entry>) {
        let mut front = self.front();
        for entry in entries.rev() {
            front.push_front(entry);
        }
        self.front_len.store(front.len(), Ordering::Release);
    }

    #[inline]
    pub fn pop(&self) -> Option<Entry> {
        if self.front_len.load(Ordering::Acquire) > 0 {
            let mut front = self.front();
            let entry = front.pop_front();
            self.front_len.store(front.len(), Ordering::Release);
            if entry.is_some() {
                return entry;
            }
        }
        self.ring.pop().or_else(|| if self.overflow.is_empty() { None } else { self.pop_overflow() })
    }

    #[cold]
    fn pop_overflow(&self) -> Option<Entry> {
        // The ring may have been filled between the caller's look and this one; it is older.
        self.ring.pop().or_else(|| self.overflow.pop())
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.overflow.is_empty() && self.front_len.load(Ordering::Acquire) == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn entry(key: usize) -> Entry {
        Entry { block: None, key, bytes: 0 }
    }

    #[test]
    fn order_holds_past_the_ring() {
        let queue = Queue::new();
        for key in 0..5000 {
            queue.push(entry(key));
        }
        for key in 0..2500 {
            assert_eq!(queue.pop().map(|e| e.key), Some(key));
        }
        for key in 5000..6000 {
            queue.push(entry(key));
        }
        for key in 2500..6000 {
            assert_eq!(queue.pop().map(|e| e.key), Some(key));
        }
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn packets_given_back_come_first_in_their_order() {
        let queue = Queue::new();
        (0..4).for_each(|key| queue.push(entry(key)));
        let (a, b) = (queue.pop(), queue.pop());
        queue.give_back([a, b].into_iter().flatten());
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|e| e.key).collect();
        assert_eq!(order, [0, 1, 2, 3]);
    }
}
