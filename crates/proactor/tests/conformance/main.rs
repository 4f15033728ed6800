//! The conformance suite: what SEMANTICS.md promises, a test per promise, on every system and backend alike.
//!
//! A file per family, named after it; a test is named after its promise. The same source runs on Linux over io_uring and
//! epoll, on Linux over epoll alone (`again`), and on Windows or Wine; only `common` knows where it runs. Where Wine
//! answers otherwise than Windows, the test keeps the Windows answer and prints `SKIP <test>: <reason>` there, if
//! `PROACTOR_WINE` is set.
//!
//! The target `per_thread` runs the families once more, on ports of one thread; only `home` knows which kind a port is.
//! Promises that such a port does not make are in `shared/`, a file for each, and in ARCHITECTURE.md's table of them.
//!
//! Not tested, because the library or its interface has nothing yet to test it with:
//!
//! | family | promise | why not |
//! |---|---|---|
//! | 1 | not a handle, not a port: 6; a handle not opened for overlapped I/O: 87 | the types allow neither |
//! | 1 | duplicates of a descriptor share the association | made outside the library they are other objects to it on Linux |
//! | 5 | skip-on-success | not offered: an accepted operation always completes |
//! | 5 | never before the starting call returned | another thread cannot see when the call returns |
//! | 6 | one block used for two operations at once | the types do not allow it (`tests/compile_fail`) |
//! | 9 | cancelling a connect that hangs | loopback has none that hangs on every system alike |
//! | 10 | a synchronous handle given an offset; LockFile; directory changes | no such operations |
//! | 12 | an unconnected socket's unreachable peer | Linux reports it only to connected sockets |
//! | 13 | an accepting socket that is used, bound or connected: 10022 | the library makes the socket itself |
//! | 14 | unbound: 10022 | the library binds for its user, which is tested instead |
//! | 21 | rows of unreachable networks met in the wild | loopback reaches everything. The numbers are tested |

// A test that meets what it did not expect is to panic.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod common;
mod home;
#[path = "../support/threads.rs"]
mod threads;

mod accepting;
mod accepting_many;
mod alertable_gets;
mod apcs;
mod backpressure;
mod blocking;
mod cancelling;
mod channels;
mod closing;
mod composed;
mod connecting;
mod connecting_to_names;
mod creating_and_associating;
mod datagrams;
mod deliveries;
#[cfg(target_os = "linux")]
mod descriptors;
mod direct_files;
mod disconnecting;
mod errors;
mod events;
mod every_delivery;
mod files;
mod files_as_a_whole;
mod futures;
mod getting;
mod getting_many;
mod groups;
mod handlers;
#[cfg(windows)]
mod handles;
#[cfg(windows)]
mod kernel_apcs;
mod messages;
mod modifiers;
mod operation_block;
mod own_calls;
mod pipes;
mod processes;
mod promises;
mod receiving_many;
mod refusals;
mod resolving;
mod routines;
mod runtime;
mod runtime_ends;
mod sends;
mod signals;
mod steady_timers;
mod streams;
mod timers_at_scale;
mod transmitting;
mod waitable_timers;
mod waiting;
mod who_gets_a_packet;

/// What a per-thread port does not promise, a file for each row of ARCHITECTURE.md's table.
mod shared {
    mod any_thread;
    mod any_worker;
    mod association_by_reference;
    mod closed_under_a_wait;
    mod contexts;
    mod contexts_end;
    mod executors;
    mod gate;
    mod nobody_in_get;
    mod strands;
    mod thread_pool;
    mod thread_pool_io;
    mod thread_pool_timers;
    mod threads_end;
    mod waiting_for_ports;
}

#[cfg(target_os = "linux")]
mod again;
