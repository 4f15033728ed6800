//! The system calls of this backend: completion ports, Winsock's extensions, the readiness poll.

use std::ffi::c_void;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_COMPLETION_INFORMATION, FileModeInformation, FileReplaceCompletionInformation, NtQueryInformationFile,
    NtSetInformationFile,
};
use windows_sys::Wdk::System::IO::NtDeviceIoControlFile;
use windows_sys::Win32::Foundation::{
    GetLastError, HANDLE, INVALID_HANDLE_VALUE, NTSTATUS, STATUS_PENDING, WAIT_IO_COMPLETION, WAIT_TIMEOUT,
};
use windows_sys::Win32::Networking::WinSock::{
    LPFN_ACCEPTEX, LPFN_CONNECTEX, LPFN_DISCONNECTEX, LPFN_TRANSMITFILE, LPFN_WSARECVMSG, SIO_GET_EXTENSION_FUNCTION_POINTER,
    SOCKADDR, SOCKET, WSAID_ACCEPTEX, WSAID_CONNECTEX, WSAID_DISCONNECTEX, WSAID_GETACCEPTEXSOCKADDRS, WSAID_TRANSMITFILE,
    WSAID_WSARECVMSG, WSAIoctl,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_STORAGE_INFO, FileStorageInfo, GetFileInformationByHandleEx, GetFileSizeEx};
use windows_sys::Win32::System::IO::{
    CancelIoEx, CreateIoCompletionPort, GetQueuedCompletionStatusEx, IO_STATUS_BLOCK, OVERLAPPED, OVERLAPPED_ENTRY,
    PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::Threading::INFINITE;
use windows_sys::core::GUID;

use super::alarm;
use crate::error::{Code, Error};
use crate::fs::alignment_hint;
use crate::time::Wait;

/// What is left of a wait, in milliseconds, rounded up.
pub(super) fn millis(wait: Wait) -> u32 {
    match wait.left() {
        None => INFINITE,
        Some(left) => u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX).min(INFINITE - 1),
    }
}

// ---- completion ports ----

/// A completion port of the kernel's.
pub(super) struct Iocp(OwnedHandle);

/// How taking from a port ended.
pub(super) enum Dequeued {
    Entries(usize),
    TimedOut,
    /// An APC ran.
    Alerted,
    Failed(Error),
}

impl Iocp {
    pub fn new(concurrency: u32) -> Result<Iocp, Error> {
        // SAFETY: no pointers; the handle returned is new and ours alone.
        unsafe {
            let handle = CreateIoCompletionPort(INVALID_HANDLE_VALUE, null_mut(), 0, concurrency);
            if handle.is_null() { Err(Error::last_os_error()) } else { Ok(Iocp(OwnedHandle::from_raw_handle(handle))) }
        }
    }

