//! The packets' FIFO, with segments of two places: pushers and takers across segments, and their reuse.
//!
//! Seen to fail here:
//!
//! | change | fails |
//! |---|---|
//! | the word is stored Relaxed | loom: the place is read while it is written |
//! | the word is nulled Relaxed, or a segment used again without a look at its words | loom: the place is written while it is read |
//! | `push` takes no notice of `number` | a value is lost |
//! | no fence after the read-modify-write of `tail` | a sleeper beside a value |

use std::ptr::NonNull;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering, fence};
use loom::thread;

use crate::backend::{Segments, Words};

struct Item(usize);

// SAFETY: a number; the word says only that it is there.
unsafe impl Words for Item {
    fn into_words(self) -> (NonNull<()>, usize) {
        (NonNull::dangling(), self.0)
    }

    unsafe fn from_words((_, number): (NonNull<()>, usize)) -> Item {
        Item(number)
    }
}

fn take_all(queue: &Segments<Item>, room: usize) -> Vec<usize> {
    let mut taken = Vec::new();
    while queue.take(room, |item| taken.push(item.0)) > 0 {}
    taken
}

fn model(most: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.map_or(most, |set| set.min(most)));
    builder.check(f);
}

fn spawn<T: 'static>(queue: &Arc<Segments<Item>>, f: impl FnOnce(&Segments<Item>) -> T + 'static) -> thread::JoinHandle<T> {
    let queue = queue.clone();
    thread::spawn(move || f(&queue))
}

#[test]
fn what_one_pushes_is_taken_in_order_while_segments_come_and_go() {
    model(3, || {
        let queue = Arc::new(Segments::new());
        let pusher = spawn(&queue, |queue| (1..=5).for_each(|number| queue.push(Item(number))));
        let mut taken = take_all(&queue, 2);
        pusher.join().unwrap();
        taken.extend(take_all(&queue, 2));
        assert_eq!(taken, [1, 2, 3, 4, 5]);
        assert!(queue.is_empty());
    });
}

#[test]
fn two_pushers_keep_their_orders_and_lose_nothing() {
    model(2, || {
        let queue = Arc::new(Segments::new());
        let pusher = spawn(&queue, |queue| (1..=2).for_each(|number| queue.push(Item(number))));
        let other = spawn(&queue, |queue| (11..=12).for_each(|number| queue.push(Item(number))));
        let mut taken = take_all(&queue, 1);
        pusher.join().unwrap();
        other.join().unwrap();
        taken.extend(take_all(&queue, 1));
        let (low, high): (Vec<_>, Vec<_>) = taken.iter().partition(|number| **number < 10);
        assert_eq!((low, high), (vec![1, 2], vec![11, 12]));
    });
}

#[test]
fn a_segment_is_used_again_when_both_its_takers_have_read() {
    model(3, || {
        let queue = Arc::new(Segments::new());
        (1..=2).for_each(|number| queue.push(Item(number)));
        let take_one = |queue: &Segments<Item>| {
            let mut taken = Vec::new();
            queue.take(1, |item| taken.push(item.0));
            taken
        };
        let taker = spawn(&queue, take_one);
        let mut taken = take_one(&queue);
        (3..=5).for_each(|number| queue.push(Item(number)));
        taken.extend(taker.join().unwrap());
        taken.extend(take_all(&queue, 2));
        taken.sort_unstable();
        assert_eq!(taken, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_pusher_sees_the_sleeper_or_the_sleeper_what_was_pushed() {
    model(3, || {
        let queue = Arc::new(Segments::new());
        let sleepers = Arc::new(AtomicU32::new(0));
        let pusher = spawn(&queue, {
            let sleepers = sleepers.clone();
            move |queue| {
                queue.push(Item(1));
                sleepers.load(Ordering::SeqCst) > 0
            }
        });
        sleepers.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let sleeps = queue.is_empty();
        let is_woken = pusher.join().unwrap();
        assert!(!sleeps || is_woken, "asleep beside a value");
    });
}
