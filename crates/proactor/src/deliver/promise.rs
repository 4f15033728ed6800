//! Promises: a value that one side sets, once, and the other waits for or awaits.
//!
//! The word, the wait and the waker are those of an overlapped operation (`overlapped.rs`); an `Arc` of both sides keeps them.

use std::cell::UnsafeCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::overlapped::Shared;
use crate::backend;
use crate::error::{Code, Error};
use crate::sync::Event;
use crate::time::Wait;

struct Inner<T> {
    shared: Shared,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is the promise's until `shared` is complete, and the other side's from then on; it moves once.
unsafe impl<T: Send> Send for Inner<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Inner<T> {}

/// A promise, and what was promised.
///
/// Set it from a completion, or from anything; wait for the other side, or await it, on any thread and with any executor.
///
/// ```
/// use proactor::{CompletionPort, net::UdpSocket};
/// let port: CompletionPort = CompletionPort::new(1)?;
/// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// port.associate(&socket, 0)?;
/// let (promise, promised) = proactor::promise();
/// socket.recv_from(vec![0; 64]).then(|done| promise.set(done))?;
/// # std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", socket.local_addr()?)?;
/// let worker = std::thread::spawn(move || while port.get(None).is_ok_and(|it| it.packet().is_none()) {});
/// assert_eq!(&promised.wait()?.buffer[..], b"hello");
/// # drop(worker);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn promise<T: Send>() -> (Promise<T>, Promised<T>) {
    let inner = Arc::new(Inner { shared: Shared::new(), value: UnsafeCell::new(None) });
    (Promise { inner: inner.clone() }, Promised { inner, taken: false, polled: false })
}

/// The side that sets the value. Dropping it unset tells the other side so.
#[must_use = "dropping the promise breaks it"]
pub struct Promise<T: Send> {
    inner: Arc<Inner<T>>,
}

impl<T: Send> Promise<T> {
    /// Sets the value and wakes who waits for it. If nobody can any more, the value is dropped.
    pub fn set(self, value: T) {
        // SAFETY: not complete yet, so the value is this side's.
        unsafe { *self.inner.value.get() = Some(value) };
    }
}

impl<T: Send> Drop for Promise<T> {
    /// Completes it, with the value or without.
    fn drop(&mut self) {
        // SAFETY: the Arc keeps it; only this drop completes it.
        let (_, waker) = unsafe { Shared::publish(&raw const self.inner.shared) };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The side that gets the value: a `Future` of it, and something to wait for.
#[must_use = "a promise nobody waits for is dropped when it is set"]
pub struct Promised<T: Send> {
    inner: Arc<Inner<T>>,
    taken: bool,
    polled: bool,
}

impl<T: Send> Promised<T> {
    /// Whether the value is there, or will never be.
    pub fn is_ready(&self) -> bool {
        self.inner.shared.is_complete()
    }

    /// Waits for the value. A worker of a port that waits here releases another.
    ///
    /// On a thread with a [`LocalPort`](crate::LocalPort) whose operations are to set it, await it in that port's
    /// [`block_on`](crate::LocalPort::block_on) instead: nothing of the port moves here.
    ///
    /// Errors: [`Code::Abandoned`] if the promise was dropped unset; [`Code::InvalidHandle`] if the value was taken already.
    pub fn wait(mut self) -> Result<T, Error> {
        self.wait_timeout(Wait::Forever)
    }

    /// Waits for the value until `wait` ends, which is [`Code::WaitTimeout`] (258), or [`Code::Incomplete`] (996) for a wait
    /// of no time at all. Other errors as of [`wait`](Promised::wait).
    pub fn wait_timeout(&mut self, wait: impl Into<Wait>) -> Result<T, Error> {
        let wait = wait.into();
        let shared = &self.inner.shared;
        if shared.is_complete() || (!wait.is_poll() && backend::while_blocked(|| shared.wait(wait))) {
            return self.take();
        }
        Err(Error::new(if wait.is_poll() { Code::Incomplete } else { Code::WaitTimeout }))
    }

    /// Its event, manual-reset: signalled once the value is there, or will never be.
    pub fn event(&self) -> Event {
        self.inner.shared.event().clone()
    }

    fn take(&mut self) -> Result<T, Error> {
        if std::mem::replace(&mut self.taken, true) {
            return Err(Error::new(Code::InvalidHandle).hint("the promised value was taken already"));
        }
        // SAFETY: complete, so the value is this side's.
        let value = unsafe { (*self.inner.value.get()).take() };
        value.ok_or(Error::new(Code::Abandoned).hint("the promise was dropped without being set"))
    }
}

/// The value, or the error of a promise dropped unset. Dropping this future loses the value, if it has come; poll `&mut` to
/// keep it.
impl<T: Send> Future for Promised<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let this = self.get_mut();
        // SAFETY: this side is the handle, borrowed exclusively.
        let ready = this.is_ready() || unsafe { this.inner.shared.register(cx.waker(), this.polled) };
        this.polled = true;
        if ready { Poll::Ready(this.take()) } else { Poll::Pending }
    }
}

impl<T: Send> Drop for Promised<T> {
    fn drop(&mut self) {
        if self.polled {
            // SAFETY: polled, and borrowed exclusively.
            unsafe { self.inner.shared.unregister() };
        }
    }
}

impl<T: Send> std::fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Promise").finish_non_exhaustive()
    }
}

impl<T: Send> std::fmt::Debug for Promised<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Promised").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
