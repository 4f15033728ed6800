//! The one match of this backend: how each operation is given to the kernel.

use std::net::Shutdown;
use std::os::windows::io::{AsRawSocket, BorrowedSocket};
use std::ptr::{NonNull, null_mut};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GetLastError};
use windows_sys::Win32::Networking::WinSock::{
    SOCKADDR_IN6, SOCKADDR_INET, SOCKET, TF_REUSE_SOCKET, TRANSMIT_FILE_BUFFERS, WSAEINVAL, WSAEMSGSIZE, WSARecv, WSARecvFrom,
    WSASend, WSASendTo,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::lanes::Core;
use super::sys::{self, Poll};
use super::types::{Aside, RawBuf};
use super::{RawCall, blocking, codes, events, finish, messages, pipe, waits};
use crate::buf::Buffers;
use crate::error::{Code, Error};
use crate::handle::{Kind, Object};
use crate::op::{Address, Header, Interest, Op, Transmit, Value};

/// What became of an operation given to the kernel.
pub(super) enum Issued {
    /// The kernel has it, and will report it: also if it succeeded at once.
    Kernel,
    /// It was over when the call returned, and comes as no packet; its event is set all the same.
    AtOnce,
    /// A thread of the pool will make its blocking call.
    Pool,
    /// A thread waits for its object.
    Waiting,
    /// It is over, and the kernel will report nothing.
    Done(usize, Result<Value, Error>),
}

/// Whether an operation ends the sending half, so that every send before it must be over.
pub(super) fn ends_sending(op: &Op) -> bool {
    matches!(op, Op::Disconnect { .. } | Op::Shutdown { how: Shutdown::Write | Shutdown::Both })
}

/// Whether the sends behind an operation must wait until it is over, as it waits for those before it: the system does not
/// say that what is sent meanwhile stays out of a file.
pub(super) fn sends_alone(op: &Op) -> bool {
    matches!(op, Op::Transmit(_))
}

pub(super) fn failed(error: Error) -> Issued {
    Issued::Done(0, Err(error))
}

/// Room for one address behind an accept's data: "at least 16 bytes more than the maximum address length".
pub(super) const ADDRESS_ROOM: usize = size_of::<SOCKADDR_IN6>() + 16;

/// Gives an operation to the kernel.
///
/// # Safety
/// The block is pending in its lane, whose lock the caller holds, and nobody else has it. It stays where it is until
/// its completion, and its buffers with it.
pub(super) unsafe fn issue(header: NonNull<Header>, object: &Object) -> Issued {
    let core = &object.sys.core;
    let socket = core.socket();
    // SAFETY: the block is the caller's alone; an overlapped handle looks at `delivery` only.
    let (work, sys) = unsafe { (&(*header.as_ptr()).work, &raw mut (*header.as_ptr()).sys) };
    let buffers = &work.buffers;
    if u32::try_from(buffers.total()).is_err() {
        let hint = "more than 4 GiB in one operation; use several";
        return failed(Error::new(Code::InvalidParameter).hint(hint));
    }
    // SAFETY: the memory of the block is stable, as the caller promises.
    let call = unsafe { Call { header, aside: (*sys).aside.get(), flags: (*sys).flags.get(), socket } };
    // SAFETY: each arm gives the kernel only addresses inside the block, of its buffers, or of what the call reads before
    // it returns; and calls `begin` once, before the kernel's call.
    unsafe {
        match &work.op {
            _ if object.kind.is_pipe() => pipe::issue(&call, work, object),
            Op::Accept | Op::AcceptMulti => accept(&call, buffers, object.kind),
            Op::Connect { to } => connect(&call, buffers, to, object.kind),
            Op::Recv => recv(&call, buffers.as_slice()),
            Op::Send => call.winsock(|ov| {
                let (bufs, count) = list(buffers);
                WSASend(socket, RawBuf::wsabufs(bufs), count, null_mut(), 0, ov, None)
            }),
            Op::RecvFrom if buffers.total() == 0 => poll(&call, Poll::readable(socket)),
            Op::RecvFrom => recv_from(&call, buffers),
            Op::SendTo { to: Address::Unnamed } => call.winsock(|ov| {
                let (bufs, count) = list(buffers);
                WSASend(socket, RawBuf::wsabufs(bufs), count, null_mut(), 0, ov, None)
            }),
            Op::SendTo { to } => send_to(&call, buffers, to),
            Op::RecvMsg if buffers.total() == 0 => poll(&call, Poll::readable(socket)),
            Op::RecvMsg => messages::receive(&call, buffers),
            Op::SendMsg(headers) => messages::send(&call, buffers, headers),
            // Its data is taken when this is dequeued.
            Op::RecvMulti => recv(&call, &[RawBuf::default()]),
            Op::Exited | Op::Ready { .. } if object.kind == Kind::Watched => match waits::begin(header, core) {
                Ok(()) => Issued::Waiting,
                Err(error) => failed(error),
            },
            Op::Ready { interest: Interest::Read } if object.kind.is_stream() => recv(&call, &[RawBuf::default()]),
            Op::Ready { interest: Interest::Read } => poll(&call, Poll::readable(socket)),
            Op::Ready { interest: Interest::Write } => poll(&call, Poll::writable(socket)),
            // A receive that is pending goes on, as after shutdown(2).
            Op::Shutdown { how: Shutdown::Read } => {
                let done = SockRef::from(&object.sys.borrow_socket()).shutdown(Shutdown::Read);
                Issued::Done(0, done.map(|()| Value::None).map_err(|error| Error::from_io(&error)))
            }
            // Nothing is pending before it: the lane saw to that.
            Op::Disconnect { reuse: true } => disconnect(&call, TF_REUSE_SOCKET),
            Op::Disconnect { reuse: false } | Op::Shutdown { how: Shutdown::Write | Shutdown::Both } => disconnect(&call, 0),
            Op::Transmit(asked) => transmit(&call, buffers, asked),
            Op::ReadAt { .. } | Op::WriteAt { .. } if !core.is_open() => {
                failed(Error::new(Code::InvalidHandle).hint("the file is not open"))
            }
            Op::ReadAt { .. } | Op::WriteAt { .. } if core.blocks() => to_pool(header),
            Op::ReadAt { offset } => read_at(&call, buffers, *offset),
            Op::WriteAt { offset } => write_at(&call, buffers, *offset),
            Op::Sync { .. } | Op::Open { .. } => to_pool(header),
            Op::Allocate { .. } | Op::SetLen { .. } | Op::Metadata => to_pool(header),
            Op::Close => close(&call, core),
            Op::Raw => raw_call(&call, &buffers.raw, core),
            Op::Exited => unreachable!("an operation of processes"),
            Op::PipeConnect | Op::RecvMessage => unreachable!("an operation of pipes"),
            Op::Post => unreachable!("a post goes to the port"),
            Op::Timer { .. } | Op::Awaited { .. } => unreachable!("a timer goes into its wheel"),
        }
    }
}

/// One operation on its way to the kernel.
pub(super) struct Call {
    header: NonNull<Header>,
    pub(super) aside: *mut Aside,
    flags: *mut u32,
    pub(super) socket: SOCKET,
}

impl Call {
    /// Makes the OVERLAPPED ready, and for an overlapped delivery its event.
    ///
    /// # Safety
    /// The block is the caller's, and the kernel's call follows.
    unsafe fn begin(&self) -> *mut OVERLAPPED {
        // SAFETY: as the caller promises.
        unsafe {
            let block = self.header.as_ptr();
            let overlapped = (*block).sys.overlapped.get();
            (*overlapped).Internal = windows_sys::Win32::Foundation::STATUS_PENDING as usize;
            if let Some(waiter) = (*block).sys.waiter {
                (*block).sys.armed = true;
                // The low bit keeps the packet from the port the object may be on.
                (*overlapped).hEvent = waiter.arm(self.header).map_addr(|event| event | 1);
            }
            overlapped
        }
    }

    /// A call of Winsock's kind: 0 is success.
    ///
    /// # Safety
    /// As `issue`; the call reads only what stays.
    pub(super) unsafe fn winsock(&self, call: impl FnOnce(*mut OVERLAPPED) -> i32) -> Issued {
        // SAFETY: as the caller promises.
        unsafe { self.win32(|overlapped| (call(overlapped) == 0).into()) }
    }

    /// A call of Win32's kind: 0 is failure.
    ///
    /// # Safety
    /// As `issue`; the call reads only what stays.
    pub(super) unsafe fn win32(&self, call: impl FnOnce(*mut OVERLAPPED) -> i32) -> Issued {
        // SAFETY: as the caller promises; the second call has no arguments.
        unsafe {
            let overlapped = self.begin();
            if call(overlapped) != 0 {
                let is_at_once = (*self.header.as_ptr()).sys.waiter.is_some() && finish::is_over(self.header);
                return if is_at_once { Issued::AtOnce } else { Issued::Kernel };
            }
            match GetLastError() {
                ERROR_IO_PENDING => Issued::Kernel,
                error => failed(Error::from_raw_os_error(error.cast_signed())),
            }
        }
    }
}

fn list(buffers: &Buffers) -> (&[RawBuf], u32) {
    // At most Buffers::MOST.
    (buffers.as_slice(), buffers.count() as u32)
}

unsafe fn recv(call: &Call, bufs: &[RawBuf]) -> Issued {
    // SAFETY: the list is captured by the call, the flags lie in the block.
    unsafe { call.winsock(|ov| WSARecv(call.socket, RawBuf::wsabufs(bufs), bufs.len() as u32, null_mut(), call.flags, ov, None)) }
}

unsafe fn recv_from(call: &Call, buffers: &Buffers) -> Issued {
    // SAFETY: the sender's address and its length lie in the block.
    unsafe {
        *call.aside = Aside::Address { addr: SOCKADDR_INET::default(), len: size_of::<SOCKADDR_INET>() as i32 };
        let Aside::Address { addr, len } = &mut *call.aside else { unreachable!("just written") };
        let (from, len) = ((&raw mut *addr).cast(), &raw mut *len);
        let (bufs, count) = list(buffers);
        let issued = call
            .winsock(|ov| WSARecvFrom(call.socket, RawBuf::wsabufs(bufs), count, null_mut(), call.flags, from, len, ov, None));
        match issued {
            // A datagram that did not fit is a warning: it is reported as any success.
            Issued::Done(_, Err(error)) if error.raw_os_error() == Some(WSAEMSGSIZE) => Issued::Kernel,
            issued => issued,
        }
    }
}

unsafe fn send_to(call: &Call, buffers: &Buffers, to: &Address) -> Issued {
    let Some((addr, len)) = lower_address(to) else {
        return failed(Error::new(Code::NotSupported).hint("Windows has no Unix datagram sockets"));
    };
    // SAFETY: the address lies in the block.
    unsafe {
        *call.aside = Aside::Address { addr, len };
        let Aside::Address { addr, .. } = &*call.aside else { unreachable!("just written") };
        let (bufs, count) = list(buffers);
        let to = (&raw const *addr).cast();
        call.winsock(|ov| WSASendTo(call.socket, RawBuf::wsabufs(bufs), count, null_mut(), 0, to, len, ov, None))
    }
}

unsafe fn poll(call: &Call, question: Poll) -> Issued {
    // SAFETY: question and answer lie in the block.
    unsafe {
        *call.aside = Aside::Poll(question);
        let Aside::Poll(question) = &mut *call.aside else { unreachable!("just written") };
        let overlapped = call.begin();
        let event = (*call.header.as_ptr()).sys.waiter.map(events::Waiter::event);
        match sys::poll(call.socket, question, event, overlapped) {
            Ok(()) => Issued::Kernel,
            Err(status) => failed(codes::of_status(status, codes::Numbers::Winsock)),
        }
    }
}

unsafe fn accept(call: &Call, buffers: &Buffers, kind: Kind) -> Issued {
    let made = || {
        if kind != Kind::TcpListener {
            return Err(Error::new(Code::NotSupported).hint("AcceptEx knows no Unix sockets"));
        }
        // SAFETY: the object keeps the socket open through this call.
        let listener = unsafe { BorrowedSocket::borrow_raw(call.socket as u64) };
        let local = SockRef::from(&listener).local_addr().map_err(|error| Error::from_io(&error))?;
        let domain = if local.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).map_err(|error| Error::from_io(&error))?;
        Ok((socket, sys::extensions(call.socket)?.accept))
    };
    let (socket, accept_ex) = match made() {
        Ok((socket, Some(accept_ex))) => (socket, accept_ex),
        Ok((_, None)) => return failed(Error::new(Code::NotSupported)),
        Err(error) => return failed(error),
    };
    let data = buffers.total() as u32;
    let accepting = raw_socket(&socket);
    let area = vec![0; data as usize + 2 * ADDRESS_ROOM].into_boxed_slice();
    // SAFETY: the area is owned by the block until the operation is over.
    unsafe {
        *call.aside = Aside::Accept { socket, area, data };
        let Aside::Accept { area, .. } = &mut *call.aside else { unreachable!("just written") };
        let area = area.as_mut_ptr().cast();
        let room = ADDRESS_ROOM as u32;
        call.win32(|ov| accept_ex(call.socket, accepting, area, data, room, room, call.flags, ov))
    }
}

