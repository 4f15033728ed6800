//! Pipes: named ones with a server and clients, and nameless ones with two ends. Byte or message mode.
//!
//! A server's program makes instances of a named pipe ([`PipeOptions::create`]); each serves one client at a time:
//! [`connect`](PipeServer::connect), then reads and writes, then [`disconnect`](PipeServer::disconnect) and the next.
//! A client [opens](PipeClient::open) the pipe by its name.
//!
//! ```
//! use proactor::pipe::{PipeClient, PipeServer};
//! # let name = format!("proactor-doc-{}", std::process::id());
//! let server = PipeServer::create(&name)?;
//! let connect = server.connect().start()?;
//! let client = PipeClient::open(&name)?;
//! connect.wait().result?;
//! client.write(b"hello").wait().result?;
//! assert_eq!(server.read(vec![0; 64]).wait().buffer, b"hello");
//! drop(client);
//! assert_eq!(server.read(vec![0; 64]).wait().bytes, 0);               // the end of the pipe is no error
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # One rule for the end
//!
//! A read says the other end is gone by success with 0 bytes, whatever way it went (closed, disconnected, died), after what was
//! written before. A write to nobody fails with [`Code::BrokenPipe`] (109), and so does what is pending when
//! this end's last handle is dropped. An instance without a client: [`Code::NotConnected`] before its
//! first, [`Code::Shutdown`] (233) after a disconnect.
//!
//! # What differs from system to system
//!
//! | | Windows | Linux |
//! |---|---|---|
//! | a name stands for | `\\.\pipe\NAME`, any case | a Unix socket's abstract name, of this user, in this network namespace; case counts |
//! | who may open it | the server's user, administrators; others may read (the default of `CreateNamedPipe`) | processes of the server's user, and root's |
//! | instances | of any number of processes | of one process; another is refused with `AccessDenied` |
//! | a client that comes while every instance has one | `PipeBusy` | has its place in line, as many as there may be instances, before it is `PipeBusy` |
//! | what was written and not yet read at a disconnect | is lost | is read, then the end comes |
//! | a message is at most | 4 GiB | what the socket's buffer takes (`net.core.wmem_default`, 208 KiB as a rule); past it `MessageTruncated` |

use crate::backend;
use crate::buf::{DrainTarget, FillTarget, NoBuffer};
use crate::error::{Code, Error};
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{Op, Operation};
use crate::time::Wait;

/// What a named pipe is to be (the arguments of `CreateNamedPipe`).
///
/// ```
/// use proactor::pipe::{PipeClient, PipeOptions};
/// # let name = format!("proactor-doc-options-{}", std::process::id());
/// let options = PipeOptions::new().messages(true).instances(2);
/// let (first, second) = (options.clone().first(true).create(&name)?, options.create(&name)?);
/// let client = PipeClient::open(&name)?;
/// assert!(client.is_message_mode());
/// # drop((first, second));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PipeOptions {
    pub(crate) message: bool,
    /// 0: any number.
    pub(crate) instances: u32,
    pub(crate) in_buffer: u32,
    pub(crate) out_buffer: u32,
    pub(crate) remote: bool,
    pub(crate) first: bool,
}

impl Default for PipeOptions {
    fn default() -> PipeOptions {
        PipeOptions::new()
    }
}

impl PipeOptions {
    /// Bytes, any number of instances, 64 KiB for each direction, no remote clients.
    pub fn new() -> PipeOptions {
        const BUFFER: u32 = 64 << 10;
        PipeOptions { message: false, instances: 0, in_buffer: BUFFER, out_buffer: BUFFER, remote: false, first: false }
    }

    /// Keeps messages apart (`PIPE_TYPE_MESSAGE`, read as messages; `SOCK_SEQPACKET`): what one write wrote, reads do not join with
    /// what another did. Every instance of a pipe has the same mode.
    pub fn messages(mut self, yes: bool) -> PipeOptions {
        self.message = yes;
        self
    }

    /// How many instances there may be at once, 1 to 254; the first instance says it for all. Any other number refuses `create`.
    /// Without this there may be any number.
    pub fn instances(mut self, most: u32) -> PipeOptions {
        // A refused number stays one: 0 is no limit.
        self.instances = if most == 0 { u32::MAX } else { most };
        self
    }

    /// How many bytes the system keeps of what clients wrote, and of what the server did, until they are read. A write of more
    /// completes when all but that is read; with 0, when all of it is. Unix sockets do not take it.
    pub fn buffers(mut self, inbound: u32, outbound: u32) -> PipeOptions {
        (self.in_buffer, self.out_buffer) = (inbound, outbound);
        self
    }

