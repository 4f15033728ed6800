//! The per-thread port over io_uring: one ring that its owner alone submits to and reaps (SINGLE_ISSUER, DEFER_TASKRUN).
//!
//! Contract: everything here is called on the port's own thread, which the types above see to (`Local` is not Send);
//! the one exception is `remote.rs`. Nothing moves but inside `get`, `drive` and the teardown, which enter the kernel.
//! Entries gather in the submission queue until the completion queue is empty: one enter a turn.
//!
//! | file | what |
//! |---|---|
//! | `port.rs` | the port: get, post, drive, entering the kernel, close |
//! | `lanes.rs` | a socket's two FIFOs, of which the head alone is in the kernel |
//! | `start.rs` | the one match: how each operation is asked |
//! | `finish.rs` | what each completion means |
//! | `cancel.rs` | cancel, close of an object, the descriptor's way out |
//! | `leases.rs` | buffer rings: a pool's buffers in the kernel's hands |
//! | `timing.rs` | timers |
//! | `remote.rs` | posts from other threads |
//!
//! | operation | where it is | leaves by |
//! |---|---|---|
//! | head of a lane | in the kernel; its block is the completion's user data | its own last completion |
//! | behind the head | its lane's list | its turn, or a cancel, at once |
//! | file, or accept that waits for first data | in the kernel, and in the port's list `floating` | its own last completion |
//!
//! A cancel of what is in the kernel asks; the operation completes by itself. An operation in the kernel holds its
//! object, whose home holds the port: the ring cannot go before its last completion, and what never completes keeps
//! everything it points to alive.

mod cancel;
mod finish;
mod lanes;
mod leases;
mod pipes;
mod port;
mod remote;
mod start;
mod timing;

pub(super) use cancel::{cancel, close, take_descriptor};
pub(crate) use port::Port;
pub(crate) use remote::Remote;
pub(super) use start::{Extra, Hunger, NO_GROUP};
