//! What can be asked of the kernel: one closed enum of plain data.
//!
//! | operation | lane | completes when | Win32 / POSIX |
//! |---|---|---|---|
//! | `Accept` | read | a client connected (with first data: its first bytes, or its orderly close, came) | AcceptEx / accept4 |
//! | `AcceptMulti` | read | each client that connects, until cancelled | AcceptEx again and again / accept4, multishot |
//! | `RecvMulti` | read | each piece of data that comes, until the peer closes | WSARecv again and again / recv, multishot |
//! | `Connect` | write | connected (with first data: and all of it sent), or failed | ConnectEx / connect |
//! | `Recv`, `RecvFrom` | read | bytes or a datagram came, or the peer closed | WSARecv(From) / recvmsg |
//! | `PipeConnect` | read | a client has the pipe's instance | ConnectNamedPipe / accept4 |
//! | `RecvMessage` | read | a message of a pipe, or its next part, came, or the other end is gone | ReadFile / recvmsg |
//! | `Send`, `SendTo` | write | **all** bytes are in the socket's buffer | WSASend(To) / sendmsg |
//! | `Transmit` | write | head, part of a file and tail are in the socket's buffer | TransmitFile / sendfile |
//! | `Ready` | read or write | the object could be read, accepted from, or written | zero-byte WSARecv / poll |
//! | `Shutdown`, `Disconnect` | write | all sends before it are done and the half is closed (for reuse: the other half too) | shutdown, DisconnectEx |
//! | `ReadAt`, `WriteAt`, `Sync`, `Open` | file | the file system answered | ReadFile, WriteFile, FlushFileBuffers, CreateFile |
//! | `Allocate`, `SetLen`, `Metadata` | file | the file system answered | SetEndOfFile, GetFileInformationByHandle / fallocate, ftruncate, statx |
//! | `Close` | file | the descriptor is closed, whatever the result says | CloseHandle / close |
//! | `Timer` | timer | its moment has come | SetWaitableTimer / timerfd, one for many |
//! | `Exited` | read | the process ended | RegisterWaitForSingleObject / pidfd_open, poll |
//! | `Raw` | file | the user's own call of the kernel is over | any overlapped call / any io_uring entry |
//! | `Awaited` | timer | its source says so (`awaited.rs`): a name is resolved, a signal has come, a permit is free | none |
//! | `Post` | none | at once | PostQueuedCompletionStatus |
//!
//! Operations of one lane of one object complete and fill in call order; the file lane has no order; timers
//! complete in the order of their deadlines.

mod address;
mod awaited;
mod block;
mod boxed;
mod operation;
mod recycle;
mod transmit;
mod value;

use std::fmt;
use std::net::Shutdown;
use std::path::PathBuf;

pub use address::Address;
pub(crate) use awaited::{Source, Waiting, awaited, begin as begin_awaited};
pub use block::{Block, Ticket};
pub(crate) use block::{
    Delivery, Header, Layered, Work, alloc_block, begin, free_block, free_shell, give_shell, release_object, take_shell,
    thread_number,
};
pub use boxed::Boxed;
pub use operation::Operation;
pub(crate) use transmit::Transmit;
pub use value::{Accepted, Brings, Completion, Datagram, Done, Value};

use crate::error::{Code, Error};

