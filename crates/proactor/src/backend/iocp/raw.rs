//! The door to system calls of the user's own: any overlapped call of the kernel's, as an operation like the library's.
//!
//! A [`Handle`] takes in whatever the kernel made for overlapped I/O; [`call`](Handle::call) gives the closure the OVERLAPPED of
//! an operation, and what the closure returns says what became of it. It completes as every operation does: as a packet, or
//! through a handle. What Asio calls `overlapped_ptr`.
//!
//! On Linux this module has `Ring` and its `entry` instead: any entry of io_uring.

use std::cell::Cell;
use std::os::windows::io::{AsRawHandle, OwnedHandle, OwnedSocket, RawHandle};
use std::panic::{AssertUnwindSafe, catch_unwind};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GetLastError};
pub use windows_sys::Win32::System::IO::OVERLAPPED;

use super::{Descriptor, ObjectState};
use crate::buf::{Cargo, LoweredBuffers, Project, Sealed};
use crate::error::{Code, Error, Refused};
use crate::handle::{self, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{Op, Operation};

/// A handle of the user's own, made for overlapped I/O: a directory, a device, a pipe, a socket.
pub struct Handle<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(Handle);

impl Handle {
    /// Takes a handle in, opened with `FILE_FLAG_OVERLAPPED` and on no port; the library closes it, or gives it
    /// [back](Handle::into_handle). `NotSupported`, with the handle given back, if it was opened without.
    pub fn from_owned(handle: OwnedHandle) -> Result<Handle, Refused<OwnedHandle>> {
        if !super::sys::is_overlapped(handle.as_raw_handle()) {
            let hint = "the handle was not opened for overlapped I/O; open it with FILE_FLAG_OVERLAPPED";
            return Err(Refused { error: Error::new(Code::NotSupported).hint(hint), back: handle });
        }
        Ok(Handle::make(handle.into()))
    }

    /// Takes a socket in, made for overlapped I/O, as those of the standard library are.
    pub fn from_socket(socket: OwnedSocket) -> Handle {
        Handle::make(Descriptor::Socket(socket))
    }

    fn make(descriptor: Descriptor) -> Handle {
        Handle::from_handle(handle::Handle::new(Kind::Raw, ObjectState::new(descriptor, true, false)))
    }
}

impl<H: Home> Handle<H> {
    /// Makes an overlapped call, once `memory` has come to the place at which it stays until the call is over; then it comes
    /// back. `call` gets the handle, the OVERLAPPED to pass on, and the memory.
    ///
    /// Completes when the kernel reports the call, at once if [`Started`] says that it failed: with the bytes the kernel counts,
    /// and its error. A cancel is `CancelIoEx`, and so is dropping the operation's handle; `memory` is dropped after the kernel's
    /// last word.
    ///
    /// `call` may run on a thread of the library, which starts operations with an event, and always under a lock of this
    /// object: it makes its one call, which must not wait, and nothing else.
    ///
    /// ```no_run
    /// use std::os::windows::{fs::OpenOptionsExt, io::RawHandle};
    /// use proactor::raw::{Handle, OVERLAPPED, Started};
    /// use windows_sys::Win32::Storage::FileSystem as fs;
    ///
    /// let mut options = std::fs::OpenOptions::new();
    /// options.access_mode(fs::FILE_LIST_DIRECTORY);
    /// options.custom_flags(fs::FILE_FLAG_BACKUP_SEMANTICS | fs::FILE_FLAG_OVERLAPPED);
    /// let directory = Handle::from_owned(options.open(".")?.into())?;
    /// let watch = |directory: RawHandle, overlapped: *mut OVERLAPPED, records: &mut [u32; 256]| {
    ///     let (into, what, none) = (records.as_mut_ptr().cast(), fs::FILE_NOTIFY_CHANGE_FILE_NAME, std::ptr::null_mut());
    ///     // SAFETY: the buffer and the OVERLAPPED stay until the kernel reports the call.
    ///     Started::win32(unsafe { fs::ReadDirectoryChangesW(directory, into, 1024, 0, what, none, overlapped, None) })
    /// };
    /// // SAFETY: one call, with its own memory.
    /// let done = unsafe { directory.call([0; 256], watch) }.start()?.wait();
    /// println!("{} bytes of changes", done.bytes);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Safety
    /// `call` passes the OVERLAPPED to exactly one call on this handle, or to none, and returns what that came to: a call that
    /// the kernel took is never said to have failed. It leaves the members alone, but `Offset` and `OffsetHigh`; it does not
    /// panic after the kernel took the call, nor use this object. The handle reports calls that succeed at once, too
    /// (`FILE_SKIP_COMPLETION_PORT_ON_SUCCESS` is not set). What the kernel reads and writes until it reports lies in `memory`
    /// or in what it owns, or lives and stays as long, and is nobody else's meanwhile.
    pub unsafe fn call<M, F>(&self, memory: M, call: F) -> Operation<'_, Owned<M, F>, (), H>
    where
        M: Send + 'static,
        F: FnOnce(RawHandle, *mut OVERLAPPED, &mut M) -> Started + Send + 'static,
    {
        Operation::new(self.handle(), Op::Raw, Owned { memory, call: Some(call) })
    }

    /// As [`call`](Handle::call), with a packet's block as its memory.
    ///
    /// # Safety
    /// As for [`call`](Handle::call), of the block.
    pub unsafe fn call_within<B, F>(&self, call: F) -> Operation<'_, Inside<F>, (), H>
    where
        F: FnOnce(RawHandle, *mut OVERLAPPED, &mut B) -> Started + 'static,
    {
        Operation::new(self.handle(), Op::Raw, Inside(call))
    }

    /// Takes the handle out, with nothing of the library left on it (before Windows 8.1 it stays associated with its port).
    /// Refused, with the object given back, while operations are in flight, other handles of it exist, or it is a socket.
    pub fn into_handle(self) -> Result<OwnedHandle, Refused<Handle<H>>> {
        if !self.handle().sys.core.is_file {
            let error = Error::new(Code::InvalidParameter).hint("this is a socket; use into_socket");
            return Err(Refused { error, back: self });
        }
        match self.inner.0.into_descriptor() {
            Ok(Descriptor::File(file)) => Ok(file),
            Ok(Descriptor::Socket(_)) => unreachable!("the kind was asked above"),
            Err((handle, error)) => Err(Refused { error, back: Handle::from_handle(handle) }),
        }
    }

    /// The same of a socket.
    pub fn into_socket(self) -> Result<OwnedSocket, Refused<Handle<H>>> {
        if self.handle().sys.core.is_file {
            let error = Error::new(Code::InvalidParameter).hint("this is no socket; use into_handle");
            return Err(Refused { error, back: self });
        }
        match self.inner.0.into_descriptor() {
            Ok(Descriptor::Socket(socket)) => Ok(socket),
            Ok(Descriptor::File(_)) => unreachable!("the kind was asked above"),
            Err((handle, error)) => Err(Refused { error, back: Handle::from_handle(handle) }),
        }
    }
}

impl<H: Home> AsRawHandle for Handle<H> {
    fn as_raw_handle(&self) -> RawHandle {
        self.handle().sys.core.handle()
    }
}

/// What an overlapped call came to when it returned.
#[must_use = "it says whether the kernel has the operation"]
#[derive(Debug)]
pub struct Started(Result<(), Error>);

impl Started {
    /// The kernel took it, and reports it: it is pending, or succeeded at once.
    pub fn submitted() -> Started {
        Started(Ok(()))
    }

    /// The kernel did not take it, or no call was made: the operation is over with this error.
    pub fn failed(error: Error) -> Started {
        Started(Err(error))
    }

    /// From what a Win32 function returned, a BOOL, and what `GetLastError` says right after it.
    pub fn win32(returned: i32) -> Started {
        // SAFETY: a call without arguments.
        match unsafe { GetLastError() } {
            _ if returned != 0 => Started::submitted(),
            ERROR_IO_PENDING => Started::submitted(),
            error => Started::failed(Error::from_raw_os_error(error.cast_signed())),
        }
    }

    /// From what a Winsock function returned: 0, or SOCKET_ERROR, and what `WSAGetLastError` says right after it.
    pub fn winsock(returned: i32) -> Started {
        Started::win32((returned == 0).into())
    }
}

/// The memory of one call, and the call.
pub struct Owned<M, F> {
    memory: M,
    call: Option<F>,
}

impl<M, F> Sealed for Owned<M, F> {}

impl<M, F> Cargo for Owned<M, F>
where
    M: Send + 'static,
    F: FnOnce(RawHandle, *mut OVERLAPPED, &mut M) -> Started + Send + 'static,
{
    type Back = M;

    fn lower(&mut self, into: &mut LoweredBuffers<'_>) {
        if let Some(call) = self.call.take() {
            into.0.raw.set(&mut self.memory, call);
        }
    }

    unsafe fn finish(self, _: usize) -> M {
        self.memory
    }

    fn give_back(self) -> M {
        self.memory
    }
}

/// A call with a packet's block as its memory.
pub struct Inside<F>(F);

impl<F> Sealed for Inside<F> {}

impl<B, F: FnOnce(RawHandle, *mut OVERLAPPED, &mut B) -> Started + 'static> Project<B> for Inside<F> {
    fn project(self, block: &mut B, into: &mut LoweredBuffers<'_>) {
        into.0.raw.set(block, self.0);
    }
}

