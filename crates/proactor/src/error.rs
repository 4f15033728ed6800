//! Errors: one small `Copy` type, its codes by the table of Win32 statuses, and the refusal that gives everything back.

use std::hash::{Hash, Hasher};
use std::mem::MaybeUninit;
use std::{fmt, io};

use crate::backend;
use crate::op::OpKind;

/// What went wrong, in the terms of the Win32 error table.
///
/// [`Code::win32`] and [`Code::winsock`] give the numbers a Windows program knows them by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The operation was cancelled (995).
    Cancelled,
    /// The peer reset the connection (64 / 10054).
    ConnectionReset,
    /// This side closed the connection under the operation (1236 / 10053).
    ConnectionAborted,
    /// Nobody listens at the address (1225 / 10061).
    ConnectionRefused,
    /// The peer did not answer in time (121 / 10060).
    IoTimeout,
    /// The buffer was too small for the message; what fitted was delivered (234 / 10040).
    MessageTruncated,
    /// The host cannot be reached (1232 / 10065).
    HostUnreachable,
    /// The network cannot be reached (1231 / 10051).
    NetworkUnreachable,
    /// The sending side of this socket was shut down (233 / 10058).
    Shutdown,
    /// The socket is not connected (2250 / 10057).
    NotConnected,
    /// The address is in use (1227 / 10048).
    AddressInUse,
    /// The address is not one of this machine (10049).
    AddressNotAvailable,
    /// Buffers, descriptors or memory ran out (1450 / 10055).
    InsufficientResources,
    /// A limit of this object or port was reached: operations in flight (1450 / 10055).
    TooManyOperations,
    /// A limit of this object was reached: bytes queued for sending (1450 / 10055).
    TooManyBytesQueued,
    /// The process has no descriptor left (4 / 10024).
    TooManyDescriptors,
    /// There was nothing to cancel or find (1168).
    NotFound,
    /// There is no host, or no address, of this name (11001).
    HostNotFound,
    /// The name could not be resolved now (11002).
    ResolveAgain,
    /// The file or path does not exist (2).
    FileNotFound,
    /// The file exists already (80).
    FileExists,
    /// The caller may not do this (5 / 10013).
    AccessDenied,
    /// An argument or the object's state does not allow the call (87 / 10022).
    InvalidParameter,
    /// The port or object is closed, or not of the right kind (6 / 10038).
    InvalidHandle,
    /// The operation is not complete yet (996).
    Incomplete,
    /// The wait timed out (258).
    WaitTimeout,
    /// The port was closed during the wait (735).
    Abandoned,
    /// The stream or file ended before as many bytes had come as were asked for (38).
    EndOfFile,
    /// So many bytes came as may, and what was looked for was not among them (122).
    LimitReached,
    /// A pipe or socket whose other end is gone (109).
    BrokenPipe,
    /// Every instance of the named pipe is taken (231).
    PipeBusy,
    /// The pipe's instance has its client already (535).
    PipeConnected,
    /// The system or object does not support this (50 / 10045).
    NotSupported,
    /// A semaphore's count would pass its maximum (298).
    TooManyPosts,
    /// The calling thread does not own the mutex (288).
    NotOwner,
    /// The thread has ended (31).
    ThreadEnded,
    /// The process forked; the child may not use the parent's ports until it calls exec.
    Forked,
    /// Anything else; [`Error::raw_os_error`] tells.
    Other,
}

impl Code {
    /// The code a completion port reports on Windows; 0 where the table has none.
    pub fn win32(self) -> u32 {
        self.row().0
    }

    /// The Winsock code; 0 where the table has none.
    pub fn winsock(self) -> u32 {
        self.row().1
    }

