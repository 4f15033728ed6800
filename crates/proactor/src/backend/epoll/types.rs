//! The plain types of this backend: buffers, the block's part, error numbers, the fork check.

use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::local::{Extra, Hunger, NO_GROUP};
use crate::error::{Code, Error};
use crate::op::Header;

/// The owned descriptor of sockets and files.
pub(crate) type Descriptor = OwnedFd;

/// An iovec.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct RawBuf(libc::iovec);

impl RawBuf {
    pub fn new(ptr: *mut u8, len: usize) -> RawBuf {
        RawBuf(libc::iovec { iov_base: ptr.cast(), iov_len: len })
    }

    pub fn len(&self) -> usize {
        self.0.iov_len
    }

    pub fn ptr(&self) -> *mut u8 {
        self.0.iov_base.cast()
    }

    /// What lies behind the first `n` bytes.
    pub fn advance(&self, n: usize) -> RawBuf {
        RawBuf::new(self.ptr().wrapping_add(n), self.len() - n)
    }

    pub fn iovecs(bufs: &[RawBuf]) -> *mut libc::iovec {
        bufs.as_ptr().cast_mut().cast()
    }
}

impl Default for RawBuf {
    fn default() -> RawBuf {
        RawBuf::new(std::ptr::null_mut(), 0)
    }
}

/// This backend's part of a block.
pub(crate) struct BlockState {
    /// The next operation of the lane, or of the ring's list.
    pub(in crate::backend) next: Option<NonNull<Header>>,
    /// A connect whose handshake runs.
    pub(in crate::backend) connecting: bool,
    /// An accept that has its connection and waits for first data.
    pub(in crate::backend) child: Option<super::perform::Child>,
    /// The previous operation of a per-thread port's list.
    pub(in crate::backend) previous: Option<NonNull<Header>>,
    /// Asked to cancel while the ring had it.
    pub(in crate::backend) cancelled: bool,
    pub(in crate::backend) aside: Aside,
    /// The buffer group of a receive of many on a per-thread port.
    pub(in crate::backend) group: u16,
    /// Where such a receive is that found no buffer.
    pub(in crate::backend) hunger: Hunger,
    /// Kept from one operation of the block to the next.
    pub(in crate::backend) extra: Option<Box<Extra>>,
}

impl Default for BlockState {
    fn default() -> BlockState {
        BlockState {
            next: None,
            previous: None,
            connecting: false,
            child: None,
            cancelled: false,
            aside: Aside::None,
            group: NO_GROUP,
            hunger: Hunger::Fed,
            extra: None,
        }
    }
}

impl BlockState {
    /// For the block's next operation.
    #[inline]
    pub fn renew(&mut self) {
        // Field by field: most are as they should be, and a whole new state would be written and dropped each time.
        (self.next, self.previous) = (None, None);
        (self.connecting, self.cancelled) = (false, false);
        self.group = NO_GROUP;
        self.hunger = Hunger::Fed;
        if self.child.is_some() {
            self.child = None;
        }
        if !matches!(self.aside, Aside::None) {
            self.aside = Aside::None;
        }
    }

    /// Whether it is an accept of a per-thread port that has its connection and waits for first data.
    #[inline]
    pub(in crate::backend) fn awaits_data(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.child.is_some())
    }

    pub(in crate::backend) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(|| Box::new(Extra::empty()))
    }
}

/// What a file operation needs beside its buffers until it is over. The kernel may read and write it.
#[derive(Default)]
pub(in crate::backend) enum Aside {
    #[default]
    None,
    /// The path to open.
    Path(std::ffi::CString),
    /// The descriptor to close, which the object has given up.
    Closing(OwnedFd),
    /// What an operation of the user's own came to, while the kernel still has its memory.
    Answer(i32),
    /// Where the kernel writes what a file is.
    Statx(Box<libc::statx>),
}

/// The library's code for an errno.
pub(crate) fn code_of(errno: i32) -> Code {
    match errno {
        libc::ECANCELED => Code::Cancelled,
        libc::ECONNRESET => Code::ConnectionReset,
        libc::ECONNABORTED => Code::ConnectionAborted,
        libc::ECONNREFUSED => Code::ConnectionRefused,
        libc::ETIMEDOUT => Code::IoTimeout,
        libc::EMSGSIZE => Code::MessageTruncated,
        libc::EHOSTUNREACH | libc::EHOSTDOWN => Code::HostUnreachable,
        libc::ENETUNREACH | libc::ENETDOWN => Code::NetworkUnreachable,
        libc::ESHUTDOWN => Code::Shutdown,
        libc::ENOTCONN | libc::EDESTADDRREQ => Code::NotConnected,
        libc::EADDRINUSE => Code::AddressInUse,
        libc::EADDRNOTAVAIL => Code::AddressNotAvailable,
        libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN | libc::ENOSPC => Code::InsufficientResources,
        libc::EMFILE | libc::ENFILE => Code::TooManyDescriptors,
        libc::ENOENT | libc::ENOTDIR => Code::FileNotFound,
        libc::EEXIST => Code::FileExists,
        libc::EACCES | libc::EPERM | libc::EROFS => Code::AccessDenied,
        libc::EINVAL | libc::EISCONN | libc::EALREADY | libc::EFAULT | libc::ESPIPE | libc::EISDIR => Code::InvalidParameter,
        libc::EBADF | libc::ENOTSOCK => Code::InvalidHandle,
        libc::EPIPE => Code::BrokenPipe,
        libc::EOPNOTSUPP | libc::ENOSYS | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => Code::NotSupported,
        _ => Code::Other,
    }
}

static FORKED: AtomicBool = AtomicBool::new(false);

/// Fails in a child that was forked and has not called exec: the parent's epoll instances and rings are shared with
/// it, its threads are not.
#[inline]
pub(crate) fn check_fork() -> Result<(), Error> {
    if is_forked() {
        return Err(Error::new(Code::Forked));
    }
    Ok(())
}

#[inline]
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// From the first port on, a fork marks its child.
pub(in crate::backend) fn watch_forks() {
    static WATCH: Once = Once::new();
    extern "C" fn in_child() {
        FORKED.store(true, Ordering::Relaxed);
    }
    // SAFETY: the handler only stores to an atomic, which is allowed after fork.
    WATCH.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}
