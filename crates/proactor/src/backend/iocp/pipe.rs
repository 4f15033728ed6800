//! Pipes: named ones by the kernel's own, nameless ones by a named one of which nobody else knows the name.
//!
//! The kernel says ERROR_PIPE_CONNECTED both of a client that came before ConnectNamedPipe and of one that its caller was
//! told of. The library tells them apart by what it told: an instance's state in its `Core`.

use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_MORE_DATA, ERROR_NO_DATA, ERROR_PIPE_CONNECTED, ERROR_PIPE_LISTENING, ERROR_PIPE_NOT_CONNECTED,
    ERROR_SEM_TIMEOUT, HANDLE, INVALID_HANDLE_VALUE, NTSTATUS,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX, PIPE_ACCESS_INBOUND, ReadFile,
    SECURITY_IDENTIFICATION, WriteFile,
};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, DisconnectNamedPipe, GetNamedPipeInfo, PIPE_READMODE_MESSAGE, PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_MESSAGE, PIPE_UNLIMITED_INSTANCES, SetNamedPipeHandleState, WaitNamedPipeW,
};

use super::lanes::Core;
use super::start::{Call, Issued};
use super::types::RawBuf;
use super::{ObjectState, codes, finish, sys};
use crate::error::{Code, Error};
use crate::handle::Object;
use crate::op::{Op, Value, Work};
use crate::pipe::PipeOptions;
use crate::time::Wait;

/// No client was told of yet.
pub(super) const LISTENING: u32 = 0;
const CONNECTED: u32 = 1;
const DISCONNECTED: u32 = 2;

fn path(name: &str) -> String {
    format!(r"\\.\pipe\{name}")
}

fn wide(path: &str) -> Vec<u16> {
    path.encode_utf16().chain([0]).collect()
}

/// A new instance of a named pipe's server.
pub(crate) fn create_pipe(name: &str, options: &PipeOptions) -> Result<ObjectState, Error> {
    create(name, options, PIPE_ACCESS_DUPLEX).map(state)
}

fn state(pipe: OwnedHandle) -> ObjectState {
    ObjectState::new(pipe.into(), true, false)
}

fn create(name: &str, options: &PipeOptions, access: u32) -> Result<OwnedHandle, Error> {
    let open = access | FILE_FLAG_OVERLAPPED | if options.first { FILE_FLAG_FIRST_PIPE_INSTANCE } else { 0 };
    let mode = if options.message { PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE } else { 0 };
    let mode = mode | if options.remote { 0 } else { PIPE_REJECT_REMOTE_CLIENTS };
    let most = if options.instances == 0 { PIPE_UNLIMITED_INSTANCES } else { options.instances };
    let name = wide(&path(name));
    // SAFETY: the name ends with a zero; the handle returned is new and ours alone.
    let pipe = unsafe {
        match CreateNamedPipeW(name.as_ptr(), open, mode, most, options.out_buffer, options.in_buffer, 0, null()) {
            INVALID_HANDLE_VALUE => return Err(Error::last_os_error()),
            pipe => OwnedHandle::from_raw_handle(pipe),
        }
    };
    // Wine takes an instance of another mode, which then has the one of those before it.
    if is_message(&pipe)? != options.message {
        return Err(Error::new(Code::AccessDenied).hint("the pipe's other instances have another mode"));
    }
    Ok(pipe)
}

/// Whether an end's pipe keeps messages apart.
fn is_message(pipe: &OwnedHandle) -> Result<bool, Error> {
    let mut flags = 0;
    // SAFETY: an open handle, and a writable word; the rest is not asked for.
    match unsafe { GetNamedPipeInfo(pipe.as_raw_handle(), &raw mut flags, null_mut(), null_mut(), null_mut()) } {
        0 => Err(Error::last_os_error()),
        _ => Ok(flags & PIPE_TYPE_MESSAGE != 0),
    }
}

/// A client's end of a named pipe, and whether the pipe keeps messages apart.
pub(crate) fn open_pipe(name: &str, wait: Wait) -> Result<(ObjectState, bool), Error> {
    let (path, name) = (path(name), wide(&path(name)));
    let mut options = std::fs::OpenOptions::new();
    // The server may learn who its client is, not act as him.
    options.read(true).write(true).custom_flags(FILE_FLAG_OVERLAPPED).security_qos_flags(SECURITY_IDENTIFICATION);
    let pipe: OwnedHandle = loop {
        match options.open(&path).map_err(|error| Error::from_io(&error)) {
            Ok(pipe) => break pipe.into(),
            Err(error) if error.code() != Code::PipeBusy || wait.is_poll() => return Err(error),
            Err(_) if wait.is_over() => return Err(Error::new(Code::WaitTimeout)),
            Err(_) => {}
        }
        // 0 would be a time of the server's choice.
        // SAFETY: the name ends with a zero.
        if unsafe { WaitNamedPipeW(name.as_ptr(), sys::millis(wait).max(1)) } == 0 {
            let error = Error::last_os_error();
            if error.raw_os_error() != Some(ERROR_SEM_TIMEOUT.cast_signed()) {
                return Err(error);
            }
        }
    };
    let message = is_message(&pipe)?;
    // SAFETY: an open handle, and a readable word.
    if message && unsafe { SetNamedPipeHandleState(pipe.as_raw_handle(), &PIPE_READMODE_MESSAGE, null(), null()) } == 0 {
        return Err(Error::last_os_error());
    }
    Ok((state(pipe), message))
}

