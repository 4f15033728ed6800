//! Operations of pipes: as those of sockets, but an instance of a server changes what its descriptor is.

use std::os::fd::AsRawFd;

use super::super::epoll::BlockState;
use super::super::pipe::{self, CONNECTED, DISCONNECTED};
use super::lanes::Lanes;
use crate::error::{Code, Error};
use crate::op::{Op, Value, Work};

impl Lanes {
    /// The state of a server's instance; others have their peer for life.
    fn pipe_state(&self) -> u32 {
        self.instance.as_ref().map_or(CONNECTED, |instance| instance.state)
    }
}

/// Gives the instance its client; false if none has come. Nothing else of the read lane is in the kernel.
pub(super) fn connect(lanes: &mut Lanes) -> Result<bool, Error> {
    if lanes.pipe_state() == CONNECTED {
        return Err(Error::new(Code::PipeConnected));
    }
    let Some(client) = pipe::accept(lanes.fd)? else { return Ok(false) };
    pipe::replace(lanes.fd, client.as_raw_fd())?;
    if let Some(instance) = &mut lanes.instance {
        instance.state = CONNECTED;
    }
    Ok(true)
}

/// Sends the client away. A read that the kernel has keeps the connection from being closed, so it is shut down first,
/// which ends that read.
pub(super) fn disconnect(lanes: &mut Lanes) -> Result<Value, Error> {
    let (fd, state) = (lanes.fd, lanes.pipe_state());
    match &mut lanes.instance {
        Some(instance) if state == CONNECTED => {
            // SAFETY: no pointers. It fails only if the client has gone.
            unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
            pipe::replace(fd, instance.listener)?;
            instance.state = DISCONNECTED;
            Ok(Value::None)
        }
        _ => Err(pipe::no_client(state)),
    }
}

/// What a read brought.
pub(super) fn read(lanes: &Lanes, work: &Work, sys: &mut BlockState, n: usize) -> (usize, Result<Value, Error>) {
    let is_message = matches!(work.op, Op::RecvMessage);
    if work.buffers.total() == 0 {
        return (0, Ok(Value::None));
    }
    if n == 0 && lanes.pipe_state() != CONNECTED {
        return (0, Err(pipe::no_client(lanes.pipe_state())));
    }
    if is_message && sys.extra().message.msg_flags & libc::MSG_TRUNC != 0 {
        return (n, Err(pipe::truncated()));
    }
    if is_message {
        pipe::drop_message(lanes.fd);
    }
    (n, Ok(Value::None))
}

/// What the kernel's error says; `None` to try again.
pub(super) fn failure(lanes: &Lanes, op: &Op, errno: i32) -> Option<Error> {
    let reads = matches!(op, Op::Recv | Op::RecvMessage);
    pipe::failure(errno, reads, lanes.pipe_state() == CONNECTED, lanes.pipe_state())
}