    /// Lets clients of other machines in, as far as the system does (without it, `PIPE_REJECT_REMOTE_CLIENTS`). On Linux there
    /// are none.
    pub fn remote_clients(mut self, yes: bool) -> PipeOptions {
        self.remote = yes;
        self
    }

    /// Refuses to make an instance, with `AccessDenied`, if the pipe exists already (`FILE_FLAG_FIRST_PIPE_INSTANCE`): for a
    /// server that is to be the only one.
    pub fn first(mut self, yes: bool) -> PipeOptions {
        self.first = yes;
        self
    }

    /// Makes an instance of the pipe (`CreateNamedPipe`), the first or one more. The pipe is there from now on, until the last
    /// instance is dropped, and the operations pending on it are taken.
    ///
    /// A name is 1 to 80 bytes without `\`, `/` and NUL. Errors: `InvalidParameter` (name or number of instances), `PipeBusy` (all
    /// instances there may be are there), `AccessDenied` (another mode than the others, not the first, or another program's).
    pub fn create(&self, name: &str) -> Result<PipeServer, Error> {
        check_name(name)?;
        if self.instances > 254 {
            return Err(Error::new(Code::InvalidParameter).hint("a pipe has 1 to 254 instances, or any number"));
        }
        let kind = if self.message { Kind::MessagePipeServer } else { Kind::PipeServer };
        backend::create_pipe(name, self).map(|state| PipeServer::from_handle(Handle::new(kind, state)))
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if (1..=80).contains(&name.len()) && !name.contains(['\\', '/', '\0']) {
        return Ok(());
    }
    Err(Error::new(Code::InvalidParameter).hint(r"a pipe's name is 1 to 80 bytes without \, / and NUL"))
}

/// What reads.
macro_rules! reads {
    ($name:ident) => {
        impl<H: Home> $name<H> {
            /// Reads what is there, at least one byte, into `buf` from its first byte (`ReadFile`, `recv`).
            ///
            /// Completes with the byte count; 0 means that the other end is gone, or that a message had no bytes. Several reads
            /// fill in call order. In message mode it reads one message; if that is longer than `buf` the operation fails with
            /// `MessageTruncated` (234) **and** brings what fitted: the next read gives the rest.
            ///
            /// Errors: `Cancelled`; `BrokenPipe` if this end's last handle was dropped.
            pub fn read<T: FillTarget>(&self, buf: T) -> Operation<'_, T::Cargo, (), H> {
                let op = if self.handle().kind.is_message() { Op::RecvMessage } else { Op::Recv };
                Operation::new(self.handle(), op, buf.into_cargo())
            }
        }
    };
}

/// What writes.
macro_rules! writes {
    ($name:ident) => {
        impl<H: Home> $name<H> {
            /// Writes **all** of `buf` (`WriteFile`, `send` until done), in message mode as one message.
            ///
            /// Completes once, when the last byte is in the pipe. Writes go out in call order, whole. Errors, with the bytes that
            /// went before them: `BrokenPipe` (the other end is gone), `Cancelled`, and on Linux `MessageTruncated` for a message
            /// that is too long.
            pub fn write<T: DrainTarget>(&self, buf: T) -> Operation<'_, T::Cargo, (), H> {
                Operation::new(self.handle(), Op::Send, buf.into_cargo())
            }
        }
    };
}

/// One instance of a named pipe's server: it serves a client, then the next.
///
/// ```
/// use proactor::{Code, pipe::{PipeClient, PipeOptions}};
/// # let name = format!("proactor-doc-server-{}", std::process::id());
/// let server = PipeOptions::new().messages(true).create(&name)?;
/// let client = PipeClient::open(&name)?;
/// server.connect().wait().result?;
/// client.write(b"a long message").wait().result?;
/// let part = server.read(vec![0; 6]).wait();
/// assert_eq!(part.result.unwrap_err().code(), Code::MessageTruncated);
/// assert_eq!((&part.buffer[..], &server.read(vec![0; 64]).wait().buffer[..]), (&b"a long"[..], &b" message"[..]));
/// server.disconnect().wait().result?;
/// assert_eq!(client.read(vec![0; 6]).wait().bytes, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct PipeServer<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(PipeServer);
reads!(PipeServer);
writes!(PipeServer);

