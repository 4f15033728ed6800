//! Pollable descriptors of the user's own: readiness as an operation.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::epoll::{ObjectState, check_fork};
use crate::buf::NoBuffer;
use crate::error::{Code, Error, Refused};
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{Interest, Op, Operation};

/// Any descriptor that can be polled: a pipe, an eventfd, timerfd, signalfd, inotify, pidfd, a device. The library tells when
/// it is ready; reading and writing it stays the user's own, through [`AsFd`].
///
/// ```
/// use std::io::{Read, Write};
/// use proactor::watch::Descriptor;
/// let (reader, mut writer) = std::io::pipe()?;
/// let reader = Descriptor::from_owned(reader)?;
/// let readable = reader.readable().start()?;
/// writer.write_all(b"hello")?;
/// readable.wait().result?;
/// let mut pipe = std::fs::File::from(reader.into_fd()?);
/// let mut buf = [0; 16];
/// assert_eq!(pipe.read(&mut buf)?, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Descriptor<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(Descriptor);

impl Descriptor {
    /// Takes a descriptor in; the library closes it with the last handle, or gives it [back](Descriptor::into_fd). Its mode
    /// (`O_NONBLOCK`) is left as it is.
    ///
    /// [`Code::NotSupported`], with the descriptor given back, if it cannot be polled: a regular file or a directory is always
    /// ready; read one through [`fs::File`](crate::fs::File).
    pub fn from_owned(fd: impl Into<OwnedFd>) -> Result<Descriptor, Refused<OwnedFd>> {
        let fd = fd.into();
        match check_fork().and_then(|()| check_pollable(&fd)) {
            Ok(()) => Ok(Descriptor::from_handle(Handle::new(Kind::Watched, ObjectState::new(fd, true, false)))),
            Err(error) => Err(Refused { error, back: fd }),
        }
    }
}

impl<H: Home> Descriptor<H> {
    /// Completes when a read would not wait: there is something to read, or the other end is gone (`poll` with POLLIN). Takes
    /// nothing. Several complete in call order, each when it is ready at its turn. `Cancelled` by a cancel, or when the last
    /// handle is dropped.
    pub fn readable(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Ready { interest: Interest::Read }, NoBuffer)
    }

    /// Completes when a write would not wait: there is room, or nobody reads any more (`poll` with POLLOUT). As
    /// [`readable`](Descriptor::readable) otherwise; the two do not wait for one another.
    pub fn writable(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Ready { interest: Interest::Write }, NoBuffer)
    }

    /// Takes the descriptor out, with nothing of the library left on it. Refused, with the object given back, while operations
    /// are in flight or other handles of it exist.
    pub fn into_fd(self) -> Result<OwnedFd, Refused<Descriptor<H>>> {
        self.inner.0.into_descriptor().map_err(|(handle, error)| Refused { error, back: Descriptor::from_handle(handle) })
    }
}

impl<H: Home> AsFd for Descriptor<H> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle().sys.borrow()
    }
}

impl<H: Home> AsRawFd for Descriptor<H> {
    fn as_raw_fd(&self) -> RawFd {
        self.handle().sys.raw()
    }
}

/// Whether the kernel offers to watch it: asked of a set of its own, because a ring would call a file ready and say no more.
fn check_pollable(fd: &OwnedFd) -> Result<(), Error> {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: the set is new and closed here; both descriptors are open, the event is alive for the call.
    let added = unsafe {
        let set = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        if set < 0 {
            return Err(Error::last_os_error());
        }
        let set = OwnedFd::from_raw_fd(set);
        libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event)
    };
    if added == 0 {
        return Ok(());
    }
    let error = Error::last_os_error();
    Err(match error.raw_os_error() {
        Some(libc::EPERM) => error
            .with_code(Code::NotSupported)
            .hint("this descriptor cannot be watched: files and directories are always ready; read them through fs::File"),
        _ => error,
    })
}
