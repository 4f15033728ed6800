//! A runtime for async/await over completion ports: tasks, and the threads that run them.
//!
//! Two shapes, one interface:
//!
//! | | shared ([`Runtime::shared`]) | per-core ([`Runtime::per_core`]) |
//! |---|---|---|
//! | threads | N workers of one [`CompletionPort`](crate::CompletionPort) | N cores, each with its own [`LocalPort`](crate::LocalPort) |
//! | tasks | `Send`; any worker runs any task, so the work spreads by itself | stay where they were spawned, and need not be `Send` ([`spawn_local`]) |
//! | a task that is woken | is a post to the port, which allocates nothing | joins its thread's queue; from another thread, a post to its port |
//! | objects | those first used inside the runtime live on its port | those given to [`here`] live on the thread's port |
//! | for | connections of unequal weight | the most messages a second |
//!
//! There is no second reactor: operations are the library's own, and whoever completes one wakes the task. They can be awaited
//! with other executors as well ([`block_on`](crate::block_on), tokio, smol), and [`sleep`], [`timeout`] and [`interval`] work
//! there, too.
//!
//! ```
//! use proactor::{net::{TcpListener, TcpStream}, rt};
//!
//! #[proactor::main(threads = 2)]
//! async fn main() -> Result<(), proactor::Error> {
//!     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
//!     let addr = listener.local_addr()?;
//!     let server = rt::spawn(async move {
//!         let stream = listener.accept().await.result?.stream;
//!         let received = stream.recv(Vec::with_capacity(64)).await;
//!         stream.send(received.buffer).await.result
//!     });
//!     let client = TcpStream::unconnected_v4()?;
//!     client.connect(addr).await.result?;
//!     client.send(b"hello").await.result?;
//!     assert_eq!(&client.recv(Vec::with_capacity(64)).await.buffer[..], b"hello");
//!     server.await.expect("the task neither panicked nor was aborted")
//! }
//! ```
//!
//! # What is lost when a future is dropped
//!
//! Dropping a future at an `.await` (an abort, a [`timeout`], a `select`) cancels what it waits for:
//!
//! | future | dropped |
//! |---|---|
//! | an operation of the library | asks for its cancellation; the buffer stays until the kernel lets go of it; *a result that has arrived is lost with it*: received bytes are gone from the stream, an accepted connection is closed, sent bytes are sent ([`Overlapped`](crate::Overlapped) shows how not to lose any) |
//! | [`JoinHandle`] | nothing: the task goes on |
//! | [`sleep`] | nothing |
//! | [`timeout`] | what its own future loses |
//! | [`Interval::tick`] | nothing: the next call waits for the same tick |
//! | [`yield_now`] | nothing |
//!
//! # A task that blocks
//!
//! holds its thread, and with it, on a per-core runtime, every task of that core. [`spawn_blocking`] is for what blocks. On a shared
//! runtime the other workers go on meanwhile; they have whatever waits behind the one that blocks.

mod blocking;
mod builder;
mod core;
mod cores;
mod current;
mod handle;
mod job;
mod join;
mod registry;
mod runtime;
mod shared;
mod stay;
mod task;
mod time;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use blocking::spawn_blocking;
pub use builder::Builder;
pub use cores::on_each_core;
pub use current::here;
pub use handle::{Handle, spawn, spawn_local};
pub use join::{JoinError, JoinHandle};
pub use runtime::Runtime;
pub use time::{Elapsed, Interval, MissedTicks, Sleep, Timeout, interval, interval_at, sleep, sleep_until, timeout, timeout_at};

/// Lets other tasks run: the task goes to the end of its runtime's queue. Works with any executor.
///
/// ```
/// proactor::block_on(proactor::rt::yield_now());
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
