//! What a completed operation brought: the kernel's status and byte count, turned into the library's result.

use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{Ordering, fence};

use windows_sys::Win32::Foundation::{
    ERROR_HANDLE_EOF, NTSTATUS, STATUS_BUFFER_OVERFLOW, STATUS_CANCELLED, STATUS_CONNECTION_ABORTED, STATUS_END_OF_FILE,
    STATUS_HANDLES_CLOSED, STATUS_INVALID_HANDLE, STATUS_LOCAL_DISCONNECT, STATUS_PENDING, STATUS_REQUEST_ABORTED,
};
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, SO_UPDATE_ACCEPT_CONTEXT, SO_UPDATE_CONNECT_CONTEXT, SOCKADDR_INET, SOCKET, SOL_SOCKET, setsockopt,
};

use super::codes::{self, Numbers};
use super::lanes::Core;
use super::start::{ADDRESS_ROOM, raw_socket};
use super::types::{Aside, Descriptor};
use super::{pipe, sys};
use crate::buf::Buffers;
use crate::error::{Code, Error};
use crate::handle::{Kind, Object};
use crate::net::{TcpStream, UnixStream};
use crate::op::{Accepted, Address, Boxed, Datagram, Header, Message, Op, Value};

/// The kernel's status of an operation it has or had.
///
/// # Safety
/// The block is alive.
unsafe fn status(header: NonNull<Header>) -> NTSTATUS {
    // SAFETY: as the caller promises. The kernel writes this word at completion, before it reports it.
    let status = unsafe { (&raw const (*(*header.as_ptr()).sys.overlapped.get()).Internal).read_volatile() };
    // What the kernel wrote before it is read after it.
    fence(Ordering::Acquire);
    status as u32 as NTSTATUS
}

/// Whether the kernel is done with an operation it was given.
///
/// # Safety
/// The block is alive.
pub(super) unsafe fn is_over(header: NonNull<Header>) -> bool {
    // SAFETY: as the caller promises.
    unsafe { status(header) != STATUS_PENDING }
}

/// End of file is an error only to Windows.
pub(super) fn is_end_of_file(error: &Error) -> bool {
    error.raw_os_error() == Some(ERROR_HANDLE_EOF.cast_signed())
}

/// Statuses that may mean that the operation was asked to end.
pub(super) fn is_end(status: NTSTATUS) -> bool {
    const CLOSED: [NTSTATUS; 6] = [
        STATUS_CANCELLED,
        STATUS_CONNECTION_ABORTED,
        STATUS_LOCAL_DISCONNECT,
        STATUS_REQUEST_ABORTED,
        STATUS_HANDLES_CLOSED,
        STATUS_INVALID_HANDLE,
    ];
    CLOSED.contains(&status)
}

