//! Windows: completion ports of the kernel's own.
//!
//! Contract: `backend/mod.rs`. The address of a block is the address of its OVERLAPPED, and that is what the kernel
//! hands back. A packet goes through the port of its object's home; an overlapped operation sets `hEvent | 1`, which
//! keeps its packet from any port, and is finished by a thread that waits for the event (`events.rs`).
//!
//! | file | what it holds |
//! |---|---|
//! | `types.rs` | buffers, the block's part, descriptors |
//! | `unbegun.rs` | operations that end before they began |
//! | `codes.rs` | the tables from system numbers to codes |
//! | `sys.rs` | the system calls |
//! | `lanes.rs` | an object's descriptor and its lists of pending operations |
//! | `object.rs` | start, cancel, close; how an operation ends |
//! | `start.rs` | the one match over operations: how each is given to the kernel |
//! | `finish.rs` | what a completed operation brought |
//! | `messages.rs` | datagrams with their headers |
//! | `multi.rs` | operations of many completions |
//! | `port.rs`, `inside.rs`, `closing.rs` | the port, the threads inside its `get`, its end |
//! | `leaving.rs` | how a thread stops to count against a port |
//! | `route.rs` | the ways to a port, and what a thread's own port is |
//! | `watch.rs` | the port as an object that threads wait for |
//! | `issuer.rs`, `events.rs` | who starts overlapped operations, and who finishes them |
//! | `held.rs` | who starts what had to wait for the operations before it |
//! | `alarm.rs` | what wakes a thread in an alertable wait, and the kernel's APCs |
//! | `attend.rs` | who fetches packets when nobody does and somebody waits |
//! | `pipe.rs` | pipes |
//! | `waits.rs` | who waits for objects that are signalled |
//! | `process.rs`, `handle.rs` | such objects: processes, and handles of the user's |
//! | `raw.rs` | the door to overlapped calls of the user's own |
//! | `blocking.rs` | calls that have no overlapped form |
//! | `signals.rs` | the console's events |
//! | `timing.rs`, `clock.rs` | timers, and what wakes the library's thread for them |
//! | `doors.rs` | handles and the standard library's types, in and out |
//!
//! An operation of many completions is one call of the kernel's after the other: each is made when the completion of the one
//! before it is dequeued. A thread's own port is one from which only that thread takes packets, and drops them.
//!
//! FILE_SKIP_COMPLETION_PORT_ON_SUCCESS is set on no handle: a packet made by us, of an operation that was over at once, would pass
//! those the kernel has queued, and the mode stays with the handle when it goes back to the user. Overlapped operations,
//! which have no packets, are finished at once all the same (`Issued::AtOnce`).
//!
//! No lock is held while user code runs; the lock of a lane is held over the kernel's call that starts an operation,
//! which never blocks.

mod alarm;
mod attend;
mod blocking;
mod clock;
mod closing;
mod codes;
mod doors;
mod events;
mod finish;
mod futex;
pub mod handle;
mod held;
mod inside;
mod issuer;
mod lanes;
mod leaving;
mod messages;
mod multi;
mod object;
mod owner;
mod pipe;
mod port;
mod process;
pub mod raw;
mod route;
mod signals;
mod start;
mod sys;
mod timing;
mod types;
mod unbegun;
mod waits;
mod watch;

pub(crate) use alarm::{Alarm, Alert, HAS_APCS, apcs_have_run, drive, drives, run_apcs, sleep_alertably};
pub(crate) use clock::AlarmClock;
pub(crate) use codes::code_of;
pub(crate) use doors::{is_unnamed, open_now, prepare_listener, socket_pair, unix_path};
pub(crate) use futex::{futex_wait, futex_wake_all, futex_wake_one};
pub(crate) use issuer::process_port;
pub(crate) use leaving::leave;
pub(crate) use object::{ObjectState, cancel, close, start, take_descriptor};
pub(crate) use pipe::{create_pipe, open_pipe, pipe_pair};
pub(crate) use port::Port;
pub(crate) use process::{open_process, process_of, same_process};
pub(crate) use raw::RawCall;
pub(crate) use route::{PortRef, Remote, WeakRef};
pub(crate) use signals::{catch_signal, check_signal, raise_signal, release_signal};
pub(crate) use timing::{OwnThread, Timing};
pub(crate) use types::{BlockState, Descriptor, RawBuf};
pub(crate) use unbegun::end;

use super::{Backend, BackendInfo};
use crate::error::{Code, Error};

/// Windows has no fork.
pub(crate) fn check_fork() -> Result<(), Error> {
    Ok(())
}

/// Runs `f`, which may block. The kernel sees a thread of a port block, wherever it does, and releases another.
/// Every read goes through the kernel's queue of its handle.
pub(crate) fn read_cached(_: &crate::handle::Object, _: &crate::buf::Buffers, _: u64, _: bool) -> Option<usize> {
    None
}

pub(crate) fn while_blocked<T>(f: impl FnOnce() -> T) -> T {
    f()
}

/// What `give_slot_up` gives where the kernel itself keeps count: nothing.
pub(crate) enum SlotGivenUp {}

/// There is no slot to give: a thread that goes on running keeps its place.
pub(crate) fn give_slot_up() -> Option<SlotGivenUp> {
    None
}

pub(crate) fn choice() -> BackendInfo {
    BackendInfo {
        sockets: "IOCP",
        per_thread: "IOCP",
        files: "IOCP",
        reason: "Windows has completion ports of its own".to_owned(),
    }
}

pub(crate) fn set_choice(backend: Backend) -> Result<(), Error> {
    match backend {
        Backend::Auto => Ok(()),
        Backend::Uring | Backend::Epoll => {
            Err(Error::new(Code::NotSupported).hint("io_uring and epoll are Linux's; on Windows choose Backend::Auto"))
        }
    }
}
