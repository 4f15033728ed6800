//! The words for a direct request that does not lie as the file wants it.

macro_rules! hints {
    ($bytes:expr; $($n:literal)*) => {
        match $bytes {
            $(Some($n) => concat!(
                "direct I/O: the buffer's address, its length and the offset must be multiples of ", $n,
                " bytes on this file; BufferPool::aligned gives such buffers"
            ),)*
            _ => "direct I/O: the buffer's address, its length and the offset must be multiples of the file's block size, \
                  usually 512 or 4096 bytes; BufferPool::aligned gives such buffers",
        }
    };
}

/// Names the alignment, in bytes, if the system told it.
pub(crate) fn alignment_hint(bytes: Option<u32>) -> &'static str {
    hints!(bytes; 512 1024 2048 4096 8192 16384 32768 65536)
}
