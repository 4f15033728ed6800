//! The waits of one timer, in call order.

use std::collections::VecDeque;

use crate::error::{Code, Error};
use crate::op::{Value, Waiting};

#[derive(Default)]
pub(super) struct Waiters(VecDeque<Waiting>);

impl Waiters {
    pub fn push(&mut self, waiting: Waiting) {
        self.0.push_back(waiting);
    }

    /// The operation of this number is over.
    pub fn over(&mut self, sequence: u64) {
        // Those that began first are mostly over first.
        if let Some(at) = self.0.iter().position(|waiting| waiting.sequence() == sequence) {
            self.0.remove(at);
        }
    }

    pub fn first(&mut self) -> Option<Waiting> {
        self.0.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends all of them that are still there; how many. To be called of a list that was taken out, with no lock held.
    pub fn cancel(self) -> usize {
        self.0.iter().filter(|waiting| cancel(waiting)).count()
    }

    /// The same, well.
    pub fn complete(self) {
        for waiting in self.0 {
            let _ = waiting.complete(Ok(Value::None));
        }
    }
}

/// Ends the one that began first, of those that `first` takes out one by one; how many that were, 1 or 0.
pub(super) fn cancel_first(mut first: impl FnMut() -> Option<Waiting>) -> usize {
    while let Some(waiting) = first() {
        // Not found: its time has come just now.
        if cancel(&waiting) {
            return 1;
        }
    }
    0
}

/// Whether there was one to end.
fn cancel(waiting: &Waiting) -> bool {
    waiting.complete(Err(Error::new(Code::Cancelled))).is_ok()
}
