//! The list of a lane's operations: in call order, linked through their blocks, so that queueing one allocates nothing.
//!
//! Contract: the operations in it are the list's alone; whoever owns the lane owns the list, and with it their links.

use std::ptr::NonNull;

use crate::handle::Which;
use crate::op::Header;

#[derive(Default)]
pub(super) struct Fifo {
    head: Option<NonNull<Header>>,
    tail: Option<NonNull<Header>>,
}

impl Fifo {
    pub const fn new() -> Fifo {
        Fifo { head: None, tail: None }
    }

    /// The oldest.
    pub fn head(&self) -> Option<NonNull<Header>> {
        self.head
    }

    pub fn push(&mut self, header: NonNull<Header>) {
        // SAFETY: started operations, the list's alone.
        unsafe {
            (*header.as_ptr()).sys.next = None;
            match self.tail {
                Some(tail) => (*tail.as_ptr()).sys.next = Some(header),
                None => self.head = Some(header),
            }
        }
        self.tail = Some(header);
    }

    pub fn pop(&mut self) -> Option<NonNull<Header>> {
        let header = self.head?;
        // SAFETY: as in `push`.
        self.head = unsafe { (*header.as_ptr()).sys.next.take() };
        if self.head.is_none() {
            self.tail = None;
        }
        Some(header)
    }

    /// The one behind `header`, which is in the list.
    pub fn behind(&self, header: NonNull<Header>) -> Option<NonNull<Header>> {
        // SAFETY: as in `push`.
        unsafe { (*header.as_ptr()).sys.next }
    }

    /// Takes out the operations `which` means, in order; all but the first `spared`.
    pub fn remove(&mut self, which: Which, spared: usize) -> Vec<NonNull<Header>> {
        let mut out = Vec::new();
        let mut all = std::mem::take(self);
        for _ in 0..spared {
            if let Some(header) = all.pop() {
                self.push(header);
            }
        }
        while let Some(header) = all.pop() {
            // SAFETY: a pending operation of this list, only read.
            match which.means(unsafe { header.as_ref() }) {
                true => out.push(header),
                false => self.push(header),
            }
        }
        out
    }
}