unsafe fn connect(call: &Call, buffers: &Buffers, to: &Address, kind: Kind) -> Issued {
    let to = match to {
        Address::Ip(to) if kind == Kind::TcpStream => socket2::SockAddr::from(*to),
        _ => return failed(Error::new(Code::NotSupported).hint("ConnectEx knows no Unix sockets")),
    };
    // SAFETY: the object keeps the socket open through this call.
    let this = unsafe { BorrowedSocket::borrow_raw(call.socket as u64) };
    if let Err(error) = SockRef::from(&this).bind(&wildcard(to.is_ipv6())) {
        // Bound already, by its user.
        if error.raw_os_error() != Some(WSAEINVAL) {
            return failed(Error::from_io(&error));
        }
    }
    let connect_ex = match sys::extensions(call.socket).map(|found| found.connect) {
        Ok(Some(connect_ex)) => connect_ex,
        Ok(None) => return failed(Error::new(Code::NotSupported)),
        Err(error) => return failed(error),
    };
    // SAFETY: the address is read by the call; the data lies in the block or its buffer.
    unsafe {
        let (data, len) = in_one_piece(call, buffers, true);
        call.win32(|ov| connect_ex(call.socket, to.as_ptr().cast(), to.len(), data.cast_const().cast(), len, call.flags, ov))
    }
}

