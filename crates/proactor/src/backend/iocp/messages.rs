//! Datagrams with their headers: WSARecvMsg and WSASendMsg.

use std::ptr::null_mut;

use windows_sys::Win32::Foundation::{NTSTATUS, STATUS_BUFFER_OVERFLOW};
use windows_sys::Win32::Networking::WinSock::{MSG_CTRUNC, MSG_TRUNC, SOCKADDR_INET, WSABUF, WSAEMSGSIZE, WSAMSG, WSASendMsg};

use super::super::Control;
use super::finish::raise_address;
use super::start::{Call, Issued, failed, lower_address};
use super::sys;
use super::types::{Aside, RawBuf};
use crate::buf::Buffers;
use crate::error::{Code, Error};
use crate::op::{Address, Boxed, Headers, Message};

/// What the kernel reads and writes of a datagram with headers, until the operation is over.
pub(super) struct Exchange {
    message: WSAMSG,
    addr: SOCKADDR_INET,
    control: Control,
}

impl Exchange {
    /// One whose parts name one another, for buffers that stay.
    fn new(buffers: &Buffers) -> Boxed<Exchange> {
        let (addr, control) = (SOCKADDR_INET::default(), Control::empty());
        let mut this = Boxed::new(Exchange { message: WSAMSG::default(), addr, control });
        let (addr, room) = ((&raw mut this.addr).cast(), this.control.as_mut_ptr());
        this.message = WSAMSG {
            name: addr,
            namelen: size_of::<SOCKADDR_INET>() as i32,
            lpBuffers: RawBuf::wsabufs(buffers.as_slice()).cast_mut(),
            dwBufferCount: buffers.count() as u32,
            Control: WSABUF { len: Control::ROOM as u32, buf: room },
            dwFlags: 0,
        };
        this
    }

    /// What came, after the kernel is done with it.
    pub fn raise(&self, status: NTSTATUS) -> Message {
        // The kernel's warning is one for both.
        let only_control = self.message.dwFlags & (MSG_TRUNC | MSG_CTRUNC) == MSG_CTRUNC;
        // SAFETY: the kernel wrote the sender's address, or left the zeroes.
        let from = unsafe { raise_address(&self.addr) };
        self.control.raise(self.message.Control.len as usize, from, status == STATUS_BUFFER_OVERFLOW && !only_control)
    }
}

/// # Safety
/// As `start::issue`.
pub(super) unsafe fn receive(call: &Call, buffers: &Buffers) -> Issued {
    let receive = match sys::receive_message(call.socket) {
        Ok(Some(receive)) => receive,
        Ok(None) => return failed(Error::new(Code::NotSupported)),
        Err(error) => return failed(error),
    };
    // SAFETY: the message and all it names lie in the block, or in what that owns.
    unsafe {
        *call.aside = Aside::Message(Exchange::new(buffers));
        let Aside::Message(exchange) = &mut *call.aside else { unreachable!("just written") };
        let message = &raw mut exchange.message;
        match call.winsock(|ov| receive(call.socket, message, null_mut(), ov, None)) {
            // A datagram that did not fit is a warning: it is reported as any success.
            Issued::Done(_, Err(error)) if error.raw_os_error() == Some(WSAEMSGSIZE) => Issued::Kernel,
            issued => issued,
        }
    }
}

/// # Safety
/// As `start::issue`.
pub(super) unsafe fn send(call: &Call, buffers: &Buffers, headers: &Headers) -> Issued {
    let mut exchange = Exchange::new(buffers);
    exchange.control.lower(headers);
    exchange.message.Control.len = exchange.control.len() as u32;
    match headers.to.and_then(|to| lower_address(&Address::Ip(to))) {
        Some((addr, len)) => (exchange.addr, exchange.message.namelen) = (addr, len),
        None => (exchange.message.name, exchange.message.namelen) = (null_mut(), 0),
    }
    // SAFETY: as in `receive`.
    unsafe {
        *call.aside = Aside::Message(exchange);
        let Aside::Message(exchange) = &*call.aside else { unreachable!("just written") };
        let message = &raw const exchange.message;
        call.winsock(|ov| WSASendMsg(call.socket, message, 0, null_mut(), ov, None))
    }
}
