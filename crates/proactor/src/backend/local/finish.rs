//! What each completion means, and what follows from it.

use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;

use io_uring::cqueue;

use super::super::{epoll, process, uring};
use super::lanes::Lanes;
use super::pipes;
use super::port::{Core, object_of};
use super::start::{Asked, Hunger, NO_GROUP, broken_send, datagram, first_data};
use crate::deliver;
use crate::error::{Code, Error};
use crate::handle::Kind;
use crate::net::{TcpStream, UnixStream};
use crate::op::{Accepted, Address, Boxed, Datagram, Header, Lane as Side, Op, Value};

/// What a completion of a lane's head comes to.
enum Verdict {
    Over(usize, Result<Value, Error>),
    /// Ask once more: for the rest, or because what ended it was nobody's wish.
    Again,
    /// An accept has its connection; the lane goes on while it waits for first data.
    AwaitsData(OwnedFd),
    /// The kernel goes on with it.
    More,
}

fn over(bytes: usize) -> Verdict {
    Verdict::Over(bytes, Ok(Value::None))
}

fn failed(bytes: usize, errno: i32) -> Verdict {
    Verdict::Over(bytes, Err(Error::from_raw_os_error(errno)))
}

impl Core {
    /// One completion of an operation.
    #[inline]
    pub fn finish(&mut self, header: NonNull<Header>, result: i32, flags: u32) {
        // SAFETY: the ring's own operation, alive until its last completion is dealt with here; its fields are touched on
        // this thread alone, but for an overlapped handle, which looks at `delivery`.
        let (side, index, waits, cancelled) = unsafe {
            let block = header.as_ptr();
            let sys = &(*block).sys;
            ((*block).work.op.lane(), object_of(header).sys.index(), sys.awaits_data(), sys.cancelled)
        };
        let more = cqueue::more(flags);
        if !more {
            self.in_kernel -= 1;
            self.doomed -= usize::from(cancelled);
        }
        match (side, index) {
            (Side::File, _) | (_, None) if more => uring::first_answer(header, result),
            (Side::File, _) | (_, None) => self.finish_file(header, result, flags),
            _ if waits => self.finish_waiting(header, result),
            (side, Some(index)) => self.finish_lane(header, result, flags, side, index, more),
        }
    }

    #[inline]
    fn finish_lane(&mut self, header: NonNull<Header>, result: i32, flags: u32, side: Side, index: u32, more: bool) {
        // SAFETY: as in `finish`.
        let is_receive = unsafe { matches!((*header.as_ptr()).work.op, Op::RecvMulti) };
        if is_receive && let Ok(bytes) = usize::try_from(result) {
            self.received(header, bytes, flags);
        }
        let Some(lanes) = self.slab.get(index) else { unreachable!("lanes stay while an operation is in them") };
        let verdict = match (verdict(lanes, header, result, &mut self.sink), more) {
            (Verdict::More | Verdict::Again, true) => return,
            (Verdict::More, false) => Verdict::Again,
            (verdict, _) => verdict,
        };
        let lane = lanes.lane(side);
        match verdict {
            // SAFETY: as in `finish`.
            Verdict::Again if unsafe { (*header.as_ptr()).sys.cancelled } => {
                lane.pop();
                self.abort(header, index);
            }
            Verdict::Again | Verdict::More => lane.busy = false,
            Verdict::Over(bytes, result) => {
                lane.pop();
                self.settle(header, bytes, result);
            }
            // SAFETY: as in `finish`. The cancel came too late for the accept, and nothing would end the wait.
            Verdict::AwaitsData(child) if unsafe { (*header.as_ptr()).sys.cancelled } => {
                lane.pop();
                drop(child);
                self.settle(header, 0, Err(Error::new(Code::Cancelled)));
            }
            Verdict::AwaitsData(child) => {
                lane.pop();
                // SAFETY: as in `finish`.
                let entry = unsafe { first_data(&mut (*header.as_ptr()).sys, &(*header.as_ptr()).work, child) };
                self.floating.insert(header);
                self.submit(header, entry);
            }
        }
        self.advance(index, side);
        self.vacate_if_over(index);
    }

