//! The buffers between polls and operations: leased from a pool while they hold something, and only then.

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use crate::buf::{BufferPool, IoBuf, IoBufMut, PoolBuf};

/// A record of TLS and its head fit, twice over.
const SIZE: usize = 32 << 10;
/// 16 MiB at most are kept: as many connections read or write at once before a buffer costs an allocation.
const COUNT: usize = 512;

/// The process's pool, for streams that were given none.
pub(super) fn process_pool() -> &'static BufferPool {
    static POOL: LazyLock<BufferPool> = LazyLock::new(|| BufferPool::new(COUNT, SIZE));
    &POOL
}

/// One buffer: of the pool while that has any, and then of the allocator. Waiting for one to come back could last for ever.
pub(super) enum Buffer {
    Pooled(PoolBuf),
    Own(Vec<u8>),
}

impl Buffer {
    pub fn take(pool: &BufferPool) -> Buffer {
        pool.lease().map_or_else(|| Buffer::Own(vec![0; pool.buffer_size().max(1)]), Buffer::Pooled)
    }

    /// All of it, filled or not.
    pub fn whole(&mut self) -> &mut [u8] {
        match self {
            Buffer::Pooled(buffer) => buffer.whole(),
            Buffer::Own(buffer) => buffer,
        }
    }

    /// Says that its first `n` bytes are what counts. Not more than it has.
    pub fn keep(&mut self, n: usize) {
        match self {
            Buffer::Pooled(buffer) => buffer.set_len(n),
            Buffer::Own(buffer) => buffer.truncate(n),
        }
    }
}

// SAFETY: both kinds are heap memory that stays where it is while this value moves.
unsafe impl IoBuf for Buffer {
    fn as_slice(&self) -> &[u8] {
        match self {
            Buffer::Pooled(buffer) => buffer.as_slice(),
            Buffer::Own(buffer) => buffer.as_slice(),
        }
    }
}

// SAFETY: as above; each kind says itself which of its bytes may be filled.
unsafe impl IoBufMut for Buffer {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        match self {
            Buffer::Pooled(buffer) => buffer.spare(),
            Buffer::Own(buffer) => buffer.spare(),
        }
    }

    unsafe fn set_filled(&mut self, n: usize) {
        // SAFETY: the caller's promise is theirs.
        unsafe {
            match self {
                Buffer::Pooled(buffer) => buffer.set_filled(n),
                Buffer::Own(buffer) => buffer.set_filled(n),
            }
        }
    }
}
