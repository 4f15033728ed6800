//! What can be waited for: a small lock with the state and the waiters of one object.
//!
//! Contract: every waitable thing of the library has a [`Core`]. Who changes its state does it by [`Core::change`], which
//! gives the signal to the waiters of that moment before anybody else can take it back; who waits is in `wait.rs`. No
//! user code runs under the lock, and nobody holds two but a wait for all, which takes them in the order of addresses.
//!
//! | kind | signalled | a wait that it satisfies |
//! |---|---|---|
//! | `Manual` | while set | leaves it |
//! | `Auto` | while set | unsets it |
//! | `Semaphore` | while the count is over 0 | takes one |
//! | `Mutex` | for everybody while unowned, for its owner always | owns it once more |

use std::collections::VecDeque;
use std::sync::Arc;

use super::record::{Claim, Record};
use crate::shim::{Mutex, MutexGuard, lock};

/// The state of an object.
pub(crate) enum Kind {
    Manual(bool),
    Auto(bool),
    Semaphore { count: u32, maximum: u32 },
    Mutex { owner: Option<u64>, depth: u32, abandoned: bool },
}

impl Kind {
    /// Whether a wait of this thread would be satisfied.
    fn admits(&self, thread: u64) -> bool {
        match self {
            Kind::Manual(set) | Kind::Auto(set) => *set,
            Kind::Semaphore { count, .. } => *count > 0,
            Kind::Mutex { owner, .. } => owner.is_none_or(|owner| owner == thread),
        }
    }

    /// A wait of this thread is satisfied; whether by a mutex its owner abandoned.
    fn consume(&mut self, thread: u64) -> bool {
        match self {
            Kind::Manual(_) => false,
            Kind::Auto(set) => {
                *set = false;
                false
            }
            Kind::Semaphore { count, .. } => {
                *count -= 1;
                false
            }
            Kind::Mutex { owner, depth, abandoned } => {
                *owner = Some(thread);
                // So many releases nobody makes.
                *depth = depth.saturating_add(1);
                std::mem::take(abandoned)
            }
        }
    }
}

/// One wait, as an object lists it.
struct Waiter {
    record: Arc<Record>,
    index: usize,
    /// It waits for this object and others, all at once.
    all: Option<Arc<Group>>,
}

struct Inner {
    kind: Kind,
    waiters: VecDeque<Waiter>,
}

/// The part of an object that is waited for. Unnameable outside, public for the sealed trait alone.
pub struct Core {
    inner: Mutex<Inner>,
    /// A model must be the same in each run, and addresses are not.
    #[cfg(loom)]
    number: usize,
}

/// Waits that were claimed under a lock, to be woken after it. Most often one.
#[derive(Default)]
struct Claimed {
    first: Option<Arc<Record>>,
    rest: Vec<Arc<Record>>,
}

impl Claimed {
    fn push(&mut self, record: Arc<Record>) {
        match &self.first {
            None => self.first = Some(record),
            Some(_) => self.rest.push(record),
        }
    }
}

impl Inner {
    /// Gives the signal to waiters, oldest first. Waits for all are not decided here: they need the other locks.
    fn release(&mut self, claimed: &mut Claimed, groups: &mut Vec<Arc<Group>>) {
        let mut at = 0;
        while let Some(waiter) = self.waiters.get(at) {
            if !self.kind.admits(waiter.record.owner) {
                // Nor any behind it: a mutex that admits its owner alone is one the owner does not wait for.
                return;
            }
            if let Some(group) = &waiter.all {
                groups.push(group.clone());
                at += 1;
                continue;
            }
            let abandoned = matches!(self.kind, Kind::Mutex { abandoned: true, .. });
            let won = waiter.record.claim(Claim::Signalled { index: waiter.index, abandoned });
            let owner = waiter.record.owner;
            // One that lost has been claimed elsewhere and is on its way to take itself off the list.
            if let Some(waiter) = self.waiters.remove(at)
                && won
            {
                self.kind.consume(owner);
                claimed.push(waiter.record);
            }
        }
    }
}

impl Core {
    pub(crate) fn new(kind: Kind) -> Arc<Core> {
        #[cfg(loom)]
        static CORES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        Arc::new(Core {
            inner: Mutex::new(Inner { kind, waiters: VecDeque::new() }),
            #[cfg(loom)]
            number: CORES.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        })
    }

    /// The order in which several locks are taken.
    fn rank(self: &Arc<Self>) -> usize {
        #[cfg(loom)]
        return self.number;
        #[cfg(not(loom))]
        Arc::as_ptr(self).addr()
    }

    /// Signalled until it is taken back, or until a wait took it.
    pub fn event(auto: bool) -> Arc<Core> {
        Core::new(if auto { Kind::Auto(false) } else { Kind::Manual(false) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Changes the state, and satisfies the waits of this moment that it signals.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Kind) -> T) -> T {
        let (mut claimed, mut groups) = (Claimed::default(), Vec::new());
        let result = {
            let mut inner = self.lock();
            let result = change(&mut inner.kind);
            inner.release(&mut claimed, &mut groups);
            result
        };
        for record in claimed.first.iter().chain(&claimed.rest) {
            record.wake();
        }
        for group in groups {
            group.satisfy();
        }
        result
    }

    /// Of the kinds that have a set: sets it.
    pub fn signal(&self) {
        self.change(|kind| {
            if let Kind::Manual(set) | Kind::Auto(set) = kind {
                *set = true;
            }
        });
    }

    /// Of the kinds that have a set: takes it back.
    pub fn unsignal(&self) {
        if let Kind::Manual(set) | Kind::Auto(set) = &mut self.lock().kind {
            *set = false;
        }
    }

    pub fn is_mutex(&self) -> bool {
        matches!(self.lock().kind, Kind::Mutex { .. })
    }

    /// Looks at the state. No user code.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Kind) -> T) -> T {
        look(&self.lock().kind)
    }

