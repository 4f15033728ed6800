//! `plain-ring`: the ceiling. What one thread with io_uring can do, hand-written.
//!
//! One ring with SINGLE_ISSUER and DEFER_TASKRUN; one multishot accept; per connection one multishot receive into provided
//! buffers; the echo is sent through the ring from the provided buffer; buffers go back with one store of the tail per
//! batch; one `submit_and_wait` per batch, and no other system call. Nothing is allocated in the steady state.
//!
//! A plain `send` at once for each message was measured beside it: with a client cheap enough to keep this server busy it
//! cost 4.7 µs of CPU per message against 4.05, and 198 k/s against 223 (on one core, where no client interferes, 4.80
//! against 4.42), on a machine whose kernel enters slowly (retpolines).
//!
//! | completion | means | next |
//! |---|---|---|
//! | accept | a connection | a multishot receive on it |
//! | receive, bytes | a message in a buffer | send it, or queue it behind the send in flight |
//! | receive, ENOBUFS | all buffers were handed out | a new receive, once one is back |
//! | receive, 0 or another error | the connection is over | close, after the send in flight |
//! | send | a message went out, whole or in part | the rest; or the buffer goes back, and the next of the queue |

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::{IoUring, SubmissionQueue, cqueue, opcode, squeue, types};

use super::{Handler, Options};
use crate::linux::buffers::Buffers;
use crate::linux::sys;

const GROUP: u16 = 0;
/// Few enough to stay in the cache, more than most batches take.
const BUFFERS: u16 = 128;

/// What a completion is of: the upper half of its user data. The lower is a descriptor.
const ACCEPT: u64 = 1 << 32;
const RECV: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
const KIND: u64 = !0 << 32;

/// What is left to send of a buffer.
struct Piece {
    id: u16,
    at: usize,
    len: usize,
}

#[derive(Default)]
struct Conn {
    stream: Option<OwnedFd>,
    /// The send in flight: one at a time, because two could interleave.
    flying: Option<Piece>,
    /// What was received meanwhile.
    queue: VecDeque<Piece>,
    /// The receive has ended for good.
    ended: bool,
}

struct Server {
    buffers: Buffers,
    /// Buffers that are not in the ring.
    out: u16,
    listener: TcpListener,
    /// By descriptor.
    conns: Vec<Conn>,
    /// Receives to start again when a buffer is back.
    starved: Vec<RawFd>,
    /// Submissions the queue had no room for.
    late: Vec<squeue::Entry>,
    handler: Handler,
}

/// Serves for ever.
pub fn serve(listener: TcpListener, options: &Options, handler: Handler) -> io::Result<()> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_cqsize(4096);
    let mut ring = builder.build(512)?;
    let _ = ring.submitter().register_ring_fd();
    let buffers = Buffers::register(&ring.submitter(), GROUP, BUFFERS, options.buffer)?;
    let mut server = Server { buffers, out: 0, listener, conns: Vec::new(), starved: Vec::new(), late: Vec::new(), handler };
    server.accept(&mut ring.submission());
    let ended = server.run(&mut ring);
    // Before the buffers, which it uses.
    drop(ring);
    ended
}

fn receive(fd: RawFd) -> squeue::Entry {
    opcode::RecvMulti::new(types::Fd(fd), GROUP).build().user_data(RECV | fd as u64)
}

impl Server {
    fn run(&mut self, ring: &mut IoUring) -> io::Result<()> {
        loop {
            match ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
                Err(error) => return Err(error),
            }
            let (submitter, mut queue, completions) = ring.split();
            completions.for_each(|entry| self.complete(&entry, &mut queue));
            self.buffers.publish();
            if !self.starved.is_empty() && self.out < BUFFERS {
                self.late.extend(self.starved.drain(..).map(receive));
            }
            for entry in std::mem::take(&mut self.late) {
                // SAFETY: as in `submit`, where these come from.
                while unsafe { queue.push(&entry) }.is_err() {
                    queue.sync();
                    submitter.submit()?;
                    queue.sync();
                }
            }
        }
    }

    #[inline]
    fn submit(&mut self, queue: &mut SubmissionQueue, entry: squeue::Entry) {
        // SAFETY: a send names a buffer that is out until its completion; a receive names the group; an accept names nothing.
        if unsafe { queue.push(&entry) }.is_err() {
            self.late.push(entry);
        }
    }

    fn accept(&mut self, queue: &mut SubmissionQueue) {
        let listener = types::Fd(self.listener.as_raw_fd());
        self.submit(queue, opcode::AcceptMulti::new(listener).flags(libc::SOCK_CLOEXEC).build().user_data(ACCEPT));
    }

    #[inline]
    fn complete(&mut self, entry: &cqueue::Entry, queue: &mut SubmissionQueue) {
        let (kind, fd) = (entry.user_data() & KIND, (entry.user_data() & !KIND) as RawFd);
        match kind {
            RECV => self.received(fd, entry.result(), entry.flags(), queue),
            SEND => self.sent(fd, entry.result(), queue),
            _ => self.accepted(entry.result(), entry.flags(), queue),
        }
    }

    #[inline]
    fn received(&mut self, fd: RawFd, result: i32, flags: u32, queue: &mut SubmissionQueue) {
        let conn = &mut self.conns[fd as usize];
        if let (1.., Some(id)) = (result, cqueue::buffer_select(flags)) {
            let piece = Piece { id, at: 0, len: result as usize };
            self.out += 1;
            self.handler.handle();
            if conn.flying.is_some() {
                conn.queue.push_back(piece);
            } else {
                self.fly(fd, piece, queue);
            }
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

    #[inline]
    fn fly(&mut self, fd: RawFd, piece: Piece, queue: &mut SubmissionQueue) {
        let bytes = &self.buffers.received(piece.id, piece.len)[piece.at..];
        let send = opcode::Send::new(types::Fd(fd), bytes.as_ptr(), bytes.len() as u32);
        let entry = send.flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL).build().user_data(SEND | fd as u64);
        self.conns[fd as usize].flying = Some(piece);
        self.submit(queue, entry);
    }

    #[inline]
    fn sent(&mut self, fd: RawFd, result: i32, queue: &mut SubmissionQueue) {
        let conn = &mut self.conns[fd as usize];
        let Some(mut piece) = conn.flying.take() else { return };
        piece.at += result.max(0) as usize;
        if result > 0 && piece.at < piece.len {
            return self.fly(fd, piece, queue);
        }
        self.buffers.give(piece.id);
        self.out -= 1;
        if result < 0 {
            // The receive is told, too, and ends the connection.
            self.out -= conn.queue.len() as u16;
            conn.queue.drain(..).for_each(|piece| self.buffers.give(piece.id));
        }
        match conn.queue.pop_front() {
            Some(next) => self.fly(fd, next, queue),
            None => conn.close_if_done(),
        }
    }

    fn accepted(&mut self, result: i32, flags: u32, queue: &mut SubmissionQueue) {
        if result >= 0 {
            // SAFETY: the kernel has just made this descriptor for us.
            let stream = unsafe { OwnedFd::from_raw_fd(result) };
            if sys::no_delay(&stream).is_ok() {
                if self.conns.len() <= result as usize {
                    self.conns.resize_with(result as usize + 1, Conn::default);
                }
                self.conns[result as usize] = Conn { stream: Some(stream), ..Conn::default() };
                self.submit(queue, receive(result));
            }
        }
        if !cqueue::more(flags) {
            self.accept(queue);
        }
    }
}

impl Conn {
    fn close_if_done(&mut self) {
        if self.ended && self.flying.is_none() {
            self.stream = None;
        }
    }
}
