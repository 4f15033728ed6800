//! Unix stream and datagram sockets. Where the system has none, making one is `NotSupported`.

use std::path::Path;

use socket2::{Domain, SockRef, Socket, Type};

use super::udp::datagrams;
use super::{adopt, io, object, stream};
use crate::backend::{self, Descriptor};
use crate::buf::{DrainListTarget, DrainTarget, FillListTarget, FillTarget, Multi, NoBuffer};
use crate::error::Error;
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::op::{Accepted, Address, Datagram, Interest, Op, Operation};

fn socket(kind: Type) -> Result<Socket, Error> {
    io(Socket::new(Domain::UNIX, kind, None))
}

fn bound(kind: Type, path: &Path) -> Result<Socket, Error> {
    let socket = socket(kind)?;
    io(socket2::SockAddr::unix(path).and_then(|addr| socket.bind(&addr)))?;
    Ok(socket)
}

/// A Unix stream socket that listens.
///
/// ```no_run
/// use proactor::net::UnixListener;
/// let listener = UnixListener::bind("/run/app.sock")?;
/// let connection = listener.accept().start()?.wait().result?.stream;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixListener<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(UnixListener);

impl UnixListener {
    /// Binds to a path, which must not exist, and listens.
    pub fn bind(path: impl AsRef<Path>) -> Result<UnixListener, Error> {
        let socket = bound(Type::STREAM, path.as_ref())?;
        io(socket.listen(4096))?;
        Ok(UnixListener::from_socket(socket))
    }

    pub(crate) fn from_socket(socket: Socket) -> UnixListener {
        UnixListener::from_handle(adopt(Kind::UnixListener, socket, true))
    }
}

impl<H: Home> UnixListener<H> {
    /// Takes the next connection. As [`TcpListener::accept`](super::TcpListener::accept).
    pub fn accept(&self) -> Operation<'_, NoBuffer, Accepted<UnixStream>, H> {
        Operation::new(self.handle(), Op::Accept, NoBuffer)
    }

    /// Takes the next connection with its first data. As [`TcpListener::accept_with`](super::TcpListener::accept_with).
    pub fn accept_with<T: FillTarget>(&self, buf: T) -> Operation<'_, T::Cargo, Accepted<UnixStream>, H> {
        Operation::new(self.handle(), Op::Accept, buf.into_cargo())
    }

    /// Takes connection after connection, until an error or a cancel.
    ///
    /// Each is a packet with its connection, `more` set and no block; the last packet brings the block and the reason.
    /// `TooManyDescriptors` ends it: start it again when descriptors are free.
    pub fn accept_multi(&self) -> Operation<'_, Multi, Accepted<UnixStream>, H> {
        Operation::new(self.handle(), Op::AcceptMulti, Multi(None))
    }

    /// Completes when an accept would not wait.
    pub fn readable(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Ready { interest: Interest::Read }, NoBuffer)
    }
}

/// A Unix stream connection, or a socket that will become one.
pub struct UnixStream<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(UnixStream);
stream!(UnixStream);

impl UnixStream {
    /// A socket to be connected by [`connect`](UnixStream::connect).
    pub fn unconnected() -> Result<UnixStream, Error> {
        Ok(UnixStream::from_handle(adopt(Kind::UnixStream, socket(Type::STREAM)?, false)))
    }

    /// Two connected sockets (`socketpair`). `NotSupported` where the system has none.
    ///
    /// ```
    /// # if cfg!(unix) {
    /// let (a, b) = proactor::net::UnixStream::pair().unwrap();
    /// a.send(b"x").start().unwrap().wait().result.unwrap();
    /// assert_eq!(b.recv(vec![0; 8]).start().unwrap().wait().buffer, b"x");
    /// # }
    /// ```
    pub fn pair() -> Result<(UnixStream, UnixStream), Error> {
        io(backend::socket_pair(Type::STREAM)).map(|(a, b)| (UnixStream::from_socket(a), UnixStream::from_socket(b)))
    }

    pub(crate) fn connected(descriptor: Descriptor) -> UnixStream {
        UnixStream::from_handle(Handle::new(Kind::UnixStream, backend::ObjectState::new(descriptor, true, false)))
    }

    pub(crate) fn from_socket(socket: Socket) -> UnixStream {
        let connected = socket.peer_addr().is_ok();
        UnixStream::from_handle(adopt(Kind::UnixStream, socket, connected))
    }
}

impl<H: Home> UnixStream<H> {
    /// Connects to a listener's path, given by [`Address::unix`]. `InsufficientResources` if its backlog is full: the
    /// system offers no way to wait for that.
    pub fn connect(&self, addr: Address) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Connect { to: addr }, NoBuffer)
    }

    /// Connects and sends all of `buf` as first data.
    pub fn connect_with<T: DrainTarget>(&self, addr: Address, buf: T) -> Operation<'_, T::Cargo, (), H> {
        Operation::new(self.handle(), Op::Connect { to: addr }, buf.into_cargo())
    }
}

/// A Unix datagram socket.
pub struct UnixDatagram<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(UnixDatagram);
datagrams!(UnixDatagram, Address);

impl UnixDatagram {
    /// Binds to a path, which must not exist.
    pub fn bind(path: impl AsRef<Path>) -> Result<UnixDatagram, Error> {
        Ok(UnixDatagram::from_socket(bound(Type::DGRAM, path.as_ref())?))
    }

    /// A socket without a name: it sends, and nobody can answer.
    pub fn unbound() -> Result<UnixDatagram, Error> {
        Ok(UnixDatagram::from_socket(socket(Type::DGRAM)?))
    }

    /// Two connected sockets (`socketpair`).
    pub fn pair() -> Result<(UnixDatagram, UnixDatagram), Error> {
        io(backend::socket_pair(Type::DGRAM)).map(|(a, b)| (UnixDatagram::from_socket(a), UnixDatagram::from_socket(b)))
    }

    pub(crate) fn from_socket(socket: Socket) -> UnixDatagram {
        UnixDatagram::from_handle(adopt(Kind::UnixDatagram, socket, true))
    }
}

impl<H: Home> UnixDatagram<H> {
    /// Names the peer of [`send`](UnixDatagram::send). Takes effect at once.
    pub fn connect(&self, addr: &Address) -> Result<(), Error> {
        match addr.to_sock() {
            Some(addr) => io(SockRef::from(self).connect(&addr)),
            None => Err(Error::new(crate::Code::InvalidParameter)),
        }
    }
}
