//! A completion stream as poll-style I/O.

use std::io;
#[cfg(any(feature = "tokio-io", feature = "hyper"))]
use std::task::ready;
use std::task::{Context, Poll};

use super::buffer::process_pool;
use super::read::Reading;
use super::source::{Reads, Source, Writes, handle};
use super::write::Writing;
use crate::buf::BufferPool;
use crate::error::{Code, Error};

/// A completion stream as poll-style I/O: `AsyncRead` and `AsyncWrite` of futures-io (feature `futures-io`) and of tokio (feature
/// `tokio-io`), `hyper::rt`'s `Read` and `Write` (feature `hyper`), on any executor.
///
/// Polls lend a buffer for the moment of a call, operations own theirs until they complete; so this copies, once each way, through
/// buffers leased from a [`BufferPool`]. At most one receive and one send are in flight.
///
/// * **Reading** waits for something to read without a buffer, and leases one when there is: an idle connection pins none. (A pipe
///   cannot be waited for; it pins one while a read is pending.) At the peer's close: 0 bytes.
/// * **Writing** takes as much as a buffer holds (32 KiB of the process's pool) and begins to send it. The next write waits until
///   that is in the socket's buffer. If it fails, the next write, flush or close says so, and every one after it.
/// * **Flushing** waits for the send in flight. **Closing** (`poll_close`, `poll_shutdown`) flushes, then closes the sending half
///   of a socket; a pipe has no halves, so only dropping it tells the other end.
/// * A poll may be abandoned at any time, and come back from another task: the operation stays here, nothing is lost.
/// * **Dropping** the stream cancels what is in flight. Flush or close first, or what was written last may not be sent.
///
/// Operations started on [`get_ref`](Stream::get_ref)'s object take their turn among these. Cancelling them all breaks a write
/// that is in flight, which is reported as `ConnectionAborted`.
///
/// ```
/// # #[cfg(feature = "tokio-io")] {
/// use proactor::{compat::Stream, net::{TcpListener, TcpStream}};
/// use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
/// # use std::{future::poll_fn, pin::Pin};
/// proactor::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let client = TcpStream::unconnected_v4()?;
///     client.connect(listener.local_addr()?).await.result?;
///     let server = listener.accept().await.result?.stream;
///
///     let (mut client, mut server) = (Stream::new(client), Stream::new(server));
///     // With tokio's AsyncWriteExt and AsyncReadExt: client.write_all(b"hello").await?, and so on.
///     let n = poll_fn(|cx| Pin::new(&mut client).poll_write(cx, b"hello")).await?;
///     poll_fn(|cx| Pin::new(&mut client).poll_shutdown(cx)).await?;
///     let mut memory = [0; 16];
///     let mut buf = ReadBuf::new(&mut memory);
///     poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut buf)).await?;
///     assert_eq!(buf.filled(), b"hello");
///     std::io::Result::Ok(())
/// })?;
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Stream<S: Source> {
    // Before the object, so that dropping cancels them rather than the close aborting them.
    pub(super) reading: Reading<S::Home>,
    pub(super) writing: Writing<S::Home>,
    pub(super) source: S,
    pub(super) pool: BufferPool,
}

impl<S: Source> Stream<S> {
    /// Wraps a stream; its buffers come from the process's own pool of 512 times 32 KiB, and from the allocator past that.
    pub fn new(source: S) -> Stream<S> {
        Stream::with_pool(source, process_pool())
    }

    /// As [`new`](Stream::new), with buffers of `pool`, whose size is the most that is received or sent at once. With none free
    /// it allocates.
    pub fn with_pool(source: S, pool: &BufferPool) -> Stream<S> {
        Stream { reading: Reading::new(), writing: Writing::new(), source, pool: pool.clone() }
    }

    /// The object inside, for its addresses, options and limits. What it receives on its own is missing here.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// What was received and nobody read yet.
    pub fn buffered(&self) -> &[u8] {
        self.reading.here()
    }
}

/// What the traits of all the libraries come down to.
impl<S: Reads> Stream<S> {
    pub(super) fn poll_fill_here(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.reading.poll_fill(&self.source, &self.pool, cx)
    }

    /// Lends what is there, up to `room`, to `put`, and consumes it. With no room it is ready and touches nothing.
    #[cfg(any(feature = "tokio-io", feature = "hyper"))]
    pub(super) fn poll_give(&mut self, cx: &mut Context<'_>, room: usize, put: impl FnOnce(&[u8])) -> Poll<io::Result<()>> {
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let here = ready!(self.poll_fill_here(cx))?;
        let n = here.len().min(room);
        put(&here[..n]);
        self.reading.consume(n);
        Poll::Ready(Ok(()))
    }
}

/// Likewise.
impl<S: Writes> Stream<S> {
    pub(super) fn poll_take<'d>(
        &mut self,
        cx: &mut Context<'_>,
        data: impl Iterator<Item = &'d [u8]>,
    ) -> Poll<io::Result<usize>> {
        self.writing.poll_write(&self.source, &self.pool, cx, data)
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing.poll_close(&self.source, cx)
    }
}

impl<S: Source> From<S> for Stream<S> {
    fn from(source: S) -> Stream<S> {
        Stream::new(source)
    }
}

impl<S: Source + std::fmt::Debug> std::fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stream").field(&self.source).finish()
    }
}

/// The system's own error where the standard library knows its kind as this one does; else one of the right kind around it.
/// (Of Windows's numbers it does not know them all, and callers act on kinds: cancelled is not timed out.)
pub(super) fn io_error(error: Error) -> io::Error {
    let plain = io::Error::from(error);
    if plain.kind() == error.kind() { plain } else { io::Error::new(error.kind(), error) }
}

/// Refuses what is no stream of bytes.
pub(super) fn check<S: Source>(source: &S) -> io::Result<()> {
    if handle(source).kind.is_message() {
        let hint = "a pipe in message mode is no stream of bytes; use its own read and write";
        return Err(Error::new(Code::InvalidParameter).hint(hint).into());
    }
    Ok(())
}
