//! What every contender is given: the file, random blocks of it, and a stopwatch that says when to stop.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::linux::cpu::Clock;
use crate::linux::wrong;

/// Bytes of a read.
pub const BLOCK: usize = 4096;

/// A buffer for direct reads.
#[repr(C, align(4096))]
pub struct Aligned(pub [u8; BLOCK]);

impl Aligned {
    /// Zeroes.
    pub fn new() -> Box<Aligned> {
        Box::new(Aligned([0; BLOCK]))
    }
}

/// A file without a name: it goes with its last descriptor, however this process ends. Each block begins with its number.
pub struct TestFile {
    file: File,
    blocks: u64,
}

impl TestFile {
    /// Makes the file in `dir` and brings it to the device.
    pub fn new(dir: &Path, mib: u64) -> io::Result<TestFile> {
        let path = dir.join(format!("bench-file-{}", std::process::id()));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        let blocks = (mib << 20) / BLOCK as u64;
        let mut piece = vec![0u8; 1 << 20];
        for first in (0..blocks).step_by(piece.len() / BLOCK) {
            for (number, block) in (first..).zip(piece.chunks_exact_mut(BLOCK)) {
                block.fill(number as u8);
                block[..8].copy_from_slice(&number.to_le_bytes());
            }
            file.write_all(&piece)?;
        }
        file.sync_all()?;
        Ok(TestFile { file, blocks })
    }

    /// Another open file of it.
    pub fn open(&self, direct: bool) -> io::Result<File> {
        let flags = if direct { libc::O_DIRECT } else { 0 };
        OpenOptions::new().read(true).custom_flags(flags).open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Reads it all, so that it is in the page cache.
    pub fn warm(&self) -> io::Result<()> {
        let mut piece = vec![0u8; 1 << 20];
        (0..self.blocks * BLOCK as u64).step_by(piece.len()).try_for_each(|at| self.file.read_exact_at(&mut piece, at))
    }
}

/// What is asked of a contender.
pub struct Case<'f> {
    /// The file.
    pub file: &'f TestFile,
    /// Opened for direct reads.
    pub direct: bool,
    /// Reads in flight.
    pub depth: usize,
    /// Before the window.
    pub warm_up: Duration,
    /// What is measured.
    pub window: Duration,
}

/// What it did.
pub struct Measured {
    /// Reads that completed.
    pub reads: u64,
    /// The window's true length.
    pub elapsed: Duration,
    /// CPU time of this process.
    pub cpu: Duration,
}

impl Case<'_> {
    /// Opens the file as the case asks.
    pub fn open(&self) -> io::Result<File> {
        self.file.open(self.direct)
    }

    /// Starts the stopwatch.
    pub fn start(&self) -> io::Result<Course> {
        let begun = Instant::now();
        Ok(Course {
            state: 0x9E37_79B9_7F4A_7C15,
            blocks: self.file.blocks,
            reads: 0,
            window: self.window,
            begun,
            until: begun + self.warm_up,
            cpu: None,
            measured: None,
        })
    }
}

/// A run of one contender: which block is next, and when it is over.
pub struct Course {
    state: u64,
    blocks: u64,
    reads: u64,
    window: Duration,
    begun: Instant,
    until: Instant,
    /// The CPU clock at the window's begin; none during the warm-up.
    cpu: Option<Duration>,
    measured: Option<Measured>,
}

impl Course {
    /// The next block to read, as a number: times [`BLOCK`] it is the offset.
    #[inline]
    pub fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) % self.blocks
    }

    /// A read of this block completed. False: start no more.
    #[inline]
    pub fn read(&mut self, block: u64, bytes: &[u8]) -> io::Result<bool> {
        if bytes.len() != BLOCK || bytes[..8] != block.to_le_bytes() {
            return Err(wrong(format!("a read of block {block} brought {} bytes of something else", bytes.len())));
        }
        self.reads += 1;
        // Looking at the clock for each of the fastest reads would show.
        if !self.reads.is_multiple_of(16) { Ok(self.measured.is_none()) } else { self.look() }
    }

    fn look(&mut self) -> io::Result<bool> {
        let now = Instant::now();
        if now < self.until || self.measured.is_some() {
            return Ok(self.measured.is_none());
        }
        let clock = Clock::of_this_process().now()?;
        match self.cpu {
            None => {
                (self.cpu, self.begun, self.until, self.reads) = (Some(clock), now, now + self.window, 0);
            }
            Some(cpu) => {
                self.measured = Some(Measured { reads: self.reads, elapsed: now - self.begun, cpu: clock - cpu });
            }
        }
        Ok(self.measured.is_none())
    }

    /// The result, once `read` has said false.
    pub fn end(self) -> io::Result<Measured> {
        self.measured.ok_or_else(|| wrong("the run ended before its time"))
    }
}
