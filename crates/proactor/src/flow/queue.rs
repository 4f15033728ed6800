//! A stream's queue of sends, of so many bytes.

use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;

use crate::backend;
use crate::buf::{Buffers, DrainList, NoBuffer};
use crate::deliver::Overlapped;
use crate::error::{Code, Error, Refused};
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::{TcpStream, UnixStream, object};
use crate::op::{OpKind, Operation, Source, Value, Waiting, awaited};
use crate::shim::{Mutex, lock};

/// A queue of what is to be sent on a stream: any thread pushes buffers, which go out in that order, whole, one send at a time of what
/// has gathered (`writev`). It holds so many bytes and no more; a push past that is refused, and [`room`](SendQueue::room) tells
/// when there is space again. So a peer that does not read costs its budget of memory, and who sends to it is slowed down.
///
/// Nobody needs to drive it: each completion starts the next send. It has a handle of the stream, which lives on a shared port or
/// the process's own; a send of others on the same stream goes between two of the queue's. The first error is the queue's end: what was
/// queued is dropped, and every later push and wait has that error.
///
/// The waits are operations of the queue, which may be associated with a port. Cloning shares it. Dropping the last handle
/// drops what has not been sent and cancels the send in flight: [`flush`](SendQueue::flush) first.
///
/// ```
/// use proactor::flow::SendQueue;
/// use proactor::net::TcpStream;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let stream = TcpStream::from(std::net::TcpStream::connect(listener.local_addr()?)?);
/// # let (mut peer, _) = listener.accept()?;
/// proactor::block_on(async {
///     let queue = SendQueue::new(&stream, 1 << 20);
///     for line in ["one\n", "two\n"] {
///         queue.room(line.len()).await.result?;
///         queue.push(line)?;
///     }
///     queue.flush().await.result?;
/// #   queue.close();
/// #   stream.disconnect().await.result?;
///     Ok::<(), proactor::Error>(())
/// })?;
/// # assert_eq!(std::io::read_to_string(&mut peer)?, "one\ntwo\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SendQueue<H: Home = Shared> {
    inner: Opaque<H>,
    owner: Arc<Owner>,
}

object!(SendQueue, with owner);

/// A send of what gathered.
type Sending = Overlapped<DrainList<Vec<Bytes>>, ()>;

/// The streams there can be a queue for. Sealed: TCP and Unix streams.
pub trait Queues: sealed::Sealed {}

impl Queues for TcpStream {}
impl Queues for UnixStream {}

mod sealed {
    pub trait Sealed: Send + Sync + 'static {
        #[doc(hidden)]
        fn another(&self) -> Box<dyn Sealed>;
        #[doc(hidden)]
        fn send_list(&self, list: Vec<bytes::Bytes>) -> super::Sending;
    }
}

impl sealed::Sealed for TcpStream {
    fn another(&self) -> Box<dyn sealed::Sealed> {
        Box::new(self.clone())
    }

    fn send_list(&self, list: Vec<Bytes>) -> Sending {
        self.send_vectored(list).into_future()
    }
}

impl sealed::Sealed for UnixStream {
    fn another(&self) -> Box<dyn sealed::Sealed> {
        Box::new(self.clone())
    }

    fn send_list(&self, list: Vec<Bytes>) -> Sending {
        self.send_vectored(list).into_future()
    }
}

/// What all handles share; the last one takes the queue down.
struct Owner(Arc<Inner>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.shut();
    }
}

struct Inner {
    stream: Box<dyn sealed::Sealed>,
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    /// Queued, and in flight.
    bytes: usize,
    /// Of the send in flight.
    in_flight: usize,
    /// Ever pushed, and ever sent.
    pushed: u64,
    sent: u64,
    sending: Option<Sending>,
    /// A list that was sent, to be used again.
    spare: Vec<Bytes>,
    /// Why nothing goes any more.
    end: Option<Error>,
    room: VecDeque<(usize, Waiting)>,
    flush: VecDeque<(u64, Waiting)>,
}

/// A completed wait, to be told with no lock held.
type Told = (Waiting, Result<Value, Error>);

