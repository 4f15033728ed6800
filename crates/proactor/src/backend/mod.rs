//! The backends: how each system keeps the promises. The only place that names systems.
//!
//! Contract, the same names for every backend:
//!
//! | item | what it does |
//! |---|---|
//! | `RawBuf` | the system's address-and-length pair |
//! | `BlockState` | the backend's part at the head of every block (`Default`) |
//! | `ObjectState` | the backend's part of an object: the descriptor and its lanes |
//! | `Descriptor` | the system's owned descriptor type of sockets |
//! | `Port::new`, `attach`, `post`, `get`, `get_alertable`, `close`, `is_closed`, `contract`, `attend`, `attended` | one completion port |
//! | `PortRef`, `WeakRef`, `Remote` | the ways to a port: an object's home, a weak one, and that of other threads to a thread's own port (`PortRef::new_local`) |
//! | `start(block)` | takes over a begun block; exactly one `deliver::complete` follows, after any number of `deliver::part` for operations of many; never user code inside |
//! | `cancel(object, which)` | asks; how many operations were meant. Those complete with Cancelled or their real result |
//! | `close(object)` | the last user's handle is gone: completes everything pending, closes the descriptor |
//! | `take_descriptor(object)` | gives the descriptor up, with nothing left registered on it |
//! | `process_port()` | the port of objects with no port of their own, served by one library thread |
//! | `futex_wait`, `futex_wake_one`, `futex_wake_all` | wait for a word to change |
//! | `Alarm` | wakes one thread where it does not sleep on a word |
//! | `AlarmClock::new`, `set`, `sleep` | what wakes the library's thread for moments (`time/service.rs`) |
//! | `ObjectState::timers`, `timing`, `Timing::post` | timers: a wheel (`time/armed.rs`) with this backend's alarm |
//! | `drives`, `drive(done, wait, alarm)` | whether the calling thread has ports nobody else drives; drives them while it waits |
//! | `read_cached(object, buffers, offset, at_leisure)` | a file's bytes, if they are to be had without waiting, or the thread may wait in the call |
//! | `while_blocked(f)` | runs `f`, which may block, with the calling worker's slot given to another |
//! | `give_slot_up()` | the same until the value it gives is dropped |
//! | `raw`, `RawCall` | the door to system calls of the user's own, and what such an operation carries |
//! | `open_process`, `process_of`, `same_process` | an object whose `Exited` completes when that process has ended |
//! | `create_pipe`, `open_pipe`, `pipe_pair` | an instance of a named pipe's server, its client's end, both ends of a nameless one |
//! | `unix_path`, `is_unnamed` | what a Unix socket's address names |
//! | `check_fork`, `code_of` | the error of a forked child; the table from system numbers to codes |
//!
//! A new operation is one arm in each backend's `match`: `epoll/perform.rs` (sockets), `uring/entry.rs` and
//! `blocking/mod.rs` (files), `iocp/start.rs`.

#[cfg(target_os = "linux")]
mod alarm;
#[cfg(target_os = "linux")]
pub(crate) mod blocking;
#[cfg(target_os = "linux")]
mod cached;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(target_os = "linux")]
mod direct;
#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
mod fifo;
#[cfg(target_os = "linux")]
mod gate;
#[cfg(target_os = "linux")]
mod local;
#[cfg(target_os = "linux")]
mod pipe;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod queue;
#[cfg(target_os = "linux")]
pub mod raw;
#[cfg(target_os = "linux")]
mod reuse;
#[cfg(target_os = "linux")]
mod route;
#[cfg(target_os = "linux")]
mod segments;
#[cfg(target_os = "linux")]
mod transmit;
#[cfg(target_os = "linux")]
mod uring;
#[cfg(target_os = "linux")]
mod wake;
#[cfg(target_os = "linux")]
pub mod watch;
#[cfg(target_os = "linux")]
mod worker;

#[cfg(target_os = "linux")]
pub(crate) use {
    alarm::{Alarm, Alert},
    cached::read_cached,
    clock::AlarmClock,
    epoll::*,
    pipe::{create_pipe, open_pipe, pipe_pair},
    process::{open_process, process_of, same_process},
    raw::RawCall,
    route::*,
};

/// What the models run.
#[cfg(all(test, loom, target_os = "linux"))]
pub(crate) use {
    gate::*,
    segments::{Segments, Words},
    wake::*,
    worker::Worker,
};

#[cfg(windows)]
mod iocp;
#[cfg(windows)]
pub use iocp::raw;
#[cfg(windows)]
pub(crate) use iocp::*;

use std::any::TypeId;

/// What a typed port tells the untyped machinery: which blocks it carries, and how to drop a key in raw form.
#[derive(Clone, Copy)]
pub(crate) struct Contract {
    pub block_type: Option<TypeId>,
    pub drop_key: unsafe fn(usize),
    /// Clones a key that stays.
    pub copy_key: unsafe fn(usize) -> usize,
}

impl Contract {
    /// The process's own port: no packets, no keys.
    pub const NO_PACKETS: Contract = Contract { block_type: None, drop_key: |_| {}, copy_key: |key| key };
}

/// A port's settings, in plain numbers.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub concurrency: u32,
    /// Whether a worker that blocks outside the library gives its slot up.
    pub block_monitor: bool,
    /// The port has a crew that always comes back to `get`: nobody else serves it while one of them runs.
    pub crew: bool,
}

impl Plan {
    /// A port that one thread of the library serves.
    pub const ALONE: Plan = Plan { concurrency: 1, block_monitor: false, crew: false };
}

/// How a fetch from a port ended. A word: beside an `Error` in a result, a byte would have packets moved in pieces around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Got {
    /// At least one entry.
    Entries,
    TimedOut,
    /// The port was closed during the wait.
    Abandoned,
    /// The alert of an alertable get is up, and there is no entry.
    Alerted,
}

/// Which backend to run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The best the system allows, found by a probe; `PROACTOR_BACKEND=uring|epoll` overrides it.
    #[default]
    Auto,
    /// Sockets through epoll, files through io_uring.
    Uring,
    /// Epoll alone; files through a pool of blocking threads.
    Epoll,
}

/// Which backend runs, and why.
#[derive(Clone, Debug)]
pub struct BackendInfo {
    /// What serves the sockets of shared ports.
    pub sockets: &'static str,
    /// What serves a per-thread port.
    pub per_thread: &'static str,
    /// What serves files.
    pub files: &'static str,
    /// Why these.
    pub reason: String,
}
