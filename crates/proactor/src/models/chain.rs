//! A strand's word: what is pushed is run once, in order, by one thread at a time.

use std::ptr::NonNull;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::context::{Chain, Link};

struct Node {
    number: usize,
    next: UnsafeCell<*mut Node>,
}

// SAFETY: the cell says what it was told.
unsafe impl Link for Node {
    unsafe fn set_next(this: NonNull<Node>, next: *mut Node) {
        // SAFETY: the caller owns the node, which loom checks.
        unsafe { this.as_ref().next.with_mut(|at| *at = next) }
    }

    unsafe fn next(this: NonNull<Node>) -> *mut Node {
        // SAFETY: as above.
        unsafe { this.as_ref().next.with(|at| *at) }
    }
}

/// A chain, and what was drained of it, which only who drains touches.
struct Line {
    chain: Chain<Node>,
    run: UnsafeCell<Vec<usize>>,
}

// SAFETY: loom checks that nobody touches `run` but who drains.
unsafe impl Sync for Line {}
// SAFETY: as above.
unsafe impl Send for Line {}

impl Line {
    fn new() -> Arc<Line> {
        Arc::new(Line { chain: Chain::new(), run: UnsafeCell::new(Vec::new()) })
    }

    /// As a strand posts; the drain runs here and now.
    fn post(&self, number: usize) {
        let node = Box::leak(Box::new(Node { number, next: UnsafeCell::new(std::ptr::null_mut()) }));
        if self.chain.push(NonNull::from(node)) {
            self.drain();
        }
    }

    fn drain(&self) {
        while let Some(oldest) = self.chain.take_or_rest() {
            let mut at = Some(oldest);
            while let Some(node) = at {
                // SAFETY: taken, and leaked from a box in `post`.
                unsafe {
                    at = NonNull::new(Node::next(node));
                    self.run.with_mut(|run| (*run).push(Box::from_raw(node.as_ptr()).number));
                }
            }
        }
    }

    fn ran(&self) -> Vec<usize> {
        // SAFETY: all threads are joined.
        self.run.with(|run| unsafe { (*run).clone() })
    }
}

fn spawn(line: &Arc<Line>, numbers: std::ops::RangeInclusive<usize>) -> thread::JoinHandle<()> {
    let line = line.clone();
    thread::spawn(move || numbers.for_each(|number| line.post(number)))
}

#[test]
fn what_two_threads_post_is_run_once_each_in_its_order() {
    loom::model(|| {
        let line = Line::new();
        let other = spawn(&line, 11..=12);
        (1..=2).for_each(|number| line.post(number));
        other.join().unwrap();
        let (low, high): (Vec<_>, Vec<_>) = line.ran().iter().partition(|number| **number < 10);
        assert_eq!((low, high), (vec![1, 2], vec![11, 12]));
    });
}

#[test]
fn a_push_beside_the_end_of_a_drain_is_not_lost() {
    loom::model(|| {
        let line = Line::new();
        let others = [spawn(&line, 1..=1), spawn(&line, 2..=2)];
        line.post(3);
        for other in others {
            other.join().unwrap();
        }
        let mut ran = line.ran();
        ran.sort_unstable();
        assert_eq!(ran, [1, 2, 3]);
    });
}