    /// Satisfies a wait of this thread at once, if the object is signalled for it: `Some(abandoned)`.
    pub fn take(&self, thread: u64) -> Option<bool> {
        let mut inner = self.lock();
        inner.kind.admits(thread).then(|| inner.kind.consume(thread))
    }

    /// Lists a pending wait, or satisfies it. Whether the wait is over, by this or another object.
    pub(crate) fn enlist(&self, record: &Arc<Record>, index: usize) -> bool {
        let mut inner = self.lock();
        if !inner.kind.admits(record.owner) {
            inner.waiters.push_back(Waiter { record: record.clone(), index, all: None });
            return false;
        }
        let abandoned = matches!(inner.kind, Kind::Mutex { abandoned: true, .. });
        if record.claim(Claim::Signalled { index, abandoned }) {
            inner.kind.consume(record.owner);
        }
        true
    }

    /// Takes a wait off the list.
    pub(crate) fn forget(&self, record: &Arc<Record>) {
        self.lock().waiters.retain(|waiter| !Arc::ptr_eq(&waiter.record, record));
    }
}

/// A wait for all of several objects at once.
pub(crate) struct Group {
    record: Arc<Record>,
    cores: Vec<Arc<Core>>,
    /// Their indices, in the order their locks are taken.
    order: Vec<usize>,
}

/// All locks of a group.
struct Locked<'a> {
    record: &'a Record,
    /// In the order they were taken, each with the object's index.
    held: Vec<(usize, MutexGuard<'a, Inner>)>,
}

impl Locked<'_> {
    fn are_all_signalled(&self) -> bool {
        self.held.iter().all(|(_, inner)| inner.kind.admits(self.record.owner))
    }

    /// The mutex of the lowest index that was abandoned.
    fn abandoned(&self) -> Option<usize> {
        let abandoned = |(index, inner): &(usize, MutexGuard<'_, Inner>)| {
            matches!(inner.kind, Kind::Mutex { abandoned: true, .. }).then_some(*index)
        };
        self.held.iter().filter_map(abandoned).min()
    }

    fn claim(&self) -> Claim {
        let abandoned = self.abandoned();
        Claim::Signalled { index: abandoned.unwrap_or(0), abandoned: abandoned.is_some() }
    }

    fn consume(&mut self) {
        for (_, inner) in &mut self.held {
            inner.kind.consume(self.record.owner);
        }
    }
}

impl Group {
    /// `None` if an object is there twice: it cannot be taken twice at once.
    pub fn new(record: Arc<Record>, cores: Vec<Arc<Core>>) -> Option<Group> {
        let mut order: Vec<usize> = (0..cores.len()).collect();
        order.sort_unstable_by_key(|index| cores[*index].rank());
        if order.windows(2).any(|pair| Arc::ptr_eq(&cores[pair[0]], &cores[pair[1]])) {
            return None;
        }
        Some(Group { record, cores, order })
    }

    fn lock(&self) -> Locked<'_> {
        let held = self.order.iter().map(|index| (*index, self.cores[*index].lock())).collect();
        Locked { record: &self.record, held }
    }

    /// Satisfies the wait at once if all are signalled.
    pub fn take(&self) -> Option<Claim> {
        let mut locked = self.lock();
        if !locked.are_all_signalled() {
            return None;
        }
        let claim = locked.claim();
        locked.consume();
        Some(claim)
    }

    /// Satisfies the pending wait if all are signalled, and lists it otherwise.
    pub fn enlist(self: &Arc<Self>) {
        let mut locked = self.lock();
        if locked.are_all_signalled() {
            if self.record.claim(locked.claim()) {
                locked.consume();
            }
            return;
        }
        for (index, inner) in &mut locked.held {
            let all = Some(self.clone());
            inner.waiters.push_back(Waiter { record: self.record.clone(), index: *index, all });
        }
    }

    /// An object was signalled: satisfies the wait if all are. It may be over since the signal, and its record another wait's:
    /// it is this one's while the last object lists it.
    fn satisfy(self: &Arc<Self>) {
        let mut locked = self.lock();
        let last = self.cores.len() - 1;
        let is_this = |waiter: &Waiter| waiter.all.as_ref().is_some_and(|group| Arc::ptr_eq(group, self));
        let is_listed = locked.held.iter().any(|(index, inner)| *index == last && inner.waiters.iter().any(is_this));
        if is_listed && locked.are_all_signalled() && self.record.claim(locked.claim()) {
            locked.consume();
            drop(locked);
            self.record.wake();
        }
    }

    pub fn forget(&self) {
        for core in &self.cores {
            core.forget(&self.record);
        }
    }
}
