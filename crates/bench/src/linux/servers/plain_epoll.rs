//! `plain-epoll`: what one thread with edge-triggered epoll can do, hand-written.
//!
//! One registration per connection for life; a receive that does not fill the buffer ends the turn (the socket is drained,
//! the next bytes make a new edge), unless the peer's end was announced; the echo is sent at once from the receive buffer,
//! which all connections share. Only what does not fit the socket is copied, and then the connection does not receive until
//! that is gone.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::{Handler, Options};
use crate::linux::sys::{self, Epoll, Moved};

/// The listener's data; a connection's is its descriptor.
const LISTENER: u64 = u64::MAX;
const ENDED: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

struct Conn {
    stream: OwnedFd,
    /// What did not fit the socket.
    unsent: Vec<u8>,
    /// The peer's end was announced: no edge will follow it.
    ended: bool,
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    /// By descriptor.
    conns: Vec<Option<Conn>>,
    buf: Box<[u8]>,
    handler: Handler,
}

/// Serves for ever.
pub fn serve(listener: TcpListener, options: &Options, handler: Handler) -> io::Result<()> {
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), libc::EPOLLIN, LISTENER)?;
    let buf = vec![0; options.buffer as usize].into();
    let mut server = Server { epoll, listener, conns: Vec::new(), buf, handler };
    let mut room = sys::event_room(256);
    loop {
        // The events are copied out of the borrow of `epoll` by `wait`'s signature: they lie in `room`.
        for event in server.epoll.wait(&mut room, -1)? {
            match event.u64 {
                LISTENER => server.accept()?,
                fd => server.turn(fd as RawFd, event.events),
            }
        }
    }
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        while let Some(stream) = sys::accept(self.listener.as_raw_fd())? {
            let fd = stream.as_raw_fd();
            let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
            self.epoll.add(fd, events, fd as u64)?;
            if self.conns.len() <= fd as usize {
                self.conns.resize_with(fd as usize + 1, || None);
            }
            self.conns[fd as usize] = Some(Conn { stream, unsent: Vec::new(), ended: false });
        }
        Ok(())
    }

    fn turn(&mut self, fd: RawFd, events: u32) {
        let slot = &mut self.conns[fd as usize];
        let Some(conn) = slot else { return };
        conn.ended |= events & ENDED != 0;
        if !conn.turn(fd, &mut self.buf, &mut self.handler) {
            *slot = None;
        }
    }
}

impl Conn {
    /// Echoes what there is; false when the connection is over.
    #[inline]
    fn turn(&mut self, fd: RawFd, buf: &mut [u8], handler: &mut Handler) -> bool {
        debug_assert_eq!(fd, self.stream.as_raw_fd());
        if !self.unsent.is_empty() {
            match sys::send(fd, &self.unsent) {
                Moved::Bytes(n) if n == self.unsent.len() => self.unsent.clear(),
                Moved::Bytes(n) => {
                    self.unsent.drain(..n);
                    return true;
                }
                Moved::Later => return true,
                Moved::Failed(_) => return false,
            }
        }
        loop {
            let got = match sys::recv(fd, buf) {
                Moved::Bytes(0) | Moved::Failed(_) => return false,
                Moved::Bytes(got) => got,
                Moved::Later => return true,
            };
            handler.handle();
            let sent = match sys::send(fd, &buf[..got]) {
                Moved::Bytes(sent) => sent,
                Moved::Later => 0,
                Moved::Failed(_) => return false,
            };
            if sent < got {
                // The edge of the socket's room follows, and this function goes on receiving then.
                self.unsent.extend_from_slice(&buf[sent..got]);
                return true;
            }
            if got < buf.len() && !self.ended {
                return true;
            }
        }
    }
}