/// The raw number of a socket that is about to be accepted.
pub(super) fn raw_socket(socket: &Socket) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

fn wildcard(v6: bool) -> socket2::SockAddr {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    let any = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    SocketAddr::new(any, 0).into()
}

unsafe fn disconnect(call: &Call, flags: u32) -> Issued {
    match sys::extensions(call.socket).map(|found| found.disconnect) {
        // SAFETY: no pointers but the OVERLAPPED.
        Ok(Some(disconnect_ex)) => unsafe { call.win32(|ov| disconnect_ex(call.socket, ov, flags, 0)) },
        Ok(None) => failed(Error::new(Code::NotSupported)),
        Err(error) => failed(error),
    }
}

/// The most bytes of one TransmitFile.
const MOST_TRANSMITTED: u64 = i32::MAX as u64 - 1;

unsafe fn transmit(call: &Call, buffers: &Buffers, asked: &Transmit) -> Issued {
    let Some(file) = asked.file.as_ref().map(|file| &file.sys.core).filter(|file| file.is_open()) else {
        return failed(Error::new(Code::InvalidHandle).hint("the file is not open"));
    };
    let (file, at) = (file.handle(), asked.at);
    let bytes = match sys::file_size(file) {
        Ok(size) => asked.end.min(size).saturating_sub(at),
        Err(error) => return failed(error),
    };
    if bytes + buffers.total() as u64 > MOST_TRANSMITTED {
        let hint = "more than 2^31 - 2 bytes in one transmission; use several";
        return failed(Error::new(Code::InvalidParameter).hint(hint));
    }
    let transmit_file = match sys::extensions(call.socket).map(|found| found.transmit) {
        Ok(Some(transmit_file)) => transmit_file,
        Ok(None) => return failed(Error::new(Code::NotSupported)),
        Err(error) => return failed(error),
    };
    let part = |index: usize| buffers.as_slice().get(index).map_or((null_mut(), 0), |buf| (buf.ptr().cast(), buf.len() as u32));
    let ((head, head_len), (tail, tail_len)) = (part(0), part(1));
    let around = TRANSMIT_FILE_BUFFERS { Head: head, HeadLength: head_len, Tail: tail, TailLength: tail_len };
    // SAFETY: the list of buffers lies in the block, which holds the file too.
    unsafe {
        *call.aside = Aside::Around(around);
        let Aside::Around(around) = &*call.aside else { unreachable!("just written") };
        // To the call no bytes are all of them.
        let file = if bytes == 0 { null_mut() } else { file };
        call.win32(|ov| {
            (*ov).Anonymous.Anonymous.Offset = at as u32;
            (*ov).Anonymous.Anonymous.OffsetHigh = (at >> 32) as u32;
            transmit_file(call.socket, file, bytes as u32, 0, ov, &raw const *around, 0)
        })
    }
}

