//! Cached reads served by the thread that starts them: `preadv2(RWF_NOWAIT)` copies what the page cache holds and never waits
//! for the device.
//!
//! Contract: [`read`] takes a begun `ReadAt` before any engine has it. True: the read is over, its byte count is in `work`.
//! False: an engine does the rest; what came already is counted in `work`, its buffers are as they were.
//!
//! | the call says | meaning | then |
//! |---|---|---|
//! | all that was asked | | over |
//! | fewer bytes | the file's end, or the next page is not cached | asked again |
//! | 0 bytes | the file's end: without it, EAGAIN | over |
//! | EAGAIN | the next page is not cached | the engine |
//! | EOPNOTSUPP, ENOSYS, EPERM | this file, kernel or filter has no such call | the engine, and this object's other reads too |
//! | any other error | the engine will meet it again | the engine |
//!
//! Files for direct I/O are left to the engines: there RWF_NOWAIT may wait for the device.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{RawBuf, direct};
use crate::buf::Buffers;
use crate::handle::Object;
use crate::op::Work;

/// A copy longer than this is left to the pool, where there is one: the starter has better things to do. A ring would have the
/// starter copy it all the same, and under its lock.
pub(super) const MOST_FOR_POOL: usize = 256 << 10;

const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;
/// A regular file: a read that has begun is not cancelled anyway, so a thread that has nothing else to do may as well wait in it.
const REGULAR: u8 = 3;

/// Whether an object's file is read this way. A stale answer costs a system call, so relaxed accesses are enough.
#[derive(Default)]
pub(super) struct Tried(AtomicU8);

impl Tried {
    /// The object gets another file.
    pub fn forget(&self) {
        self.0.store(UNKNOWN, Ordering::Relaxed);
    }

    fn wants(&self, fd: libc::c_int) -> bool {
        match self.0.load(Ordering::Relaxed) {
            UNKNOWN => {
                let answer = match (direct::is_direct(fd), is_regular(fd)) {
                    (true, _) => NO,
                    (false, true) => REGULAR,
                    (false, false) => YES,
                };
                self.0.store(answer, Ordering::Relaxed);
                answer != NO
            }
            answer => answer != NO,
        }
    }
}

/// Reads what is cached; whether the read is over.
#[inline]
pub(super) fn read(work: &mut Work, offset: u64, object: &Object) -> bool {
    read_into(&work.buffers, &mut work.bytes, offset, object)
}

fn is_regular(fd: libc::c_int) -> bool {
    // SAFETY: all zeroes is a valid value, and the call fills it or fails.
    unsafe {
        let mut found: libc::stat = std::mem::zeroed();
        libc::fstat(fd, &raw mut found) == 0 && found.st_mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// A whole read of what is cached, for a thread that waits for it: its byte count, or nothing was to be had that way. A thread
/// that keeps nobody from work by waiting, `at_leisure`, reads a regular file as it is: the plain call costs a tenth less.
#[inline]
pub(crate) fn read_cached(object: &Object, buffers: &Buffers, offset: u64, at_leisure: bool) -> Option<usize> {
    let mut bytes = 0;
    if at_leisure
        && let [buffer] = buffers.as_slice()
        && object.sys.tried.0.load(Ordering::Relaxed) == REGULAR
        && !super::worker::holds_slot()
    {
        let fd = object.sys.raw();
        while fd >= 0 {
            let (rest, at) = (buffer.advance(bytes), offset.saturating_add(bytes as u64).cast_signed());
            // SAFETY: the buffer is the caller's and writable; its handle holds the object, and with it the descriptor.
            let got = unsafe { libc::pread(fd, rest.ptr().cast(), rest.len(), at) };
            // An error is for the engine to meet again.
            bytes += usize::try_from(got).ok()?;
            if got == 0 || bytes >= buffer.len() {
                return Some(bytes);
            }
        }
        return None;
    }
    read_into(buffers, &mut bytes, offset, object).then_some(bytes)
}

#[inline]
fn read_into(buffers: &Buffers, bytes: &mut usize, offset: u64, object: &Object) -> bool {
    let fd = object.sys.raw();
    if fd < 0 || !object.sys.tried.wants(fd) {
        return false;
    }
    let total = buffers.total();
    loop {
        let at = offset.saturating_add(*bytes as u64).cast_signed();
        let got = buffers.with_rest(*bytes, |bufs| {
            // SAFETY: the buffers are the caller's and writable; its handle or its operation holds the object, and with it the
            // descriptor.
            unsafe { libc::preadv2(fd, RawBuf::iovecs(bufs), bufs.len() as libc::c_int, at, libc::RWF_NOWAIT) }
        });
        let Ok(got) = usize::try_from(got) else {
            let errno = std::io::Error::last_os_error().raw_os_error();
            if matches!(errno, Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM)) {
                object.sys.tried.0.store(NO, Ordering::Relaxed);
            }
            return false;
        };
        *bytes += got;
        if got == 0 || *bytes >= total {
            return true;
        }
    }
}
