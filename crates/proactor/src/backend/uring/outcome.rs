//! What a completion of the ring means.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::{Duration, SystemTime};

use io_uring::cqueue;

use super::super::{Aside, direct};
use crate::error::{Code, Error};
use crate::fs::Metadata;
use crate::handle::Object;
use crate::op::{Header, Op, Value, Work};

/// The most bytes Linux moves in one call; a longer request comes back cut without the file's end having been met.
const MOST: usize = 0x7fff_f000;

/// What a completion means; `None` if the operation goes on.
pub(in crate::backend) fn outcome(header: NonNull<Header>, result: i32, flags: u32) -> Option<Result<Value, Error>> {
    // SAFETY: taken out of the ring's list after its completion, under the lock; an overlapped handle looks only at `delivery`.
    let (work, sys, object) = unsafe { (&mut (*header.as_ptr()).work, &mut (*header.as_ptr()).sys, (*header.as_ptr()).object) };
    if let Op::Close = work.op {
        return closed(&mut sys.aside, result);
    }
    if let Op::Raw = work.op {
        return raw(work, &mut sys.aside, sys.cancelled, result, flags);
    }
    let Ok(n) = usize::try_from(result) else {
        return match -result {
            // The submitting thread ended, or a signal came: the user asked for neither.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN if !sys.cancelled => None,
            errno => Some(Err(explain(Error::from_raw_os_error(errno), &work.op, object))),
        };
    };
    match work.op {
        Op::Open { .. } => {
            // SAFETY: the completion hands the new descriptor over.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            // SAFETY: the operation's count keeps the object.
            let provided = object.is_some_and(|object| unsafe { object.as_ref() }.sys.provide(fd));
            Some(match provided {
                true => Ok(Value::None),
                false => Err(Error::new(Code::InvalidParameter).hint("the file is open already")),
            })
        }
        Op::WriteAt { .. } => {
            work.bytes += n;
            work.buffers.advance(n);
            match work.buffers.total() == 0 {
                true => Some(Ok(Value::None)),
                // A write that moves nothing and reports no error would go round for ever.
                false if n == 0 => Some(Err(Error::new(Code::InsufficientResources))),
                false => None,
            }
        }
        Op::ReadAt { .. } => {
            work.bytes += n;
            // Short otherwise is the file's end.
            if n < MOST {
                return Some(Ok(Value::None));
            }
            work.buffers.advance(n);
            (work.buffers.total() == 0).then_some(Ok(Value::None))
        }
        Op::Metadata => {
            let Aside::Statx(answer) = std::mem::take(&mut sys.aside) else { unreachable!("the entry put it there") };
            Some(Ok(Value::Metadata(Box::new(metadata(&answer)))))
        }
        _ => Some(Ok(Value::None)),
    }
}

/// The answer of an operation of the user's own that the kernel has not let go of: a send without copying tells its result
/// first, and that the buffer is free later.
pub(in crate::backend) fn first_answer(header: NonNull<Header>, result: i32) {
    // SAFETY: in the ring's list, whose lock or thread is the caller's; an overlapped handle looks only at `delivery`.
    unsafe { (*header.as_ptr()).sys.aside = Aside::Answer(result) }
}

fn raw(work: &mut Work, aside: &mut Aside, cancelled: bool, result: i32, flags: u32) -> Option<Result<Value, Error>> {
    let answer = match std::mem::take(aside) {
        Aside::Answer(answer) if cqueue::notif(flags) => answer,
        _ => result,
    };
    match usize::try_from(answer) {
        Ok(n) => {
            work.bytes = n;
            Some(Ok(Value::None))
        }
        // The submitting thread ended, or a signal came: the user asked for neither. EAGAIN is his descriptor's answer.
        Err(_) if matches!(-answer, libc::ECANCELED | libc::EINTR) && !cancelled => None,
        Err(_) => Some(Err(Error::from_raw_os_error(-answer))),
    }
}

fn explain(error: Error, op: &Op, object: Option<NonNull<Object>>) -> Error {
    match (op, object) {
        (Op::Open { options, .. }, _) => direct::explain_open(error, options),
        // SAFETY: the operation's count keeps the object, and with it the descriptor.
        (Op::ReadAt { .. } | Op::WriteAt { .. }, Some(object)) => direct::explain(error, unsafe { object.as_ref() }.sys.raw()),
        _ => error,
    }
}

/// The kernel lets go of the descriptor whatever else it reports, unless it never began.
fn closed(aside: &mut Aside, result: i32) -> Option<Result<Value, Error>> {
    if matches!(-result, libc::ECANCELED | libc::EAGAIN) {
        return None;
    }
    if let Aside::Closing(fd) = std::mem::take(aside) {
        let _ = fd.into_raw_fd();
    }
    Some(match -result {
        // A signal interrupted the flush, not the closing.
        ..=0 | libc::EINTR => Ok(Value::None),
        errno => Err(Error::from_raw_os_error(errno)),
    })
}

fn metadata(answer: &libc::statx) -> Metadata {
    let kind = u32::from(answer.stx_mode) & libc::S_IFMT;
    Metadata {
        len: answer.stx_size,
        allocated: answer.stx_blocks * 512,
        modified: time(answer.stx_mtime),
        accessed: time(answer.stx_atime),
        created: (answer.stx_mask & libc::STATX_BTIME != 0).then(|| time(answer.stx_btime)),
        is_file: kind == libc::S_IFREG,
        is_dir: kind == libc::S_IFDIR,
    }
}

fn time(stamp: libc::statx_timestamp) -> SystemTime {
    let seconds = Duration::from_secs(stamp.tv_sec.unsigned_abs());
    let whole = match stamp.tv_sec {
        0.. => SystemTime::UNIX_EPOCH.checked_add(seconds),
        _ => SystemTime::UNIX_EPOCH.checked_sub(seconds),
    };
    let time = whole.and_then(|time| time.checked_add(Duration::from_nanos(stamp.tv_nsec.into())));
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}
