//! Linux: sockets through one edge-triggered epoll instance per port, packets through a queue in user space, files
//! through io_uring or a pool of blocking threads.
//!
//! Contract: `backend/mod.rs`. Nothing here blocks but `Port::get`, the library's own threads, and a cancel that waits
//! for a lane's owner.

mod doors;
mod fetch;
mod files;
mod futex;
mod lane;
mod monitor;
mod object;
mod pace;
mod perform;
mod pipes;
mod port;
mod reaper;
mod slab;
mod sys;
mod timing;
mod types;
mod watched;

pub(crate) use super::worker::{SlotGivenUp, give_slot_up, leave, while_blocked};
pub(crate) use doors::{is_unnamed, open_now, prepare_listener, socket_pair, unix_path};
pub(in crate::backend) use files::{at_once, has_uring, lacks};
pub(crate) use files::{choice, set_choice};
pub(crate) use futex::{futex_wait, futex_wake_all, futex_wake_one};
pub(crate) use object::ObjectState;
pub(in crate::backend) use perform::{is_passing, pipe_code};
pub(crate) use port::Port;
pub(crate) use reaper::process_port;
pub(in crate::backend) use sys::{borrow, eventfd, eventfd_that_blocks, give_pages_back, poll_two, send, send_msg, signal};
pub(crate) use timing::Timing;
pub(in crate::backend) use timing::no_room;
pub(in crate::backend) use types::Aside;
pub(crate) use types::{BlockState, Descriptor, RawBuf, check_fork, code_of};
pub(in crate::backend) use types::{is_forked, watch_forks};

/// Delivers a finished operation of the ring or the pool.
pub(in crate::backend) fn deliver_settled(
    header: std::ptr::NonNull<crate::op::Header>,
    bytes: usize,
    result: Result<crate::op::Value, crate::Error>,
    packets: &mut impl crate::deliver::Packets,
) {
    lane::settle(header, bytes, result, packets);
}

/// The same, onto a port's queue.
pub(in crate::backend) fn settle(
    header: std::ptr::NonNull<crate::op::Header>,
    bytes: usize,
    result: Result<crate::op::Value, crate::Error>,
    port: &Port,
) {
    lane::settle(header, bytes, result, &mut port.packets());
    port.settled();
}

/// Delivers an operation whose block has its outcome already, onto a port's queue.
fn settled(header: std::ptr::NonNull<crate::op::Header>, port: &Port) {
    // SAFETY: the caller owns the pending block, which no engine has.
    unsafe { crate::deliver::complete(header, &mut port.packets()) };
    port.settled();
}

#[cfg(all(test, loom))]
pub(crate) use lane::{BUSY, CLOSE, CLOSED, HUP, Ownership, READY, WORK};
