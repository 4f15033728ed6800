//! The one match of this backend: how each socket operation is tried, and what its outcome means.

use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};

use super::super::reuse::{self, Connection};
use super::super::{Control, process, transmit};
use super::lane::{self, CLOSED, Owned, READY, Slot};
use super::port::Port;
use super::types::{BlockState, RawBuf};
use super::{pipes, sys};
use crate::buf::Buffers;
use crate::deliver::Packets;
use crate::error::{Code, Error};
use crate::handle::Kind;
use crate::net::{TcpStream, UnixStream};
use crate::op::{Accepted, Address, Boxed, Datagram, Interest, Message, Op, Value, Work};

/// What trying an operation came to.
pub(super) enum Step {
    Done(usize, Result<Value, Error>),
    /// One completion of several.
    More(usize, Value),
    /// Wait for the next edge.
    Blocked,
    /// An accept has its connection and waits for first data.
    AwaitsData,
}

/// A connection's call failed. What ends the connection is remembered: the kernel tells it only once.
fn broken(slot: &Slot, bytes: usize, errno: i32) -> Step {
    if matches!(errno, libc::ECONNRESET | libc::ETIMEDOUT) {
        slot.lost.store(errno.cast_unsigned(), crate::shim::Ordering::SeqCst);
    }
    failed(bytes, errno)
}

fn failed(bytes: usize, errno: i32) -> Step {
    Step::Done(bytes, Err(Error::from_raw_os_error(errno)))
}

/// Whether trying makes sense only after an edge.
#[inline]
pub(super) fn needs_readiness(op: &Op, sys: &BlockState) -> bool {
    match op {
        Op::Connect { .. } => sys.connecting,
        op => !lane::is_immediate(op),
    }
}