    /// Delivers what a receive of many brought: a completion for each buffer it filled.
    #[inline]
    fn received(&mut self, header: NonNull<Header>, mut bytes: usize, flags: u32) {
        let Some(mut number) = cqueue::buffer_select(flags) else { return };
        // SAFETY: as in `finish`.
        let group = unsafe { (*header.as_ptr()).sys.group };
        if bytes == 0 {
            drop(self.leases.take(group, number));
        }
        while bytes > 0 {
            let Some(mut buffer) = self.leases.take(group, number) else { unreachable!("the kernel filled a buffer it had") };
            let n = bytes.min(buffer.whole().len());
            buffer.set_len(n);
            // SAFETY: the operation is this port's, and its object alive.
            unsafe { deliver::part(header, n, Value::Buffer(buffer), &mut self.sink) };
            bytes -= n;
            number = number.wrapping_add(1);
        }
    }

    fn finish_file(&mut self, header: NonNull<Header>, result: i32, flags: u32) {
        match uring::outcome(header, result, flags) {
            Some(result) => {
                self.floating.remove(header);
                // SAFETY: as in `finish`.
                let bytes = unsafe { (*header.as_ptr()).work.bytes };
                self.settle(header, bytes, result);
            }
            None => match uring::entry(header) {
                Ok(entry) => self.submit(header, entry),
                Err(error) => {
                    self.floating.remove(header);
                    self.settle(header, 0, Err(error));
                }
            },
        }
    }

    /// The connection of an accept has its first data, or will have none.
    fn finish_waiting(&mut self, header: NonNull<Header>, result: i32) {
        // SAFETY: as in `finish`.
        let (work, sys) = unsafe { (&(*header.as_ptr()).work, &mut (*header.as_ptr()).sys) };
        let Some(child) = sys.extra().child.take() else { unreachable!("a waiting accept has its connection") };
        if matches!(-result, libc::EINTR | libc::EAGAIN | libc::ECANCELED) && !sys.cancelled {
            let entry = first_data(sys, work, child);
            return self.submit(header, entry);
        }
        let bytes = if work.buffers.total() == 0 { 0 } else { usize::try_from(result).unwrap_or(0) };
        // SAFETY: as in `finish`.
        let kind = unsafe { object_of(header).kind };
        self.floating.remove(header);
        match -result {
            libc::ECANCELED => self.settle(header, 0, Err(Error::new(Code::Cancelled))),
            errno if errno > 0 => self.settle(header, 0, Err(Error::from_raw_os_error(errno))),
            _ => self.settle(header, bytes, Ok(accepted(kind, child))),
        }
    }

    /// Records an outcome and delivers it.
    #[inline]
    pub fn settle(&mut self, header: NonNull<Header>, bytes: usize, result: Result<Value, Error>) {
        // SAFETY: the operation is this port's, out of its lists and over.
        unsafe {
            let block = header.as_ptr();
            if (*block).sys.group != NO_GROUP {
                self.leases.leave(std::mem::replace(&mut (*block).sys.group, NO_GROUP));
            }
            (*block).sys.connecting = false;
            (*block).work.settle(bytes, result);
            deliver::complete(header, &mut self.sink);
        }
    }
}

