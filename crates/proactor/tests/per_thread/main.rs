//! The conformance suite on ports of one thread: the same source as `tests/conformance`, and what such ports have of their own.
//!
//! `home` says that a port is a `LocalPort`. The families come from `tests/conformance`; its `shared/` holds the promises
//! that are not made here. `again` runs all of it over the private epoll port too, as it does for the shared one.

// A test that meets what it did not expect is to panic.
#![allow(clippy::unwrap_used)]

#[macro_use]
#[allow(dead_code, reason = "some of it is for threads that share a port")]
#[path = "../conformance/common.rs"]
mod common;
mod home;
#[allow(dead_code, reason = "as above")]
#[path = "../support/threads.rs"]
mod threads;

#[path = "../conformance/accepting.rs"]
mod accepting;
#[path = "../conformance/accepting_many.rs"]
mod accepting_many;
#[path = "../conformance/alertable_gets.rs"]
mod alertable_gets;
#[path = "../conformance/apcs.rs"]
mod apcs;
#[path = "../conformance/backpressure.rs"]
mod backpressure;
#[path = "../conformance/blocking.rs"]
mod blocking;
#[path = "../conformance/cancelling.rs"]
mod cancelling;
#[path = "../conformance/channels.rs"]
mod channels;
#[path = "../conformance/closing.rs"]
mod closing;
#[path = "../conformance/composed.rs"]
mod composed;
#[path = "../conformance/connecting.rs"]
mod connecting;
#[path = "../conformance/connecting_to_names.rs"]
mod connecting_to_names;
#[path = "../conformance/creating_and_associating.rs"]
mod creating_and_associating;
#[path = "../conformance/datagrams.rs"]
mod datagrams;
#[path = "../conformance/deliveries.rs"]
mod deliveries;
#[cfg(target_os = "linux")]
#[path = "../conformance/descriptors.rs"]
mod descriptors;
#[path = "../conformance/direct_files.rs"]
mod direct_files;
#[path = "../conformance/disconnecting.rs"]
mod disconnecting;
#[path = "../conformance/errors.rs"]
mod errors;
#[path = "../conformance/events.rs"]
mod events;
#[path = "../conformance/every_delivery.rs"]
mod every_delivery;
#[path = "../conformance/files.rs"]
mod files;
#[path = "../conformance/files_as_a_whole.rs"]
mod files_as_a_whole;
#[path = "../conformance/futures.rs"]
mod futures;
#[path = "../conformance/getting.rs"]
mod getting;
#[path = "../conformance/getting_many.rs"]
mod getting_many;
#[path = "../conformance/groups.rs"]
mod groups;
#[path = "../conformance/handlers.rs"]
mod handlers;
#[cfg(windows)]
#[path = "../conformance/handles.rs"]
mod handles;
#[cfg(windows)]
#[path = "../conformance/kernel_apcs.rs"]
mod kernel_apcs;
#[path = "../conformance/messages.rs"]
mod messages;
#[path = "../conformance/modifiers.rs"]
mod modifiers;
#[path = "../conformance/operation_block.rs"]
mod operation_block;
#[path = "../conformance/own_calls.rs"]
mod own_calls;
#[path = "../conformance/pipes.rs"]
mod pipes;
#[path = "../conformance/processes.rs"]
mod processes;
#[path = "../conformance/promises.rs"]
mod promises;
#[path = "../conformance/receiving_many.rs"]
mod receiving_many;
#[path = "../conformance/refusals.rs"]
mod refusals;
#[path = "../conformance/resolving.rs"]
mod resolving;
#[path = "../conformance/routines.rs"]
mod routines;
#[path = "../conformance/sends.rs"]
mod sends;
#[path = "../conformance/signals.rs"]
mod signals;
#[path = "../conformance/steady_timers.rs"]
mod steady_timers;
#[path = "../conformance/streams.rs"]
mod streams;
#[path = "../conformance/timers_at_scale.rs"]
mod timers_at_scale;
#[path = "../conformance/transmitting.rs"]
mod transmitting;
#[path = "../conformance/waitable_timers.rs"]
mod waitable_timers;
#[path = "../conformance/waiting.rs"]
mod waiting;
#[path = "../conformance/who_gets_a_packet.rs"]
mod who_gets_a_packet;

mod own;

#[cfg(target_os = "linux")]
#[path = "../conformance/again.rs"]
mod again;