/// The outcome of an operation the kernel reported.
///
/// # Safety
/// The block is the caller's, its operation over, and its lane locked.
pub(super) unsafe fn outcome(header: NonNull<Header>, object: &Object) -> (usize, Result<Value, Error>) {
    // SAFETY: the block is the caller's; an overlapped handle looks at `delivery` only.
    let (status, bytes, aside, work, ended) = unsafe {
        let block = header.as_ptr();
        let status = status(header);
        let bytes = (*(*block).sys.overlapped.get()).InternalHigh;
        (status, bytes, (*block).sys.aside.get(), &(*block).work, (*block).sys.ended)
    };
    // SAFETY: the kernel is done with it.
    let aside = unsafe { std::mem::take(&mut *aside) };
    // A poll counts its own answer. And whatever the kernel says, no more bytes are initialized than there are.
    let bytes = match (&aside, &work.op) {
        (Aside::Poll(_), _) => 0,
        // The buffers are its maker's business.
        (_, Op::Raw | Op::Transmit(_)) => bytes,
        _ => bytes.min(work.buffers.total()),
    };
    let core = &object.sys.core;
    let is_file = matches!(work.op, Op::ReadAt { .. } | Op::WriteAt { .. });
    if let (Aside::Gathered(whole), Op::ReadAt { .. }) = (&aside, &work.op) {
        scatter(&whole[..bytes.min(whole.len())], &work.buffers);
    }
    if object.kind.is_pipe() {
        return (bytes, pipe::outcome(status, ended, work, object));
    }
    if status == STATUS_BUFFER_OVERFLOW && matches!(work.op, Op::RecvFrom) {
        return (bytes, Ok(datagram(&aside, true)));
    }
    if status == STATUS_BUFFER_OVERFLOW && matches!(work.op, Op::RecvMsg) {
        return (bytes, Ok(message(&aside, status)));
    }
    if status == STATUS_END_OF_FILE && is_file {
        return (0, Ok(Value::None));
    }
    if status < 0 {
        let mut error = match ended {
            Some(code) if is_end(status) => codes::of_end(code),
            _ if matches!(work.op, Op::Raw) && core.is_file => codes::of_status(status, Numbers::Win32),
            _ if is_file => sys::explain(codes::of_status(status, Numbers::Win32), core.handle()),
            _ => codes::of_status(status, Numbers::Winsock),
        };
        if matches!(work.op, Op::RecvFrom | Op::SendTo { .. } | Op::RecvMsg | Op::SendMsg(_))
            && error.code() == Code::ConnectionReset
        {
            // An ICMP message: nobody listens at the address of an earlier datagram.
            error = error.with_code(Code::ConnectionRefused);
        }
        return (bytes, Err(error));
    }
    match &work.op {
        Op::Accept | Op::AcceptMulti => accepted(aside, bytes, &work.buffers, object),
        Op::Connect { .. } => match update(core.socket(), SO_UPDATE_CONNECT_CONTEXT, None) {
            Ok(()) => (bytes, Ok(Value::None)),
            Err(_) if !core.is_open() => (bytes, Err(codes::of_end(Code::ConnectionAborted))),
            Err(error) => (bytes, Err(error)),
        },
        Op::RecvFrom => (bytes, Ok(datagram(&aside, false))),
        Op::RecvMsg => (bytes, Ok(message(&aside, status))),
        Op::Shutdown { how: Shutdown::Both } if core.is_open() => {
            let done = socket2::SockRef::from(&object.sys.borrow_socket()).shutdown(Shutdown::Read);
            (0, done.map(|()| Value::None).map_err(|error| Error::from_io(&error)))
        }
        Op::RecvMulti | Op::Ready { .. } | Op::Disconnect { .. } | Op::Shutdown { .. } => (0, Ok(Value::None)),
        Op::Transmit(_) | Op::Recv | Op::Send | Op::SendTo { .. } | Op::SendMsg(_) => (bytes, Ok(Value::None)),
        Op::ReadAt { .. } | Op::WriteAt { .. } | Op::Raw => (bytes, Ok(Value::None)),
        Op::Sync { .. } | Op::Open { .. } | Op::Close | Op::Allocate { .. } | Op::SetLen { .. } | Op::Metadata => {
            unreachable!("not an operation the kernel reports")
        }
        Op::PipeConnect | Op::RecvMessage | Op::Exited | Op::Timer { .. } | Op::Awaited { .. } | Op::Post => {
            unreachable!("not an operation the kernel reports")
        }
    }
}

/// Copies what came in one piece to the buffers of a list.
fn scatter(mut whole: &[u8], buffers: &Buffers) {
    for buf in buffers.as_slice() {
        let (now, rest) = whole.split_at(buf.len().min(whole.len()));
        if now.is_empty() && rest.is_empty() {
            return;
        }
        // SAFETY: the operation's buffers are writable until it completes, and this one is at least that long.
        unsafe { now.as_ptr().copy_to_nonoverlapping(buf.ptr(), now.len()) };
        whole = rest;
    }
}

fn datagram(aside: &Aside, truncated: bool) -> Value {
    let from = match aside {
        // SAFETY: the kernel wrote the sender's address, or left the zeroes.
        Aside::Address { addr, .. } => unsafe { raise_address(addr) },
        _ => Address::Unnamed,
    };
    Value::Datagram(Boxed::new(Datagram { from, truncated }))
}

fn message(aside: &Aside, status: NTSTATUS) -> Value {
    Value::Message(Boxed::new(match aside {
        Aside::Message(exchange) => exchange.raise(status),
        // A receive of no bytes takes nothing.
        _ => Message::default(),
    }))
}

