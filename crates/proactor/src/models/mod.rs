//! Models of the concurrent parts, every interleaving explored by loom up to `LOOM_MAX_PREEMPTIONS`.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test -p proactor --lib --release models
//! ```
//!
//! Each model runs the library's own words (`Ownership`, `Shared`, `Event`, `Core`, `Chain`, `Group`, `Record`, `Queue`, `Gate`, `Wake`,
//! `Worker`, `Segments`); only what the kernel does is made up: the socket, the poll, the futex (`backend/epoll/futex.rs`).
//! A wake that never comes is a deadlock, which loom reports. Each file names the changes to the library that were seen to
//! fail in it: a model that cannot fail proves nothing.
//!
//! Loom takes SeqCst loads and stores for Acquire and Release ones, and only fences for what they are. So wherever one
//! side writes A and reads B while the other writes B and reads A, the library has a fence on both sides.

#![expect(clippy::unwrap_used, reason = "a model that cannot go on has failed")]

mod all;
mod apc;
mod chain;
mod event;
mod gate;
mod lane;
mod overlapped;
mod queue;
mod wake;
mod worker;