/// Tries the operation at the head of a lane. Not inlined: receives and sends do not come here, and need little stack.
#[inline(never)]
pub(super) fn perform(slot: &Slot, owned: &mut Owned, work: &mut Work, sys: &mut BlockState, port: &Port) -> Step {
    let fd = slot.fd();
    match &work.op {
        Op::Accept => accept(slot, work, sys, port),
        Op::AcceptMulti => match accept(slot, work, sys, port) {
            Step::Done(_, Ok(value)) => Step::More(0, value),
            step => step,
        },
        Op::Connect { to } => {
            if !sys.connecting {
                match connect(fd, to) {
                    Ok(()) => {}
                    Err(libc::EINPROGRESS | libc::EINTR) => {
                        sys.connecting = true;
                        return match port.watch(slot) {
                            Ok(()) => Step::Blocked,
                            Err(error) => Step::Done(0, Err(error)),
                        };
                    }
                    Err(errno) => return failed(0, errno),
                }
                // Connected at once: watched from here on.
                if let Err(error) = port.watch(slot) {
                    return Step::Done(0, Err(error));
                }
            } else if work.bytes == 0 {
                if sys::poll(fd, libc::POLLOUT) == 0 {
                    return Step::Blocked;
                }
                // Asked again, connect tells the handshake's outcome. SO_ERROR would too, but leave the kernel waiting for
                // this very call, and a later connect would be answered with success.
                match connect(fd, to) {
                    Ok(()) | Err(libc::EISCONN) => {}
                    Err(libc::EINPROGRESS | libc::EALREADY | libc::EINTR) => return Step::Blocked,
                    Err(errno) => return failed(0, errno),
                }
            }
            slot.connected.store(1, crate::shim::Ordering::SeqCst);
            // Handshake done; a later edge continues with the data.
            sys.connecting = true;
            match send_rest(slot, work, None) {
                Step::Blocked => Step::Blocked,
                done => {
                    sys.connecting = false;
                    done
                }
            }
        }
        Op::Recv | Op::Send => unreachable!("tried in the lane's own loop"),
        Op::RecvMessage => pipes::recv_message(slot, work),
        Op::PipeConnect => pipes::connect(slot, port),
        Op::RecvMulti => recv_multi(slot, owned, work),
        Op::RecvFrom => {
            if work.buffers.total() == 0 {
                return match ready(fd, Interest::Read) {
                    // Nothing was taken, so nobody sent it.
                    Step::Done(..) => {
                        Step::Done(0, Ok(Value::Datagram(Boxed::new(Datagram { from: Address::Unnamed, truncated: false }))))
                    }
                    step => step,
                };
            }
            loop {
                match work.buffers.with_rest(0, |bufs| sys::recv_from(fd, bufs)) {
                    Ok((n, from, truncated)) => {
                        let datagram = Datagram { from: Address::from_sock(&from), truncated };
                        return Step::Done(n, Ok(Value::Datagram(Boxed::new(datagram))));
                    }
                    Err(libc::EAGAIN) => return Step::Blocked,
                    Err(libc::EINTR) => {}
                    Err(errno) => return failed(0, errno),
                }
            }
        }
        Op::SendTo { to } => {
            let to = to.to_sock();
            send_datagram(work, |bufs| sys::send(fd, bufs, to.as_ref()))
        }
        Op::RecvMsg if work.buffers.total() == 0 => match ready(fd, Interest::Read) {
            // Nothing was taken.
            Step::Done(..) => Step::Done(0, Ok(Value::Message(Boxed::new(Message::default())))),
            step => step,
        },
        Op::RecvMsg => loop {
            match work.buffers.with_rest(0, |bufs| sys::recv_msg(fd, bufs)) {
                Ok((n, message)) => return Step::Done(n, Ok(Value::Message(Boxed::new(message)))),
                Err(libc::EAGAIN) => return Step::Blocked,
                Err(libc::EINTR) => {}
                Err(errno) => return failed(0, errno),
            }
        },
        Op::SendMsg(headers) => {
            let (to, mut control) = (headers.to.map(socket2::SockAddr::from), Control::empty());
            control.lower(headers);
            send_datagram(work, |bufs| sys::send_msg(fd, bufs, to.as_ref(), &mut control))
        }
        Op::Ready { interest } => ready(fd, *interest),
        Op::Shutdown { how } => shutdown(fd, *how, owned),
        Op::Disconnect { .. } if slot.is_pipe_server() => pipes::disconnect(slot, owned, port),
        Op::Disconnect { reuse: false } => shutdown(fd, Shutdown::Write, owned),
        Op::Disconnect { reuse: true } => disconnect(slot, owned),
        Op::Transmit(_) => {
            let step = match transmit::step(fd, work) {
                Ok(true) => Step::Done(work.bytes, Ok(Value::None)),
                Ok(false) => Step::Blocked,
                Err(errno) => broken(slot, work.bytes, errno),
            };
            explain_pipe(slot, owned, step)
        }
        Op::ReadAt { .. } | Op::WriteAt { .. } | Op::Sync { .. } | Op::Open { .. } | Op::Close => {
            unreachable!("not a socket operation")
        }
        Op::Exited => match ready(fd, Interest::Read) {
            Step::Done(..) => Step::Done(0, Ok(Value::Exited(process::exited(fd)))),
            step => step,
        },
        Op::Allocate { .. } | Op::SetLen { .. } | Op::Metadata | Op::Timer { .. } | Op::Awaited { .. } | Op::Raw | Op::Post => {
            unreachable!("not a socket operation")
        }
    }
}

/// The straight path lies in the lane's own loop; all else is called.
#[inline(always)]
pub(super) fn recv(slot: &Slot, owned: &mut Owned, work: &Work) -> Step {
    let one = work.buffers.only();
    let total = one.map_or_else(|| work.buffers.total(), |one| one.len());
    if total == 0 {
        return ready(slot.fd(), Interest::Read);
    }
    loop {
        let came = match one {
            Some(one) => sys::recv_one(slot.fd(), one),
            None => work.buffers.with_rest(0, |bufs| sys::recv(slot.fd(), bufs)),
        };
        if let Ok(n @ 1..) = came {
            // A short read has emptied the socket: the next data makes an edge, unless the peer's end came already,
            // whose edge is spent.
            if n < total && slot.is(Kind::TcpStream) && !owned.hup && work.buffers.count() <= Buffers::BATCH {
                owned.ready = false;
            }
            return Step::Done(n, Ok(Value::None));
        }
        if let Some(step) = nothing_came(slot, owned, came.err()) {
            return step;
        }
    }
}

