//! `proactor::compat`: completion streams as the poll-style I/O of futures-io, tokio and hyper, in several executors. On loopback,
//! bounded in size and time.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod copies;
mod ends;
mod for_hyper;
mod memory;
mod polls;
