//! TCP listeners and streams, IPv4 and IPv6.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{adopt, io, object, stream};
use crate::backend::{self, Descriptor};
use crate::buf::{DrainTarget, FillTarget, Multi, NoBuffer};
use crate::error::Error;
use crate::handle::{Handle, Kind, expect_ip, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::op::{Accepted, Address, Interest, Op, Operation};

/// A TCP socket that listens.
///
/// ```
/// use proactor::net::{TcpListener, TcpStream};
/// let listener = TcpListener::bind("[::1]:0".parse().unwrap())?;
/// let accept = listener.accept().start()?;
/// let client = TcpStream::unconnected_v6()?;
/// client.connect(listener.local_addr()?).start()?.wait().result?;
/// let accepted = accept.wait().result?;
/// assert_eq!(accepted.peer.ip(), Some(client.local_addr()?));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(TcpListener);

impl TcpListener {
    /// Binds and listens, with a backlog of 4096 (the system caps it).
    pub fn bind(addr: SocketAddr) -> Result<TcpListener, Error> {
        let socket = io(Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP)))?;
        io(backend::prepare_listener(&socket))?;
        io(socket.bind(&addr.into()))?;
        io(socket.listen(4096))?;
        Ok(TcpListener::from_socket(socket))
    }

    pub(crate) fn from_socket(socket: Socket) -> TcpListener {
        TcpListener::from_handle(adopt(Kind::TcpListener, socket, true))
    }
}

impl<H: Home> TcpListener<H> {
    /// The address it listens on.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        expect_ip(Address::from_sock(&io(SockRef::from(self).local_addr())?))
    }

    /// Takes the next connection (`AcceptEx` without data, `accept4`), with both its addresses.
    ///
    /// Completes when a client connects; silent clients are accepted at once, so they cannot exhaust accepts. The
    /// listener's options are inherited. `TooManyDescriptors` leaves the listener and the client waiting; accept again
    /// when descriptors are free. A connection nobody takes out of the completion is closed.
    pub fn accept(&self) -> Operation<'_, NoBuffer, Accepted<TcpStream>, H> {
        Operation::new(self.handle(), Op::Accept, NoBuffer)
    }

    /// Takes the next connection together with its first data (`AcceptEx` with a receive length). Completes on first data,
    /// or on the client's orderly close with 0 bytes; a client that stays silent keeps this accept for itself.
    pub fn accept_with<T: FillTarget>(&self, buf: T) -> Operation<'_, T::Cargo, Accepted<TcpStream>, H> {
        Operation::new(self.handle(), Op::Accept, buf.into_cargo())
    }

    /// Takes connection after connection, until an error or a cancel.
    ///
    /// Each is a packet with its connection, `more` set and no block; the last packet brings the block and the reason.
    /// `TooManyDescriptors` ends it: start it again when descriptors are free.
    pub fn accept_multi(&self) -> Operation<'_, Multi, Accepted<TcpStream>, H> {
        Operation::new(self.handle(), Op::AcceptMulti, Multi(None))
    }

    /// Completes when an accept would not wait.
    pub fn readable(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Ready { interest: Interest::Read }, NoBuffer)
    }
}

/// A TCP connection, or a socket that will become one.
///
/// ```
/// use proactor::net::{TcpListener, TcpStream};
/// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
/// let accept = listener.accept_with(vec![0; 16]).start()?;
/// let client = TcpStream::unconnected_v4()?;
/// let done = client.connect_with(listener.local_addr()?, b"first").start()?.wait();
/// assert_eq!(done.bytes, 5);
/// assert_eq!(&accept.wait().buffer[..], b"first");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpStream<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(TcpStream);
stream!(TcpStream);

impl TcpStream {
    /// An IPv4 socket, to be connected by [`connect`](TcpStream::connect).
    pub fn unconnected_v4() -> Result<TcpStream, Error> {
        TcpStream::unconnected(Domain::IPV4)
    }

    /// An IPv6 socket, to be connected by [`connect`](TcpStream::connect).
    pub fn unconnected_v6() -> Result<TcpStream, Error> {
        TcpStream::unconnected(Domain::IPV6)
    }

    /// A socket of the family of `addr`.
    pub fn unconnected_for(addr: SocketAddr) -> Result<TcpStream, Error> {
        TcpStream::unconnected(Domain::for_address(addr))
    }

    fn unconnected(domain: Domain) -> Result<TcpStream, Error> {
        let socket = io(Socket::new(domain, Type::STREAM, Some(Protocol::TCP)))?;
        Ok(TcpStream::from_handle(adopt(Kind::TcpStream, socket, false)))
    }

    pub(crate) fn connected(descriptor: Descriptor) -> TcpStream {
        TcpStream::from_handle(Handle::new(Kind::TcpStream, backend::ObjectState::new(descriptor, true, false)))
    }

    pub(crate) fn from_socket(socket: Socket) -> TcpStream {
        let connected = socket.peer_addr().is_ok();
        TcpStream::from_handle(adopt(Kind::TcpStream, socket, connected))
    }
}

impl<H: Home> TcpStream<H> {
    /// Connects (`ConnectEx`; binding first is done for you). Completes when connected or with the reason it failed:
    /// `ConnectionRefused`, `IoTimeout`, `HostUnreachable`, `NetworkUnreachable`, `InvalidParameter` if it is connected.
    pub fn connect(&self, addr: SocketAddr) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Connect { to: addr.into() }, NoBuffer)
    }

    /// Connects and sends all of `buf` as first data; completes when that is sent, with its byte count.
    pub fn connect_with<T: DrainTarget>(&self, addr: SocketAddr, buf: T) -> Operation<'_, T::Cargo, (), H> {
        Operation::new(self.handle(), Op::Connect { to: addr.into() }, buf.into_cargo())
    }

    /// Takes the connection down so that the socket may [`connect`](TcpStream::connect) again (`DisconnectEx` with
    /// `TF_REUSE_SOCKET`; `shutdown`, then `connect` to `AF_UNSPEC`). A socket that has an associated port keeps it.
    ///
    /// Closes the sending half after every send started before it, and completes when the peer has closed too and nothing
    /// of the connection is left, however it ended. Receive to the end, 0 bytes, first: what was not received by then is
    /// gone. A peer that never closes keeps it pending; cancelling it leaves the sending half closed. `NotConnected` if
    /// there is no connection.
    ///
    /// A socket bound to a port keeps it and may find the old connection's port pair in use for a while
    /// (`AddressInUse`, `AddressNotAvailable`). Being accepted into is not offered: an accept makes its socket itself.
    ///
    /// ```
    /// # if cfg!(unix) {
    /// use proactor::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// let client = TcpStream::unconnected_v4()?;
    /// for _ in 0..2 {
    ///     let accept = listener.accept().start()?;
    ///     client.connect(listener.local_addr()?).wait().result?;
    ///     drop(accept.wait().result?.stream);
    ///     client.disconnect_for_reuse().wait().result?;
    /// }
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn disconnect_for_reuse(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Disconnect { reuse: true }, NoBuffer)
    }

    /// This end's address.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        expect_ip(Address::from_sock(&io(SockRef::from(self).local_addr())?))
    }

    /// The peer's address. `NotConnected` if there is none.
    pub fn peer_addr(&self) -> Result<SocketAddr, Error> {
        expect_ip(Address::from_sock(&io(SockRef::from(self).peer_addr())?))
    }
}
