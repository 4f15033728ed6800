//! A socket's two lanes: operations in call order, of which the head alone is in the kernel. Kernels complete several
//! receives of one socket in any order, and let large sends interleave; call order is a promise.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use super::super::fifo::Fifo;
use crate::handle::{Kind, Which};
use crate::op::{Header, Lane as Side};

pub(super) const NO_FD: RawFd = -1;

#[derive(Default)]
pub(super) struct Lane {
    list: Fifo,
    /// The head is in the kernel.
    pub busy: bool,
}

impl Lane {
    pub fn head(&self) -> Option<NonNull<Header>> {
        self.list.head()
    }

    pub fn push(&mut self, header: NonNull<Header>) {
        self.list.push(header);
    }

    /// The head is over.
    pub fn pop(&mut self) -> Option<NonNull<Header>> {
        self.busy = false;
        self.list.pop()
    }

    /// Takes out what `which` means of those not in the kernel, in order.
    pub fn remove(&mut self, which: Which) -> Vec<NonNull<Header>> {
        self.list.remove(which, usize::from(self.busy))
    }

    /// Marks what `which` means of those behind the head as cancelled, to end when their turn comes; how many.
    pub fn mark(&mut self, which: Which) -> usize {
        let mut count = 0;
        let mut at = self.head();
        while let Some(header) = at.and_then(|ahead| self.list.behind(ahead)) {
            // SAFETY: an operation of this lane, which the port's thread alone touches.
            unsafe {
                if which.means(header.as_ref()) {
                    (*header.as_ptr()).sys.cancelled = true;
                    count += 1;
                }
            }
            at = Some(header);
        }
        count
    }

    /// The head, if the kernel has it.
    pub fn in_kernel(&self) -> Option<NonNull<Header>> {
        self.head().filter(|_| self.busy)
    }
}

/// One socket's place in the port.
pub(super) struct Lanes {
    pub fd: RawFd,
    pub kind: Kind,
    read: Lane,
    write: Lane,
    /// The last handle went: what is pending completes, then the descriptor is closed.
    pub closing: bool,
    /// The sending side was shut down here.
    pub shut: bool,
    pub connected: bool,
    /// The errno that ended the connection. The kernel tells it once, to whichever lane asks first.
    pub lost: Option<i32>,
    pub instance: Option<Instance>,
}

/// Of a pipe's server: the descriptor to which its clients come, kept open by the object, and its state (`pipe.rs`).
pub(super) struct Instance {
    pub listener: RawFd,
    pub state: u32,
}

impl Lanes {
    pub fn new(fd: RawFd, kind: Kind, connected: bool) -> Lanes {
        let (read, write) = (Lane::default(), Lane::default());
        Lanes { fd, kind, read, write, closing: false, shut: false, connected, lost: None, instance: None }
    }

    pub fn lane(&mut self, side: Side) -> &mut Lane {
        match side {
            Side::Read => &mut self.read,
            Side::Write => &mut self.write,
            Side::File | Side::Timer => unreachable!("files and timers have no lane"),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.read.head().is_none() && self.write.head().is_none()
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if self.fd != NO_FD {
            // SAFETY: the lanes own the descriptor from the object's arrival on, unless `fd` was taken out of them.
            drop(unsafe { OwnedFd::from_raw_fd(self.fd) });
        }
    }
}

/// All sockets of a port, by index.
#[derive(Default)]
pub(super) struct Slab {
    places: Vec<Option<Lanes>>,
    free: Vec<u32>,
}

impl Slab {
    pub fn insert(&mut self, lanes: Lanes) -> u32 {
        if let Some(index) = self.free.pop() {
            self.places[index as usize] = Some(lanes);
            return index;
        }
        self.places.push(Some(lanes));
        (self.places.len() - 1) as u32
    }

    pub fn get(&mut self, index: u32) -> Option<&mut Lanes> {
        self.places.get_mut(index as usize)?.as_mut()
    }

    pub fn remove(&mut self, index: u32) -> Option<Lanes> {
        let lanes = self.places.get_mut(index as usize)?.take();
        if lanes.is_some() {
            self.free.push(index);
        }
        lanes
    }

    pub fn indices(&self) -> impl Iterator<Item = u32> + use<> {
        0..self.places.len() as u32
    }
}

/// Operations that are in the kernel and in no lane.
#[derive(Default)]
pub(super) struct Floating {
    first: Option<NonNull<Header>>,
}

impl Floating {
    pub fn insert(&mut self, header: NonNull<Header>) {
        // SAFETY: operations of this list, which the port's thread alone touches.
        unsafe {
            (*header.as_ptr()).sys.previous = None;
            (*header.as_ptr()).sys.next = self.first;
            if let Some(first) = self.first {
                (*first.as_ptr()).sys.previous = Some(header);
            }
        }
        self.first = Some(header);
    }

    pub fn remove(&mut self, header: NonNull<Header>) {
        // SAFETY: as above.
        unsafe {
            let (previous, next) = ((*header.as_ptr()).sys.previous.take(), (*header.as_ptr()).sys.next.take());
            match previous {
                Some(previous) => (*previous.as_ptr()).sys.next = next,
                None => self.first = next,
            }
            if let Some(next) = next {
                (*next.as_ptr()).sys.previous = previous;
            }
        }
    }

    /// Those `means` names.
    pub fn find(&self, means: impl Fn(&Header) -> bool) -> Vec<NonNull<Header>> {
        let mut found = Vec::new();
        let mut at = self.first;
        while let Some(header) = at {
            // SAFETY: as above, only read.
            unsafe {
                if means(header.as_ref()) {
                    found.push(header);
                }
                at = (*header.as_ptr()).sys.next;
            }
        }
        found
    }
}
