//! A ring of provided buffers (`IORING_REGISTER_PBUF_RING`): one thread owns it, the kernel takes buffers from its head, the
//! owner puts them back at its tail.
//!
//! | memory | who writes it |
//! |---|---|
//! | a buffer in the ring | the kernel |
//! | a buffer the kernel has handed out | nobody; the owner reads it until [`Buffers::give`] |
//! | entries, tail | the owner; the kernel reads entries below the tail it has seen |

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

const PAGE: usize = 4096;
/// Between the starts of two buffers lies one cache line more than a buffer: buffers a power of two apart would put the
/// first lines of all of them into the same few sets of the cache.
const STAGGER: usize = 64;

/// The ring and the buffers of one group.
pub struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    len: u32,
    /// The tail the kernel will see at the next [`Buffers::publish`].
    tail: u16,
}

impl Buffers {
    /// Registers `count` buffers (a power of two, at most 32,768) of `len` bytes each as group `group`.
    ///
    /// The memory must outlive the ring: drop the `IoUring` first.
    pub fn register(submitter: &Submitter, group: u16, count: u16, len: u32) -> io::Result<Buffers> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "the kernel takes powers of two");
        let entries = zeroed(entries_layout(count)).cast::<BufRingEntry>();
        let memory = zeroed(memory_layout(count, len));
        let mut buffers = Buffers { entries, memory, count, len, tail: 0 };
        // SAFETY: page-aligned memory for `count` entries, freed only when `buffers` is dropped, which by the contract above
        // is after the ring.
        unsafe { submitter.register_buf_ring_with_flags(entries.as_ptr() as u64, count, group, 0)? };
        (0..count).for_each(|id| buffers.give(id));
        buffers.publish();
        Ok(buffers)
    }

    fn start(&self, id: u16) -> NonNull<u8> {
        assert!(id < self.count, "a buffer of this ring");
        // SAFETY: inside the allocation, by the assertion and `memory_layout`.
        unsafe { self.memory.add(usize::from(id) * (self.len as usize + STAGGER)) }
    }

    /// What the kernel received into a buffer it handed out.
    #[inline]
    pub fn received(&self, id: u16, len: usize) -> &[u8] {
        assert!(len <= self.len as usize, "the kernel fills no more than there is");
        // SAFETY: initialised memory inside the allocation; the kernel writes to it again only after `give`, which needs
        // this borrow to have ended.
        unsafe { std::slice::from_raw_parts(self.start(id).as_ptr(), len) }
    }

    /// Puts a buffer back, to be seen by the kernel at the next `publish`.
    #[inline]
    pub fn give(&mut self, id: u16) {
        let addr = self.start(id).as_ptr() as u64;
        // SAFETY: inside the allocation; the kernel does not read entries at or past the tail it has seen, and there are
        // never more buffers than entries. The fields are written one by one because the first entry holds the tail, too.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail & (self.count - 1))).as_ptr();
            entry.set_addr(addr);
            entry.set_len(self.len);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was given: one store, however many.
    #[inline]
    pub fn publish(&mut self) {
        // SAFETY: the first entry is initialised (zeroes); its last field is the ring's tail, aligned, written by this
        // thread alone and read by the kernel.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with these layouts; the ring that used them is gone, by its contract.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), entries_layout(self.count));
            dealloc(self.memory.as_ptr(), memory_layout(self.count, self.len));
        }
    }
}

fn entries_layout(count: u16) -> Layout {
    Layout::from_size_align(usize::from(count) * size_of::<BufRingEntry>(), PAGE).expect("at most half a megabyte")
}

fn memory_layout(count: u16, len: u32) -> Layout {
    Layout::from_size_align(usize::from(count) * (len as usize + STAGGER), PAGE).expect("far below the address space")
}

fn zeroed(layout: Layout) -> NonNull<u8> {
    // SAFETY: neither layout is of size zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}
