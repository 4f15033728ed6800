//! UDP sockets.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{adopt, io, object};
use crate::backend;
use crate::buf::{DrainListTarget, DrainTarget, FillListTarget, FillTarget, NoBuffer};
use crate::error::Error;
use crate::handle::{Kind, expect_ip, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::op::{Address, Boxed, Datagram, Headers, Interest, Message, Op, Operation};

/// A UDP socket.
///
/// ```
/// use proactor::net::UdpSocket;
/// let (a, b) = (UdpSocket::bind("127.0.0.1:0".parse().unwrap())?, UdpSocket::bind("127.0.0.1:0".parse().unwrap())?);
/// b.send_to(b"longer than four", a.local_addr()?).start()?.wait().result?;
/// let done = a.recv_from(vec![0; 4]).start()?.wait();
/// let datagram = done.result?;
/// assert_eq!((&done.buffer[..], datagram.from.ip(), datagram.truncated), (&b"long"[..], Some(b.local_addr()?), true));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UdpSocket<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(UdpSocket);

/// The operations of datagram sockets; `$addr` is what names a peer.
macro_rules! datagrams {
    ($name:ident, $addr:ty) => {
        impl<H: Home> $name<H> {
            /// Receives one datagram and its sender (`WSARecvFrom`, `recvmsg`).
            ///
            /// A datagram longer than `buf` is delivered as far as it fits and reported as truncated; the rest is lost. On
            /// a connected socket a peer that is not there shows as `ConnectionRefused`.
            pub fn recv_from<T: FillTarget>(&self, buf: T) -> Operation<'_, T::Cargo, Datagram, H> {
                Operation::new(self.handle(), Op::RecvFrom, buf.into_cargo())
            }

            /// As [`recv_from`](Self::recv_from), into a list of buffers, in order.
            pub fn recv_from_vectored<T: FillListTarget>(&self, bufs: T) -> Operation<'_, T::Cargo, Datagram, H> {
                Operation::new(self.handle(), Op::RecvFrom, bufs.into_cargo())
            }

            /// Sends `buf` as one datagram to `addr` (`WSASendTo`, `sendmsg`). `MessageTruncated` if it is too long for
            /// one.
            pub fn send_to<T: DrainTarget>(&self, buf: T, addr: $addr) -> Operation<'_, T::Cargo, (), H> {
                Operation::new(self.handle(), Op::SendTo { to: addr.into() }, buf.into_cargo())
            }

            /// As [`send_to`](Self::send_to), gathered from a list of buffers (64 at most).
            pub fn send_to_vectored<T: DrainListTarget>(&self, bufs: T, addr: $addr) -> Operation<'_, T::Cargo, (), H> {
                Operation::new(self.handle(), Op::SendTo { to: addr.into() }, bufs.into_cargo())
            }

            /// Sends `buf` as one datagram to the peer this socket is connected to.
            pub fn send<T: DrainTarget>(&self, buf: T) -> Operation<'_, T::Cargo, (), H> {
                Operation::new(self.handle(), Op::SendTo { to: Address::Unnamed }, buf.into_cargo())
            }

            /// Completes when a datagram or an error can be received.
            pub fn readable(&self) -> Operation<'_, NoBuffer, (), H> {
                Operation::new(self.handle(), Op::Ready { interest: Interest::Read }, NoBuffer)
            }

            /// Completes when a datagram can be sent.
            pub fn writable(&self) -> Operation<'_, NoBuffer, (), H> {
                Operation::new(self.handle(), Op::Ready { interest: Interest::Write }, NoBuffer)
            }
        }
    };
}
pub(super) use datagrams;

datagrams!(UdpSocket, SocketAddr);

impl UdpSocket {
    /// Binds a socket.
    pub fn bind(addr: SocketAddr) -> Result<UdpSocket, Error> {
        let socket = io(Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP)))?;
        io(socket.bind(&addr.into()))?;
        Ok(UdpSocket::from_socket(socket))
    }

    pub(crate) fn from_socket(socket: Socket) -> UdpSocket {
        UdpSocket::from_handle(adopt(Kind::Udp, socket, true))
    }
}

