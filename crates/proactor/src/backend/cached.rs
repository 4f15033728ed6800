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
                let answer = if direct::is_direct(fd) { NO } else { YES };
                self.0.store(answer, Ordering::Relaxed);
                answer == YES
            }
            answer => answer == YES,
        }
    }
}

/// Reads what is cached; whether the read is over.
#[inline]
pub(super) fn read(work: &mut Work, offset: u64, object: &Object) -> bool {
    read_into(&work.buffers, &mut work.bytes, offset, object)
}

/// A whole read of what is cached, for a thread that waits for it: its byte count, or nothing was to be had that way.
#[inline]
pub(crate) fn read_cached(object: &Object, buffers: &Buffers, offset: u64) -> Option<usize> {
    let mut bytes = 0;
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
