//! What travels through a runtime's port: a task that is to run, in the packet's key.

use std::ptr::{self, NonNull};

use async_task::Runnable;

use crate::port::Key;

/// A task that is to run, or nothing: the key of the objects that live on the port, and of a post that only wakes.
///
/// A port that is closed drops the keys of packets nobody fetched: so it drops the tasks.
pub(super) struct Job(pub Option<Runnable>);

impl Clone for Job {
    /// Objects have the empty one; a task is never there twice.
    fn clone(&self) -> Job {
        Job(None)
    }
}

// SAFETY: the task's own raw form, which is not null, or null for none; given back once. `clone` never copies a task.
unsafe impl Key for Job {
    fn into_raw(self) -> usize {
        self.0.map_or(0, |runnable| runnable.into_raw().as_ptr().expose_provenance())
    }

    unsafe fn from_raw(raw: usize) -> Job {
        // SAFETY: as the caller promises, it came from `into_raw` and is used once.
        Job(NonNull::new(ptr::with_exposed_provenance_mut(raw)).map(|task| unsafe { Runnable::from_raw(task) }))
    }
}

/// The blocks of a runtime's port: none but the library can make one, so that no user's packets go there.
pub(super) struct Nothing;