impl<H: Home> UdpSocket<H> {
    /// Names the peer of [`send`](UdpSocket::send), and receives from nobody else. Takes effect at once.
    pub fn connect(&self, addr: SocketAddr) -> Result<(), Error> {
        io(SockRef::from(self).connect(&addr.into()))
    }

    /// Has the system tell what the headers of received datagrams say, from now on, or no more (`IP_PKTINFO`, `IP_RECVTTL`,
    /// `IP_RECVTOS`; `IPV6_RECVPKTINFO`, `IPV6_RECVHOPLIMIT`, `IPV6_RECVTCLASS`). Off at first. Hop limit and traffic class are
    /// left out where the system does not tell them.
    pub fn receive_headers(&self, on: bool) -> Result<(), Error> {
        io(backend::receive_headers(&self.handle().sys, self.local_addr()?.is_ipv6(), on))
    }

    /// Receives one datagram and what its headers say (`WSARecvMsg`, `recvmsg`): as [`recv_from`](UdpSocket::recv_from), and
    /// more if the socket [keeps headers](UdpSocket::receive_headers).
    ///
    /// ```
    /// use proactor::net::{Headers, UdpSocket};
    /// let (a, b) = (UdpSocket::bind("0.0.0.0:0".parse().unwrap())?, UdpSocket::bind("127.0.0.1:0".parse().unwrap())?);
    /// a.receive_headers(true)?;
    /// let port = a.local_addr()?.port();
    /// b.send_msg(b"ask", Headers::to(([127, 0, 0, 1], port).into())).wait().result?;
    /// let asked = a.recv_msg(vec![0; 16]).wait().result?;
    /// assert_eq!(asked.to, Some([127, 0, 0, 1].into()));
    /// // From the address that was asked.
    /// a.send_msg(b"answer", asked.reply().unwrap()).wait().result?;
    /// assert_eq!(b.recv_from(vec![0; 16]).wait().buffer, b"answer");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_msg<T: FillTarget>(&self, buf: T) -> Operation<'_, T::Cargo, Message, H> {
        Operation::new(self.handle(), Op::RecvMsg, buf.into_cargo())
    }

    /// As [`recv_msg`](UdpSocket::recv_msg), into a list of buffers, in order.
    pub fn recv_msg_vectored<T: FillListTarget>(&self, bufs: T) -> Operation<'_, T::Cargo, Message, H> {
        Operation::new(self.handle(), Op::RecvMsg, bufs.into_cargo())
    }

    /// Sends `buf` as one datagram with these headers (`WSASendMsg`, `sendmsg`). As [`send_to`](UdpSocket::send_to) otherwise.
    ///
    /// `InvalidParameter` for headers that no datagram can have; `AddressNotAvailable`, or on Linux `InvalidParameter`, for an
    /// address or interface that is not this system's. Whether a single datagram may have its own hop limit and traffic class
    /// depends on the version of Windows: what it does not take it refuses.
    pub fn send_msg<T: DrainTarget>(&self, buf: T, headers: Headers) -> Operation<'_, T::Cargo, (), H> {
        Operation::new(self.handle(), self.send_op(headers), buf.into_cargo())
    }

    /// As [`send_msg`](UdpSocket::send_msg), gathered from a list of buffers (64 at most).
    pub fn send_msg_vectored<T: DrainListTarget>(&self, bufs: T, headers: Headers) -> Operation<'_, T::Cargo, (), H> {
        Operation::new(self.handle(), self.send_op(headers), bufs.into_cargo())
    }

    fn send_op(&self, mut headers: Headers) -> Op {
        if headers.follows_peer() {
            // Without a peer the send fails for that.
            let peer = SockRef::from(self).peer_addr().ok().and_then(|peer| peer.as_socket());
            headers.peer_is_v4 = peer.is_none_or(|peer| peer.ip().to_canonical().is_ipv4());
        }
        Op::SendMsg(Boxed::new(headers))
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        expect_ip(Address::from_sock(&io(SockRef::from(self).local_addr())?))
    }
}