impl SendQueue {
    /// A queue of at most so many bytes for this stream, of which it takes a handle. One buffer that is larger is taken when
    /// nothing is queued.
    pub fn new(stream: &impl Queues, most: usize) -> SendQueue {
        let handle = Handle::new(Kind::Awaited, backend::ObjectState::timers());
        let inner = Inner { stream: stream.another(), most, state: Mutex::default() };
        SendQueue { inner: Opaque::new(handle), owner: Arc::new(Owner(Arc::new(inner))) }
    }
}

impl<H: Home> SendQueue<H> {
    /// Queues a buffer, behind those before it. It never waits: a `Vec<u8>`, a `String` and `Bytes` go without being copied.
    ///
    /// # Errors
    /// The buffer comes back: with [`Code::TooManyBytesQueued`] if there is no room now, with [`Code::InvalidHandle`] after
    /// [`close`](SendQueue::close), with the error of the send that failed, or [`Code::Forked`].
    pub fn push(&self, buffer: impl Into<Bytes>) -> Result<(), Refused<Bytes>> {
        let buffer = buffer.into();
        if let Err(error) = backend::check_fork() {
            return Err(Refused { error, back: buffer });
        }
        let inner = &self.owner.0;
        {
            let mut state = lock(&inner.state);
            let refused = match state.end {
                Some(error) => Some(error),
                None if !state.has_room(inner.most, buffer.len()) => Some(
                    Error::new(Code::TooManyBytesQueued)
                        .of(OpKind::Send)
                        .hint("the queue holds as many bytes as it may; wait for room, or give the queue a larger budget"),
                ),
                None => None,
            };
            if let Some(error) = refused {
                return Err(Refused { error, back: buffer });
            }
            if buffer.is_empty() {
                return Ok(());
            }
            state.bytes += buffer.len();
            state.pushed += buffer.len() as u64;
            state.queue.push_back(buffer);
            if state.sending.is_some() {
                // Its completion takes this along.
                return Ok(());
            }
        }
        inner.pump();
        Ok(())
    }

    /// Bytes that are queued or on their way.
    pub fn queued(&self) -> usize {
        lock(&self.owner.0.state).bytes
    }

    /// Completes once a buffer of so many bytes would be taken: for one larger than the budget, once nothing is queued. Waits are
    /// served in call order, each for its bytes; the room is not kept for them.
    ///
    /// Errors: that of the send that failed, `InvalidHandle` once the queue is closed, `Cancelled`.
    pub fn room(&self, bytes: usize) -> Operation<'_, NoBuffer, (), H> {
        let asks = Asks { inner: self.owner.0.clone(), what: What::Room(bytes) };
        Operation::new(self.handle(), awaited(OpKind::Room, Arc::new(asks)), NoBuffer)
    }

    /// Completes once all that was pushed before is in the socket's buffer. Errors as of [`room`](SendQueue::room).
    pub fn flush(&self) -> Operation<'_, NoBuffer, (), H> {
        let asks = Asks { inner: self.owner.0.clone(), what: What::Flush };
        Operation::new(self.handle(), awaited(OpKind::Flush, Arc::new(asks)), NoBuffer)
    }

    /// Ends the queue: what has not been sent is dropped, the send in flight is cancelled, and every wait has `InvalidHandle`. The
    /// stream stays open.
    pub fn close(&self) {
        self.owner.0.shut();
    }
}

impl State {
    fn has_room(&self, most: usize, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes.saturating_add(bytes) <= most
    }

    /// Looks at the send in flight, or starts the next; whether there is more to do. What it leaves is the caller's to drop.
    fn step(&mut self, stream: &dyn sealed::Sealed, cx: &mut Context<'_>, left: &mut Vec<Bytes>) -> bool {
        if let Some(sending) = &mut self.sending {
            let Poll::Ready(done) = Pin::new(sending).poll(cx) else { return false };
            self.sending = None;
            self.bytes -= self.in_flight;
            self.sent += std::mem::take(&mut self.in_flight) as u64;
            *left = done.buffer;
            if let Err(error) = done.result {
                self.end(error, left);
                return false;
            }
        }
        if self.queue.is_empty() {
            return false;
        }
        let mut list = std::mem::take(&mut self.spare);
        let count = self.queue.len().min(Buffers::BATCH);
        list.extend(self.queue.drain(..count));
        self.in_flight = list.iter().map(Bytes::len).sum();
        self.sending = Some(stream.send_list(list));
        true
    }

