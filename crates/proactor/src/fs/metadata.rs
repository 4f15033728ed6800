//! What a file is, in the terms every system has.

use std::time::SystemTime;

/// What [`File::metadata`](super::File::metadata) brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// The file's length in bytes.
    pub len: u64,
    /// Bytes the file system has reserved for it: less than `len` for a file with holes or a compressed one, more for one
    /// with space [allocated](super::File::allocate) or rounded up to whole blocks. Some keep small files elsewhere and
    /// say 0.
    pub allocated: u64,
    /// When its contents changed last.
    pub modified: SystemTime,
    /// When it was read last, as far as the system keeps account of it.
    pub accessed: SystemTime,
    /// When it was made, where the file system knows.
    pub created: Option<SystemTime>,
    /// A regular file.
    pub is_file: bool,
    /// A directory.
    pub is_dir: bool,
}