/// Both ends of a nameless pipe: where it is read, and where it is written.
pub(crate) fn pipe_pair() -> Result<(ObjectState, ObjectState), Error> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("proactor-pair-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let reader = create(&name, &PipeOptions::new().instances(1).first(true), PIPE_ACCESS_INBOUND)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).custom_flags(FILE_FLAG_OVERLAPPED).security_qos_flags(SECURITY_IDENTIFICATION);
    let writer: OwnedHandle = options.open(path(&name)).map_err(|error| Error::from_io(&error))?.into();
    Ok((state(reader), state(writer)))
}

/// Gives an operation of a pipe to the kernel.
///
/// # Safety
/// As `start::issue`.
pub(super) unsafe fn issue(call: &Call, work: &Work, object: &Object) -> Issued {
    let core = &object.sys.core;
    let (pipe, buf) = (core.handle(), work.buffers.as_slice().first().copied().unwrap_or_default());
    let (ptr, len) = (RawBuf::ptr(&buf), buf.len() as u32);
    // SAFETY: as the caller promises: the buffer is the operation's until its completion.
    let issued = unsafe {
        match &work.op {
            Op::PipeConnect => call.win32(|ov| ConnectNamedPipe(pipe, ov)),
            Op::Recv | Op::RecvMessage => call.win32(|ov| ReadFile(pipe, ptr, len, null_mut(), ov)),
            Op::Send => call.win32(|ov| WriteFile(pipe, ptr, len, null_mut(), ov)),
            Op::Disconnect { .. } => return Issued::Done(0, disconnect(core, pipe)),
            op => unreachable!("{op:?} is no operation of a pipe"),
        }
    };
    match issued {
        // A warning: the kernel reports it as any success.
        Issued::Done(_, Err(error)) if error.raw_os_error() == Some(ERROR_MORE_DATA.cast_signed()) => Issued::Kernel,
        Issued::Done(_, Err(error)) => Issued::Done(0, judge(work, object, error)),
        issued => issued,
    }
}

/// Nothing is pending before it: the lane saw to that. It does not wait.
fn disconnect(core: &Core, pipe: HANDLE) -> Result<Value, Error> {
    match core.pipe_state.load(Ordering::SeqCst) {
        CONNECTED => {
            // SAFETY: an open handle.
            if unsafe { DisconnectNamedPipe(pipe) } == 0 {
                return Err(Error::last_os_error());
            }
            core.pipe_state.store(DISCONNECTED, Ordering::SeqCst);
            Ok(Value::None)
        }
        // A client may have come that nobody was told of.
        LISTENING => Err(explained(Error::from_raw_os_error(ERROR_PIPE_LISTENING.cast_signed()))),
        _ => Err(explained(Error::from_raw_os_error(ERROR_PIPE_NOT_CONNECTED.cast_signed()))),
    }
}

/// What an operation of a pipe came to that the kernel had.
pub(super) fn outcome(status: NTSTATUS, ended: Option<Code>, work: &Work, object: &Object) -> Result<Value, Error> {
    if status >= 0 {
        if matches!(work.op, Op::PipeConnect) {
            object.sys.core.pipe_state.store(CONNECTED, Ordering::SeqCst);
        }
        return Ok(Value::None);
    }
    if let Some(code) = ended
        && (finish::is_end(status) || !object.sys.core.is_open())
    {
        return Err(codes::of_end(code));
    }
    judge(work, object, codes::of_status(status, codes::Numbers::Win32))
}

/// What the kernel's error means to the library's user.
fn judge(work: &Work, object: &Object, error: Error) -> Result<Value, Error> {
    let raw = error.raw_os_error().unwrap_or(0).cast_unsigned();
    let (core, is_server) = (&object.sys.core, object.kind.is_pipe_server());
    match (&work.op, raw) {
        // A client came before the call, and may have gone again: its last words are to be read.
        (Op::PipeConnect, ERROR_PIPE_CONNECTED | ERROR_NO_DATA) => match core.pipe_state.swap(CONNECTED, Ordering::SeqCst) {
            CONNECTED => Err(Error::from_raw_os_error(ERROR_PIPE_CONNECTED.cast_signed())),
            _ => Ok(Value::None),
        },
        (Op::Recv | Op::RecvMessage, ERROR_MORE_DATA) if work.buffers.total() == 0 => Ok(Value::None),
        (Op::Recv | Op::RecvMessage, ERROR_MORE_DATA) => {
            Err(error.hint("the message is longer than the buffer; read again for its rest"))
        }
        (Op::Recv | Op::RecvMessage, ERROR_BROKEN_PIPE) => Ok(Value::None),
        // To a client a server that disconnected it is gone like any other.
        (Op::Recv | Op::RecvMessage, ERROR_PIPE_NOT_CONNECTED) if !is_server => Ok(Value::None),
        (_, ERROR_PIPE_NOT_CONNECTED) if !is_server => Err(error.with_code(Code::BrokenPipe)),
        _ => Err(explained(error)),
    }
}

fn explained(error: Error) -> Error {
    match error.raw_os_error().unwrap_or(0).cast_unsigned() {
        ERROR_PIPE_NOT_CONNECTED => error.hint("the client was disconnected; connect the instance again"),
        ERROR_PIPE_LISTENING => error.hint("the pipe's instance has no client yet; connect it first"),
        _ => error,
    }
}
