//! Operations of many completions: what each completion of the kernel's brings, and whether another is asked for.
//!
//! A receive of many asks the kernel to tell when there is something to read (a receive of no bytes), and takes the data
//! into a buffer of its pool when that is dequeued: an idle connection pins no buffer. An accept of many is one AcceptEx
//! after the other. What is taken is delivered, and the next call made, under the lane's lock, so a cancel meets the
//! operation either in the kernel's hands or in its way back to them: `ended` is looked at before each call.
//!
//! Operations behind it in its lane wait until it is over, as `lanes.rs` has it.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{NonNull, null, null_mut};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GetLastError, HANDLE, STATUS_CANCELLED, STATUS_PENDING};
use windows_sys::Win32::Networking::WinSock::{SOCKET, WSARecv};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::Threading::{CreateEventW, WaitForSingleObject};

use super::codes::{self, Numbers};
use super::sys;
use super::types::RawBuf;
use crate::buf::{PoolBuf, none_free};
use crate::error::{Code, Error};
use crate::handle::Object;
use crate::op::{Header, Op, Value, Work};

/// What a completion of the kernel's means to an operation.
pub(super) enum Step {
    /// The operation is over.
    Last(usize, Result<Value, Error>),
    /// One completion of several.
    More(usize, Value),
    /// Nothing came of it; the operation goes on.
    Again,
}

pub(super) fn is_multi(op: &Op) -> bool {
    matches!(op, Op::AcceptMulti | Op::RecvMulti)
}

/// What the kernel's completion with this outcome means.
///
/// # Safety
/// The block is the caller's, its call over, and its lane locked.
pub(super) unsafe fn step(header: NonNull<Header>, object: &Object, bytes: usize, result: Result<Value, Error>) -> Step {
    // SAFETY: as the caller promises.
    let (work, ended) = unsafe { (&(*header.as_ptr()).work, (*header.as_ptr()).sys.ended) };
    match (&work.op, result) {
        // A connection that came is delivered, whatever was asked meanwhile.
        (Op::AcceptMulti, Ok(value)) => Step::More(bytes, value),
        // The client went before it was accepted: the next one, please.
        (Op::AcceptMulti, Err(error))
            if ended.is_none()
                && matches!(error.code(), Code::ConnectionReset | Code::ConnectionAborted | Code::NotConnected) =>
        {
            Step::Again
        }
        // What there is to read stays in the socket.
        (Op::RecvMulti, Ok(_)) => match ended {
            Some(code) => Step::Last(0, Err(codes::of_end(code))),
            None => receive(work, object.sys.core.socket()),
        },
        (_, result) => Step::Last(bytes, result),
    }
}

fn receive(work: &Work, socket: SOCKET) -> Step {
    let Some(pool) = &work.buffers.pool else { unreachable!("a receive of many has its pool") };
    let Some(mut buffer) = pool.lease() else { return Step::Last(0, Err(none_free())) };
    match receive_now(socket, &mut buffer) {
        Ok(Some(0)) => Step::Last(0, Ok(Value::None)),
        Ok(Some(bytes)) => {
            buffer.set_len(bytes);
            Step::More(bytes, Value::Buffer(buffer))
        }
        Ok(None) => Step::Again,
        Err(error) => Step::Last(0, Err(error)),
    }
}

/// Receives what is there, without waiting; `None` if there is nothing after all.
fn receive_now(socket: SOCKET, buffer: &mut PoolBuf) -> Result<Option<usize>, Error> {
    let room = buffer.whole();
    let (raw, mut flags, mut overlapped) = (RawBuf::new(room.as_mut_ptr(), room.len()), 0, OVERLAPPED::default());
    let received = EVENT.try_with(|event| {
        let event = event.as_ref().map_err(|error| *error)?.as_raw_handle();
        overlapped.Internal = STATUS_PENDING as usize;
        // The low bit keeps the packet from the socket's port.
        overlapped.hEvent = event.map_addr(|event| event | 1);
        // SAFETY: buffer, flags and OVERLAPPED stay until the call is over, which is seen to here. Its event is this
        // thread's own, and used for one call at a time.
        let status = unsafe {
            let overlapped = &raw mut overlapped;
            if WSARecv(socket, RawBuf::wsabufs(&[raw]), 1, null_mut(), &raw mut flags, overlapped, None) != 0 {
                match GetLastError() {
                    ERROR_IO_PENDING => take_back(socket, overlapped, event),
                    error => return Err(Error::from_raw_os_error(error.cast_signed())),
                }
            }
            (&raw const (*overlapped).Internal).read_volatile() as u32 as i32
        };
        match status {
            STATUS_CANCELLED => Ok(None),
            status if status < 0 => Err(codes::of_status(status, Numbers::Winsock)),
            _ => Ok(Some(overlapped.InternalHigh.min(raw.len()))),
        }
    });
    // The event is gone when the thread's own variables are being dropped.
    received.unwrap_or(Err(Error::new(Code::InsufficientResources)))
}

/// Ends a call that found nothing, or lets it end with what came meanwhile.
///
/// # Safety
/// The call is pending on this open socket, with this event.
#[cold]
unsafe fn take_back(socket: SOCKET, overlapped: *const OVERLAPPED, event: HANDLE) {
    // SAFETY: as the caller promises; the status is the kernel's to write meanwhile.
    unsafe {
        while (&raw const (*overlapped).Internal).read_volatile() == STATUS_PENDING as usize {
            // One the kernel is working on at this moment may not be found.
            sys::cancel(socket as HANDLE, overlapped);
            WaitForSingleObject(event, 1);
        }
    }
}

thread_local! {
    static EVENT: Result<OwnedHandle, Error> = {
        // SAFETY: no pointers; the handle returned is new and ours alone.
        unsafe {
            let event = CreateEventW(null(), 1, 0, null());
            if event.is_null() { Err(Error::last_os_error()) } else { Ok(OwnedHandle::from_raw_handle(event)) }
        }
    };
}