    /// One row of the table: Win32 code, Winsock code, kind, and the words that say what to do.
    fn row(self) -> (u32, u32, io::ErrorKind, &'static str) {
        use io::ErrorKind as K;
        match self {
            Code::Cancelled => (995, 995, K::Interrupted, "the operation was cancelled; start it again if it is still wanted"),
            Code::ConnectionReset => {
                (64, 10054, K::ConnectionReset, "the peer reset the connection; close this socket and connect again")
            }
            Code::ConnectionAborted => {
                (1236, 10053, K::ConnectionAborted, "the connection was closed on this side while the operation was pending")
            }
            Code::ConnectionRefused => {
                (1225, 10061, K::ConnectionRefused, "nobody listens at the address; check it, or try again later")
            }
            Code::IoTimeout => (121, 10060, K::TimedOut, "the peer did not answer in time; check the network, or try again"),
            Code::MessageTruncated => {
                (234, 10040, K::InvalidData, "the message was longer than the buffer; receive with a larger one")
            }
            Code::HostUnreachable => (1232, 10065, K::HostUnreachable, "the host cannot be reached; check the route"),
            Code::NetworkUnreachable => (1231, 10051, K::NetworkUnreachable, "the network cannot be reached; check the route"),
            Code::Shutdown => {
                (233, 10058, K::BrokenPipe, "the sending side was shut down; nothing more can be sent on this socket")
            }
            Code::NotConnected => (2250, 10057, K::NotConnected, "the socket is not connected; connect it first"),
            Code::AddressInUse => (1227, 10048, K::AddrInUse, "the address is in use; choose another or stop its owner"),
            Code::AddressNotAvailable => (1214, 10049, K::AddrNotAvailable, "the address is not one of this machine"),
            Code::InsufficientResources => {
                (1450, 10055, K::OutOfMemory, "the system is out of buffers or memory; release some and try again")
            }
            Code::TooManyOperations => (
                1450,
                10055,
                K::QuotaExceeded,
                "too many operations are in flight; wait for completions, or raise Limits::operations",
            ),
            Code::TooManyBytesQueued => (
                1450,
                10055,
                K::QuotaExceeded,
                "too many bytes are queued for sending; wait for sends to complete, or raise Limits::send_bytes",
            ),
            Code::TooManyDescriptors => {
                (4, 10024, K::QuotaExceeded, "no descriptor is left; close some, or raise the limit of open files")
            }
            Code::NotFound => (1168, 1168, K::NotFound, "no such operation is pending"),
            Code::HostNotFound => (11001, 11001, K::NotFound, "no host or address of this name is known; check its spelling"),
            Code::ResolveAgain => (
                11002,
                11002,
                K::Other,
                "the name could not be resolved now; check the network and its name server, or try again later",
            ),
            Code::FileNotFound => (2, 2, K::NotFound, "the file or path does not exist; check the path"),
            Code::FileExists => (80, 80, K::AlreadyExists, "the file exists already"),
            Code::AccessDenied => (5, 10013, K::PermissionDenied, "permission denied; check the rights of this user"),
            Code::InvalidParameter => (87, 10022, K::InvalidInput, "the arguments or the object's state do not allow this call"),
            Code::InvalidHandle => (6, 10038, K::InvalidInput, "the port or object is closed or of the wrong kind"),
            Code::Incomplete => (996, 996, K::WouldBlock, "the operation is still pending; wait for it"),
            Code::WaitTimeout => (258, 258, K::TimedOut, "the wait timed out; nothing was taken"),
            Code::Abandoned => (735, 735, K::BrokenPipe, "the completion port was closed during the wait"),
            Code::EndOfFile => (38, 38, K::UnexpectedEof, "the stream ended before all the bytes asked for had come"),
            Code::LimitReached => {
                (122, 122, K::InvalidData, "what was looked for did not come within the limit; raise it, or close the stream")
            }
            Code::BrokenPipe => (109, 109, K::BrokenPipe, "the other end is gone"),
            Code::PipeBusy => {
                (231, 231, K::ResourceBusy, "every instance of the pipe is taken; wait for one, or try again later")
            }
            Code::PipeConnected => (535, 535, K::InvalidInput, "the pipe's instance has a client already; disconnect it first"),
            Code::NotSupported => (50, 10045, K::Unsupported, "this system or object does not support the operation"),
            Code::TooManyPosts => (298, 0, K::QuotaExceeded, "the semaphore's count would pass its maximum; release fewer"),
            Code::NotOwner => (288, 0, K::PermissionDenied, "this thread does not own the mutex; wait for it first"),
            Code::ThreadEnded => (31, 0, K::NotFound, "the thread has ended; nothing runs on it any more"),
            Code::Forked => {
                (6, 10038, K::Unsupported, "the process forked; a child uses no port of its parent until it calls exec")
            }
            Code::Other => (0, 0, K::Other, "the system reported an error"),
        }
    }
}