/// One operation, lowered: no buffers (they lie beside it in the block), nothing that needs dropping in a hurry.
#[derive(Debug, Default)]
pub(crate) enum Op {
    /// No kernel work: a packet the user posts.
    #[default]
    Post,
    /// Buffers present: wait for first data too.
    Accept,
    /// Many completions; the last one gives the block back.
    AcceptMulti,
    /// Many completions, each with a buffer of the pool the block names.
    RecvMulti,
    /// Buffers present: send them as first data.
    Connect {
        to: Address,
    },
    Recv,
    /// Of a pipe in message mode.
    RecvMessage,
    /// A server's instance of a named pipe waits for its client.
    PipeConnect,
    Send,
    RecvFrom,
    SendTo {
        to: Address,
    },
    Ready {
        interest: Interest,
    },
    Shutdown {
        how: Shutdown,
    },
    /// With `reuse` it goes on until the connection is gone, and the socket may connect again.
    Disconnect {
        reuse: bool,
    },
    /// Buffers: what goes before the file, then what goes after it.
    Transmit(Transmit),
    ReadAt {
        offset: u64,
    },
    WriteAt {
        offset: u64,
    },
    Sync {
        data_only: bool,
    },
    Open {
        path: PathBuf,
        options: crate::fs::OpenOptions,
    },
    /// The object's handle is its only one, and nothing else of it is in flight: `Object::admit` saw to that.
    Close,
    Allocate {
        offset: u64,
        len: u64,
    },
    SetLen {
        len: u64,
    },
    Metadata,
    /// Due at so many nanoseconds of this process's clock (`time::nanos_of`).
    Timer {
        at: u64,
    },
    /// Of a process.
    Exited,
    /// Over when its source says so; of that kind.
    Awaited {
        kind: OpKind,
        /// Until it is over.
        source: Option<std::sync::Arc<dyn Source>>,
    },
    /// What is asked stands beside the buffers: `Buffers::raw`.
    Raw,
}

/// Which direction a readiness operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// Where an operation waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Read,
    Write,
    File,
    Timer,
}

impl Op {
    pub fn lane(&self) -> Lane {
        match self {
            Op::Accept | Op::AcceptMulti | Op::Recv | Op::RecvMulti | Op::RecvFrom | Op::Ready { interest: Interest::Read } => {
                Lane::Read
            }
            Op::Shutdown { how: Shutdown::Read } | Op::Exited | Op::RecvMessage | Op::PipeConnect => Lane::Read,
            Op::Connect { .. } | Op::Send | Op::SendTo { .. } | Op::Ready { interest: Interest::Write } => Lane::Write,
            Op::Shutdown { .. } | Op::Disconnect { .. } | Op::Transmit(_) => Lane::Write,
            Op::ReadAt { .. } | Op::WriteAt { .. } | Op::Sync { .. } | Op::Open { .. } | Op::Close | Op::Post => Lane::File,
            Op::Timer { .. } | Op::Awaited { .. } => Lane::Timer,
            Op::Allocate { .. } | Op::SetLen { .. } | Op::Metadata | Op::Raw => Lane::File,
        }
    }

    pub fn kind(&self) -> OpKind {
        match self {
            Op::Post => OpKind::Post,
            Op::Accept => OpKind::Accept,
            Op::AcceptMulti => OpKind::AcceptMulti,
            Op::RecvMulti => OpKind::RecvMulti,
            Op::Connect { .. } | Op::PipeConnect => OpKind::Connect,
            Op::Recv | Op::RecvMessage => OpKind::Recv,
            Op::Send => OpKind::Send,
            Op::RecvFrom => OpKind::RecvFrom,
            Op::SendTo { .. } => OpKind::SendTo,
            Op::Ready { .. } => OpKind::Ready,
            Op::Shutdown { .. } => OpKind::Shutdown,
            Op::Disconnect { .. } => OpKind::Disconnect,
            Op::Transmit(_) => OpKind::Transmit,
            Op::ReadAt { .. } => OpKind::ReadAt,
            Op::WriteAt { .. } => OpKind::WriteAt,
            Op::Sync { .. } => OpKind::Sync,
            Op::Open { .. } => OpKind::Open,
            Op::Close => OpKind::Close,
            Op::Allocate { .. } => OpKind::Allocate,
            Op::SetLen { .. } => OpKind::SetLen,
            Op::Metadata => OpKind::Metadata,
            Op::Timer { .. } => OpKind::Timer,
            Op::Exited => OpKind::Exited,
            Op::Raw => OpKind::Raw,
            Op::Awaited { kind, .. } => *kind,
        }
    }