unsafe fn read_at(call: &Call, buffers: &Buffers, offset: u64) -> Issued {
    // SAFETY: the memory is the block's or its buffer's.
    unsafe {
        let (data, len) = in_one_piece(call, buffers, false);
        at(call, offset, |file, ov| ReadFile(file, data, len, null_mut(), ov))
    }
}

unsafe fn write_at(call: &Call, buffers: &Buffers, offset: u64) -> Issued {
    // SAFETY: the memory is the block's or its buffer's.
    unsafe {
        let (data, len) = in_one_piece(call, buffers, true);
        at(call, offset, |file, ov| WriteFile(file, data, len, null_mut(), ov))
    }
}

/// A call that takes its offset from the OVERLAPPED.
unsafe fn at(
    call: &Call,
    offset: u64,
    make: impl FnOnce(windows_sys::Win32::Foundation::HANDLE, *mut OVERLAPPED) -> i32,
) -> Issued {
    if i64::try_from(offset).is_err() {
        return failed(Error::new(Code::InvalidParameter).hint("the offset is past the largest the system knows"));
    }
    // SAFETY: the block is the caller's; a union of plain numbers.
    let issued = unsafe {
        call.win32(|ov| {
            (*ov).Anonymous.Anonymous.Offset = offset as u32;
            (*ov).Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
            make(call.socket as windows_sys::Win32::Foundation::HANDLE, ov)
        })
    };
    match issued {
        Issued::Done(_, Err(error)) if super::finish::is_end_of_file(&error) => Issued::Done(0, Ok(Value::None)),
        Issued::Done(bytes, Err(error)) => {
            Issued::Done(bytes, Err(sys::explain(error, call.socket as windows_sys::Win32::Foundation::HANDLE)))
        }
        issued => issued,
    }
}

