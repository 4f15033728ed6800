//! What was served, counted by any thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Counts;

/// [`Counts`] that threads share.
#[derive(Default)]
pub struct Tally {
    connections: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    stopping: AtomicBool,
}

impl Tally {
    pub fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A receive was sent back whole.
    pub fn message(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A connection ended with an error, or an accept failed.
    pub fn error(&self) {
        if !self.is_stopping() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What ends from now on was ended here.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            connections: of(&self.connections),
            messages: of(&self.messages),
            bytes: of(&self.bytes),
            errors: of(&self.errors),
        }
    }
}