type Make = Box<dyn FnOnce(*mut (), RawHandle, *mut OVERLAPPED) -> Started>;

/// The call of an operation, and where its memory is. A closure that captures nothing takes no memory.
#[derive(Default)]
pub(crate) struct RawCall(Cell<Option<(*mut (), Make)>>);

impl RawCall {
    fn set<M, F>(&mut self, memory: &mut M, call: F)
    where
        F: FnOnce(RawHandle, *mut OVERLAPPED, &mut M) -> Started + 'static,
    {
        let make = move |memory: *mut (), handle: RawHandle, overlapped: *mut OVERLAPPED| {
            // SAFETY: `make` below is called while the block that holds both is pending, and the memory is its alone.
            call(handle, overlapped, unsafe { &mut *memory.cast::<M>() })
        };
        self.0.set(Some((std::ptr::from_mut(memory).cast(), Box::new(make))));
    }

    /// Makes the call, on the block that is pending.
    pub(super) fn make(&self, handle: RawHandle, overlapped: *mut OVERLAPPED) -> Result<(), Error> {
        let Some((memory, make)) = self.0.take() else { unreachable!("an operation of the user's own is started once") };
        match catch_unwind(AssertUnwindSafe(|| make(memory, handle, overlapped))) {
            Ok(Started(outcome)) => outcome,
            Err(_) => {
                log::error!("proactor: an overlapped call of the user's own panicked");
                Err(Error::new(Code::Other).hint("the closure that was to make the call panicked"))
            }
        }
    }
}
