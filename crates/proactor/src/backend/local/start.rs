//! The one match of this backend: how each operation is asked of the kernel.

use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use io_uring::{opcode, squeue, types};

use super::super::epoll::{self, RawBuf};
use super::super::reuse::{self, Connection};
use super::super::{blocking, transmit, uring};
use super::lanes::Lanes;
use super::leases::Leases;
use super::pipes;
use super::port::{Core, object_of};
use crate::buf::Buffers;
use crate::error::{Code, Error};
use crate::handle::Kind;
use crate::op::{Address, Boxed, Datagram, Header, Interest, Lane as Side, Op, Value, Work};
use crate::time::{NOWHERE, Place};

/// What an operation needs in memory until its completion, besides its buffers. Kept with the block from one operation to
/// the next.
pub(in crate::backend) struct Extra {
    pub message: libc::msghdr,
    pub name: socket2::SockAddr,
    /// The connection of an accept that waits for first data.
    pub child: Option<OwnedFd>,
}

impl Extra {
    pub fn empty() -> Extra {
        // SAFETY: all-zero is a valid empty message header, and a valid unnamed address.
        let (message, storage) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // SAFETY: an address of no length.
        Extra { message, name: unsafe { socket2::SockAddr::new(storage, 0) }, child: None }
    }
}

/// In a block that receives from no buffer group.
pub(in crate::backend) const NO_GROUP: u16 = u16::MAX;

/// Where a receive of many is that found no buffer: the kernel ends it then, though nothing may have come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::backend) enum Hunger {
    /// It has buffers.
    Fed,
    /// It waits until there is something to receive.
    Waiting,
    /// There is: without a buffer now, it ends.
    Pressing,
}

/// How long the end of a connection is waited for that nothing more than an acknowledgement is due of: no poll tells it.
static SOON: types::Timespec = types::Timespec::new().nsec(2_000_000);

/// What asking came to.
pub(super) enum Asked {
    /// It was over at once.
    Done(usize, Result<Value, Error>),
    /// This is for the kernel.
    Submit(squeue::Entry),
}

fn failed(bytes: usize, errno: i32) -> Asked {
    Asked::Done(bytes, Err(Error::from_raw_os_error(errno)))
}

fn done(bytes: usize) -> Asked {
    Asked::Done(bytes, Ok(Value::None))
}

impl Core {
    /// Takes over a begun block.
    #[inline]
    pub fn start(&mut self, header: NonNull<Header>) -> Place {
        // SAFETY: a begun block, this port's from here on.
        let (side, index) = unsafe { ((*header.as_ptr()).work.op.lane(), object_of(header).sys.index()) };
        match (side, index) {
            (Side::Timer, _) => return self.arm(header),
            (Side::File, _) | (_, None) => self.start_file(header),
            (side, Some(index)) => {
                let Some(lanes) = self.slab.get(index) else { unreachable!("a socket at home has its lanes") };
                lanes.lane(side).push(header);
                self.advance(index, side);
            }
        }
        NOWHERE
    }

    /// Asks for the head of a lane, and for the next while each is over at once.
    #[inline]
    pub fn advance(&mut self, index: u32, side: Side) {
        loop {
            let Some(lanes) = self.slab.get(index) else { return };
            let lane = lanes.lane(side);
            let Some(header) = lane.head().filter(|_| !lane.busy) else { return };
            // SAFETY: the head of its lane is this port's.
            if unsafe { (*header.as_ptr()).sys.cancelled } {
                lane.pop();
                self.abort(header, index);
                continue;
            }
            let asked = ask(lanes, header, &mut self.leases, &self.ring);
            let Some(lanes) = self.slab.get(index) else { return };
            match asked {
                Asked::Submit(entry) => {
                    lanes.lane(side).busy = true;
                    self.submit(header, entry);
                    return;
                }
                Asked::Done(bytes, result) => {
                    lanes.lane(side).pop();
                    self.settle(header, bytes, result);
                }
            }
        }
    }

    #[inline]
    fn start_file(&mut self, header: NonNull<Header>) {
        // SAFETY: a begun block, this port's; an overlapped handle looks at `delivery` only.
        let (work, aside, object) =
            unsafe { (&mut (*header.as_ptr()).work, &mut (*header.as_ptr()).sys.aside, object_of(header)) };
        if let Some(result) = epoll::at_once(work, aside, object) {
            return self.settle(header, work.bytes, result.map(|()| Value::None));
        }
        if epoll::lacks(&work.op) {
            // An old kernel's ring has no such operation; it waits for no device.
            let (bytes, result) = blocking::perform(work, aside, Some(object));
            return self.settle(header, bytes, result);
        }
        work.buffers.advance(work.bytes);
        match uring::entry(header) {
            Ok(entry) => {
                self.floating.insert(header);
                self.submit(header, entry);
            }
            Err(error) => self.settle(header, 0, Err(error)),
        }
    }
}

