//! A part of a buffer that a step fills or sends.

use std::mem::MaybeUninit;

use crate::buf::{IoBuf, IoBufMut};

/// The part of a buffer from one offset to another, both of its memory; what lies before it is initialized.
#[derive(Debug)]
pub struct Rest<B> {
    inner: B,
    begin: usize,
    end: usize,
}

impl<B: IoBufMut> Rest<B> {
    /// To be filled: from `begin`, up to which it was filled before, to `end` or its own.
    ///
    /// # Safety
    /// The first `begin` bytes of the buffer's memory are initialized.
    pub(super) unsafe fn to_fill(inner: B, begin: usize, end: usize) -> Rest<B> {
        Rest { inner, begin, end }
    }
}

impl<B: IoBuf> Rest<B> {
    /// To be sent: from `begin` on.
    pub(super) fn to_send(inner: B, begin: usize) -> Rest<B> {
        let end = inner.as_slice().len();
        Rest { inner, begin, end }
    }
}

impl<B> Rest<B> {
    /// The whole buffer.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

// SAFETY: a range of a buffer that keeps the promise itself.
unsafe impl<B: IoBuf> IoBuf for Rest<B> {
    fn as_slice(&self) -> &[u8] {
        let whole = self.inner.as_slice();
        whole.get(self.begin..self.end.min(whole.len())).unwrap_or(&[])
    }
}

// SAFETY: as above. Told of n bytes, the buffer is told of those before them too, which were initialized earlier: so the first n
// of this part are the first of its slice.
unsafe impl<B: IoBufMut> IoBufMut for Rest<B> {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        let whole = self.inner.spare();
        let end = self.end.min(whole.len());
        whole.get_mut(self.begin..end).unwrap_or(&mut [])
    }

    unsafe fn set_filled(&mut self, n: usize) {
        // SAFETY: the first `begin` bytes are initialized, as `to_fill` was promised, and the next n by the caller's promise;
        // with no room there are none of these.
        unsafe { self.inner.set_filled(self.begin + n) }
    }
}
