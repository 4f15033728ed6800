//! The doors to other code: sockets, handles and the standard library's types come in and go out.

use std::io;
use std::os::windows::io::{
    AsHandle, AsRawHandle, AsRawSocket, AsSocket, BorrowedHandle, BorrowedSocket, OwnedHandle, OwnedSocket, RawHandle, RawSocket,
};
use std::path::Path;

use socket2::{SockAddr, Socket, Type};

use super::types::Descriptor;
use super::{ObjectState, blocking};
use crate::error::Error;
use crate::fs::{File, OpenOptions};
use crate::handle::{Handle, Kind};
use crate::home::Home;
use crate::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use crate::port::{CompletionPort, Key};

/// Nothing, as the standard library: a restarted server gets its port back without SO_REUSEADDR, which on Windows would
/// let others take it.
pub(crate) fn prepare_listener(_: &Socket) -> io::Result<()> {
    Ok(())
}

pub(crate) fn socket_pair(_: Type) -> io::Result<(Socket, Socket)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The path of a Unix socket's address: the library makes none here.
pub(crate) fn unix_path(_: &SockAddr) -> Option<&Path> {
    None
}

/// Whether a Unix socket's address names nothing.
pub(crate) fn is_unnamed(_: &SockAddr) -> bool {
    true
}

pub(crate) fn open_now(path: &Path, options: &OpenOptions) -> Result<ObjectState, Error> {
    blocking::open(path, options).map(|file| ObjectState::new(file.into(), true, false))
}

macro_rules! sockets {
    ($($name:ident),*) => {$(
        impl<H: Home> AsSocket for $name<H> {
            fn as_socket(&self) -> BorrowedSocket<'_> {
                self.handle().sys.borrow_socket()
            }
        }

        impl<H: Home> AsRawSocket for $name<H> {
            fn as_raw_socket(&self) -> RawSocket {
                self.as_socket().as_raw_socket()
            }
        }

        /// Takes an open socket in, of the right kind, made for overlapped I/O; the library closes it.
        impl From<OwnedSocket> for $name {
            fn from(socket: OwnedSocket) -> $name {
                $name::from_socket(socket.into())
            }
        }

        impl From<Socket> for $name {
            fn from(socket: Socket) -> $name {
                $name::from_socket(socket)
            }
        }

        impl<H: Home> $name<H> {
            /// Takes the socket out, with nothing of the library left on it (before Windows 8.1 it stays associated with its
            /// port). Refused, with the object given back, while operations are in flight or other handles of it exist.
            pub fn into_descriptor(self) -> Result<OwnedSocket, crate::Refused<$name<H>>> {
                match self.inner.0.into_descriptor() {
                    Ok(Descriptor::Socket(socket)) => Ok(socket),
                    Ok(Descriptor::File(_)) => unreachable!("a socket's object has a socket"),
                    Err((handle, error)) => Err(crate::Refused { error, back: $name::from_handle(handle) }),
                }
            }
        }
    )*};
}

sockets!(TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream, UnixDatagram);

macro_rules! standard {
    ($($name:ident, $std:ty;)*) => {$(
        impl From<$std> for $name {
            fn from(std: $std) -> $name {
                OwnedSocket::from(std).into()
            }
        }

        impl<H: Home> $name<H> {
            /// As [`into_descriptor`](Self::into_descriptor), as the standard library's type.
            pub fn into_std(self) -> Result<$std, crate::Refused<$name<H>>> {
                self.into_descriptor().map(<$std>::from)
            }
        }
    )*};
}

standard! {
    TcpListener, std::net::TcpListener;
    TcpStream, std::net::TcpStream;
    UdpSocket, std::net::UdpSocket;
}

impl<H: Home> AsHandle for File<H> {
    /// Panics for a file that is not open yet.
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle().sys.borrow_handle()
    }
}

impl<H: Home> AsRawHandle for File<H> {
    fn as_raw_handle(&self) -> RawHandle {
        self.handle().sys.core.handle()
    }
}

/// Takes an open file in; the library closes it. Operations on one that was not opened for overlapped I/O run on a pool
/// of threads.
impl From<OwnedHandle> for File {
    fn from(file: OwnedHandle) -> File {
        File::from_handle(Handle::new(Kind::File, ObjectState::new(file.into(), true, false)))
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> File {
        OwnedHandle::from(file).into()
    }
}

impl<H: Home> File<H> {
    /// Takes the handle out, with nothing of the library left on it (before Windows 8.1 it stays associated with its port).
    /// Refused, with the object given back, while operations are in flight, other handles of it exist, or it is not open.
    pub fn into_descriptor(self) -> Result<OwnedHandle, crate::Refused<File<H>>> {
        match self.inner.0.into_descriptor() {
            Ok(Descriptor::File(file)) => Ok(file),
            Ok(Descriptor::Socket(_)) => unreachable!("a file's object has a file"),
            Err((handle, error)) => Err(crate::Refused { error, back: File::from_handle(handle) }),
        }
    }

    /// As [`into_descriptor`](Self::into_descriptor), as the standard library's type. A file opened here has no position, so
    /// that `seek_read` and `seek_write` work on it, `read` and `write` do not.
    pub fn into_std(self) -> Result<std::fs::File, crate::Refused<File<H>>> {
        self.into_descriptor().map(std::fs::File::from)
    }
}

impl<B, K: Key> AsHandle for CompletionPort<B, K> {
    /// Signalled while packets are queued that no waiting thread took: for a foreign reactor to watch.
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.inner.borrow()
    }
}

impl<B, K: Key> AsRawHandle for CompletionPort<B, K> {
    fn as_raw_handle(&self) -> RawHandle {
        self.as_handle().as_raw_handle()
    }
}