/// An error of an operation or call: code, the system's raw number, and the operation it belongs to.
///
/// `Copy`, no allocation. Converts to [`io::Error`] keeping [`io::Error::raw_os_error`].
///
/// ```
/// use proactor::{Code, Error};
/// let error = Error::new(Code::ConnectionReset);
/// assert_eq!((error.code().win32(), error.code().winsock()), (64, 10054));
/// let io: std::io::Error = error.into();
/// assert_eq!(io.kind(), std::io::ErrorKind::ConnectionReset);
/// ```
#[derive(Clone, Copy)]
pub struct Error {
    /// Empty: none.
    hint: &'static str,
    /// Always initialized. The wrapping keeps the compiler from marking results in a single byte in here: each packet holds
    /// a result, and would be moved in pieces around that byte, which the processor cannot forward from store to load.
    what: MaybeUninit<What>,
}

/// The small parts of an error: a word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C, align(8))]
struct What {
    raw: i32,
    code: Code,
    op: Option<OpKind>,
}

impl PartialEq for Error {
    fn eq(&self, other: &Error) -> bool {
        (self.what(), self.hint) == (other.what(), other.hint)
    }
}

impl Eq for Error {}

impl Hash for Error {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.what(), self.hint).hash(state);
    }
}

impl Error {
    fn what(&self) -> What {
        // SAFETY: written by `make` and `with`, which alone make errors.
        unsafe { self.what.assume_init() }
    }

    fn make(code: Code, raw: i32) -> Error {
        Error { hint: "", what: MaybeUninit::new(What { raw, code, op: None }) }
    }

    fn with(self, what: What) -> Error {
        Error { hint: self.hint, what: MaybeUninit::new(what) }
    }

    /// An error of the library's own, with no system number behind it.
    pub fn new(code: Code) -> Error {
        Error::make(code, 0)
    }

    /// The error for a number of the operating system (an errno; on Windows a Win32 or Winsock code).
    pub fn from_raw_os_error(raw: i32) -> Error {
        Error::make(backend::code_of(raw), raw)
    }

    pub(crate) fn last_os_error() -> Error {
        Error::from_raw_os_error(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    pub(crate) fn from_io(error: &io::Error) -> Error {
        match error.raw_os_error() {
            Some(raw) => Error::from_raw_os_error(raw),
            None => {
                let code = match error.kind() {
                    io::ErrorKind::InvalidInput => Code::InvalidParameter,
                    io::ErrorKind::Unsupported => Code::NotSupported,
                    _ => Code::Other,
                };
                Error::new(code)
            }
        }
    }

    pub(crate) fn with_code(self, code: Code) -> Error {
        self.with(What { code, ..self.what() })
    }

    /// The same error with words that say more exactly what to do.
    pub(crate) fn hint(mut self, hint: &'static str) -> Error {
        self.hint = hint;
        self
    }

    pub(crate) fn of(self, op: OpKind) -> Error {
        let what = self.what();
        self.with(What { op: what.op.or(Some(op)), ..what })
    }

    /// Which error it is.
    pub fn code(&self) -> Code {
        self.what().code
    }

    /// The nearest kind of the standard library's.
    pub fn kind(&self) -> io::ErrorKind {
        self.code().row().2
    }

    /// The number the operating system gave, if the error came from it.
    pub fn raw_os_error(&self) -> Option<i32> {
        let raw = self.what().raw;
        (raw != 0).then_some(raw)
    }

    /// The operation that failed, if it was one.
    pub fn operation(&self) -> Option<OpKind> {
        self.what().op
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(op) = self.operation() {
            write!(f, "{op}: ")?;
        }
        f.write_str(if self.hint.is_empty() { self.code().row().3 } else { self.hint })?;
        if let Some(raw) = self.raw_os_error() {
            write!(f, " ({})", io::Error::from_raw_os_error(raw))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}, raw {}: {self})", self.code(), self.what().raw)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error.raw_os_error() {
            Some(raw) => io::Error::from_raw_os_error(raw),
            None => io::Error::new(error.kind(), error.code().row().3),
        }
    }
}

/// An operation that never started: why, and everything the caller gave.
pub struct Refused<T> {
    /// Why it was refused.
    pub error: Error,
    /// What the caller passed in: the block, or the buffer.
    pub back: T,
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> std::error::Error for Refused<T> {}

impl<T> From<Refused<T>> for Error {
    fn from(refused: Refused<T>) -> Error {
        refused.error
    }
}

impl<T> From<Refused<T>> for io::Error {
    fn from(refused: Refused<T>) -> io::Error {
        refused.error.into()
    }
}
