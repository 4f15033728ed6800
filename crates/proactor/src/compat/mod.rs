//! Meeting other libraries: completion streams as the poll-style I/O they expect. Behind features, none of them on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `futures-io` | [`Stream`] is futures-io's `AsyncRead`, `AsyncBufRead` and `AsyncWrite`: smol, async-std, futures, futures-rustls |
//! | `tokio-io` | [`Stream`] is tokio's `AsyncRead`, `AsyncBufRead` and `AsyncWrite`: tokio-util, tokio-rustls, tonic |
//! | `hyper` | [`Stream`] is `hyper::rt`'s `Read` and `Write`, and the module `compat::hyper` has its `Executor` and `Timer` |
//!
//! No executor comes with them, and none is needed but somebody who polls: `.await` works in tokio's tasks, smol's, and
//! [`block_on`](crate::block_on).

mod buffer;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
pub mod hyper;
mod read;
mod source;
mod stream;
#[cfg(feature = "tokio-io")]
mod tokio_io;
mod write;

pub use source::{Reads, Source, Writes};
pub use stream::Stream;