/// A receive met the end, or an error; `None`: again, please.
#[inline(never)]
fn nothing_came(slot: &Slot, owned: &mut Owned, errno: Option<i32>) -> Option<Step> {
    match errno {
        None if slot.is_pipe() => Some(Step::Done(0, Ok(Value::None))),
        None => Some(match slot.lost() {
            Some(errno) => failed(0, errno),
            None => Step::Done(0, Ok(Value::None)),
        }),
        Some(libc::EAGAIN) => {
            // Seen at the end of a connection before this one, if at all.
            owned.hup = false;
            Some(Step::Blocked)
        }
        Some(libc::EINTR) => None,
        Some(errno) if slot.is_pipe() => pipes::failed(slot, 0, errno),
        Some(errno) => Some(broken(slot, 0, errno)),
    }
}

/// One piece of many, in a buffer of the operation's pool.
fn recv_multi(slot: &Slot, owned: &mut Owned, work: &Work) -> Step {
    let Some(pool) = &work.buffers.pool else { unreachable!("a receive of many has its pool") };
    let mut buffer = match pool.take() {
        Ok(buffer) => buffer,
        Err(error) => return Step::Done(0, Err(error)),
    };
    let room = buffer.whole();
    let raw = RawBuf::new(room.as_mut_ptr(), room.len());
    loop {
        match sys::recv(slot.fd(), &[raw]) {
            Ok(0) => {
                return match slot.lost() {
                    Some(errno) => failed(0, errno),
                    None => Step::Done(0, Ok(Value::None)),
                };
            }
            Ok(n) => {
                buffer.set_len(n);
                if n < raw.len() && slot.is(Kind::TcpStream) && !owned.hup {
                    owned.ready = false;
                }
                return Step::More(n, Value::Buffer(buffer));
            }
            Err(libc::EAGAIN) => {
                // Seen at the end of a connection before this one, if at all.
                owned.hup = false;
                return Step::Blocked;
            }
            Err(libc::EINTR) => {}
            Err(errno) => return broken(slot, 0, errno),
        }
    }
}

/// As `recv` does, sends in the lane's own loop what is one buffer and fits the socket.
#[inline(always)]
pub(super) fn send(slot: &Slot, owned: &Owned, work: &mut Work) -> Step {
    let mut first = None;
    if let (Some(one), 0) = (work.buffers.only(), work.bytes) {
        match sys::send_one(slot.fd(), one) {
            Ok(n) if n == one.len() => return Step::Done(n, Ok(Value::None)),
            sent => first = Some(sent),
        }
    }
    explain_pipe(slot, owned, send_rest(slot, work, first))
}

/// Sends what is left, until all is sent: a send completes whole. `sent`: what came of a first try.
#[inline(never)]
fn send_rest(slot: &Slot, work: &mut Work, mut sent: Option<Result<usize, i32>>) -> Step {
    let total = work.buffers.total();
    if total == 0 && work.buffers.count() == 0 {
        return Step::Done(0, Ok(Value::None));
    }
    loop {
        let tried = sent.take().unwrap_or_else(|| work.buffers.with_rest(work.bytes, |bufs| sys::send(slot.fd(), bufs, None)));
        match tried {
            Ok(n) => {
                work.bytes += n;
                if work.bytes >= total {
                    return Step::Done(work.bytes, Ok(Value::None));
                }
            }
            Err(libc::EAGAIN) => return Step::Blocked,
            Err(libc::EINTR) => {}
            Err(errno) if slot.is_pipe() => return pipes::failed_write(slot, work.bytes, errno),
            Err(errno) => return broken(slot, work.bytes, errno),
        }
    }
}

