//! The ownership traits: what a value must promise so that the kernel may read or fill its bytes.

use std::mem::MaybeUninit;
use std::ops::{Range, RangeBounds};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// A value whose bytes an operation may send or write.
///
/// # Safety
/// While the value is neither moved nor borrowed mutably, [`as_slice`](IoBuf::as_slice) must keep naming the same
/// memory, and that memory must stay valid and unchanged, whatever other threads do. `Send`, because another thread
/// may hand the bytes to the kernel.
///
/// Operations take only what is `'static`. The trait itself does not ask for it, so that a future that holds an operation with a
/// `&'static [u8]` can be `Send`: the compiler looks at such futures with lifetimes left out.
pub unsafe trait IoBuf: Send {
    /// The initialized bytes.
    fn as_slice(&self) -> &[u8];
}

/// A value whose memory an operation may fill.
///
/// # Safety
/// [`spare`](IoBufMut::spare) must keep naming the same memory while the value is neither moved nor borrowed, nobody
/// else may reach that memory meanwhile, and after [`set_filled`](IoBufMut::set_filled)`(n)` its first `n` bytes are
/// the first `n` of [`as_slice`](IoBuf::as_slice).
pub unsafe trait IoBufMut: IoBuf {
    /// The memory an operation fills, from its first byte: a `Vec`'s whole capacity, an array's whole length.
    fn spare(&mut self) -> &mut [MaybeUninit<u8>];

    /// Told how many bytes were filled. A `Vec` takes this as its length; arrays and boxed slices keep theirs.
    ///
    /// # Safety
    /// The first `n` bytes of `spare()` have been initialized.
    unsafe fn set_filled(&mut self, n: usize);
}

pub(super) fn as_uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: same layout; the callers only write initialized bytes through it (they are the kernel's, filled up to n).
    unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) }
}

// SAFETY: a Vec owns its heap memory alone; it moves only when mutated.
unsafe impl IoBuf for Vec<u8> {
    fn as_slice(&self) -> &[u8] {
        self
    }
}

// SAFETY: the capacity is memory of the Vec's own; set_len publishes what was initialized.
unsafe impl IoBufMut for Vec<u8> {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: a Vec's pointer is valid for its capacity, and uninitialized memory may be seen as MaybeUninit.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), self.capacity()) }
    }

    unsafe fn set_filled(&mut self, n: usize) {
        // SAFETY: the caller initialized n bytes, and n is at most the capacity that `spare` offered.
        unsafe { self.set_len(n) }
    }
}

// SAFETY: as for Vec: unique heap memory.
unsafe impl IoBuf for Box<[u8]> {
    fn as_slice(&self) -> &[u8] {
        self
    }
}

// SAFETY: unique heap memory of fixed, initialized length.
unsafe impl IoBufMut for Box<[u8]> {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        as_uninit(self)
    }

    unsafe fn set_filled(&mut self, _: usize) {}
}

// SAFETY: the bytes lie in the value itself, which the operation's block holds still.
unsafe impl<const N: usize> IoBuf for [u8; N] {
    fn as_slice(&self) -> &[u8] {
        self
    }
}

// SAFETY: as above, and initialized throughout.
unsafe impl<const N: usize> IoBufMut for [u8; N] {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        as_uninit(self)
    }

    unsafe fn set_filled(&mut self, _: usize) {}
}

// SAFETY: a shared reference to memory that stays unchanged while it lives, which for an operation is for ever.
unsafe impl IoBuf for &[u8] {
    fn as_slice(&self) -> &[u8] {
        self
    }
}

// SAFETY: as above.
unsafe impl<const N: usize> IoBuf for &[u8; N] {
    fn as_slice(&self) -> &[u8] {
        *self
    }
}

// SAFETY: as above.
unsafe impl IoBuf for &str {
    fn as_slice(&self) -> &[u8] {
        self.as_bytes()
    }
}

// SAFETY: shared and immutable; the count keeps it alive.
unsafe impl IoBuf for Arc<[u8]> {
    fn as_slice(&self) -> &[u8] {
        self
    }
}

// SAFETY: shared and immutable; its own count keeps it alive.
unsafe impl IoBuf for Bytes {
    fn as_slice(&self) -> &[u8] {
        self
    }
}

// SAFETY: BytesMut is the only owner of its range.
unsafe impl IoBuf for BytesMut {
    fn as_slice(&self) -> &[u8] {
        self
    }
}

// SAFETY: the range up to the capacity is its own; set_len publishes what was initialized.
unsafe impl IoBufMut for BytesMut {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the pointer is valid for the capacity, and the memory is exclusively this value's.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), self.capacity()) }
    }

    unsafe fn set_filled(&mut self, n: usize) {
        // SAFETY: the caller initialized n bytes, n is at most the capacity.
        unsafe { self.set_len(n) }
    }
}

/// A part of a buffer, owned: `Slice::new(buf, 10..20)` sends or fills only those bytes.
///
/// ```
/// use proactor::{IoBuf, Slice};
/// let part = Slice::new(vec![1_u8, 2, 3, 4], 1..3).unwrap();
/// assert_eq!(part.as_slice(), [2, 3]);
/// assert_eq!(part.into_inner(), [1, 2, 3, 4]);
/// ```
#[derive(Debug)]
pub struct Slice<B> {
    inner: B,
    range: Range<usize>,
}

impl<B: IoBuf> Slice<B> {
    /// The part of `inner` in `range`; `None` if the range does not lie within its initialized bytes.
    pub fn new(inner: B, range: impl RangeBounds<usize>) -> Option<Slice<B>> {
        use std::ops::Bound;
        let len = inner.as_slice().len();
        let start = match range.start_bound() {
            Bound::Included(n) => *n,
            Bound::Excluded(n) => n.checked_add(1)?,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(n) => n.checked_add(1)?,
            Bound::Excluded(n) => *n,
            Bound::Unbounded => len,
        };
        (start <= end && end <= len).then_some(Slice { inner, range: start..end })
    }

    /// The whole buffer again.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

// SAFETY: a fixed range of a buffer that keeps the promise itself; the range was checked and `get` checks again.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn as_slice(&self) -> &[u8] {
        self.inner.as_slice().get(self.range.clone()).unwrap_or(&[])
    }
}

// SAFETY: as above; all bytes in the range were initialized before, so nothing need be told to the buffer.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        self.inner.spare().get_mut(self.range.clone()).unwrap_or(&mut [])
    }

    unsafe fn set_filled(&mut self, _: usize) {}
}