impl PipeServer {
    /// An instance of a byte pipe. As [`PipeOptions::create`] of [`PipeOptions::new`].
    pub fn create(name: &str) -> Result<PipeServer, Error> {
        PipeOptions::new().create(name)
    }
}

impl<H: Home> PipeServer<H> {
    /// Waits for this instance's client (`ConnectNamedPipe`, `accept4`).
    ///
    /// Completes when one has come, also if that was before the call (Win32 reports `ERROR_PIPE_CONNECTED` then). An instance that
    /// was told of its client already: `PipeConnected` (535). A cancel leaves the instance as it was; a drop of the last handle
    /// completes it with `BrokenPipe`. Several instances may wait; which gets the client is not said.
    pub fn connect(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::PipeConnect, NoBuffer)
    }

    /// Sends the client away, after every write started before it (`DisconnectNamedPipe`). The client's reads come to the end of
    /// the pipe; this instance's pending reads fail with `Shutdown` (233) or see the end, and it is ready to
    /// [`connect`](PipeServer::connect) again.
    ///
    /// On Windows what the client has not read yet is lost: have it close first, or answer. A client that does not read holds
    /// up writes, and this behind them: [`cancel_all`](PipeServer::cancel_all) first to be rid of it. Without a client:
    /// `NotConnected`, or `Shutdown` after a disconnect.
    pub fn disconnect(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Disconnect { reuse: false }, NoBuffer)
    }
}

/// A client's end of a named pipe.
pub struct PipeClient<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(PipeClient);
reads!(PipeClient);
writes!(PipeClient);

impl PipeClient {
    /// Opens the pipe of this name for reading and writing (`CreateFile`, `connect`), at once, in the pipe's own mode
    /// (`SetNamedPipeHandleState`).
    ///
    /// Errors: `FileNotFound` (nobody serves it), `PipeBusy` (no instance is free; try again, or wait), `AccessDenied`,
    /// `InvalidParameter` (the name).
    pub fn open(name: &str) -> Result<PipeClient, Error> {
        PipeClient::open_within(name, Wait::Poll)
    }

    /// The same, but waits for a free instance (`WaitNamedPipe`); blocks the calling thread meanwhile. `WaitTimeout` if none came
    /// in time; `FileNotFound` at once if nobody serves the pipe.
    ///
    /// ```
    /// use std::time::Duration;
    /// use proactor::{Code, pipe::{PipeClient, PipeServer}};
    /// # let name = format!("proactor-doc-wait-{}", std::process::id());
    /// let nobody = PipeClient::open_within(&name, Duration::from_secs(1)).unwrap_err();
    /// assert_eq!(nobody.code(), Code::FileNotFound);
    /// let server = PipeServer::create(&name)?;
    /// let client = PipeClient::open_within(&name, Duration::from_secs(1))?;
    /// # drop((server, client));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open_within(name: &str, wait: impl Into<Wait>) -> Result<PipeClient, Error> {
        check_name(name)?;
        let (state, message) = backend::open_pipe(name, wait.into())?;
        let kind = if message { Kind::MessagePipe } else { Kind::Pipe };
        Ok(PipeClient::from_handle(Handle::new(kind, state)))
    }
}

impl<H: Home> PipeClient<H> {
    /// Whether the pipe keeps messages apart (`GetNamedPipeInfo`).
    pub fn is_message_mode(&self) -> bool {
        self.handle().kind.is_message()
    }
}

/// The end of a nameless pipe where it is read.
pub struct PipeReader<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(PipeReader);
reads!(PipeReader);

/// The end of a nameless pipe where it is written. Dropping its last handle is the end of file of the other.
pub struct PipeWriter<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(PipeWriter);
writes!(PipeWriter);

/// A nameless pipe of bytes (`CreatePipe`, whose ends cannot be read and written overlapped; `pipe`): where it is read, and where it
/// is written.
///
/// ```
/// let (reader, writer) = proactor::pipe::pair()?;
/// let read = reader.read(vec![0; 64]).start()?;
/// writer.write(b"through").wait().result?;
/// assert_eq!(read.wait().buffer, b"through");
/// drop(writer);
/// assert_eq!(reader.read(vec![0; 64]).wait().bytes, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pair() -> Result<(PipeReader, PipeWriter), Error> {
    let (reader, writer) = backend::pipe_pair()?;
    let handle = |state| Handle::new(Kind::Pipe, state);
    Ok((PipeReader::from_handle(handle(reader)), PipeWriter::from_handle(handle(writer))))
}
