//! Buffer rings: buffers of a user's pool, put where the kernel takes them from when data comes.
//!
//! A slot's index is its buffer's number, and slots are filled in the ring's order: a completion that spans several
//! buffers (a bundle) names the first, the others follow it. A buffer is the port's while it lies here, the kernel's
//! from the moment data comes until the completion is reaped, and the user's from then on.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::buf::{BufferPool, PoolBuf};
use crate::error::Error;

/// The most buffers of one ring: more than fit the processor's cache gain nothing.
const MOST: usize = 1024;

struct Group {
    pool: BufferPool,
    /// `mask + 1` entries, from the system, as the kernel wants them: on a page of their own.
    entries: NonNull<BufRingEntry>,
    mask: u16,
    tail: u16,
    slots: Box<[Option<PoolBuf>]>,
    /// Buffers in the slots.
    filled: usize,
    /// Operations that receive from it.
    users: usize,
}

/// All buffer rings of a port. A group's number is its index.
#[derive(Default)]
pub(super) struct Leases {
    groups: Vec<Option<Group>>,
}

impl Leases {
    /// The group of a pool, made if there is none, for one operation more. [`has_buffers`](Leases::has_buffers) fills it.
    pub fn join(&mut self, pool: &BufferPool, submitter: &Submitter<'_>) -> Result<u16, Error> {
        if let Some(at) = self.groups.iter().position(|group| group.as_ref().is_some_and(|group| group.pool.is(pool))) {
            if let Some(group) = &mut self.groups[at] {
                group.users += 1;
            }
            return Ok(at as u16);
        }
        self.give_back(submitter);
        let at = match self.groups.iter().position(Option::is_none) {
            Some(at) => at,
            None => {
                self.groups.push(None);
                self.groups.len() - 1
            }
        };
        let mut group = Group::new(pool)?;
        // SAFETY: the entries live until the group is dropped, which unregisters it first or follows the ring's end.
        unsafe { submitter.register_buf_ring_with_flags(group.entries.as_ptr() as u64, group.mask + 1, at as u16, 0) }
            .map_err(|error| Error::from_io(&error))?;
        group.users = 1;
        self.groups[at] = Some(group);
        Ok(at as u16)
    }

    /// An operation has ended. The buffers stay where they are, for the next one, until another pool comes or the port
    /// closes.
    pub fn leave(&mut self, id: u16) {
        if let Some(Some(group)) = self.groups.get_mut(usize::from(id)) {
            group.users -= 1;
        }
    }

    /// Gives the buffers nobody receives into back to their pools.
    pub fn give_back(&mut self, submitter: &Submitter<'_>) {
        for (id, place) in self.groups.iter_mut().enumerate() {
            if place.as_ref().is_some_and(|group| group.users == 0) && submitter.unregister_buf_ring(id as u16).is_ok() {
                *place = None;
            }
        }
    }

    /// Puts the buffers that came back to their pools where the kernel finds them.
    pub fn top_up(&mut self) {
        self.groups.iter_mut().flatten().for_each(Group::top_up);
    }

    /// Whether the kernel could take a buffer now, after a refill.
    pub fn has_buffers(&mut self, id: u16) -> bool {
        let Some(Some(group)) = self.groups.get_mut(usize::from(id)) else { return false };
        group.top_up();
        group.filled > 0
    }

    /// Takes a received buffer out.
    #[inline]
    pub fn take(&mut self, group: u16, number: u16) -> Option<PoolBuf> {
        let group = self.groups.get_mut(usize::from(group))?.as_mut()?;
        let buffer = group.slots.get_mut(usize::from(number & group.mask))?.take()?;
        group.filled -= 1;
        Some(buffer)
    }
}

impl Group {
    fn new(pool: &BufferPool) -> Result<Group, Error> {
        let count = pool.capacity().clamp(1, MOST).next_power_of_two();
        // SAFETY: a fresh anonymous mapping.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * size_of::<BufRingEntry>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let entries = match NonNull::new(memory.cast()) {
            Some(entries) if memory != libc::MAP_FAILED => entries,
            _ => return Err(Error::last_os_error()),
        };
        Ok(Group {
            pool: pool.clone(),
            entries,
            mask: (count - 1) as u16,
            tail: 0,
            slots: (0..count).map(|_| None).collect(),
            filled: 0,
            users: 0,
        })
    }

    fn top_up(&mut self) {
        let before = self.tail;
        while let slot @ None = &mut self.slots[usize::from(self.tail & self.mask)] {
            let Some(mut buffer) = self.pool.lease() else { break };
            let room = buffer.whole();
            let (address, len) = (room.as_mut_ptr() as u64, u32::try_from(room.len()).unwrap_or(u32::MAX));
            // SAFETY: within the mapping; the kernel reads an entry only after the tail has passed it.
            let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(self.tail & self.mask)) };
            entry.set_addr(address);
            entry.set_len(len);
            entry.set_bid(self.tail & self.mask);
            *slot = Some(buffer);
            self.filled += 1;
            self.tail = self.tail.wrapping_add(1);
        }
        if self.tail != before {
            // SAFETY: the tail lies in the first entry's unused part, and is read by the kernel as an atomic.
            let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; the kernel knows of it no longer.
        unsafe { libc::munmap(self.entries.as_ptr().cast(), (usize::from(self.mask) + 1) * size_of::<BufRingEntry>()) };
    }
}
