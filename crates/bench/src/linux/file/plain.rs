//! Reads without a library: a loop of `pread`, and a loop on io_uring.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use io_uring::{IoUring, opcode, types};

use super::case::{Aligned, BLOCK, Case, Measured};

/// One `pread` after the other.
pub fn pread(case: &Case) -> io::Result<Measured> {
    let file = case.open()?;
    let mut buf = Aligned::new();
    let mut course = case.start()?;
    loop {
        let block = course.next();
        let got = file.read_at(&mut buf.0, block * BLOCK as u64)?;
        if !course.read(block, &buf.0[..got])? {
            return course.end();
        }
    }
}

/// The call that never waits, of which the library's cached reads are made.
pub fn nowait(case: &Case) -> io::Result<Measured> {
    let file = case.open()?;
    let mut buf = Aligned::new();
    let mut course = case.start()?;
    loop {
        let block = course.next();
        let into = libc::iovec { iov_base: buf.0.as_mut_ptr().cast(), iov_len: BLOCK };
        // SAFETY: one buffer of that length.
        let got = unsafe { libc::preadv2(file.as_raw_fd(), &into, 1, (block * BLOCK as u64) as i64, libc::RWF_NOWAIT) };
        let got = match usize::try_from(got) {
            Ok(got) => got,
            // Not in the page cache just now.
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => {
                file.read_at(&mut buf.0, block * BLOCK as u64)?
            }
            Err(_) => return Err(io::Error::last_os_error()),
        };
        if !course.read(block, &buf.0[..got])? {
            return course.end();
        }
    }
}

/// One ring with DEFER_TASKRUN, one buffer per read in flight, one `submit_and_wait` per batch.
pub fn ring(case: &Case) -> io::Result<Measured> {
    let file = case.open()?;
    let fd = types::Fd(file.as_raw_fd());
    let mut bufs: Vec<_> = (0..case.depth).map(|_| (Aligned::new(), 0u64)).collect();
    let mut ring: IoUring =
        IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(case.depth.next_power_of_two() as u32)?;
    let mut course = case.start()?;
    let mut flying = 0;
    let mut free: Vec<usize> = (0..case.depth).collect();
    let mut going = true;
    let mut failed = Ok(());
    // Whatever fails, the reads in flight are waited for: the kernel writes into the buffers until then.
    loop {
        for n in free.drain(..) {
            if !going {
                continue;
            }
            let (buf, block) = &mut bufs[n];
            *block = course.next();
            let read = opcode::Read::new(fd, buf.0.as_mut_ptr(), BLOCK as u32).offset(*block * BLOCK as u64);
            // SAFETY: the buffer lives until the loop has reaped this read; there is room for `depth` entries.
            unsafe { ring.submission().push(&read.build().user_data(n as u64)).expect("as many entries as reads") };
            flying += 1;
        }
        if flying == 0 {
            failed?;
            return course.end();
        }
        if let Err(error) = ring.submit_and_wait(1)
            && error.kind() != io::ErrorKind::Interrupted
        {
            // Nothing can be waited for any more: the buffers must stay.
            std::mem::forget(bufs);
            return Err(error);
        }
        for entry in ring.completion() {
            let n = entry.user_data() as usize;
            flying -= 1;
            free.push(n);
            let (buf, block) = &bufs[n];
            let read = match entry.result() {
                0.. => course.read(*block, &buf.0[..entry.result() as usize]),
                code => Err(io::Error::from_raw_os_error(-code)),
            };
            match read {
                Ok(more) => going &= more,
                Err(error) => (going, failed) = (false, Err(error)),
            }
        }
    }
}
