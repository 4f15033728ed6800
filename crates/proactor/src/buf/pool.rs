//! A bounded pool of equal buffers that return by drop.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
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
    size: usize,
    free: ArrayQueue<Box<[u8]>>,
}

/// What a pool without a free buffer answers.
pub(crate) fn none_free() -> Error {
    Error::new(Code::InsufficientResources)
        .hint("every buffer of the pool is leased; wait for operations to complete, or make the pool larger")
}

impl BufferPool {
    /// A pool of `count` buffers (at least one) of `size` bytes.
    pub fn new(count: usize, size: usize) -> BufferPool {
        let free = ArrayQueue::new(count.max(1));
        while free.push(Box::default()).is_ok() {}
        BufferPool { shared: Arc::new(Shared { size, free }) }
    }

    /// Leases a buffer. Never waits: with none free it is [`Code::InsufficientResources`].
    pub fn take(&self) -> Result<PoolBuf, Error> {
        self.lease().ok_or_else(none_free)
    }

    /// As `take`, without words for there being none.
    pub(crate) fn lease(&self) -> Option<PoolBuf> {
        let mut bytes = self.shared.free.pop()?;
        if bytes.len() != self.shared.size {
            bytes = vec![0; self.shared.size].into_boxed_slice();
        }
        Some(PoolBuf { bytes, filled: 0, pool: self.shared.clone() })
    }

    /// How many buffers there are, free and leased.
    pub fn capacity(&self) -> usize {
        self.shared.free.capacity()
    }

    /// Whether both are the same pool.
    pub(crate) fn is(&self, other: &BufferPool) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// How many buffers are free now.
    pub fn available(&self) -> usize {
        self.shared.free.len()
    }

    /// The size of each buffer in bytes.
    pub fn buffer_size(&self) -> usize {
        self.shared.size
    }
}

/// A leased buffer: `Deref`s to the bytes last filled, goes back to its pool when dropped.
#[derive(Debug)]
pub struct PoolBuf {
    bytes: Box<[u8]>,
    filled: usize,
    pool: Arc<Shared>,
}

impl PoolBuf {
    /// The whole buffer, filled or not.
    pub fn whole(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Says that the first `n` bytes hold what is to be sent (at most the buffer's size).
    pub fn set_len(&mut self, n: usize) {
        self.filled = n.min(self.bytes.len());
    }
}

impl Deref for PoolBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl DerefMut for PoolBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }
}

impl Drop for PoolBuf {
    fn drop(&mut self) {
        // The queue has room for every buffer of the pool, so this cannot fail.
        let _ = self.pool.free.push(std::mem::take(&mut self.bytes));
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
        as_uninit(&mut self.bytes)
    }

    unsafe fn set_filled(&mut self, n: usize) {
        self.set_len(n);
    }
}
