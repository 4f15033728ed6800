//! `plain-ring`: the ceiling. What one thread with io_uring can do, hand-written.
//!
//! One ring with SINGLE_ISSUER and DEFER_TASKRUN; one multishot accept; per connection one multishot receive into provided
//! buffers; the echo is sent at once from the provided buffer by a plain `send` (measured against a send through the ring:
//! see SEND below); buffers go back with one store of the tail per batch; one `submit_and_wait` per batch. Nothing is
//! allocated unless a socket is full: then what does not fit is copied and goes out through the ring.
//!
//! | completion | means | next |
//! |---|---|---|
//! | accept | a connection | a multishot receive on it |
//! | receive, bytes | a message in a buffer | send, give the buffer back |
//! | receive, ENOBUFS | all buffers were handed out | a new receive, once they are given back |
//! | receive, 0 or another error | the connection is over | close, after a send in flight |
//! | send | a part that had not fitted went out | the rest, or nothing |

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::{Handler, Options};
use crate::linux::buffers::Buffers;
use crate::linux::sys::{self, Moved};

const GROUP: u16 = 0;
/// Few enough to stay in the cache, more than most batches take.
const BUFFERS: u16 = 512;

/// What a completion is of: the upper half of its user data. The lower is a descriptor.
const ACCEPT: u64 = 1 << 32;
const RECV: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
const KIND: u64 = !0 << 32;

#[derive(Default)]
struct Conn {
    stream: Option<OwnedFd>,
    /// A send through the ring is on its way; what is received meanwhile goes behind it.
    sending: bool,
    /// The receive has ended for good.
    ended: bool,
    /// What the send in flight takes its bytes from: never touched before its completion.
    flying: Vec<u8>,
    /// How much of it has gone out.
    flown: usize,
    /// What goes after it.
    waiting: Vec<u8>,
}

struct Server {
    /// Before the buffers: fields are dropped in order, and the ring uses them.
    ring: IoUring,
    state: State,
}

/// All but the ring, so that its queues and this can be borrowed side by side.
struct State {
    buffers: Buffers,
    listener: TcpListener,
    /// By descriptor.
    conns: Vec<Conn>,
    /// Receives to start again, when the batch is done and its buffers are back.
    starved: Vec<RawFd>,
    /// Submissions of the batch that the hot path never makes.
    rare: Vec<squeue::Entry>,
    handler: Handler,
}

/// Serves for ever.
pub fn serve(listener: TcpListener, options: &Options, handler: Handler) -> io::Result<()> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_cqsize(4096);
    let ring = builder.build(256)?;
    let buffers = Buffers::register(&ring.submitter(), GROUP, BUFFERS, options.buffer)?;
    let state = State { buffers, listener, conns: Vec::new(), starved: Vec::new(), rare: Vec::new(), handler };
    let mut server = Server { ring, state };
    server.state.accept();
    loop {
        server.submit()?;
        match server.ring.submit_and_wait(1) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            Err(error) => return Err(error),
        }
        let state = &mut server.state;
        server.ring.completion().for_each(|entry| state.complete(&entry));
        state.buffers.publish();
    }
}

impl Server {
    /// Queues what the batch asks for.
    #[inline]
    fn submit(&mut self) -> io::Result<()> {
        if self.state.rare.is_empty() && self.state.starved.is_empty() {
            return Ok(());
        }
        let starved = self.state.starved.drain(..).map(receive);
        for entry in self.state.rare.drain(..).chain(starved) {
            // SAFETY: receives name buffers of the group; sends name `flying`, which stays until their completion; the
            // accept names nothing.
            while unsafe { self.ring.submission().push(&entry) }.is_err() {
                self.ring.submit()?;
            }
        }
        Ok(())
    }
}

fn receive(fd: RawFd) -> squeue::Entry {
    opcode::RecvMulti::new(types::Fd(fd), GROUP).build().user_data(RECV | fd as u64)
}

impl State {
    fn accept(&mut self) {
        let listener = types::Fd(self.listener.as_raw_fd());
        self.rare.push(opcode::AcceptMulti::new(listener).flags(libc::SOCK_CLOEXEC).build().user_data(ACCEPT));
    }

    #[inline]
    fn complete(&mut self, entry: &cqueue::Entry) {
        let (kind, fd) = (entry.user_data() & KIND, (entry.user_data() & !KIND) as RawFd);
        match kind {
            RECV => self.received(fd, entry.result(), entry.flags()),
            SEND => self.sent(fd, entry.result()),
            _ => self.accepted(entry.result(), entry.flags()),
        }
    }

    #[inline]
    fn received(&mut self, fd: RawFd, result: i32, flags: u32) {
        let conn = &mut self.conns[fd as usize];
        if let (1.., Some(id)) = (result, cqueue::buffer_select(flags)) {
            let message = self.buffers.received(id, result as usize);
            self.handler.handle();
            if conn.sending {
                conn.waiting.extend_from_slice(message);
            } else {
                let sent = match sys::send(fd, message) {
                    Moved::Bytes(sent) => sent,
                    Moved::Later => 0,
                    // The receive is told, too, and ends the connection.
                    Moved::Failed(_) => message.len(),
                };
                if sent < message.len() {
                    conn.waiting.extend_from_slice(&message[sent..]);
                    self.rare.push(conn.fly(fd));
                }
            }
            self.buffers.give(id);
            if !cqueue::more(flags) {
                self.starved.push(fd);
            }
        } else if result == -libc::ENOBUFS {
            self.starved.push(fd);
        } else if !cqueue::more(flags) {
            conn.ended = true;
            conn.close_if_done();
        }
    }

    fn sent(&mut self, fd: RawFd, result: i32) {
        let conn = &mut self.conns[fd as usize];
        conn.sending = false;
        if result < 0 {
            // The receive is told, too.
            conn.flying.clear();
            conn.waiting.clear();
        } else {
            conn.flown += result as usize;
        }
        if conn.flown < conn.flying.len() || !conn.waiting.is_empty() {
            self.rare.push(conn.fly(fd));
        } else {
            conn.close_if_done();
        }
    }

    fn accepted(&mut self, result: i32, flags: u32) {
        if result >= 0 {
            // SAFETY: the kernel has just made this descriptor for us.
            let stream = unsafe { OwnedFd::from_raw_fd(result) };
            if sys::no_delay(&stream).is_ok() {
                if self.conns.len() <= result as usize {
                    self.conns.resize_with(result as usize + 1, Conn::default);
                }
                self.conns[result as usize] = Conn { stream: Some(stream), ..Conn::default() };
                self.rare.push(receive(result));
            }
        }
        if !cqueue::more(flags) {
            self.accept();
        }
    }
}

impl Conn {
    /// Sends through the ring what has not fitted.
    fn fly(&mut self, fd: RawFd) -> squeue::Entry {
        if self.flown >= self.flying.len() {
            self.flown = 0;
            self.flying.clear();
            std::mem::swap(&mut self.flying, &mut self.waiting);
        }
        self.sending = true;
        let rest = &self.flying[self.flown..];
        let send = opcode::Send::new(types::Fd(fd), rest.as_ptr(), rest.len() as u32);
        send.flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL).build().user_data(SEND | fd as u64)
    }

    fn close_if_done(&mut self) {
        if self.ended && !self.sending {
            self.stream = None;
        }
    }
}
