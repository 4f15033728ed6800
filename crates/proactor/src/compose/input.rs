//! What was read and not used yet.

use super::Rest;

/// Least room made for a read.
const STEP: usize = 4096;

/// A buffer that grows with what is read, up to a limit, and keeps what was read past what its user took.
///
/// ```
/// use proactor::compose::Input;
/// let mut input = Input::from(b"one\ntwo".to_vec());
/// assert_eq!(input.unread(), b"one\ntwo");
/// input.consume(4);
/// assert_eq!(input.unread(), b"two");
/// ```
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    begin: usize,
    limit: usize,
}

impl From<Vec<u8>> for Input {
    /// What is in it counts as read; without a limit but memory.
    fn from(bytes: Vec<u8>) -> Input {
        Input { bytes, begin: 0, limit: usize::MAX }
    }
}

impl Input {
    /// An empty one, for at most so many unread bytes.
    pub fn new(limit: usize) -> Input {
        Input { bytes: Vec::new(), begin: 0, limit }
    }

    /// Most unread bytes there may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Sets another limit. What is there already stays.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// What was read and not consumed yet.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }

    /// Takes so many bytes from the front, or all there are.
    pub fn consume(&mut self, bytes: usize) {
        self.begin = self.begin.saturating_add(bytes).min(self.bytes.len());
        if self.begin == self.bytes.len() {
            self.bytes.clear();
            self.begin = 0;
        }
    }

    /// The unread bytes.
    pub fn into_inner(mut self) -> Vec<u8> {
        self.bytes.drain(..self.begin);
        self.bytes
    }

    /// Its memory with room behind what is unread, as a part to fill; `None` at the limit.
    pub(super) fn part(&mut self) -> Option<Rest<Vec<u8>>> {
        self.bytes.drain(..std::mem::take(&mut self.begin));
        let len = self.bytes.len();
        let left = self.limit.checked_sub(len).filter(|left| *left > 0)?;
        if self.bytes.capacity() == len {
            self.bytes.reserve(len.max(STEP).min(left));
        }
        let bytes = std::mem::take(&mut self.bytes);
        // SAFETY: a Vec's bytes up to its length are initialized.
        Some(unsafe { Rest::to_fill(bytes, len, len.saturating_add(left)) })
    }

    /// The memory back, with what was filled.
    pub(super) fn restore(&mut self, part: Rest<Vec<u8>>) {
        self.bytes = part.into_inner();
    }
}