/// The buffers as one: themselves, or for a list a copy in the block, filled if it is to be read from.
unsafe fn in_one_piece(call: &Call, buffers: &Buffers, filled: bool) -> (*mut u8, u32) {
    match buffers.as_slice() {
        [] => (null_mut(), 0),
        [one] => (one.ptr(), one.len() as u32),
        bufs => {
            let mut whole = vec![0; buffers.total()].into_boxed_slice();
            if filled {
                let mut at = 0;
                for buf in bufs.iter().filter(|buf| buf.len() > 0) {
                    // SAFETY: the operation's buffers are readable until it completes; the copy was made for their sum.
                    unsafe { buf.ptr().copy_to_nonoverlapping(whole[at..].as_mut_ptr(), buf.len()) };
                    at += buf.len();
                }
            }
            // SAFETY: the block is the caller's, and the copy stays in it until the operation is over.
            unsafe {
                *call.aside = Aside::Gathered(whole);
                let Aside::Gathered(whole) = &mut *call.aside else { unreachable!("just written") };
                (whole.as_mut_ptr(), whole.len() as u32)
            }
        }
    }
}

/// Takes the handle out at once, so that whoever starts an operation after this finds none.
unsafe fn close(call: &Call, core: &Core) -> Issued {
    let Some(file) = core.take_file() else { return failed(Error::new(Code::InvalidHandle).hint("the file is not open")) };
    // SAFETY: the block is the caller's until the pool has it.
    unsafe { *call.aside = Aside::Closing(file) };
    match blocking::submit(call.header) {
        Ok(()) => Issued::Pool,
        Err(_) => {
            // SAFETY: as above; the pool did not take it.
            drop(unsafe { std::mem::take(&mut *call.aside) });
            Issued::Done(0, Ok(Value::None))
        }
    }
}

/// The user's own call. Whatever it comes to, there is one answer.
unsafe fn raw_call(call: &Call, asked: &RawCall, core: &Core) -> Issued {
    // SAFETY: the block stays where it is until the call is over, as the door's contract has it of what the call uses.
    let overlapped = unsafe { call.begin() };
    match asked.make(core.handle(), overlapped) {
        Ok(()) => Issued::Kernel,
        Err(error) => failed(error),
    }
}

fn to_pool(header: NonNull<Header>) -> Issued {
    match blocking::submit(header) {
        Ok(()) => Issued::Pool,
        Err(error) => failed(error),
    }
}

/// An IP address as the kernel reads it.
pub(super) fn lower_address(address: &Address) -> Option<(SOCKADDR_INET, i32)> {
    let sock = socket2::SockAddr::from(address.ip()?);
    let mut addr = SOCKADDR_INET::default();
    let len = (sock.len() as usize).min(size_of::<SOCKADDR_INET>());
    // SAFETY: an IP address of socket2's is a SOCKADDR_IN or SOCKADDR_IN6 of that length; the union holds either.
    unsafe { sock.as_ptr().cast::<u8>().copy_to_nonoverlapping((&raw mut addr).cast(), len) };
    Some((addr, len as i32))
}
