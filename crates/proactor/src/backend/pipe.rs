//! Named pipes over Unix sockets: a byte pipe is a SOCK_STREAM, a message pipe a SOCK_SEQPACKET, of an abstract name that
//! has the user's number in it. Both ends see by SO_PEERCRED that the other is the same user's, or root's.
//!
//! All instances of a pipe belong to one process, and share its listening socket. An instance's own descriptor keeps its
//! number for life: it is a duplicate of the listener until `connect` has accepted a client, then (`replace`) that
//! connection, and after `disconnect` a duplicate of the listener again.
//!
//! | state of an instance | a client |
//! |---|---|
//! | `LISTENING` | none yet; reads and writes say so |
//! | `CONNECTED` | accepted |
//! | `DISCONNECTED` | sent away; reads and writes say that |
//!
//! A message stays in its socket while it is read (MSG_PEEK, with an offset that the kernel keeps: SO_PEEK_OFF), and is
//! taken out when its last byte was: so a cancel takes nothing, and the rest of a long one is there for the next read.

use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{ObjectState, epoll};
use crate::error::{Code, Error};
use crate::pipe::PipeOptions;
use crate::time::Wait;

pub(in crate::backend) const LISTENING: u32 = 0;
pub(in crate::backend) const CONNECTED: u32 = 1;
pub(in crate::backend) const DISCONNECTED: u32 = 2;

/// Where the clients of a named pipe come, for all its instances.
pub(crate) struct Listener {
    socket: Socket,
    /// The name in the other mode, so that it is one pipe's alone.
    _taken: Socket,
    name: String,
    message: bool,
    /// How many instances there may be.
    most: usize,
}

/// The pipes this process serves.
static SERVED: Mutex<Vec<Weak<Listener>>> = Mutex::new(Vec::new());

fn served() -> MutexGuard<'static, Vec<Weak<Listener>>> {
    SERVED.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Listener {
    pub fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn new(name: &str, options: &PipeOptions) -> Result<Listener, Error> {
        let (own, other) = (kind(options.message), kind(!options.message));
        let bound = |kind| -> Result<Socket, Error> {
            let socket = io(Socket::new(Domain::UNIX, kind, None))?;
            match socket.bind(&address(name)?) {
                Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {
                    Err(Error::from_io(&error).with_code(Code::AccessDenied).hint(
                        "another process serves a pipe of this name, and on Linux all instances of a pipe belong to one process; choose another name",
                    ))
                }
                result => io(result).map(|()| socket),
            }
        };
        let (socket, taken) = (bound(own)?, bound(other)?);
        let most = if options.instances == 0 { usize::MAX } else { options.instances as usize };
        // A backlog of n lets n + 1 wait.
        io(socket.listen(i32::try_from(most - 1).unwrap_or(4096)))?;
        io(socket.set_nonblocking(true))?;
        Ok(Listener { socket, _taken: taken, name: name.to_owned(), message: options.message, most })
    }
}

fn io<T>(result: std::io::Result<T>) -> Result<T, Error> {
    result.map_err(|error| Error::from_io(&error))
}

fn kind(message: bool) -> Type {
    if message { Type::SEQPACKET } else { Type::STREAM }
}

fn own_user() -> libc::uid_t {
    // SAFETY: no arguments; it cannot fail.
    unsafe { libc::geteuid() }
}

/// The abstract address of a pipe's name.
fn address(name: &str) -> Result<SockAddr, Error> {
    io(SockAddr::unix(format!("\0proactor-pipe-{}-{name}", own_user())))
}

/// A new instance of a named pipe's server.
pub(crate) fn create_pipe(name: &str, options: &PipeOptions) -> Result<ObjectState, Error> {
    epoll::check_fork()?;
    // Hints a Unix socket does not take, and clients it does not have.
    let PipeOptions { in_buffer: _, out_buffer: _, remote: _, .. } = options;
    let mut served = served();
    served.retain(|listener| listener.strong_count() > 0);
    let known = served.iter().filter_map(Weak::upgrade).find(|listener| listener.name == name);
    let listener = match known {
        Some(_) if options.first => {
            return Err(Error::new(Code::AccessDenied).hint("the pipe has instances already, and this was to be its first"));
        }
        Some(listener) if listener.message != options.message => {
            return Err(Error::new(Code::AccessDenied).hint("the pipe's other instances have another mode"));
        }
        // One count is `listener` itself; who drops an instance meanwhile makes room for the next call.
        Some(listener) if Arc::strong_count(&listener) > listener.most => {
            return Err(Error::new(Code::PipeBusy).hint("the pipe has all the instances it may have; drop or reuse one"));
        }
        Some(listener) => listener,
        None => {
            let listener = Arc::new(Listener::new(name, options)?);
            served.push(Arc::downgrade(&listener));
            listener
        }
    };
    drop(served);
    let own = io(listener.socket.try_clone())?;
    let mut state = ObjectState::new(own.into(), true, false);
    state.pipe = Some(listener);
    Ok(state)
}

