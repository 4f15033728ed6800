//! The future delivery: `.await`, with any executor or with none.
//!
//! An [`Overlapped`] is the future; awaiting an operation starts it. Who may touch the waker's slot is in `overlapped.rs`. The
//! executor's code (wake, clone and drop of a waker) runs with nothing of the library held: `After`.

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::Overlapped;
use super::overlapped::Stage;
use crate::backend;
use crate::buf::Cargo;
use crate::home::Home;
use crate::op::{Brings, Completion, Operation};
use crate::shim::{AtomicU32, Ordering};
use crate::time::Wait;

impl<C: Cargo, T: Brings, H: Home> IntoFuture for Operation<'_, C, T, H> {
    type Output = Completion<T, C::Back>;
    type IntoFuture = Overlapped<C, T, H>;

    /// Starts the operation, as [`start`](Operation::start) does, and gives the future of its completion. An operation that
    /// is refused is complete at once: its result is the reason, and the buffer is as it came.
    ///
    /// ```
    /// use proactor::net::UdpSocket;
    /// let (a, b) = (UdpSocket::bind("127.0.0.1:0".parse().unwrap())?, UdpSocket::bind("127.0.0.1:0".parse().unwrap())?);
    /// let to = b.local_addr()?;
    /// proactor::block_on(async {
    ///     a.send_to(b"hello", to).await.result?;
    ///     let done = b.recv_from(vec![0; 64]).await;
    ///     assert_eq!(&done.buffer[..], b"hello");
    ///     done.result
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    fn into_future(self) -> Overlapped<C, T, H> {
        self.start_anyway()
    }
}

// A handle to the block: where it lies does not matter.
impl<C: Cargo, T, H: Home> Unpin for Overlapped<C, T, H> {}

/// The completion. Any executor will do, and wakers may be used on any thread.
///
/// The operation runs whether or not it is polled. An operation of a per-thread port goes on only inside that port's calls:
/// await it in [`LocalPort::block_on`](crate::LocalPort::block_on).
///
/// # Dropping it, and not losing what arrived
///
/// Dropping the future asks for cancellation. The buffer stays with the kernel until that lets go of it, and is freed then,
/// never before. But a result that has arrived already is dropped too: bytes received are gone from the stream. Where that
/// matters, as in a race against a timeout, do not give the future away: poll `&mut op`, then cancel, and await it to its end.
/// A cancel never ends an operation; its completion says `Cancelled`, or has the real result if that won.
///
/// ```
/// # use std::future::Future;
/// # use std::pin::Pin;
/// # use std::task::Poll;
/// use proactor::net::UdpSocket;
/// # /// Polls once: whatever it is, it is a race lost.
/// # async fn beaten<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
/// #     std::future::poll_fn(|cx| Poll::Ready(match Pin::new(&mut *future).poll(cx) { Poll::Ready(it) => Some(it), Poll::Pending => None })).await
/// # }
/// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// proactor::block_on(async {
///     let mut op = socket.recv_from(vec![0; 64]).start()?;
///     // Any `select` of your executor's, of `&mut op` and a timer. Here the timer wins:
///     let done = match beaten(&mut op).await {
///         Some(done) => done,
///         None => {
///             let _ = op.cancel(); // NotFound: it is over by now
///             op.await // Cancelled, or the datagram that came in the meantime; the buffer in any case
///         }
///     };
///     assert_eq!(done.result.unwrap_err().code(), proactor::Code::Cancelled);
///     Ok(())
/// })
/// # .map_err(|refused: proactor::Refused<Vec<u8>>| refused.error)
/// # .map_err(std::io::Error::from)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Panics
///
/// If it is polled again after it gave its completion.
impl<C: Cargo, T: Brings, H: Home> Future for Overlapped<C, T, H> {
    type Output = Completion<T, C::Back>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion<T, C::Back>> {
        let this = self.get_mut();
        if this.stage != Stage::Taken && !this.is_over() {
            if backend::check_fork().is_err() {
                this.orphan();
                return Poll::Ready(this.take_it());
            }
            // SAFETY: the handle is borrowed exclusively.
            let complete = unsafe { this.shared().register(cx.waker(), this.stage == Stage::Polled) };
            this.stage = Stage::Polled;
            if !complete {
                return Poll::Pending;
            }
        }
        Poll::Ready(this.take_it())
    }
}

/// Runs a future on the calling thread, which sleeps while there is nothing to poll: an executor for one.
///
/// A worker of a port that waits here releases another, as in every wait of the library. It knows nothing of per-thread
/// ports: what lives on one is awaited in [`LocalPort::block_on`](crate::LocalPort::block_on).
///
/// ```
/// let length = proactor::block_on(async { "hello".len() });
/// assert_eq!(length, 5);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    match block_until(pin!(future), Wait::Forever) {
        Some(output) => output,
        None => unreachable!("a wait for ever has no end"),
    }
}

/// The same until `wait` ends; `None` if it did.
pub(crate) fn block_until<F: Future>(mut future: Pin<&mut F>, wait: Wait) -> Option<F::Output> {
    let parker = Arc::new(Parker(AtomicU32::new(ASLEEP)));
    let waker = Waker::from(parker.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        if parker.0.load(Ordering::Acquire) == ASLEEP {
            backend::while_blocked(|| {
                while parker.0.load(Ordering::Acquire) == ASLEEP && !wait.is_over() {
                    backend::futex_wait(&parker.0, ASLEEP, wait);
                }
            });
        }
        if parker.0.swap(ASLEEP, Ordering::AcqRel) == ASLEEP && wait.is_over() {
            return None;
        }
    }
}

const ASLEEP: u32 = 0;
const WOKEN: u32 = 1;

/// One sleeping thread's word.
struct Parker(AtomicU32);

impl Wake for Parker {
    fn wake(self: Arc<Parker>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Parker>) {
        if self.0.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            backend::futex_wake_one(&self.0);
        }
    }
}
