//! The packet queue of a port: FIFO, any threads at both ends, unbounded, and without lock or allocation while it is
//! short.
//!
//! | part | when it is used |
//! |---|---|
//! | `ring` | always, while `slow` is empty |
//! | `slow.back` | pushes while the ring is full, and then all pushes until it drained: order |
//! | `slow.front` | packets a worker fetched and gave back unhandled; popped first |
//!
//! `slow_len` is written under the lock and read without it: a stale zero makes a push concurrent with an overflow go
//! to the ring, which no order forbids; a pop that misses one is repeated by whoever pushed (the wake protocol).

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::port::Entry;

const RING: usize = 1024;

pub(crate) struct Queue {
    ring: ArrayQueue<Entry>,
    slow_len: AtomicUsize,
    front_len: AtomicUsize,
    slow: Mutex<Slow>,
}

#[derive(Default)]
struct Slow {
    front: VecDeque<Entry>,
    back: VecDeque<Entry>,
}

impl Queue {
    pub fn new() -> Queue {
        Queue {
            ring: ArrayQueue::new(RING),
            slow_len: AtomicUsize::new(0),
            front_len: AtomicUsize::new(0),
            slow: Mutex::default(),
        }
    }

    fn slow(&self) -> std::sync::MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn push(&self, entry: Entry) {
        let full = match self.slow_len.load(Ordering::Acquire) {
            0 => self.ring.push(entry).err(),
            _ => Some(entry),
        };
        if let Some(entry) = full {
            self.push_slow(entry);
        }
    }

    #[cold]
    fn push_slow(&self, entry: Entry) {
        let mut slow = self.slow();
        slow.back.push_back(entry);
        self.slow_len.store(slow.back.len(), Ordering::Release);
    }

    /// Gives packets back unhandled, to be fetched before all others, in the order given.
    pub fn give_back(&self, entries: impl DoubleEndedIterator<Item = Entry>) {
        let mut slow = self.slow();
        for entry in entries.rev() {
            slow.front.push_front(entry);
        }
        self.front_len.store(slow.front.len(), Ordering::Release);
    }

    pub fn pop(&self) -> Option<Entry> {
        if self.front_len.load(Ordering::Acquire) > 0 {
            let mut slow = self.slow();
            let entry = slow.front.pop_front();
            self.front_len.store(slow.front.len(), Ordering::Release);
            if entry.is_some() {
                return entry;
            }
        }
        if let Some(entry) = self.ring.pop() {
            return Some(entry);
        }
        if self.slow_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut slow = self.slow();
        // The ring may have been filled between the pop above and the lock; it is older.
        if let Some(entry) = self.ring.pop() {
            return Some(entry);
        }
        let entry = slow.back.pop_front();
        self.slow_len.store(slow.back.len(), Ordering::Release);
        entry
    }

    pub fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.slow_len.load(Ordering::Acquire) == 0 && self.front_len.load(Ordering::Acquire) == 0
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
