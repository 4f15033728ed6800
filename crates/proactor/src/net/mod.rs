//! Sockets: their methods describe operations; a delivery starts them.
//!
//! Options go through socket2: `socket2::SockRef::from(&stream).set_tcp_nodelay(true)`. Sockets of the standard library
//! and others come in by `From`, and go out by `into_std` and `into_descriptor` once nothing is in flight.

mod connector;
mod tcp;
mod udp;
mod unix;

pub use crate::op::{Headers, Message};
pub use connector::{Connector, connect};
pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};

use crate::backend;
use crate::error::Error;
use crate::handle::{Handle, Kind};

/// Takes a socket of socket2's in.
fn adopt(kind: Kind, socket: socket2::Socket, connected: bool) -> Handle {
    let must_not_block = kind.is_listener() || !connected;
    Handle::new(kind, backend::ObjectState::new(socket.into(), connected, must_not_block))
}

fn io<T>(result: std::io::Result<T>) -> Result<T, Error> {
    result.map_err(|error| Error::from_io(&error))
}

/// What every socket has: the handle inside, limits, cancelling, going out. A field named beside the type is each
/// handle's own; one named `with` is shared by all.
macro_rules! object {
    ($name:ident $(, $own:ident)?) => {
        impl $crate::handle::sealed::Sealed for $name {
            fn opaque(&self) -> &$crate::handle::sealed::Opaque {
                &self.inner
            }

            unsafe fn into_local(self) -> $name<$crate::Local> {
                $name::from_handle(self.inner.0)
            }
        }

        impl<H: $crate::Home> $crate::compose::sealed::Sealed for $name<H> {
            type At = H;
            fn opaque_of(&self) -> &$crate::handle::sealed::Opaque<H> {
                &self.inner
            }
            fn of_opaque(inner: $crate::handle::sealed::Opaque<H>) -> $name<H> {
                $name::from_handle(inner.0)
            }
        }

        impl<H: $crate::Home> $crate::compose::On for $name<H> {
            type Home = H;
        }

        impl<H: $crate::Home> $name<H> {
            pub(crate) fn from_handle(handle: $crate::handle::Handle) -> $name<H> {
                $name { inner: $crate::handle::sealed::Opaque::new(handle) $(, $own: Default::default())? }
            }
        }

        impl<H: $crate::Home> Clone for $name<H> {
            /// Another handle to the same object; the last one dropped closes it.
            fn clone(&self) -> $name<H> {
                $name::from_handle(self.handle().clone())
            }
        }

        $crate::net::object!(@common $name);
    };
    ($name:ident, with $shared:ident) => {
        impl $crate::handle::sealed::Sealed for $name {
            fn opaque(&self) -> &$crate::handle::sealed::Opaque {
                &self.inner
            }

            unsafe fn into_local(self) -> $name<$crate::Local> {
                $name { inner: $crate::handle::sealed::Opaque::new(self.inner.0), $shared: self.$shared }
            }
        }

        impl<H: $crate::Home> Clone for $name<H> {
            /// Another handle to the same object; the last one dropped closes it.
            fn clone(&self) -> $name<H> {
                let inner = $crate::handle::sealed::Opaque::new(self.handle().clone());
                $name { inner, $shared: self.$shared.clone() }
            }
        }

        $crate::net::object!(@common $name);
    };
    (@common $name:ident) => {
        impl $crate::AsObject for $name {
            type OnLocal = $name<$crate::Local>;
        }

        impl<H: $crate::Home> $name<H> {
            pub(crate) fn handle(&self) -> &$crate::handle::Handle {
                &self.inner.0
            }

            /// Sets how much may be in flight on this object at once. Operations past it are refused, with an error that
            /// says which limit it was.
            pub fn set_limits(&self, limits: $crate::Limits) {
                self.handle().set_limits(limits);
            }

            /// Cancels one operation (`CancelIoEx`). It still completes, with
            /// [`Code::Cancelled`](crate::Code::Cancelled) or with the real result if that won the race.
            /// [`Code::NotFound`](crate::Code::NotFound) (1168) if it is over.
            pub fn cancel(&self, ticket: $crate::Ticket) -> Result<(), $crate::Error> {
                self.handle().cancel(ticket)
            }

            /// Cancels every operation of this object, whoever started it (`CancelIoEx` without an OVERLAPPED).
            /// [`Code::NotFound`](crate::Code::NotFound) (1168) if there is none.
            pub fn cancel_all(&self) -> Result<(), $crate::Error> {
                self.handle().cancel_all()
            }

            /// Cancels the operations this thread started on this object (`CancelIo`). Fine if there are none.
            pub fn cancel_thread(&self) {
                self.handle().cancel_thread();
            }
        }

        impl<H: $crate::Home> std::fmt::Debug for $name<H> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.handle().fmt(f)
            }
        }
    };
}
pub(crate) use object;