#[inline]
fn verdict(lanes: &mut Lanes, header: NonNull<Header>, result: i32, sink: &mut super::port::Sink) -> Verdict {
    // SAFETY: as in `finish`: the head of this lane.
    let (work, sys) = unsafe { (&mut (*header.as_ptr()).work, &mut (*header.as_ptr()).sys) };
    let n = match usize::try_from(result) {
        Ok(n) => n,
        Err(_) => {
            return match (-result, &work.op) {
                (libc::ECANCELED | libc::EINTR | libc::EAGAIN, _) => Verdict::Again,
                (libc::ENOBUFS, Op::RecvMulti) | (libc::ETIME, Op::Disconnect { reuse: true }) => Verdict::Again,
                (errno, Op::Accept | Op::AcceptMulti) if epoll::is_passing(errno) => Verdict::Again,
                (errno, _) if lanes.kind.is_pipe() => match pipes::failure(lanes, &work.op, errno) {
                    Some(error) => Verdict::Over(work.bytes, Err(error)),
                    None => Verdict::Again,
                },
                (errno, Op::Send) => over_of(broken_send(lanes, work, errno)),
                (errno, Op::Connect { .. }) if sys.connecting => over_of(broken_send(lanes, work, errno)),
                (errno, _) => {
                    lanes.remember(errno);
                    failed(work.bytes, errno)
                }
            };
        }
    };
    match &work.op {
        Op::Accept | Op::AcceptMulti => {
            // SAFETY: the completion hands the new descriptor over.
            let child = unsafe { OwnedFd::from_raw_fd(result) };
            match work.op {
                Op::Accept if work.buffers.count() > 0 => Verdict::AwaitsData(child),
                Op::Accept => Verdict::Over(0, Ok(accepted(lanes.kind, child))),
                _ => {
                    // SAFETY: the operation is this port's, and its object alive.
                    unsafe { deliver::part(header, 0, accepted(lanes.kind, child), sink) };
                    Verdict::More
                }
            }
        }
        Op::RecvMulti if sys.hunger == Hunger::Waiting => {
            sys.hunger = Hunger::Pressing;
            Verdict::Again
        }
        Op::RecvMulti if n > 0 => Verdict::More,
        Op::PipeConnect => Verdict::Again,
        Op::Recv | Op::RecvMessage if lanes.kind.is_pipe() => {
            let (bytes, result) = pipes::read(lanes, work, sys, n);
            Verdict::Over(bytes, result)
        }
        Op::Recv | Op::RecvMulti => match lanes.lost {
            Some(errno) if n == 0 && (work.buffers.total() > 0 || matches!(work.op, Op::RecvMulti)) => failed(0, errno),
            _ if matches!(work.op, Op::Recv) && work.buffers.total() == 0 => over(0),
            _ => over(n),
        },
        Op::Connect { .. } if !sys.connecting => {
            lanes.connected = true;
            sys.connecting = true;
            if work.buffers.total() > 0 { Verdict::Again } else { over(0) }
        }
        Op::Send | Op::Connect { .. } => {
            work.bytes += n;
            work.buffers.advance(n);
            if work.buffers.total() > 0 { Verdict::Again } else { over(work.bytes) }
        }
        Op::RecvFrom if work.buffers.total() == 0 => {
            Verdict::Over(0, Ok(Value::Datagram(Boxed::new(Datagram { from: Address::Unnamed, truncated: false }))))
        }
        Op::RecvFrom => Verdict::Over(n, Ok(datagram(sys))),
        Op::SendTo { .. } => over(n),
        // There is room for more, or the peer has closed.
        Op::Transmit(_) | Op::Disconnect { reuse: true } => Verdict::Again,
        Op::Exited => Verdict::Over(0, Ok(Value::Exited(process::exited(lanes.fd)))),
        _ => over(0),
    }
}

fn over_of(asked: Asked) -> Verdict {
    match asked {
        Asked::Done(bytes, result) => Verdict::Over(bytes, result),
        Asked::Submit(_) => Verdict::Again,
    }
}

/// An accepted connection and both its addresses. One that is gone already has none.
fn accepted(listener: Kind, child: OwnedFd) -> Value {
    let socket = socket2::SockRef::from(&child);
    let local = socket.local_addr().map_or(Address::Unnamed, |addr| Address::from_sock(&addr));
    let peer = socket.peer_addr().map_or(Address::Unnamed, |addr| Address::from_sock(&addr));
    match listener {
        Kind::TcpListener => Value::Tcp(Box::new(Accepted { stream: TcpStream::connected(child), local, peer })),
        _ => Value::Unix(Box::new(Accepted { stream: UnixStream::connected(child), local, peer })),
    }
}
