//! The doors to other code: descriptors and the standard library's types come in and go out.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::super::direct;
use super::ObjectState;
use crate::error::Error;
use crate::fs::{File, OpenOptions};
use crate::handle::{Handle, Kind};
use crate::home::Home;
use crate::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use crate::port::{CompletionPort, Key};

/// What the standard library sets on a listener before binding: a restarted server gets its port back.
pub(crate) fn prepare_listener(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

pub(crate) fn socket_pair(kind: Type) -> io::Result<(Socket, Socket)> {
    Socket::pair(Domain::UNIX, kind, None)
}

/// The path of a Unix socket's address, if it has one.
pub(crate) fn unix_path(addr: &SockAddr) -> Option<&Path> {
    addr.as_pathname()
}

/// Whether a Unix socket's address names nothing.
pub(crate) fn is_unnamed(addr: &SockAddr) -> bool {
    addr.is_unnamed()
}

pub(crate) fn open_now(path: &Path, options: &OpenOptions) -> Result<ObjectState, Error> {
    options.open(path).map(|file| ObjectState::new(file.into(), true, false))
}

impl OpenOptions {
    /// Opens a file by a blocking call.
    pub(in crate::backend) fn open(&self, path: &Path) -> Result<std::fs::File, Error> {
        let mut options = self.to_std();
        if self.direct {
            options.custom_flags(libc::O_DIRECT);
        }
        options.open(path).map_err(|error| direct::explain_open(Error::from_io(&error), self))
    }

    /// The flags of open(2).
    pub(in crate::backend) fn flags(&self) -> Result<i32, Error> {
        let access = match (self.read, self.write) {
            (true, true) => libc::O_RDWR,
            (false, true) => libc::O_WRONLY,
            (true, false) => libc::O_RDONLY,
            (false, false) => {
                return Err(Error::new(crate::Code::InvalidParameter).hint("open for reading, writing or both"));
            }
        };
        if !self.write && (self.truncate || self.create || self.create_new) {
            return Err(Error::new(crate::Code::InvalidParameter).hint("creating or truncating a file needs write(true)"));
        }
        let flag = |yes: bool, flag: i32| if yes { flag } else { 0 };
        Ok(access
            | libc::O_CLOEXEC
            | flag(self.create, libc::O_CREAT)
            | flag(self.direct, libc::O_DIRECT)
            | flag(self.truncate, libc::O_TRUNC)
            | flag(self.create_new, libc::O_CREAT | libc::O_EXCL))
    }

    /// The rights a new file gets, less the process's umask.
    pub(in crate::backend) fn unix_mode(&self) -> libc::mode_t {
        0o666
    }
}

macro_rules! doors {
    ($($name:ident, $std:ty;)*) => {$(
        impl<H: Home> AsFd for $name<H> {
            /// Panics for a file that is not open yet.
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.handle().sys.borrow()
            }
        }

        impl<H: Home> AsRawFd for $name<H> {
            fn as_raw_fd(&self) -> RawFd {
                self.handle().sys.raw()
            }
        }

        impl From<$std> for $name {
            fn from(std: $std) -> $name {
                OwnedFd::from(std).into()
            }
        }

        impl<H: Home> $name<H> {
            /// Takes the descriptor out, with nothing of the library left on it. Refused, with the object given back, while
            /// operations are in flight or other handles of it exist.
            pub fn into_descriptor(self) -> Result<OwnedFd, crate::Refused<$name<H>>> {
                self.inner.0.into_descriptor().map_err(|(handle, error)| crate::Refused { error, back: $name::from_handle(handle) })
            }

            /// As [`into_descriptor`](Self::into_descriptor), as the standard library's type.
            pub fn into_std(self) -> Result<$std, crate::Refused<$name<H>>> {
                self.into_descriptor().map(<$std>::from)
            }
        }
    )*};
}

doors! {
    TcpListener, std::net::TcpListener;
    TcpStream, std::net::TcpStream;
    UdpSocket, std::net::UdpSocket;
    UnixListener, std::os::unix::net::UnixListener;
    UnixStream, std::os::unix::net::UnixStream;
    UnixDatagram, std::os::unix::net::UnixDatagram;
    File, std::fs::File;
}

macro_rules! from_descriptor {
    ($($name:ty),*) => {$(
        /// Takes an open socket in, of the right kind; the library closes it.
        impl From<OwnedFd> for $name {
            fn from(fd: OwnedFd) -> $name {
                <$name>::from_socket(fd.into())
            }
        }

        impl From<Socket> for $name {
            fn from(socket: Socket) -> $name {
                <$name>::from_socket(socket)
            }
        }
    )*};
}

from_descriptor!(TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream, UnixDatagram);

/// Takes an open file in; the library closes it.
impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File::from_handle(Handle::new(Kind::File, ObjectState::new(fd, true, false)))
    }
}

impl<B, K: Key> AsFd for CompletionPort<B, K> {
    /// Readable while a socket or file of the port has something to do, or a packet was queued for a waiting thread: for a
    /// foreign reactor to watch.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<B, K: Key> AsRawFd for CompletionPort<B, K> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_fd().as_raw_fd()
    }
}
