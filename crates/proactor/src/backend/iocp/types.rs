//! The plain types of this backend: buffers, the block's part, descriptors.

use std::cell::UnsafeCell;
use std::os::windows::io::{AsRawHandle, AsRawSocket, OwnedHandle, OwnedSocket};
use std::ptr::NonNull;

use socket2::Socket;
use windows_sys::Win32::Networking::WinSock::{SOCKADDR_INET, TRANSMIT_FILE_BUFFERS, WSABUF};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::events::Waiter;
use super::messages::Exchange;
use super::sys::Poll;
use crate::error::Code;
use crate::op::{Boxed, Header, Lane};

/// A WSABUF. Its length is kept in full width, so that one too long for the kernel is seen and not cut: the upper half
/// lies in the four bytes that WSABUF leaves unused before its pointer.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct RawBuf {
    len: usize,
    ptr: *mut u8,
}

const _: () = {
    assert!(size_of::<RawBuf>() == size_of::<WSABUF>());
    assert!(std::mem::offset_of!(RawBuf, ptr) == std::mem::offset_of!(WSABUF, buf));
    assert!(cfg!(target_endian = "little"));
};

impl RawBuf {
    pub fn new(ptr: *mut u8, len: usize) -> RawBuf {
        RawBuf { len, ptr }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn ptr(&self) -> *mut u8 {
        self.ptr
    }

    /// What lies behind the first `n` bytes.
    pub fn advance(&self, n: usize) -> RawBuf {
        RawBuf::new(self.ptr.wrapping_add(n), self.len - n)
    }

    pub fn wsabufs(bufs: &[RawBuf]) -> *const WSABUF {
        bufs.as_ptr().cast()
    }
}

impl Default for RawBuf {
    fn default() -> RawBuf {
        RawBuf::new(std::ptr::null_mut(), 0)
    }
}

/// The owned descriptor of sockets and files.
#[derive(Debug)]
pub(crate) enum Descriptor {
    Socket(OwnedSocket),
    File(OwnedHandle),
}

impl Descriptor {
    /// The number, a SOCKET or a HANDLE: both are handles of the kernel.
    pub fn raw(&self) -> u64 {
        match self {
            Descriptor::Socket(socket) => socket.as_raw_socket(),
            Descriptor::File(file) => file.as_raw_handle().expose_provenance() as u64,
        }
    }
}

impl From<Socket> for Descriptor {
    fn from(socket: Socket) -> Descriptor {
        Descriptor::Socket(socket.into())
    }
}

impl From<OwnedHandle> for Descriptor {
    fn from(file: OwnedHandle) -> Descriptor {
        Descriptor::File(file)
    }
}

/// Where a started operation is. Written under the lock of its lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waiting for a thread of the pool.
    #[default]
    Queued,
    /// Waiting for the operations before it in its lane.
    Held,
    /// In a blocking call on a thread of the pool.
    Running,
    /// A thread waits for its object.
    Waiting,
    /// The kernel has it; its status tells when it is over.
    Kernel,
    /// Its outcome is recorded in the block, and its delivery is on the way.
    Settled,
}

/// What an operation needs beside its OVERLAPPED until it is over. The kernel may read and write it.
#[derive(Default)]
pub(super) enum Aside {
    #[default]
    None,
    /// The address of a datagram's sender or receiver.
    Address { addr: SOCKADDR_INET, len: i32 },
    /// The socket to be accepted, and room for its first data and both its addresses.
    Accept { socket: Socket, area: Box<[u8]>, data: u32 },
    /// A datagram with its headers.
    Message(Boxed<Exchange>),
    /// What is sent before a file and after it.
    Around(TRANSMIT_FILE_BUFFERS),
    /// A list of buffers in one piece, where the kernel takes only one.
    Gathered(Box<[u8]>),
    /// The question a readiness operation asks.
    Poll(Poll),
    /// The file to close, which the object has given up.
    Closing(OwnedHandle),
}

/// This backend's part of a block; OVERLAPPED first, so that its address is the block's.
#[repr(C)]
pub(crate) struct BlockState {
    pub(super) overlapped: UnsafeCell<OVERLAPPED>,
    pub(super) aside: UnsafeCell<Aside>,
    /// The flags of a receive, in and out.
    pub(super) flags: UnsafeCell<u32>,
    pub(super) stage: Stage,
    /// Asked to end: what its error will be, if it does for that reason.
    pub(super) ended: Option<Code>,
    /// The list it is in, fixed from start on.
    pub(super) lane: Lane,
    /// The lane's list of pending operations.
    pub(super) prev: Option<NonNull<Header>>,
    pub(super) next: Option<NonNull<Header>>,
    /// Who waits for the event of an overlapped operation.
    pub(super) waiter: Option<&'static Waiter>,
    /// The event is armed: the kernel may set it.
    pub(super) armed: bool,
    /// The event was set, and its thread has said so: the operation is over, and delivered in its turn.
    pub(super) arrived: bool,
}

impl BlockState {
    /// Makes it ready for another operation.
    pub fn renew(&mut self) {
        *self = BlockState::default();
    }
}

const _: () = {
    assert!(std::mem::offset_of!(Header, sys) == 0);
    assert!(std::mem::offset_of!(BlockState, overlapped) == 0);
};

impl Default for BlockState {
    fn default() -> BlockState {
        BlockState {
            overlapped: UnsafeCell::default(),
            aside: UnsafeCell::default(),
            flags: UnsafeCell::default(),
            stage: Stage::default(),
            ended: None,
            lane: Lane::File,
            prev: None,
            next: None,
            waiter: None,
            armed: false,
            arrived: false,
        }
    }
}
