//! Bad days: dropping anything at any time, threads that end, forks, panics, exhaustion, storms. Never a hang, a leak or a
//! lost completion.
//!
//! Bodies that need a process of their own (descriptor counts, limits, forks) run in a child: this same binary, one test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alone;
mod at_random;
mod contexts;
mod drops;
mod elsewhere;
mod live;
mod modifiers;
mod storms;
mod tasks;
mod teardown;
mod timers;
mod waits;

#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod foreign;
#[cfg(target_os = "linux")]
mod fork;
#[cfg(target_os = "linux")]
mod idle;
#[cfg(target_os = "linux")]
mod own_calls;
#[cfg(target_os = "linux")]
mod per_thread;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod ten_thousand;
