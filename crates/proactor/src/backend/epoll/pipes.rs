//! Operations of pipes: as those of sockets, but an instance of a server changes what its descriptor is.

use std::os::fd::{AsRawFd, RawFd};

use super::super::pipe::{self, CONNECTED, DISCONNECTED};
use super::lane::{Owned, Slot};
use super::perform::{Step, ready};
use super::port::Port;
use super::sys;
use crate::error::{Code, Error};
use crate::op::{Interest, Value, Work};
use crate::shim::Ordering;

fn over(bytes: usize, error: Error) -> Step {
    Step::Done(bytes, Err(error))
}

fn state(slot: &Slot) -> u32 {
    slot.connected.load(Ordering::SeqCst)
}

/// Gives the instance its client. Runs in the read lane; nothing of the write lane is pending without a client.
pub(super) fn connect(slot: &Slot, port: &Port) -> Step {
    if state(slot) == CONNECTED {
        return over(0, Error::new(Code::PipeConnected));
    }
    let client = match pipe::accept(slot.fd()) {
        Ok(Some(client)) => client,
        Ok(None) => return Step::Blocked,
        Err(error) => return over(0, error),
    };
    match become_another(slot, client.as_raw_fd(), CONNECTED, port) {
        Ok(()) => Step::Done(0, Ok(Value::None)),
        Err(error) => over(0, error),
    }
}

/// The instance's descriptor becomes the connection, or the listener again. The other lane may be in a call of it: that
/// has the one or the other.
fn become_another(slot: &Slot, by: RawFd, state: u32, port: &Port) -> Result<(), Error> {
    port.unwatch(slot.fd());
    let replaced = pipe::replace(slot.fd(), by);
    if replaced.is_ok() {
        // First, so that operations that the first event sets off find it so.
        slot.connected.store(state, Ordering::SeqCst);
    }
    port.watch(slot).and(replaced)
}

/// Sends the client away. Runs in the write lane, behind the writes.
pub(super) fn disconnect(slot: &Slot, owned: &mut Owned, port: &Port) -> Step {
    if state(slot) != CONNECTED {
        return over(0, pipe::no_client(state(slot)));
    }
    let listener = slot.listener.load(Ordering::SeqCst).cast_signed();
    owned.disconnected = true;
    match become_another(slot, listener, DISCONNECTED, port) {
        Ok(()) => Step::Done(0, Ok(Value::None)),
        Err(error) => over(0, error),
    }
}

/// Reads a message, or the next part of one.
pub(super) fn recv_message(slot: &Slot, work: &Work) -> Step {
    if work.buffers.total() == 0 {
        return ready(slot.fd(), Interest::Read);
    }
    loop {
        match work.buffers.with_rest(0, |bufs| sys::peek(slot.fd(), bufs)) {
            Ok((n, true)) => return over(n, pipe::truncated()),
            Ok((n, false)) => {
                pipe::drop_message(slot.fd());
                return Step::Done(n, Ok(Value::None));
            }
            Err(libc::EAGAIN) => return Step::Blocked,
            Err(libc::EINTR) => {}
            Err(errno) => {
                if let Some(failed) = failed(slot, 0, errno) {
                    return failed;
                }
            }
        }
    }
}

/// What a read failed with; `None` to try again.
pub(super) fn failed(slot: &Slot, bytes: usize, errno: i32) -> Option<Step> {
    let has_client = !slot.is_pipe_server() || state(slot) == CONNECTED;
    pipe::failure(errno, true, has_client, state(slot)).map(|error| over(bytes, error))
}

pub(super) fn failed_write(slot: &Slot, bytes: usize, errno: i32) -> Step {
    let has_client = !slot.is_pipe_server() || state(slot) == CONNECTED;
    match pipe::failure(errno, false, has_client, state(slot)) {
        Some(error) => over(bytes, error),
        None => unreachable!("only reads are tried again"),
    }
}
