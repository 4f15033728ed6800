//! Ports that somebody must fetch from though nobody does: an operation of many completions goes on when its last one is
//! fetched, and an overlapped operation that somebody waits for may depend on that: it stands behind it in its lane, or its
//! peer's end is a socket of the same thread.
//!
//! While a port has both, and nobody is inside its `get`, the thread of `held.rs` takes its packets from the kernel. It
//! only queues them, in `front`, where the next `get` finds them: no user code runs here, and nothing of a thread's own
//! port is dropped.
//!
//! | atomic | partner |
//! |---|---|
//! | `waits` +1, then `multis` is looked at | `multis` +1, then `waits` is looked at: one of them lists the port |
//! | `listed` store false, then both are looked at | both as above, then `listed` swap |
//! | the port's `stows` store, then the members' `inside` and `closed` are looked at | those stores, then `stows` is looked at: who enters or closes waits for what is being queued |

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::held;
use super::port::Port;
use crate::shim::{Mutex, MutexGuard, Ordering, lock};

static PORTS: Mutex<Vec<Weak<Port>>> = Mutex::new(Vec::new());

fn ports() -> MutexGuard<'static, Vec<Weak<Port>>> {
    lock(&PORTS)
}

/// What decides whether a port must be attended to.
#[derive(Default)]
pub(super) struct Needs {
    /// Overlapped operations.
    waits: AtomicUsize,
    /// Operations of many completions.
    multis: AtomicUsize,
    listed: AtomicBool,
}

impl Needs {
    fn are_there(&self) -> bool {
        self.waits.load(Ordering::SeqCst) > 0 && self.multis.load(Ordering::SeqCst) > 0
    }
}

impl Port {
    /// An overlapped operation starts.
    pub fn attend(&self) {
        if self.carries_packets() {
            self.needs().waits.fetch_add(1, Ordering::SeqCst);
            self.list_if_needed();
        }
    }

    /// It is over.
    pub fn attended(&self) {
        if self.carries_packets() {
            self.needs().waits.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// An operation of many completions starts.
    pub(super) fn multi_begins(&self) {
        self.needs().multis.fetch_add(1, Ordering::SeqCst);
        self.list_if_needed();
    }

    pub(super) fn multi_ended(&self) {
        self.needs().multis.fetch_sub(1, Ordering::SeqCst);
    }

    fn list_if_needed(&self) {
        if !self.needs().are_there() || self.needs().listed.swap(true, Ordering::SeqCst) {
            return;
        }
        ports().push(self.downgrade());
        if let Err(error) = held::wake() {
            log::error!("proactor: nobody fetches from a port while its threads wait: {error}");
        }
    }

    /// Takes a listed port's packets, if nobody else does. Whether there were any; or `None` to unlist it.
    fn visit(&self) -> Option<bool> {
        if self.needs().are_there() && !self.is_closed() {
            return Some(self.stow());
        }
        self.needs().listed.store(false, Ordering::SeqCst);
        // One that came meanwhile, and found it listed, is not left alone.
        let needed = self.needs().are_there() && !self.is_closed() && !self.needs().listed.swap(true, Ordering::SeqCst);
        needed.then_some(true)
    }
}

/// What a round came to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Round {
    NoPorts,
    Quiet,
    /// There may be more.
    Busy,
}

/// Visits every port once.
pub(super) fn round() -> Round {
    let now = std::mem::take(&mut *ports());
    let (mut round, mut kept) = (Round::NoPorts, Vec::new());
    for weak in now {
        // The port is let go of with no lock held: it may be the last hold on it.
        if let Some(busy) = weak.upgrade().and_then(|port| port.visit()) {
            round = round.max(if busy { Round::Busy } else { Round::Quiet });
            kept.push(weak);
        }
    }
    ports().append(&mut kept);
    round
}