    /// Refuses numbers no system takes, alike on all of them: files are at most 2^63 − 1 bytes long, and −1 as an offset
    /// would mean another thing to io_uring.
    pub fn check_numbers(&self) -> Result<(), Error> {
        let end = match *self {
            Op::ReadAt { offset } | Op::WriteAt { offset } => Some(offset),
            Op::Allocate { len: 0, .. } => {
                return Err(Error::new(Code::InvalidParameter).hint("nothing to allocate: the length is 0").of(self.kind()));
            }
            Op::Allocate { offset, len } => offset.checked_add(len),
            Op::SetLen { len } => Some(len),
            Op::Transmit(Transmit { at, end, .. }) if end < at => {
                return Err(Error::new(Code::InvalidParameter).hint("the range ends before it begins").of(self.kind()));
            }
            Op::Transmit(Transmit { end, .. }) => Some(end),
            _ => return Ok(()),
        };
        match end.is_some_and(|end| i64::try_from(end).is_ok()) {
            true => Ok(()),
            false => {
                let hint = "the offset or length is past the largest a file can have (2^63 - 1 bytes)";
                Err(Error::new(Code::InvalidParameter).hint(hint).of(self.kind()))
            }
        }
    }

    /// Whether there is something to drop in it, or beside it in the block.
    #[inline]
    pub fn holds_something(&self) -> bool {
        matches!(
            self,
            Op::Connect { .. } | Op::SendTo { .. } | Op::Open { .. } | Op::Transmit(_) | Op::RecvMulti | Op::Awaited { .. }
        )
    }

    /// Whether its buffers count against the object's budget of bytes queued for sending.
    pub fn sends(&self) -> bool {
        matches!(self, Op::Send | Op::SendTo { .. } | Op::Connect { .. } | Op::Transmit(_))
    }
}

/// The name of an operation, as errors and packets report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpKind {
    /// A posted packet.
    Post,
    /// Accept.
    Accept,
    /// Accept connections one after the other.
    AcceptMulti,
    /// Receive pieces one after the other.
    RecvMulti,
    /// Connect.
    Connect,
    /// Receive from a connected socket.
    Recv,
    /// Send on a connected socket.
    Send,
    /// Receive a datagram and its sender.
    RecvFrom,
    /// Send a datagram to an address.
    SendTo,
    /// Wait for readiness.
    Ready,
    /// Close one or both halves of a connection.
    Shutdown,
    /// Close the sending half, or for reuse the whole connection, as DisconnectEx.
    Disconnect,
    /// Send a part of a file.
    Transmit,
    /// Read at an offset.
    ReadAt,
    /// Write at an offset.
    WriteAt,
    /// Flush a file to the device.
    Sync,
    /// Open a file.
    Open,
    /// Close a file.
    Close,
    /// Reserve space in a file.
    Allocate,
    /// Cut or extend a file.
    SetLen,
    /// Ask what a file is.
    Metadata,
    /// Wait until a moment.
    Timer,
    /// Wait for the end of a process.
    Exited,
    /// A system call of the user's own.
    Raw,
    /// Resolve a name, or an address.
    Resolve,
    /// Wait for a signal.
    Signal,
    /// Wait for a permit.
    Acquire,
    /// Wait for room in a queue.
    Room,
    /// Wait until a queue is empty.
    Flush,
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OpKind::Post => "post",
            OpKind::Accept => "accept",
            OpKind::AcceptMulti => "accept-multi",
            OpKind::RecvMulti => "receive-multi",
            OpKind::Connect => "connect",
            OpKind::Recv => "receive",
            OpKind::Send => "send",
            OpKind::RecvFrom => "receive-from",
            OpKind::SendTo => "send-to",
            OpKind::Ready => "readiness",
            OpKind::Shutdown => "shutdown",
            OpKind::Disconnect => "disconnect",
            OpKind::Transmit => "transmit-file",
            OpKind::ReadAt => "read-at",
            OpKind::WriteAt => "write-at",
            OpKind::Sync => "sync",
            OpKind::Open => "open",
            OpKind::Close => "close",
            OpKind::Allocate => "allocate",
            OpKind::SetLen => "set-length",
            OpKind::Metadata => "metadata",
            OpKind::Timer => "timer",
            OpKind::Exited => "process-exit",
            OpKind::Raw => "raw call",
            OpKind::Resolve => "resolve",
            OpKind::Signal => "signal",
            OpKind::Acquire => "acquire",
            OpKind::Room => "room",
            OpKind::Flush => "flush",
        })
    }
}