    fn end(&mut self, error: Error, left: &mut Vec<Bytes>) {
        self.end.get_or_insert(error);
        left.extend(self.queue.drain(..));
        (self.bytes, self.in_flight) = (0, 0);
    }

    /// Takes out the waits that are over.
    fn over(&mut self, most: usize, told: &mut Vec<Told>) {
        if let Some(error) = self.end {
            let waits = self.room.drain(..).map(|(_, waiting)| waiting).chain(self.flush.drain(..).map(|(_, waiting)| waiting));
            told.extend(waits.map(|waiting| (waiting, Err(error))));
            return;
        }
        // As if each took its room.
        let mut bytes = self.bytes;
        while let Some((wanted, _)) = self.room.front()
            && (bytes == 0 || bytes.saturating_add(*wanted) <= most)
            && let Some((wanted, waiting)) = self.room.pop_front()
        {
            bytes = bytes.saturating_add(wanted);
            told.push((waiting, Ok(Value::None)));
        }
        while let Some((target, _)) = self.flush.front()
            && *target <= self.sent
            && let Some((_, waiting)) = self.flush.pop_front()
        {
            told.push((waiting, Ok(Value::None)));
        }
    }
}

impl Inner {
    /// Sends as long as there is something to send and the stream takes it. User code runs with no lock held.
    fn pump(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        let (mut left, mut told) = (Vec::new(), Vec::new());
        loop {
            let more = {
                let mut state = lock(&self.state);
                if left.capacity() > 0 {
                    state.spare = std::mem::take(&mut left);
                }
                let more = state.step(&*self.stream, &mut cx, &mut left);
                state.over(self.most, &mut told);
                more
            };
            left.clear();
            told.drain(..).for_each(|(waiting, result)| drop(waiting.complete(result)));
            if !more {
                break;
            }
        }
        if left.capacity() > 0 {
            lock(&self.state).spare = left;
        }
    }

    fn shut(self: &Arc<Self>) {
        if backend::check_fork().is_err() {
            return;
        }
        let (mut left, mut told) = (Vec::new(), Vec::new());
        let sending = {
            let mut state = lock(&self.state);
            state.end(Error::new(Code::InvalidHandle).hint("the send queue was closed"), &mut left);
            state.over(self.most, &mut told);
            state.sending.take()
        };
        // Asks for the cancel.
        drop(sending);
        drop(left);
        told.into_iter().for_each(|(waiting, result)| drop(waiting.complete(result)));
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.pump();
    }
}

enum What {
    Room(usize),
    Flush,
}

/// What one wait asks.
struct Asks {
    inner: Arc<Inner>,
    what: What,
}

impl Source for Asks {
    fn begin(self: Arc<Self>, arm: &mut dyn FnMut(u64) -> Option<Waiting>) {
        let (waiting, result) = {
            let mut state = lock(&self.inner.state);
            let Some(waiting) = arm(crate::time::NEVER) else { return };
            let result = match (state.end, &self.what) {
                (Some(error), _) => Err(error),
                (None, What::Room(bytes)) if state.room.is_empty() && state.has_room(self.inner.most, *bytes) => Ok(Value::None),
                (None, What::Room(bytes)) => return state.room.push_back((*bytes, waiting)),
                (None, What::Flush) if state.sent == state.pushed => Ok(Value::None),
                (None, What::Flush) => {
                    let target = state.pushed;
                    return state.flush.push_back((target, waiting));
                }
            };
            (waiting, result)
        };
        drop(waiting.complete(result));
    }

    fn over(&self, sequence: u64) {
        let mut state = lock(&self.inner.state);
        state.room.retain(|(_, waiting)| waiting.sequence() != sequence);
        state.flush.retain(|(_, waiting)| waiting.sequence() != sequence);
    }
}
