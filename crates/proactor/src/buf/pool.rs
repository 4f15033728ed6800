//! A bounded pool of equal buffers that return by drop.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::traits::{IoBuf, IoBufMut, as_uninit};
use crate::error::{Code, Error};

/// A fixed number of buffers of one size, shared by any threads.
///
/// [`take`](BufferPool::take) leases one, dropping the lease returns it: with a readiness operation first and a leased
/// buffer after it, an idle connection pins no buffer. Buffers are allocated on first use and then kept.
///
/// ```
/// use proactor::{BufferPool, Code};
/// let pool = BufferPool::new(1, 4096);
/// let lease = pool.take().unwrap();
/// assert_eq!(pool.take().unwrap_err().code(), Code::InsufficientResources);
/// drop(lease);
/// assert_eq!(pool.available(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What each buffer is, once allocated.
    layout: Layout,
    free: ArrayQueue<Memory>,
}

/// One buffer's memory, initialized throughout; none before its first use.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: unique heap memory of plain bytes.
unsafe impl Send for Memory {}
// SAFETY: as above; shared, it gives out `&[u8]` only.
unsafe impl Sync for Memory {}

impl Memory {
    const NONE: Memory = Memory { start: NonNull::dangling(), layout: Layout::new::<()>() };

    fn zeroed(layout: Layout) -> Memory {
        if layout.size() == 0 {
            return Memory::NONE;
        }
        // SAFETY: the layout has a size.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        Memory { start, layout }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated with this layout, freed once.
            unsafe { dealloc(self.start.as_ptr(), self.layout) }
        }
    }
}

/// What a pool without a free buffer answers.
pub(crate) fn none_free() -> Error {
    Error::new(Code::InsufficientResources)
        .hint("every buffer of the pool is leased; wait for operations to complete, or make the pool larger")
}

impl BufferPool {
    /// A pool of `count` buffers (at least one) of `size` bytes.
    pub fn new(count: usize, size: usize) -> BufferPool {
        match Layout::array::<u8>(size) {
            Ok(layout) => BufferPool::of(count, layout),
            Err(_) => panic!("a buffer of {size} bytes is larger than the address space"),
        }
    }

    /// A pool whose buffers begin at multiples of `align` bytes, for direct I/O
    /// ([`OpenOptions::direct`](crate::fs::OpenOptions::direct)), which wants `size` to be a multiple of it too: 4096 fits
    /// nearly everywhere.
    ///
    /// [`Code::InvalidParameter`] if `align` is not a power of two, or a buffer larger than the address space.
    ///
    /// ```
    /// use proactor::BufferPool;
    /// let pool = BufferPool::aligned(32, 1 << 20, 4096)?;
    /// assert_eq!(pool.take()?.whole().as_ptr().addr() % 4096, 0);
    /// # Ok::<(), proactor::Error>(())
    /// ```
    pub fn aligned(count: usize, size: usize, align: usize) -> Result<BufferPool, Error> {
        match Layout::from_size_align(size, align) {
            Ok(layout) => Ok(BufferPool::of(count, layout)),
            Err(_) => Err(Error::new(Code::InvalidParameter)
                .hint("buffers are aligned to a power of two, and are smaller than the address space")),
        }
    }

    fn of(count: usize, layout: Layout) -> BufferPool {
        let free = ArrayQueue::new(count.max(1));
        while free.push(Memory::NONE).is_ok() {}
        BufferPool { shared: Arc::new(Shared { layout, free }) }
    }

    /// Leases a buffer. Never waits: with none free it is [`Code::InsufficientResources`].
    pub fn take(&self) -> Result<PoolBuf, Error> {
        self.lease().ok_or_else(none_free)
    }

    /// As `take`, without words for there being none.
    pub(crate) fn lease(&self) -> Option<PoolBuf> {
        let mut bytes = self.shared.free.pop()?;
        if bytes.layout != self.shared.layout {
            bytes = Memory::zeroed(self.shared.layout);
        }
        let start = std::mem::ManuallyDrop::new(bytes).start;
        Some(PoolBuf { start, filled: 0, pool: self.shared.clone() })
    }

    /// How many buffers there are, free and leased.
    pub fn capacity(&self) -> usize {
        self.shared.free.capacity()
    }

    /// Whether both are the same pool.
    #[allow(dead_code, reason = "Windows gives its kernel no pool of buffers")]
    pub(crate) fn is(&self, other: &BufferPool) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How many buffers are free now.
    pub fn available(&self) -> usize {
        self.shared.free.len()
    }

    /// The size of each buffer in bytes.
    pub fn buffer_size(&self) -> usize {
        self.shared.layout.size()
    }
}

/// A leased buffer: `Deref`s to the bytes last filled, goes back to its pool when dropped.
#[derive(Debug)]
pub struct PoolBuf {
    /// Memory of the pool's layout.
    start: NonNull<u8>,
    filled: usize,
    pool: Arc<Shared>,
}

// SAFETY: unique heap memory of plain bytes, and a pool that threads may share.
unsafe impl Send for PoolBuf {}
// SAFETY: as above; shared, it gives out `&[u8]` only.
unsafe impl Sync for PoolBuf {}

impl PoolBuf {
    fn size(&self) -> usize {
        self.pool.layout.size()
    }

    /// The whole buffer, filled or not.
    pub fn whole(&mut self) -> &mut [u8] {
        // SAFETY: initialized memory of that size, leased to this value alone; of no size, a dangling pointer will do.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size()) }
    }

    /// Says that the first `n` bytes hold what is to be sent (at most the buffer's size).
    pub fn set_len(&mut self, n: usize) {
        self.filled = n.min(self.size());
    }
}

impl Deref for PoolBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: as in `whole`; at most the buffer's size is filled.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.filled) }
    }
}

impl DerefMut for PoolBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.filled) }
    }
}

impl Drop for PoolBuf {
    fn drop(&mut self) {
        // The queue has room for every buffer of the pool, so this cannot fail.
        let _ = self.pool.free.push(Memory { start: self.start, layout: self.pool.layout });
    }
}

// SAFETY: unique heap memory, leased to this value alone.
unsafe impl IoBuf for PoolBuf {
    fn as_slice(&self) -> &[u8] {
        self
    }
}

// SAFETY: as above; the whole buffer is initialized.
unsafe impl IoBufMut for PoolBuf {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        as_uninit(self.whole())
    }

    unsafe fn set_filled(&mut self, n: usize) {
        self.set_len(n);
    }
}
