//! The submission entry of an operation: what the kernel is asked, and where it finds what it needs.
//!
//! Contract: everything an entry points to lies in the block, or in what the block owns, until the terminal completion.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;

use io_uring::{opcode, squeue, types};

use super::super::{Aside, RawBuf};
use crate::error::{Code, Error};
use crate::op::{Header, Op};

/// The one match of this backend: the submission entry of an operation.
pub(in crate::backend) fn entry(header: NonNull<Header>) -> Result<squeue::Entry, Error> {
    // SAFETY: a begun block that the caller is about to hand to the ring; an overlapped handle looks only at `delivery`.
    let (work, sys, object) = unsafe { (&mut (*header.as_ptr()).work, &mut (*header.as_ptr()).sys, (*header.as_ptr()).object) };
    let Some(object) = object else { return Err(Error::new(Code::InvalidHandle)) };
    match &work.op {
        Op::Open { path, options } => {
            let path = CString::new(path.as_os_str().as_bytes())
                .map_err(|_| Error::new(Code::InvalidParameter).hint("the path has a zero byte inside"))?;
            let (flags, mode) = (options.flags()?, options.unix_mode());
            // The kernel reads the path at submission, which may be later than this call: it stays in the block.
            sys.aside = Aside::Path(path);
            let Aside::Path(path) = &sys.aside else { unreachable!("just written") };
            return Ok(opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).flags(flags).mode(mode).build());
        }
        Op::Close => {
            let Aside::Closing(fd) = &sys.aside else { unreachable!("a close starts with its descriptor") };
            return Ok(opcode::Close::new(types::Fd(fd.as_raw_fd())).build());
        }
        Op::Raw => return work.buffers.raw.entry(),
        _ => {}
    }
    // SAFETY: the operation's count keeps the object.
    let raw = unsafe { object.as_ref() }.sys.raw();
    if raw < 0 {
        return Err(Error::new(Code::InvalidHandle).hint("the file is not open"));
    }
    let fd = types::Fd(raw);
    let bufs = work.buffers.as_slice();
    let single = |buf: &RawBuf| (buf.ptr(), u32::try_from(buf.len()).unwrap_or(i32::MAX as u32));
    let rest = |offset: u64| offset.saturating_add(work.bytes as u64);
    let entry = match (&work.op, bufs) {
        (Op::ReadAt { offset }, [buf]) => {
            let (ptr, len) = single(buf);
            opcode::Read::new(fd, ptr, len).offset(rest(*offset)).build()
        }
        (Op::ReadAt { offset }, bufs) => {
            opcode::Readv::new(fd, RawBuf::iovecs(bufs), bufs.len() as u32).offset(rest(*offset)).build()
        }
        (Op::WriteAt { offset }, [buf]) => {
            let (ptr, len) = single(buf);
            opcode::Write::new(fd, ptr, len).offset(rest(*offset)).build()
        }
        (Op::WriteAt { offset }, bufs) => {
            opcode::Writev::new(fd, RawBuf::iovecs(bufs), bufs.len() as u32).offset(rest(*offset)).build()
        }
        (Op::Sync { data_only }, _) => {
            let flags = if *data_only { types::FsyncFlags::DATASYNC } else { types::FsyncFlags::empty() };
            opcode::Fsync::new(fd).flags(flags).build()
        }
        (Op::Allocate { offset, len }, _) => opcode::Fallocate::new(fd, *len).offset(*offset).build(),
        (Op::SetLen { len }, _) => opcode::Ftruncate::new(fd, *len).build(),
        (Op::Metadata, _) => {
            // SAFETY: all-zero is a valid statx, of plain numbers.
            sys.aside = Aside::Statx(Box::new(unsafe { std::mem::zeroed() }));
            let Aside::Statx(answer) = &mut sys.aside else { unreachable!("just written") };
            let answer: *mut libc::statx = &raw mut **answer;
            opcode::Statx::new(fd, c"".as_ptr(), answer.cast())
                .flags(libc::AT_EMPTY_PATH)
                .mask(libc::STATX_BASIC_STATS | libc::STATX_BTIME)
                .build()
        }
        (
            Op::Open { .. }
            | Op::Close
            | Op::Post
            | Op::Timer { .. }
            | Op::Awaited { .. }
            | Op::Accept
            | Op::AcceptMulti
            | Op::RecvMulti
            | Op::Connect { .. }
            | Op::Recv
            | Op::Send
            | Op::RecvMessage
            | Op::PipeConnect
            | Op::RecvFrom
            | Op::SendTo { .. }
            | Op::RecvMsg
            | Op::SendMsg(_)
            | Op::Ready { .. }
            | Op::Shutdown { .. }
            | Op::Disconnect { .. }
            | Op::Transmit(_)
            | Op::Exited
            | Op::Raw,
            _,
        ) => unreachable!("not a file operation"),
    };
    Ok(entry)
}
