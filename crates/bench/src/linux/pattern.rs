//! The bytes that travel: one endless stream per connection, cut from a ready-made table, so that sending copies nothing
//! and checking is one `memcmp`.

/// After so many bytes a stream repeats: a prime, so that no message length divides it and a lost, doubled or swapped
/// message shows.
const PERIOD: usize = 32_749;

/// Streams of all connections.
pub struct Pattern {
    table: Box<[u8]>,
}

/// A place in one connection's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

impl Pattern {
    /// Streams of which pieces up to `longest` bytes can be cut.
    pub fn new(longest: usize) -> Pattern {
        // Numbers of a Weyl sequence, mixed: every byte depends on its position and on nothing else.
        let byte = |at: usize| {
            let mixed = ((at % PERIOD) as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 56) as u8
        };
        Pattern { table: (0..PERIOD + longest).map(byte).collect() }
    }

    /// Where the stream of this connection begins.
    pub fn start(&self, connection: usize) -> Place {
        Place(connection * 4_099 % PERIOD)
    }

    /// The next bytes of a stream.
    #[inline]
    pub fn piece(&self, at: Place, len: usize) -> &[u8] {
        &self.table[at.0..at.0 + len]
    }

    /// Whether these are the next bytes of a stream.
    #[inline]
    pub fn matches(&self, at: Place, bytes: &[u8]) -> bool {
        self.piece(at, bytes.len()) == bytes
    }
}

impl Place {
    /// The place `len` bytes on.
    #[inline]
    pub fn after(self, len: usize) -> Place {
        let mut at = self.0 + len;
        while at >= PERIOD {
            at -= PERIOD;
        }
        Place(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_message_shows() {
        let pattern = Pattern::new(4096);
        let start = pattern.start(3);
        let (first, second) = (pattern.piece(start, 64), pattern.piece(start.after(64), 64));
        assert!(pattern.matches(start, first) && !pattern.matches(start, second));
        assert_eq!(pattern.piece(start.after(PERIOD), 64), first);
        assert_ne!(pattern.piece(pattern.start(4), 64), first);
    }
}
