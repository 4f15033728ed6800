//! A part of a file that is sent on a stream.

use std::ops::{Bound, RangeBounds};
use std::ptr::NonNull;

use crate::handle::{Handle, Object};

/// What is sent of which file, and how far that is.
#[derive(Debug)]
pub(crate) struct Transmit {
    /// Until the completion is consumed.
    pub file: Option<Held>,
    /// The next byte of the file.
    pub at: u64,
    /// Behind the last one.
    pub end: u64,
    /// What was sent of the buffers around it.
    #[allow(dead_code, reason = "the kernel of Windows sends all of it by one call")]
    pub buffered: usize,
}

impl Transmit {
    pub fn new(file: &Handle, range: &impl RangeBounds<u64>) -> Transmit {
        let at = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            // As long as a file can be.
            Bound::Unbounded => i64::MAX.cast_unsigned().max(at),
        };
        Transmit { file: Some(Held::new(file)), at, end, buffered: 0 }
    }
}

/// An operation's hold on an object beside its own: one of that object's operation counts.
#[derive(Debug)]
pub(crate) struct Held(NonNull<Object>);

// SAFETY: an object is shared by design. The count of one that belongs to a thread's own port is touched on that thread
// alone: operations that hold it are of the same home, by their type.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    fn new(handle: &Handle) -> Held {
        handle.operation_added();
        Held(handle.object())
    }
}

impl std::ops::Deref for Held {
    type Target = Object;
    fn deref(&self) -> &Object {
        // SAFETY: alive, as the count says.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the count taken by `new`, given up once.
        unsafe { Object::operation_ended(self.0) }
    }
}
