//! Clean-up groups: the objects of a pool that end together.

use std::sync::{Arc, Weak};

use super::member::Member;
use crate::error::Error;
use crate::shim::{Mutex, lock};
use crate::time::Wait;

pub(super) type OnCancel = Arc<dyn Fn() + Send + Sync>;

/// What a group knows of an object.
struct Entry {
    member: Weak<Member>,
    on_cancel: Option<OnCancel>,
    /// What the object itself undoes when it ends: a timer set, a wait registered, operations in flight.
    stop: Option<Stop>,
}

pub(super) type Stop = Box<dyn Fn() + Send + Sync>;

/// A clean-up group (`CreateThreadpoolCleanupGroup`): objects made from an [`Environment`](super::Environment) with it
/// are ended all at once. Cloning shares it.
///
/// ```
/// use proactor::pool::{CleanupGroup, Pool};
/// let pool = Pool::new(1, 2)?;
/// let group = CleanupGroup::new();
/// let work = pool.environment().group(&group).work(|_| {});
/// work.submit()?;
/// group.close_members()?;                       // the callback has run
/// assert!(work.submit().is_err());              // the object has ended
/// # Ok::<(), proactor::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CleanupGroup {
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl CleanupGroup {
    /// A group without members.
    pub fn new() -> CleanupGroup {
        CleanupGroup::default()
    }

    pub(super) fn add(&self, member: &Arc<Member>, on_cancel: Option<OnCancel>, stop: Option<Stop>) {
        let mut entries = lock(&self.entries);
        // Objects that are gone leave with the next that comes when half are: one pass for as many additions.
        if entries.len() == entries.capacity() {
            entries.retain(|entry| entry.member.strong_count() > 0);
        }
        entries.push(Entry { member: Arc::downgrade(member), on_cancel, stop });
    }

    /// Ends all members (`CloseThreadpoolCleanupGroupMembers`): nothing new begins, and this returns when every callback
    /// that was asked for has run.
    ///
    /// Errors: [`Code::InvalidParameter`](crate::Code::InvalidParameter) from a callback of a member, which would wait for
    /// itself; the others have ended then.
    pub fn close_members(&self) -> Result<(), Error> {
        self.close(false)
    }

    /// As [`close_members`](CleanupGroup::close_members), but callbacks that have not begun are dropped, and each object's
    /// `on_cancel` is called once, on this thread.
    pub fn cancel_members(&self) -> Result<(), Error> {
        self.close(true)
    }

    fn close(&self, cancel: bool) -> Result<(), Error> {
        let entries = std::mem::take(&mut *lock(&self.entries));
        for entry in &entries {
            if let Some(member) = entry.member.upgrade() {
                member.close();
                if let Some(stop) = &entry.stop {
                    stop();
                }
                if cancel {
                    member.cancel();
                }
            }
        }
        let mut result = Ok(());
        for entry in entries {
            if let Some(member) = entry.member.upgrade() {
                result = member.settle(Wait::Forever).map(drop).and(result);
                if let (true, Some(on_cancel)) = (cancel, &entry.on_cancel) {
                    on_cancel();
                }
            }
        }
        result
    }
}

impl std::fmt::Debug for CleanupGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CleanupGroup").field("members", &lock(&self.entries).len()).finish()
    }
}