/// The one match.
#[inline]
pub(super) fn ask(lanes: &mut Lanes, header: NonNull<Header>, leases: &mut Leases, ring: &io_uring::IoUring) -> Asked {
    // SAFETY: the head of its lane is this port's; an overlapped handle looks only at `delivery`.
    let (work, sys) = unsafe { (&mut (*header.as_ptr()).work, &mut (*header.as_ptr()).sys) };
    let fd = types::Fd(lanes.fd);
    let poll = |events: libc::c_short| Asked::Submit(opcode::PollAdd::new(fd, events as u32).build());
    match &work.op {
        Op::Accept => {
            Asked::Submit(opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut()).flags(libc::SOCK_CLOEXEC).build())
        }
        Op::AcceptMulti => Asked::Submit(opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build()),
        Op::Connect { to } => {
            if sys.connecting {
                return send(lanes, work, sys);
            }
            let Some(to) = to.to_sock() else { return failed(0, libc::EINVAL) };
            let extra = sys.extra();
            extra.name = to;
            Asked::Submit(opcode::Connect::new(fd, extra.name.as_ptr().cast(), extra.name.len()).build())
        }
        Op::Recv if work.buffers.total() == 0 => poll(libc::POLLIN | libc::POLLRDHUP),
        Op::Recv => match work.buffers.as_slice() {
            [one] => Asked::Submit(opcode::Recv::new(fd, one.ptr(), length(one)).build()),
            bufs => Asked::Submit(opcode::Readv::new(fd, RawBuf::iovecs(bufs), bufs.len() as u32).build()),
        },
        Op::RecvMulti => {
            let Some(pool) = &work.buffers.pool else { unreachable!("a receive of many has its pool") };
            if sys.group == NO_GROUP {
                sys.group = match leases.join(pool, &ring.submitter()) {
                    Ok(group) => group,
                    Err(error) => return Asked::Done(0, Err(error)),
                };
            }
            if !leases.has_buffers(sys.group) {
                if sys.hunger == Hunger::Pressing {
                    leases.leave(std::mem::replace(&mut sys.group, NO_GROUP));
                    return Asked::Done(0, Err(crate::buf::none_free()));
                }
                sys.hunger = Hunger::Waiting;
                return poll(libc::POLLIN | libc::POLLRDHUP);
            }
            sys.hunger = Hunger::Fed;
            Asked::Submit(match ring.params().is_feature_recvsend_bundle() {
                true => opcode::RecvMultiBundle::new(fd, sys.group).build(),
                false => opcode::RecvMulti::new(fd, sys.group).build(),
            })
        }
        Op::PipeConnect => match pipes::connect(lanes) {
            Ok(true) => done(0),
            Ok(false) => poll(libc::POLLIN),
            Err(error) => Asked::Done(0, Err(error)),
        },
        Op::RecvMessage if work.buffers.total() == 0 => poll(libc::POLLIN | libc::POLLRDHUP),
        Op::RecvMessage => {
            let extra = sys.extra();
            extra.name = Extra::empty().name;
            Asked::Submit(opcode::RecvMsg::new(fd, message(extra, &work.buffers)).flags(libc::MSG_PEEK as u32).build())
        }
        Op::Send => send(lanes, work, sys),
        Op::RecvFrom if work.buffers.total() == 0 => poll(libc::POLLIN | libc::POLLRDHUP),
        Op::RecvFrom => {
            let extra = sys.extra();
            // SAFETY: all-zero is a valid unnamed address; the kernel writes it, and its length into the header.
            extra.name = unsafe { socket2::SockAddr::new(std::mem::zeroed(), size_of::<libc::sockaddr_storage>() as u32) };
            Asked::Submit(opcode::RecvMsg::new(fd, message(extra, &work.buffers)).build())
        }
        Op::SendTo { to } => {
            if work.buffers.count() > Buffers::BATCH {
                let hint = "a datagram takes at most 64 buffers; use fewer";
                return Asked::Done(0, Err(Error::new(Code::InvalidParameter).hint(hint)));
            }
            let to = to.to_sock();
            loop {
                match work.buffers.with_rest(0, |bufs| epoll::send(lanes.fd, bufs, to.as_ref())) {
                    Ok(n) => return done(n),
                    Err(libc::EINTR) => {}
                    Err(libc::EAGAIN) => break,
                    Err(errno) => return failed(0, errno),
                }
            }
            let extra = sys.extra();
            extra.name = to.unwrap_or_else(|| Extra::empty().name);
            Asked::Submit(opcode::SendMsg::new(fd, message(extra, &work.buffers)).flags(libc::MSG_NOSIGNAL as u32).build())
        }
        Op::Ready { interest: Interest::Read } | Op::Exited => poll(libc::POLLIN | libc::POLLRDHUP),
        Op::Ready { interest: Interest::Write } => poll(libc::POLLOUT),
        Op::Shutdown { how } => shutdown(lanes, *how),
        Op::Disconnect { .. } if lanes.instance.is_some() => Asked::Done(0, pipes::disconnect(lanes)),
        Op::Disconnect { reuse: false } => shutdown(lanes, Shutdown::Write),
        Op::Disconnect { reuse: true } if !lanes.connected => failed(0, libc::ENOTCONN),
        Op::Disconnect { reuse: true } => match reuse::take_down(lanes.fd, std::mem::replace(&mut lanes.shut, true)) {
            Ok(Connection::Gone) => {
                (lanes.connected, lanes.shut, lanes.lost) = (false, false, None);
                done(0)
            }
            // A hang-up is always asked for.
            Ok(Connection::Open) => poll(0),
            Ok(Connection::Ending) => Asked::Submit(opcode::Timeout::new(&raw const SOON).build()),
            Err(errno) => failed(0, errno),
        },
        // The ring's own splice would wait on one of the kernel's threads.
        Op::Transmit(_) => match transmit::step(lanes.fd, work) {
            Ok(true) => done(work.bytes),
            Ok(false) => poll(libc::POLLOUT),
            Err(errno) => broken_send(lanes, work, errno),
        },
        _ => unreachable!("not a socket operation"),
    }
}