    pub fn borrow(&self) -> BorrowedHandle<'_> {
        std::os::windows::io::AsHandle::as_handle(&self.0)
    }

    /// Associates an open handle, with key 0: the typed layer knows an operation's key.
    pub fn associate(&self, handle: HANDLE) -> Result<(), Error> {
        // SAFETY: no pointers.
        let port = unsafe { CreateIoCompletionPort(handle, self.0.as_raw_handle(), 0, 0) };
        if port.is_null() { Err(Error::last_os_error()) } else { Ok(()) }
    }

    pub fn post(&self, key: usize, bytes: u32, overlapped: *const OVERLAPPED) -> Result<(), Error> {
        // SAFETY: the kernel passes the pointer on and does not follow it.
        match unsafe { PostQueuedCompletionStatus(self.0.as_raw_handle(), bytes, key, overlapped) } {
            0 => Err(Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Takes packets, waiting alertably until one comes or `wait` ends.
    pub fn dequeue(&self, entries: &mut [OVERLAPPED_ENTRY], wait: Wait) -> Dequeued {
        let (mut taken, room) = (0, u32::try_from(entries.len()).unwrap_or(u32::MAX));
        // SAFETY: `entries` is writable for `room` entries.
        let get = || unsafe {
            let port = self.0.as_raw_handle();
            match GetQueuedCompletionStatusEx(port, entries.as_mut_ptr(), room, &raw mut taken, millis(wait), 1) {
                0 => GetLastError(),
                _ => 0,
            }
        };
        match alarm::noting(get, |error| *error == WAIT_IO_COMPLETION) {
            0 => Dequeued::Entries(taken as usize),
            WAIT_TIMEOUT => Dequeued::TimedOut,
            WAIT_IO_COMPLETION => Dequeued::Alerted,
            error => Dequeued::Failed(Error::from_raw_os_error(error.cast_signed())),
        }
    }
}

/// Asks the kernel to end one operation; whether it still had it.
///
/// # Safety
/// The OVERLAPPED is one whose operation was started on this open handle, and its memory is alive.
pub(super) unsafe fn cancel(handle: HANDLE, overlapped: *const OVERLAPPED) -> bool {
    // SAFETY: as the caller promises.
    unsafe { CancelIoEx(handle, overlapped) != 0 }
}

/// Takes a handle off its port (Windows 8.1 on). Without it the handle stays associated until it is closed.
pub(super) fn dissociate(handle: HANDLE) {
    let nothing = FILE_COMPLETION_INFORMATION::default();
    let mut status = IO_STATUS_BLOCK::default();
    // SAFETY: both structures are alive for the call, which does not wait.
    unsafe {
        NtSetInformationFile(
            handle,
            &raw mut status,
            (&raw const nothing).cast(),
            size_of_val(&nothing) as u32,
            FileReplaceCompletionInformation,
        );
    }
}

/// Whether a file handle was opened for overlapped I/O. If the system does not say, it is taken for one that was not:
/// blocking calls work on both.
pub(super) fn is_overlapped(handle: HANDLE) -> bool {
    const SYNCHRONOUS: u32 = 0x10 | 0x20;
    mode(handle).is_some_and(|mode| mode & SYNCHRONOUS == 0)
}

/// A file's length in bytes.
pub(super) fn file_size(handle: HANDLE) -> Result<u64, Error> {
    let mut size = 0;
    // SAFETY: the number is writable for the call.
    match unsafe { GetFileSizeEx(handle, &raw mut size) } {
        0 => Err(Error::last_os_error()),
        _ => Ok(size.cast_unsigned()),
    }
}

/// How a file was opened, in the terms of NtCreateFile.
fn mode(handle: HANDLE) -> Option<u32> {
    let (mut status, mut mode) = (IO_STATUS_BLOCK::default(), 0_u32);
    // SAFETY: both are writable for the call, with the length given.
    let answer = unsafe { NtQueryInformationFile(handle, &raw mut status, (&raw mut mode).cast(), 4, FileModeInformation) };
    (answer == 0).then_some(mode)
}

/// The error of a read or write: on a direct file an invalid parameter means that it was not aligned.
pub(super) fn explain(error: Error, handle: HANDLE) -> Error {
    const NO_INTERMEDIATE_BUFFERING: u32 = 0x8;
    let direct = || mode(handle).is_some_and(|mode| mode & NO_INTERMEDIATE_BUFFERING != 0);
    if error.code() != Code::InvalidParameter || !direct() {
        return error;
    }
    let mut storage = FILE_STORAGE_INFO::default();
    // SAFETY: the structure is writable for its size, and is what this class asks for.
    let told = unsafe {
        let (into, size) = ((&raw mut storage).cast(), size_of::<FILE_STORAGE_INFO>() as u32);
        GetFileInformationByHandleEx(handle, FileStorageInfo, into, size)
    };
    error.hint(alignment_hint((told != 0).then_some(storage.LogicalBytesPerSector)))
}

// ---- Winsock's extensions ----

/// GetAcceptExSockaddrs.
pub(super) type GetAddresses =
    unsafe extern "system" fn(*const c_void, u32, u32, u32, *mut *mut SOCKADDR, *mut i32, *mut *mut SOCKADDR, *mut i32);

#[derive(Clone, Copy)]
pub(super) struct Extensions {
    pub accept: LPFN_ACCEPTEX,
    pub connect: LPFN_CONNECTEX,
    pub disconnect: LPFN_DISCONNECTEX,
    pub transmit: LPFN_TRANSMITFILE,
    /// Looked up like the others: in Wine the one of mswsock.dll does nothing.
    pub addresses: Option<GetAddresses>,
}

/// Winsock's extension functions, looked up once.
pub(super) fn extensions(socket: SOCKET) -> Result<Extensions, Error> {
    static FOUND: OnceLock<Extensions> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(*found);
    }
    // SAFETY: each name asks for a function of the type it is looked up as; an Option of a function is a pointer.
    let found = unsafe {
        Extensions {
            accept: extension(socket, &WSAID_ACCEPTEX)?,
            connect: extension(socket, &WSAID_CONNECTEX)?,
            disconnect: extension(socket, &WSAID_DISCONNECTEX)?,
            transmit: extension(socket, &WSAID_TRANSMITFILE)?,
            addresses: extension(socket, &WSAID_GETACCEPTEXSOCKADDRS)?,
        }
    };
    Ok(*FOUND.get_or_init(|| found))
}

/// WSARecvMsg, looked up once, by a datagram socket.
pub(super) fn receive_message(socket: SOCKET) -> Result<LPFN_WSARECVMSG, Error> {
    static FOUND: OnceLock<LPFN_WSARECVMSG> = OnceLock::new();
    match FOUND.get() {
        Some(found) => Ok(*found),
        None => {
            // SAFETY: as above.
            let found = unsafe { extension(socket, &WSAID_WSARECVMSG)? };
            Ok(*FOUND.get_or_init(|| found))
        }
    }
}

/// # Safety
/// `F` is an `Option` of the function type that `name` stands for.
unsafe fn extension<F: Default + Copy>(socket: SOCKET, name: &GUID) -> Result<F, Error> {
    let (mut function, mut bytes) = (F::default(), 0);
    // SAFETY: the name is readable, `function` writable for a pointer; there is no OVERLAPPED, so the call completes.
    let failed = unsafe {
        WSAIoctl(
            socket,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            std::ptr::from_ref(name).cast(),
            size_of::<GUID>() as u32,
            (&raw mut function).cast(),
            size_of::<F>() as u32,
            &raw mut bytes,
            null_mut(),
            None,
        )
    };
    if failed != 0 {
        return Err(Error::last_os_error());
    }
    if bytes as usize != size_of::<F>() {
        return Err(Error::new(Code::NotSupported));
    }
    Ok(function)
}

// ---- readiness ----

/// What select and WSAPoll ask of the socket driver, with room for its answer.
#[repr(C)]
pub(super) struct Poll {
    timeout: i64,
    handles: u32,
    exclusive: u32,
    handle: HANDLE,
    events: u32,
    status: NTSTATUS,
}

impl Poll {
    const IOCTL: u32 = 0x0001_2024;
    const RECEIVE: u32 = 0x1;
    const SEND: u32 = 0x4;
    const DISCONNECT: u32 = 0x8;
    const ABORT: u32 = 0x10;
    const ACCEPT: u32 = 0x80;
    const CONNECT_FAIL: u32 = 0x100;

    pub fn readable(socket: SOCKET) -> Poll {
        Poll::new(socket, Poll::RECEIVE | Poll::ACCEPT | Poll::DISCONNECT | Poll::ABORT)
    }

    pub fn writable(socket: SOCKET) -> Poll {
        Poll::new(socket, Poll::SEND | Poll::ABORT | Poll::CONNECT_FAIL)
    }

    fn new(socket: SOCKET, events: u32) -> Poll {
        Poll { timeout: i64::MAX, handles: 1, exclusive: 0, handle: socket as HANDLE, events, status: 0 }
    }
}

/// Asks when a socket will be ready: an overlapped operation like any other, without a call of Winsock's own for it.
/// `event` if the answer shall set it, otherwise it goes to the socket's port.
///
/// # Safety
/// `poll` and `overlapped` stay where they are until the operation is over.
pub(super) unsafe fn poll(
    socket: SOCKET,
    poll: *mut Poll,
    event: Option<HANDLE>,
    overlapped: *mut OVERLAPPED,
) -> Result<(), NTSTATUS> {
    // SAFETY: an OVERLAPPED begins with the two words of an IO_STATUS_BLOCK; the memory lives as the caller promises.
    let status = unsafe {
        (*overlapped).Internal = STATUS_PENDING as usize;
        NtDeviceIoControlFile(
            socket as HANDLE,
            event.unwrap_or_default(),
            None,
            if event.is_some() { null() } else { overlapped.cast_const().cast() },
            overlapped.cast(),
            Poll::IOCTL,
            poll.cast_const().cast(),
            size_of::<Poll>() as u32,
            poll.cast(),
            size_of::<Poll>() as u32,
        )
    };
    if status >= 0 { Ok(()) } else { Err(status) }
}
