//! What the kernel sees of a buffer or a list of buffers: addresses and lengths, nothing owned.

use super::pool::BufferPool;
use crate::backend::{RawBuf, RawCall};

/// The lowered buffers of one operation. A list keeps its memory when a block is used again, so vectored operations
/// allocate nothing in the steady state either.
#[derive(Default)]
pub(crate) struct Buffers {
    first: RawBuf,
    list: Vec<RawBuf>,
    count: usize,
    /// Where an operation of many completions takes its buffers from.
    pub pool: Option<BufferPool>,
    /// What an operation of the user's own asks.
    pub raw: RawCall,
}

impl Buffers {
    /// The most buffers of one system call; a longer list takes several.
    pub const BATCH: usize = 64;

    /// The most buffers one operation takes: what `readv` and `WSARecv` accept everywhere.
    pub const MOST: usize = 1024;

    #[inline]
    pub fn clear(&mut self) {
        self.list.clear();
        self.count = 0;
        self.pool = None;
    }

    #[inline]
    pub fn push(&mut self, ptr: *mut u8, len: usize) {
        let raw = RawBuf::new(ptr, len);
        match self.count {
            0 => self.first = raw,
            1 => {
                self.list.clear();
                self.list.push(self.first);
                self.list.push(raw);
            }
            _ => self.list.push(raw),
        }
        self.count += 1;
    }

    #[inline]
    pub fn push_slice(&mut self, bytes: &[u8]) {
        self.push(bytes.as_ptr().cast_mut(), bytes.len());
    }

    #[inline]
    pub fn as_slice(&self) -> &[RawBuf] {
        match self.count {
            0 => &[],
            1 => std::slice::from_ref(&self.first),
            _ => &self.list,
        }
    }

    /// The buffer, if it is one alone.
    #[inline]
    pub fn only(&self) -> Option<RawBuf> {
        (self.count == 1).then_some(self.first)
    }

    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Drops the first `n` bytes, which are done.
    #[allow(dead_code, reason = "the kernel of Windows moves a list whole")]
    pub fn advance(&mut self, mut n: usize) {
        let bufs = if self.count == 1 { std::slice::from_mut(&mut self.first) } else { &mut self.list[..] };
        for raw in bufs {
            let step = n.min(raw.len());
            *raw = raw.advance(step);
            n -= step;
        }
    }

    /// All bytes of all buffers.
    #[inline]
    pub fn total(&self) -> usize {
        self.as_slice().iter().map(RawBuf::len).sum()
    }

    /// Lends `call` what lies behind the first `done` bytes, in at most [`BATCH`](Buffers::BATCH) parts.
    #[inline]
    pub fn with_rest<T>(&self, done: usize, call: impl FnOnce(&[RawBuf]) -> T) -> T {
        if self.count == 1 {
            return call(&[self.first.advance(done.min(self.first.len()))]);
        }
        let mut into = [RawBuf::default(); Buffers::BATCH];
        call(self.rest(done, &mut into))
    }

    /// The part of each buffer that lies behind the first `done` bytes, as many as `into` takes.
    fn rest<'a>(&self, mut done: usize, into: &'a mut [RawBuf]) -> &'a [RawBuf] {
        let mut n = 0;
        for raw in self.as_slice() {
            // Empty ones too: a list that begins with as many as one call takes would never get on.
            if done >= raw.len() {
                done -= raw.len();
                continue;
            }
            if n == into.len() {
                break;
            }
            into[n] = raw.advance(done);
            done = 0;
            n += 1;
        }
        &into[..n]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn rest_skips_what_is_done_across_buffers() {
        let data = [0_u8; 10];
        let mut buffers = Buffers::default();
        buffers.push_slice(&data[0..3]);
        buffers.push_slice(&data[3..3]);
        buffers.push_slice(&data[3..10]);
        let mut into = [RawBuf::default(); 4];
        let lens = |rest: &[RawBuf]| rest.iter().map(RawBuf::len).filter(|l| *l > 0).collect::<Vec<_>>();
        assert_eq!(lens(buffers.rest(0, &mut into)), [3, 7]);
        assert_eq!(lens(buffers.rest(2, &mut into)), [1, 7]);
        assert_eq!(lens(buffers.rest(3, &mut into)), [7]);
        assert_eq!(lens(buffers.rest(9, &mut into)), [1]);
        assert_eq!(buffers.total(), 10);
    }
}
