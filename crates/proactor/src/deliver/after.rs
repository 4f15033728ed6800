//! What a delivery leaves to do when nothing is held any more: user code, all of it.

use std::cell::Cell;
use std::ptr::NonNull;
use std::task::Waker;

use super::unharmed;
use crate::backend;
use crate::handle::{Kept, Which};
use crate::op::{Header, Ticket, free_block};

/// One such thing.
pub(crate) enum After {
    /// Free a block whose handle was dropped before its completion: drops the cargo.
    Free(NonNull<Header>),
    /// Wake the task that awaits an operation: an executor's code.
    Wake(Waker),
    /// Cancel an operation whose deadline has passed.
    Cancel(Kept, Ticket),
}

impl After {
    /// To be called with no lane owned, no lock held and nothing borrowed: the code may come back to any of them.
    pub fn run(self) {
        unharmed(|| match self {
            // SAFETY: `deliver` handed the block over as dead: both its owners have left it.
            After::Free(header) => unsafe { free_block(header) },
            After::Wake(waker) => waker.wake(),
            After::Cancel(object, ticket) => {
                backend::cancel(&object, Which::One(ticket));
            }
        });
    }
}

/// A list of them. Its memory is kept by the thread that runs it, so that it costs no allocation in the steady state.
#[allow(dead_code, reason = "a backend that holds nothing while it delivers runs it at once")]
#[derive(Default)]
pub(crate) struct Later(Vec<After>);

thread_local! {
    #[allow(dead_code, reason = "a backend that holds nothing while it delivers runs it at once")]
    static SPARE: Cell<Vec<After>> = const { Cell::new(Vec::new()) };
}

#[allow(dead_code, reason = "a backend that holds nothing while it delivers runs it at once")]
impl Later {
    pub const fn new() -> Later {
        Later(Vec::new())
    }

    pub fn push(&mut self, after: After) {
        if self.0.capacity() == 0 {
            self.0 = SPARE.try_with(Cell::take).unwrap_or_default();
        }
        self.0.push(after);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As [`After::run`], of each in order.
    #[inline]
    pub fn run(self) {
        if !self.is_empty() {
            self.run_some();
        }
    }

    fn run_some(mut self) {
        self.0.drain(..).for_each(After::run);
        let _ = SPARE.try_with(|spare| spare.set(self.0));
    }
}
