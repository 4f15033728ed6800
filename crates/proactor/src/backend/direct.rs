//! Direct I/O: what the kernel's EINVAL means, in words.
//!
//! Contract: called only for calls that failed; nothing here is on the path of one that succeeds. The kernel judges what is
//! aligned: file systems differ, and some take any request.

use std::os::fd::RawFd;

use crate::error::{Code, Error};
use crate::fs::{OpenOptions, alignment_hint};

/// The error of an open: a file system without direct I/O answers EINVAL.
pub(super) fn explain_open(error: Error, options: &OpenOptions) -> Error {
    if !options.direct || error.raw_os_error() != Some(libc::EINVAL) {
        return error;
    }
    error.with_code(Code::NotSupported).hint("this file system offers no direct I/O; open the file without direct(true)")
}

/// The error of a read or write: on a direct file EINVAL means that it was not aligned.
pub(super) fn explain(error: Error, fd: RawFd) -> Error {
    if error.raw_os_error() != Some(libc::EINVAL) || !is_direct(fd) {
        return error;
    }
    error.hint(alignment_hint(alignment(fd)))
}

pub(super) fn is_direct(fd: RawFd) -> bool {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_DIRECT != 0
}

/// What a direct file wants, from Linux 6.1 on.
fn alignment(fd: RawFd) -> Option<u32> {
    // SAFETY: all-zero is a valid statx, of plain numbers; it is writable for the call, the path is an empty string.
    let answer = unsafe {
        let mut answer: libc::statx = std::mem::zeroed();
        let asked = libc::statx(fd, c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, &raw mut answer);
        if asked != 0 {
            return None;
        }
        answer
    };
    let told = answer.stx_mask & libc::STATX_DIOALIGN != 0;
    told.then_some(answer.stx_dio_mem_align.max(answer.stx_dio_offset_align))
}
