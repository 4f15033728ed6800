//! What a thread's own port has besides: who may drop what comes through it.

use std::sync::atomic::AtomicBool;

use super::port::Port;
use crate::backend::Contract;
use crate::op::thread_number;
use crate::port::Entry;
use crate::shim::{Mutex, Ordering, lock};

/// Whose packets a port carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    /// Those of any threads.
    Anyone,
    /// None: it is the library's own.
    Process,
    /// Those of the thread of this number alone; what they carry may not be dropped elsewhere.
    Owner(u64),
}

pub(super) struct Owner {
    pub serves: Serves,
    /// There is a way in for other threads, so its blocks are `Send`.
    open_to_others: AtomicBool,
    /// Handlers of a closed port that another thread came upon: what they hold need not be `Send`.
    left: Mutex<Vec<Entry>>,
}

impl Owner {
    pub fn new(serves: Serves) -> Owner {
        Owner { serves, open_to_others: AtomicBool::new(false), left: Mutex::default() }
    }

    /// Whether the calling thread may drop what packets carry.
    pub fn may_drop(&self) -> bool {
        self.is_at_home() || self.open_to_others.load(Ordering::SeqCst)
    }

    /// Whether the calling thread may drop whatever comes through this port.
    fn is_at_home(&self) -> bool {
        !matches!(self.serves, Serves::Owner(owner) if owner != thread_number())
    }

    /// Drops a packet that the calling thread may drop.
    pub fn discard(&self, entry: Entry, contract: &Contract) {
        if entry.is_handler() && !self.is_at_home() {
            lock(&self.left).push(entry);
        } else {
            entry.discard(contract);
        }
    }

    /// Drops what others left, if it is the owner's thread that calls.
    pub fn discard_left(&self, contract: &Contract) {
        if self.is_at_home() {
            let left = std::mem::take(&mut *lock(&self.left));
            left.into_iter().for_each(|entry| entry.discard(contract));
        }
    }
}

impl Port {
    /// Called where it is known that the packets' blocks are `Send`.
    pub(super) fn open_to_others(&self) {
        self.owner().open_to_others.store(true, Ordering::SeqCst);
    }
}
