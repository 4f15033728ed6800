//! The packet queue of a port: FIFO, any threads at both ends, unbounded, without locks and without allocation in the
//! steady state.
//!
//! | part | when it is used |
//! |---|---|
//! | `segments` | always |
//! | `front` | packets a worker fetched and gave back unhandled; popped first |
//!
//! `front_len` is written under the lock and read without it.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::segments::{Segments, Words};
use crate::port::{Entry, Fetch};

pub(crate) struct Queue {
    segments: Segments<Entry>,
    front_len: AtomicUsize,
    front: Mutex<VecDeque<Entry>>,
}

impl Queue {
    pub fn new() -> Queue {
        Queue { segments: Segments::new(), front_len: AtomicUsize::new(0), front: Mutex::default() }
    }

    fn front(&self) -> std::sync::MutexGuard<'_, VecDeque<Entry>> {
        self.front.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Appends, and is a fence between that and a look at who sleeps.
    #[inline]
    pub fn push(&self, entry: Entry) {
        self.segments.push(entry);
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
        let mut entry = self.pop_front();
        if entry.is_none() {
            self.segments.take(1, |taken| entry = Some(taken));
        }
        entry
    }

    /// Fills `out` with what is there; whether there is anything in it now.
    #[inline]
    pub fn pop_into(&self, out: &mut Fetch<'_>) -> bool {
        while out.room() > 0
            && let Some(entry) = self.pop_front()
        {
            _ = out.push(entry);
        }
        while out.room() > 0 && self.segments.take(out.room(), |entry| _ = out.push(entry)) > 0 {}
        !out.is_empty()
    }

    #[inline]
    fn pop_front(&self) -> Option<Entry> {
        if self.front_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut front = self.front();
        let entry = front.pop_front();
        self.front_len.store(front.len(), Ordering::Release);
        entry
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.front_len.load(Ordering::Acquire) == 0
    }

    /// Whether the next packet is there, for who looks again and again.
    #[inline]
    pub fn is_hot(&self) -> bool {
        self.segments.is_hot()
    }
}

// SAFETY: an entry is two words.
unsafe impl Words for Entry {
    #[inline]
    fn into_words(self) -> (NonNull<()>, usize) {
        self.into_words()
    }

    #[inline]
    unsafe fn from_words(words: (NonNull<()>, usize)) -> Entry {
        // SAFETY: the caller's promise.
        unsafe { Entry::from_words(words) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::port::Content;

    fn open(entry: Entry) -> (usize, usize) {
        match entry.content() {
            Content::Bare { key, bytes } => (key, bytes),
            Content::Block(_) => panic!("only bare posts are queued here"),
        }
    }

    fn entry(key: usize) -> Entry {
        Entry::bare(key, 0)
    }

    #[test]
    fn order_holds_past_the_ring() {
        let queue = Queue::new();
        for key in 0..5000 {
            queue.push(entry(key));
        }
        for key in 0..2500 {
            assert_eq!(queue.pop().map(open), Some((key, 0)));
        }
        for key in 5000..6000 {
            queue.push(entry(key));
        }
        for key in 2500..6000 {
            assert_eq!(queue.pop().map(open), Some((key, 0)));
        }
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn any_count_of_bytes_comes_back() {
        let queue = Queue::new();
        let counts = [0, 1, usize::MAX >> 2, (usize::MAX >> 2) + 1, usize::MAX];
        for bytes in counts {
            queue.push(Entry::bare(!bytes, bytes));
        }
        for bytes in counts {
            assert_eq!(queue.pop().map(open), Some((!bytes, bytes)));
        }
    }

    #[test]
    fn nothing_is_lost_or_doubled_between_four_threads() {
        const EACH: usize = 100_000;
        let queue = Queue::new();
        let sum = std::sync::atomic::AtomicUsize::new(0);
        let taken = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..EACH).for_each(|key| queue.push(entry(key))));
                scope.spawn(|| {
                    while taken.load(Ordering::Relaxed) < 2 * EACH {
                        let Some(entry) = queue.pop() else { continue };
                        sum.fetch_add(open(entry).0, Ordering::Relaxed);
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), EACH * (EACH - 1));
        assert!(queue.is_empty());
    }

    #[test]
    fn packets_given_back_come_first_in_their_order() {
        let queue = Queue::new();
        (0..4).for_each(|key| queue.push(entry(key)));
        let (a, b) = (queue.pop(), queue.pop());
        queue.give_back([a, b].into_iter().flatten());
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|entry| open(entry).0).collect();
        assert_eq!(order, [0, 1, 2, 3]);
    }
}