/// A client's end of a named pipe, and whether the pipe keeps messages apart.
pub(crate) fn open_pipe(name: &str, wait: Wait) -> Result<(ObjectState, bool), Error> {
    epoll::check_fork()?;
    let to = address(name)?;
    for message in [false, true] {
        let socket = io(Socket::new(Domain::UNIX, kind(message), None))?;
        match connect(&socket, &to, wait) {
            Ok(()) => {
                if !is_own(socket.as_raw_fd()) {
                    return Err(Error::new(Code::AccessDenied).hint("the pipe of this name is another user's"));
                }
                prepare(socket.as_raw_fd(), message)?;
                return Ok((ObjectState::new(socket.into(), true, false), message));
            }
            // Nobody listens in this mode.
            Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(Code::FileNotFound).hint("nobody serves a pipe of this name"))
}

/// Connects, waiting until there is room among those who wait to be accepted.
fn connect(socket: &Socket, to: &SockAddr, wait: Wait) -> Result<(), Error> {
    io(socket.set_nonblocking(wait.is_poll()))?;
    loop {
        // None is no end; no time at all would mean that, too.
        let left = wait.left().map(|left| left.max(Duration::from_micros(1)));
        io(socket.set_write_timeout(left))?;
        match super::while_blocked(|| socket.connect(to)) {
            Ok(()) => break,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) if wait.is_poll() => return Err(Error::new(Code::PipeBusy)),
                Some(libc::EAGAIN) if wait.is_over() => return Err(Error::new(Code::WaitTimeout)),
                Some(libc::EAGAIN) => {}
                _ => return Err(Error::from_io(&error)),
            },
        }
    }
    io(socket.set_write_timeout(None))?;
    io(socket.set_nonblocking(false))
}

/// Both ends of a nameless pipe: where it is read, and where it is written.
pub(crate) fn pipe_pair() -> Result<(ObjectState, ObjectState), Error> {
    epoll::check_fork()?;
    let (reader, writer) = io(Socket::pair(Domain::UNIX, Type::STREAM, None))?;
    io(reader.shutdown(std::net::Shutdown::Write))?;
    let state = |socket: Socket| ObjectState::new(socket.into(), true, false);
    Ok((state(reader), state(writer)))
}

/// Whether the other end's process is this user's, or root's.
fn is_own(fd: RawFd) -> bool {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the structure is writable for its length.
    let answer = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut len) };
    answer == 0 && (peer.uid == own_user() || peer.uid == 0)
}

/// Has the kernel remember how far a message was read.
fn prepare(fd: RawFd, message: bool) -> Result<(), Error> {
    let start: libc::c_int = 0;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is readable for its length.
    let answer = || unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_PEEK_OFF, (&raw const start).cast(), len) };
    if message && answer() != 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// The next client of a listening instance, if one has come.
pub(in crate::backend) fn accept(instance: RawFd) -> Result<Option<OwnedFd>, Error> {
    loop {
        // SAFETY: no address is asked for; the descriptor returned is new and ours alone.
        let client = unsafe {
            match libc::accept4(instance, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC) {
                -1 => Err(Error::last_os_error()),
                fd => Ok(OwnedFd::from_raw_fd(fd)),
            }
        };
        match client {
            Ok(client) if is_own(client.as_raw_fd()) => {
                let message = SockRef::from(&client).r#type().is_ok_and(|kind| kind == Type::SEQPACKET);
                prepare(client.as_raw_fd(), message)?;
                return Ok(Some(client));
            }
            Ok(stranger) => drop(stranger),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => return Ok(None),
                Some(libc::EINTR | libc::ECONNABORTED) => {}
                _ => return Err(error),
            },
        }
    }
}

/// Makes an instance's descriptor another name of what `by` is, and closes what it was. Its registration with an epoll
/// instance goes before: a duplicate elsewhere would keep it.
pub(in crate::backend) fn replace(instance: RawFd, by: RawFd) -> Result<(), Error> {
    // SAFETY: both are open, and the first is its object's own.
    match unsafe { libc::dup3(by, instance, libc::O_CLOEXEC) } {
        -1 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Takes the message out that was read to its end; there is none at the end of the pipe.
pub(in crate::backend) fn drop_message(fd: RawFd) {
    // SAFETY: a buffer of no length.
    unsafe { libc::recv(fd, std::ptr::null_mut(), 0, libc::MSG_DONTWAIT) };
}

/// What a read says whose message was longer than its buffer.
pub(in crate::backend) fn truncated() -> Error {
    Error::from_raw_os_error(libc::EMSGSIZE).hint("the message is longer than the buffer; read again for its rest")
}

/// What a read or write says on an instance without a client.
pub(in crate::backend) fn no_client(state: u32) -> Error {
    match state {
        DISCONNECTED => Error::new(Code::Shutdown).hint("the client was disconnected; connect the instance again"),
        _ => Error::new(Code::NotConnected).hint("the pipe's instance has no client yet; connect it first"),
    }
}

/// The error of a read or write that the kernel refused. `None`: another try tells, because a peer that closed before it had
/// read everything is at its end like any other, and the kernel says so only once.
pub(in crate::backend) fn failure(errno: i32, reads: bool, has_client: bool, state: u32) -> Option<Error> {
    let error = Error::from_raw_os_error(errno);
    match errno {
        libc::EINVAL | libc::ENOTCONN | libc::EPIPE if !has_client => Some(no_client(state)),
        libc::ECONNRESET if reads => None,
        libc::ECONNRESET | libc::EPIPE => Some(error.with_code(Code::BrokenPipe)),
        libc::EMSGSIZE => Some(error.hint("the message is too long for the pipe; send it in parts")),
        _ => Some(error),
    }
}
