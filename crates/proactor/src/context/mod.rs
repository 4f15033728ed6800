//! Contexts as Asio's users know them: handlers and functions run where and when one says, on threads one gives.
//!
//! | file | what |
//! |---|---|
//! | `io_context.rs` | [`IoContext`]: a completion port and a count of outstanding work; its executor |
//! | `thread_pool.rs`, `system.rs` | [`ThreadPool`]: a context with threads of its own; the process's |
//! | `executor.rs`, `any.rs`, `inline.rs` | [`Executor`]: post, dispatch, defer; of any type; on the spot |
//! | `strand.rs`, `chain.rs`, `cell.rs` | [`Strand`]: one at a time, in order; [`StrandCell`]: what that protects |
//! | `work.rs`, `services.rs` | [`WorkGuard`], [`Service`] |
//! | `job.rs` | [`Job`]: a function in a recycled block |
//! | `inner.rs`, `inside.rs` | the loop behind `run`; what the calling thread is inside of |
//!
//! An operation's handler runs through an executor with [`Operation::on`](crate::Operation::on).

mod any;
mod cell;
mod chain;
mod executor;
mod inline;
mod inner;
mod inside;
mod io_context;
mod job;
mod services;
mod strand;
mod system;
mod thread_pool;
mod work;

pub use any::AnyExecutor;
pub use cell::StrandCell;
pub use executor::Executor;
pub use inline::InlineExecutor;
pub(crate) use inner::of_home;
pub use io_context::{IoContext, IoExecutor};
pub use job::Job;
pub use services::Service;
pub use strand::Strand;
pub use system::SystemExecutor;
pub use thread_pool::ThreadPool;
pub use work::WorkGuard;

#[cfg(all(test, loom))]
pub(crate) use chain::{Chain, Link};

pub use crate::deliver::OnExecutor;
