//! What connections send: bytes that depend on the connection and the position in its stream, ready made, so that
//! neither sending nor checking computes anything.

use std::sync::OnceLock;

/// The stream repeats after this many bytes: a prime, so that no buffer or message size divides it, and a lost, doubled
/// or swapped piece shows.
const PERIOD: usize = 65_521;

/// The longest piece that can be asked for; a message, or as much of one as fits.
pub const LONGEST: usize = 1 << 26;

fn table(len: usize) -> &'static [u8] {
    // Two sizes: 256 KiB serve all common messages, the large table only exists if somebody asks for more.
    static SMALL: OnceLock<Vec<u8>> = OnceLock::new();
    static LARGE: OnceLock<Vec<u8>> = OnceLock::new();
    const SMALL_LEN: usize = 1 << 18;
    if len <= SMALL_LEN { SMALL.get_or_init(|| make(SMALL_LEN)) } else { LARGE.get_or_init(|| make(LONGEST)) }
}

fn make(longest: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes: Vec<u8> = (0..PERIOD)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    // Doubled from the front: a multiple of the period until the last, partial step.
    while bytes.len() < PERIOD + longest {
        let more = bytes.len().min(PERIOD + longest - bytes.len());
        bytes.extend_from_within(..more);
    }
    bytes
}

/// The bytes that connection number `conn` sends from position `at` of its stream on.
pub fn piece(conn: usize, at: u64, len: usize) -> &'static [u8] {
    let start = (conn as u64 * 7_919 + at) % PERIOD as u64;
    &table(len)[start as usize..][..len]
}

/// How many of `bytes`, received at position `at`, are not what connection `conn` sent.
pub fn wrong(conn: usize, at: u64, bytes: &[u8]) -> u64 {
    let expected = piece(conn, at, bytes.len());
    // Comparing whole slices is a memcmp; counting happens only when there is something to count.
    if bytes == expected { 0 } else { bytes.iter().zip(expected).filter(|(a, b)| a != b).count() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_continue_each_other() {
        for at in [0, 1, 65_520, 65_521, 1 << 40] {
            let long = piece(3, at, 1 << 19);
            assert_eq!(&long[..100], piece(3, at, 100));
            assert_eq!(&long[1 << 18..], piece(3, at + (1 << 18), 1 << 18));
            assert_eq!(&long[300_000..300_007], piece(3, at + 300_000, 7));
        }
        assert_ne!(piece(1, 0, 64), piece(2, 0, 64));
    }

    #[test]
    fn every_wrong_byte_counts() {
        let mut bytes = piece(5, 10, 1000).to_vec();
        assert_eq!(wrong(5, 10, &bytes), 0);
        bytes[0] ^= 1;
        bytes[999] ^= 0x80;
        assert_eq!(wrong(5, 10, &bytes), 2);
        assert!(wrong(5, 11, &bytes) > 900);
    }
}