fn send_datagram(work: &Work, mut send: impl FnMut(&[RawBuf]) -> Result<usize, i32>) -> Step {
    if work.buffers.count() > Buffers::BATCH {
        let hint = "a datagram takes at most 64 buffers; use fewer";
        return Step::Done(0, Err(Error::new(Code::InvalidParameter).hint(hint)));
    }
    loop {
        match work.buffers.with_rest(0, &mut send) {
            Ok(n) => return Step::Done(n, Ok(Value::None)),
            Err(libc::EAGAIN) => return Step::Blocked,
            Err(libc::EINTR) => {}
            Err(errno) => return failed(0, errno),
        }
    }
}

/// EPIPE says three things: this side shut down, the connection is gone, or there was none yet.
pub(in crate::backend) fn pipe_code(shut: bool, is_tcp: bool, connected: bool) -> Code {
    match (shut, is_tcp) {
        (true, _) => Code::Shutdown,
        (false, true) if connected => Code::ConnectionReset,
        (false, true) => Code::NotConnected,
        (false, false) => Code::BrokenPipe,
    }
}

#[cold]
fn explain_pipe(slot: &Slot, owned: &Owned, step: Step) -> Step {
    match step {
        Step::Done(bytes, Err(error)) if error.raw_os_error() == Some(libc::EPIPE) => {
            let connected = slot.connected.load(crate::shim::Ordering::SeqCst) != 0;
            Step::Done(bytes, Err(error.with_code(pipe_code(owned.shut, slot.is(Kind::TcpStream), connected))))
        }
        step => step,
    }
}

pub(super) fn ready(fd: libc::c_int, interest: Interest) -> Step {
    let events = match interest {
        Interest::Read => libc::POLLIN | libc::POLLRDHUP,
        Interest::Write => libc::POLLOUT,
    };
    match sys::poll(fd, events) {
        0 => Step::Blocked,
        _ => Step::Done(0, Ok(Value::None)),
    }
}

fn shutdown(fd: libc::c_int, how: Shutdown, owned: &mut Owned) -> Step {
    match socket2::SockRef::from(&sys::borrow(&fd)).shutdown(how) {
        Ok(()) => {
            owned.shut |= how != Shutdown::Read;
            Step::Done(0, Ok(Value::None))
        }
        Err(error) => Step::Done(0, Err(Error::from_io(&error))),
    }
}

/// Takes the connection down in an orderly way, and makes the socket as it was before it.
fn disconnect(slot: &Slot, owned: &mut Owned) -> Step {
    if slot.connected.load(crate::shim::Ordering::SeqCst) == 0 {
        return failed(0, libc::ENOTCONN);
    }
    match reuse::take_down(slot.fd(), owned.shut) {
        Ok(Connection::Gone) => {
            owned.shut = false;
            slot.connected.store(0, crate::shim::Ordering::SeqCst);
            slot.lost.store(0, crate::shim::Ordering::SeqCst);
            Step::Done(0, Ok(Value::None))
        }
        Ok(Connection::Open | Connection::Ending) => {
            owned.shut = true;
            Step::Blocked
        }
        Err(errno) => failed(0, errno),
    }
}

fn connect(fd: libc::c_int, to: &Address) -> Result<(), i32> {
    let Some(to) = to.to_sock() else {
        return Err(libc::EINVAL);
    };
    // SAFETY: the address is readable for its length.
    match unsafe { libc::connect(fd, to.as_ptr().cast(), to.len()) } {
        0 => Ok(()),
        _ => Err(sys::errno()),
    }
}