/// The operations of a connected stream.
macro_rules! stream {
    ($name:ident) => {
        impl<H: $crate::Home> $name<H> {
            /// Receives what is there, at least one byte, into `buf` from its first byte (`WSARecv`, `recv`).
            ///
            /// Completes with the byte count; 0 means the peer closed its sending half, or that `buf` has no room: a receive
            /// of no bytes waits until there is something to read and takes nothing. Several receives fill in call
            /// order. Errors: `ConnectionReset`, `ConnectionAborted` (this side closed), `Cancelled`.
            pub fn recv<T: $crate::FillTarget>(&self, buf: T) -> $crate::Operation<'_, T::Cargo, (), H> {
                $crate::Operation::new(self.handle(), $crate::op::Op::Recv, buf.into_cargo())
            }

            /// As [`recv`](Self::recv), into a list of buffers, in order (`readv`).
            pub fn recv_vectored<T: $crate::FillListTarget>(&self, bufs: T) -> $crate::Operation<'_, T::Cargo, (), H> {
                $crate::Operation::new(self.handle(), $crate::op::Op::Recv, bufs.into_cargo())
            }

            /// Receives piece after piece, each in a buffer of `pool`, until the peer closes, an error, or a cancel.
            ///
            /// Each piece is a packet with [`Value::Buffer`](crate::Value::Buffer), `more` set and no block: the key tells
            /// whose it is. The last packet brings the block, with 0 bytes for the peer's close, or the error. With no
            /// buffer free in the pool the operation ends with `InsufficientResources` and nothing lost: start it again
            /// when buffers came back. Starting it once costs less than a receive for each piece; on a per-thread
            /// port over io_uring the kernel itself goes on receiving; there the port keeps the pool's free buffers at hand
            /// (`available` does not count them, another port does not get them), so give each such port its own pool.
            pub fn recv_multi(&self, pool: &$crate::BufferPool) -> $crate::Operation<'_, $crate::Multi, $crate::PoolBuf, H> {
                $crate::Operation::new(self.handle(), $crate::op::Op::RecvMulti, $crate::Multi(Some(pool.clone())))
            }

            /// Sends **all** of `buf` (`WSASend`, `send` until done).
            ///
            /// Completes once, when the last byte is in the socket's buffer. Sends go out in call order, whole. Errors, with
            /// the bytes that went before them: `ConnectionReset`, `Shutdown` (this side shut sending down), `Cancelled`.
            pub fn send<T: $crate::DrainTarget>(&self, buf: T) -> $crate::Operation<'_, T::Cargo, (), H> {
                $crate::Operation::new(self.handle(), $crate::op::Op::Send, buf.into_cargo())
            }

            /// As [`send`](Self::send), from a list of buffers, in order (`writev`).
            pub fn send_vectored<T: $crate::DrainListTarget>(&self, bufs: T) -> $crate::Operation<'_, T::Cargo, (), H> {
                $crate::Operation::new(self.handle(), $crate::op::Op::Send, bufs.into_cargo())
            }

            /// Sends a head, the bytes of `file` in `range`, and a tail (`TransmitFile`; `sendfile` between two sends).
            ///
            /// `around` is `(head, tail)`, two owned buffers that come back with the result; `()` for neither; or for a packet
            /// [`within_list`](crate::within_list), whose first part is the head and whose second is the tail. `range` is in
            /// bytes from the file's beginning, `..` the whole file; if the file ends sooner, so does its part, and the tail
            /// follows.
            ///
            /// Completes once, when all of it is in the socket's buffer, with the count of all three; sends started before
            /// and after it keep their order. The file stays open until the completion is consumed, whatever becomes of
            /// its handles; reading it is not among its own operations, so cancelling those does not end this. The bytes in
            /// flight that [`Limits`](crate::Limits) count are those of head and tail. Errors are those of `send`, with the
            /// bytes that went before them, and `InvalidHandle` or `AccessDenied` for a file not open for reading;
            /// `InvalidParameter` for a range that ends before it begins, and on Windows for more than 2^31 - 2 bytes in all.
            /// Dropping the operation's handle does not stop it; cancelling leaves a part of it sent, which Windows need not count.
            ///
            /// On Linux the file is read by the thread that sends, the starter or one in the port's `get`, which waits for
            /// the device if the bytes are not cached.
            ///
            /// ```
            /// use proactor::{fs::{File, OpenOptions}, net::{TcpListener, TcpStream}};
            /// # let path = std::env::temp_dir().join(format!("proactor-doc-transmit-{}-{}", std::process::id(), stringify!($name)));
            /// std::fs::write(&path, b"0123456789")?;
            /// let file = File::open_now(&path, &OpenOptions::new().read(true))?;
            /// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
            /// let (accept, client) = (listener.accept().start()?, TcpStream::unconnected_v4()?);
            /// client.connect(listener.local_addr()?).wait().result?;
            /// let server = accept.wait().result?.stream;
            /// let done = server.transmit_file(&file, 2..6, (b"<", b">")).wait();
            /// assert_eq!((done.bytes, done.buffer), (6, (b"<", b">")));
            /// drop(server);
            /// let mut all = Vec::new();
            /// while let done @ proactor::Completion { bytes: 1.., .. } = client.recv(vec![0; 16]).wait() {
            ///     all.extend(done.buffer);
            /// }
            /// assert_eq!(all, b"<2345>");
            /// # std::fs::remove_file(path)?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn transmit_file<T: $crate::AroundTarget>(
                &self,
                file: &$crate::fs::File<H>,
                range: impl std::ops::RangeBounds<u64>,
                around: T,
            ) -> $crate::Operation<'_, T::Cargo, (), H> {
                let op = $crate::op::Op::Transmit($crate::op::Transmit::new(file.handle(), &range));
                $crate::Operation::new(self.handle(), op, around.into_cargo())
            }

            /// Completes when a receive would not wait: data, the peer's close, or an error (zero-byte `WSARecv`,
            /// `poll`). Takes no data and pins no buffer.
            pub fn readable(&self) -> $crate::Operation<'_, $crate::NoBuffer, (), H> {
                let op = $crate::op::Op::Ready { interest: $crate::op::Interest::Read };
                $crate::Operation::new(self.handle(), op, $crate::NoBuffer)
            }

            /// Completes when the socket's buffer has room to send.
            pub fn writable(&self) -> $crate::Operation<'_, $crate::NoBuffer, (), H> {
                let op = $crate::op::Op::Ready { interest: $crate::op::Interest::Write };
                $crate::Operation::new(self.handle(), op, $crate::NoBuffer)
            }

            /// Closes one half or both (`shutdown`), after every send started before it.
            pub fn shutdown(&self, how: std::net::Shutdown) -> $crate::Operation<'_, $crate::NoBuffer, (), H> {
                $crate::Operation::new(self.handle(), $crate::op::Op::Shutdown { how }, $crate::NoBuffer)
            }

            /// Closes the sending half after every send started before it, as `DisconnectEx` does: later sends fail with
            /// `Shutdown` (10058), receives go on until the peer closes too.
            pub fn disconnect(&self) -> $crate::Operation<'_, $crate::NoBuffer, (), H> {
                $crate::Operation::new(self.handle(), $crate::op::Op::Disconnect { reuse: false }, $crate::NoBuffer)
            }
        }
    };
}
pub(crate) use stream;