fn length(buf: &RawBuf) -> u32 {
    u32::try_from(buf.len()).unwrap_or(i32::MAX as u32)
}

/// The message header of the block's buffers and its name.
fn message(extra: &mut Extra, buffers: &Buffers) -> *mut libc::msghdr {
    // SAFETY: all-zero is a valid empty message header.
    extra.message = unsafe { std::mem::zeroed() };
    if extra.name.len() > 0 {
        extra.message.msg_name = extra.name.as_ptr().cast_mut().cast();
        extra.message.msg_namelen = extra.name.len();
    }
    extra.message.msg_iov = RawBuf::iovecs(buffers.as_slice());
    extra.message.msg_iovlen = buffers.count() as _;
    &raw mut extra.message
}

/// Sends what is left: at once what the socket takes, the rest by the kernel.
#[inline]
fn send(lanes: &mut Lanes, work: &mut Work, sys: &mut epoll::BlockState) -> Asked {
    if work.buffers.total() == 0 && work.buffers.count() == 0 {
        return done(0);
    }
    const FLAGS: libc::c_int = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    let fd = types::Fd(lanes.fd);
    match work.buffers.as_slice() {
        [one] => Asked::Submit(opcode::Send::new(fd, one.ptr(), length(one)).flags(FLAGS).build()),
        _ => {
            let extra = sys.extra();
            extra.name = Extra::empty().name;
            Asked::Submit(opcode::SendMsg::new(fd, message(extra, &work.buffers)).flags(FLAGS as u32).build())
        }
    }
}

/// A send failed: what that says about the connection, and to the user.
pub(super) fn broken_send(lanes: &mut Lanes, work: &Work, errno: i32) -> Asked {
    lanes.remember(errno);
    let mut error = Error::from_raw_os_error(errno);
    if errno == libc::EPIPE && matches!(work.op, Op::Send | Op::Transmit(_)) {
        error = error.with_code(epoll::pipe_code(lanes.shut, lanes.kind == Kind::TcpStream, lanes.connected));
    }
    Asked::Done(work.bytes, Err(error))
}

impl Lanes {
    /// What ends the connection is remembered: the kernel tells it only once.
    pub fn remember(&mut self, errno: i32) {
        if matches!(errno, libc::ECONNRESET | libc::ETIMEDOUT) {
            self.lost = Some(errno);
        }
    }
}

fn shutdown(lanes: &mut Lanes, how: Shutdown) -> Asked {
    match socket2::SockRef::from(&epoll::borrow(&lanes.fd)).shutdown(how) {
        Ok(()) => {
            lanes.shut |= how != Shutdown::Read;
            done(0)
        }
        Err(error) => Asked::Done(0, Err(Error::from_io(&error))),
    }
}

/// A datagram that came: its sender, and whether it was cut.
pub(super) fn datagram(sys: &mut epoll::BlockState) -> Value {
    let extra = sys.extra();
    let truncated = extra.message.msg_flags & libc::MSG_TRUNC != 0;
    if extra.message.msg_name.is_null() {
        return Value::Datagram(Boxed::new(Datagram { from: Address::Unnamed, truncated }));
    }
    // SAFETY: the kernel wrote that much of an address into the name's own storage.
    unsafe { extra.name.set_length(extra.message.msg_namelen) };
    Value::Datagram(Boxed::new(Datagram { from: Address::from_sock(&extra.name), truncated }))
}

/// Waits for the first data of a connection that was accepted.
pub(super) fn first_data(sys: &mut epoll::BlockState, work: &Work, child: OwnedFd) -> squeue::Entry {
    let fd = types::Fd(child.as_raw_fd());
    sys.extra().child = Some(child);
    match work.buffers.as_slice() {
        [one] if one.len() > 0 => opcode::Recv::new(fd, one.ptr(), length(one)).build(),
        bufs if work.buffers.total() > 0 => opcode::Readv::new(fd, RawBuf::iovecs(bufs), bufs.len() as u32).build(),
        _ => opcode::PollAdd::new(fd, (libc::POLLIN | libc::POLLRDHUP) as u32).build(),
    }
}