fn accept(slot: &Slot, work: &mut Work, sys: &mut BlockState, port: &Port) -> Step {
    loop {
        match sys::accept(slot.fd()) {
            Ok((fd, peer)) if work.buffers.count() > 0 => {
                return match Child::watch(fd, Address::from_sock(&peer), slot, port) {
                    Ok(child) => {
                        sys.child = Some(child);
                        Step::AwaitsData
                    }
                    Err(error) => Step::Done(0, Err(error)),
                };
            }
            Ok((fd, peer)) => return Step::Done(0, Ok(accepted(slot, fd, Address::from_sock(&peer)))),
            Err(libc::EAGAIN) => return Step::Blocked,
            Err(libc::EINTR) => {}
            Err(errno) if is_passing(errno) => {}
            Err(errno) => return failed(0, errno),
        }
    }
}

/// The connection failed before it was taken: the next one, please (accept(2), "Error handling").
pub(in crate::backend) fn is_passing(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
    )
}

fn accepted(listener: &Slot, fd: OwnedFd, peer: Address) -> Value {
    let local = socket2::SockRef::from(&fd).local_addr().map_or(Address::Unnamed, |addr| Address::from_sock(&addr));
    if listener.is(Kind::TcpListener) {
        Value::Tcp(Box::new(Accepted { stream: TcpStream::connected(fd), local, peer }))
    } else {
        Value::Unix(Box::new(Accepted { stream: UnixStream::connected(fd), local, peer }))
    }
}

/// A connection whose accept waits for its first data: watched by the listener's port through a slot of its own, whose
/// events go to the listener's read lane.
pub(crate) struct Child {
    fd: OwnedFd,
    peer: Address,
    slot: u32,
}

impl Child {
    fn watch(fd: OwnedFd, peer: Address, listener: &Slot, port: &Port) -> Result<Child, Error> {
        let slot = port.lodge(fd.as_raw_fd(), Kind::TcpStream)?;
        slot.parent.store(listener.index + 1, crate::shim::Ordering::SeqCst);
        let child = Child { fd, peer, slot: slot.index };
        match port.watch(slot) {
            Ok(()) => Ok(child),
            Err(error) => {
                child.dislodge(port);
                Err(error)
            }
        }
    }

    /// Takes the connection out of the port's watch.
    fn dislodge(self, port: &Port) -> (OwnedFd, Address) {
        port.unwatch(self.fd.as_raw_fd());
        if let Some(slot) = port.slot(self.slot) {
            slot.parent.store(0, crate::shim::Ordering::SeqCst);
            slot.read.state.reset(lane::BUSY | CLOSED);
            slot.write.state.reset(lane::BUSY | CLOSED);
            port.free_slot(slot);
        }
        (self.fd, self.peer)
    }

    /// Closes the connection: its accept was cancelled.
    pub fn abandon(self, port: &Port) {
        drop(self.dislodge(port));
    }
}

/// Looks after the accepts of a listener whose connections had an event.
pub(super) fn first_data(listener: &Slot, owned: &mut Owned, port: &Port, packets: &mut impl Packets) {
    let mut at = 0;
    while let Some(&header) = owned.waiting.get(at) {
        // SAFETY: a pending operation of this owner's.
        let (work, sys) = unsafe { (&mut (*header.as_ptr()).work, &mut (*header.as_ptr()).sys) };
        let came = sys.child.as_ref().and_then(|child| {
            let slot = port.slot(child.slot)?;
            // READY is set by an event, or by `open`; taken here, before the call it justifies.
            (slot.read.state.load() & READY != 0).then(|| {
                slot.read.state.reset(0);
                work.buffers.with_rest(0, |bufs| sys::recv(child.fd.as_raw_fd(), bufs))
            })
        });
        match came {
            None | Some(Err(libc::EAGAIN | libc::EINTR)) => at += 1,
            Some(result) => {
                owned.waiting.remove(at);
                let (fd, peer) = match sys.child.take() {
                    Some(child) => child.dislodge(port),
                    None => unreachable!("a waiting accept has its connection"),
                };
                match result {
                    Ok(n) => lane::settle(header, n, Ok(accepted(listener, fd, peer)), packets),
                    Err(errno) => lane::settle(header, 0, Err(Error::from_raw_os_error(errno)), packets),
                }
            }
        }
    }
}