/// Gives an accepted connection its listener's properties, without which it knows no names and cannot be shut down.
fn update(socket: SOCKET, option: i32, listener: Option<SOCKET>) -> Result<(), Error> {
    let (value, len) = match &listener {
        Some(listener) => (std::ptr::from_ref(listener).cast(), size_of::<SOCKET>() as i32),
        None => (std::ptr::null(), 0),
    };
    // SAFETY: the value, if any, is readable for its length.
    match unsafe { setsockopt(socket, SOL_SOCKET, option, value, len) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// The listener is about to be closed: finishes the connection of an accept that is over and not yet dequeued.
///
/// # Safety
/// The block is pending and its lane locked.
pub(super) unsafe fn adopt_early(header: NonNull<Header>, core: &Core) {
    // SAFETY: alive, as the caller says; once the status tells that the operation is over, the kernel has let go of `aside`.
    unsafe {
        let block = header.as_ptr();
        if !matches!((*block).work.op, Op::Accept | Op::AcceptMulti)
            || (*block).sys.stage != super::types::Stage::Kernel
            || status(header) != 0
        {
            return;
        }
        if let Aside::Accept { socket, .. } = &*(*block).sys.aside.get() {
            // If it fails, the accept does too, when it is dequeued.
            let _ = update(raw_socket(socket), SO_UPDATE_ACCEPT_CONTEXT, Some(core.socket()));
        }
    }
}

fn accepted(aside: Aside, bytes: usize, buffers: &Buffers, listener: &Object) -> (usize, Result<Value, Error>) {
    let core = &listener.sys.core;
    let Aside::Accept { socket, area, data } = aside else { unreachable!("an accept has its socket") };
    if core.is_open() {
        if let Err(error) = update(raw_socket(&socket), SO_UPDATE_ACCEPT_CONTEXT, Some(core.socket())) {
            return (0, Err(error));
        }
    } else if socket.peer_addr().is_err() {
        // The listener was closed between the connection's coming and its finishing.
        return (0, Err(codes::of_end(Code::Cancelled)));
    }
    scatter(&area[..bytes.min(data as usize)], buffers);
    let (local, mut peer) = match sys::extensions(raw_socket(&socket)).map(|found| found.addresses) {
        // SAFETY: the area is that of a completed AcceptEx with these lengths.
        Ok(Some(parse)) => unsafe { addresses(&area, data, parse) },
        Ok(None) | Err(_) => (Address::Unnamed, Address::Unnamed),
    };
    if peer == Address::Unnamed {
        // Wine tells none if the client closed without sending.
        peer = socket.peer_addr().map_or(Address::Unnamed, |addr| Address::from_sock(&addr));
    }
    let socket = Descriptor::from(socket);
    let accepted = match listener.kind {
        Kind::UnixListener => Value::Unix(Box::new(Accepted { stream: UnixStream::connected(socket), local, peer })),
        _ => Value::Tcp(Box::new(Accepted { stream: TcpStream::connected(socket), local, peer })),
    };
    (bytes, Ok(accepted))
}

/// Both addresses out of an accept's area.
///
/// # Safety
/// The area is that of a completed AcceptEx with room for this much data and twice ADDRESS_ROOM.
unsafe fn addresses(area: &[u8], data: u32, parse: sys::GetAddresses) -> (Address, Address) {
    let (mut local, mut peer) = (null_mut(), null_mut());
    let (mut local_len, mut peer_len) = (0, 0);
    // SAFETY: as the caller promises; the addresses found lie in the area.
    unsafe {
        let room = ADDRESS_ROOM as u32;
        parse(area.as_ptr().cast(), data, room, room, &raw mut local, &raw mut local_len, &raw mut peer, &raw mut peer_len);
        let read = |at: *const u8, len: i32| {
            let mut addr = SOCKADDR_INET::default();
            let len = usize::try_from(len).unwrap_or(0).min(size_of::<SOCKADDR_INET>());
            if !at.is_null() {
                at.copy_to_nonoverlapping((&raw mut addr).cast(), len);
            }
            raise_address(&addr)
        };
        (read(local.cast(), local_len), read(peer.cast(), peer_len))
    }
}

/// An address as the kernel wrote it.
///
/// # Safety
/// The address is zero, or one of the two kinds its family says.
pub(super) unsafe fn raise_address(addr: &SOCKADDR_INET) -> Address {
    // SAFETY: every kind begins with the family, and all bits are valid in each.
    unsafe {
        match addr.si_family {
            AF_INET => {
                let v4 = addr.Ipv4;
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.S_un.S_addr));
                Address::Ip(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
            }
            AF_INET6 => {
                let v6 = addr.Ipv6;
                let ip = Ipv6Addr::from(v6.sin6_addr.u.Byte);
                let (port, scope) = (u16::from_be(v6.sin6_port), v6.Anonymous.sin6_scope_id);
                Address::Ip(SocketAddr::V6(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, scope)))
            }
            _ => Address::Unnamed,
        }
    }
}
