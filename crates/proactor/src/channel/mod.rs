//! Bounded channels between tasks and threads: values wait in order, senders wait for room, receivers for values.
//!
//! **A consumed value is always delivered.** A value is in the channel until a receiver has it in its hand: whoever gives up receiving,
//! cancelled, timed out or dropped at whatever moment, has taken none, and who was woken for it hands the wake-up on. A value that
//! could not be sent comes back.
//!
//! One short lock; in the steady state nothing is allocated.
//!
//! ```
//! use proactor::channel::channel;
//! let (sender, receiver) = channel(2);
//! sender.try_send(1).unwrap();
//! sender.try_send(2).unwrap();
//! assert_eq!(sender.try_send(3).unwrap_err().back, 3); // full
//! let more = std::thread::spawn(move || sender.send(3).wait());
//! let all: Vec<i32> = (0..3).map(|_| receiver.receive().wait().unwrap()).collect();
//! assert_eq!(all, [1, 2, 3]);
//! more.join().unwrap().unwrap();
//! assert!(receiver.receive().wait().is_err()); // the sender is gone, and nothing is left
//! ```

mod state;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use state::{Shared, State, Waiting, find};

use crate::cancel::{CancelToken, Cancelled};
use crate::deliver::block_until;
use crate::error::{Code, Error, Refused};
use crate::time::Wait;

/// A channel for at most `capacity` values that nobody has received yet. With none a send waits for its receiver.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state = State {
        values: VecDeque::new(),
        capacity,
        sends: VecDeque::new(),
        receives: VecDeque::new(),
        next: 0,
        closed: false,
        senders: 1,
        receivers: 1,
    };
    let shared = Arc::new(Shared(Mutex::new(state)));
    (Sender(shared.clone()), Receiver(shared))
}

fn refused<T>(back: T) -> Refused<T> {
    Refused { error: Error::new(Code::BrokenPipe).hint("the channel is closed; nobody will receive this"), back }
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled)
}

/// The sending side. Clones send to the same channel; when the last is dropped the channel is closed.
pub struct Sender<T>(Arc<Shared<T>>);

/// The receiving side. Each value goes to one receiver. When the last is dropped the channel is closed, and what is in it dropped.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Sends if there is room, without waiting.
    ///
    /// Errors, with the value: [`Code::Incomplete`] (996) if the channel is full, [`Code::BrokenPipe`] (109) if it is closed. A
    /// channel for no values at all is always full.
    pub fn try_send(&self, value: T) -> Result<(), Refused<T>> {
        let woken = self.0.lock().put(value)?;
        if let Some(waker) = woken {
            waker.wake();
        }
        Ok(())
    }

    /// Sends when there is room: a future, or [`wait`](Sending::wait) for it. Sends that wait go in their order.
    ///
    /// Errors, with the value: [`Code::BrokenPipe`] (109) if the channel is closed before there is room; [`Code::Cancelled`].
    ///
    /// Dropping it before it is over drops the value, if that was not delivered.
    ///
    /// ```
    /// use proactor::{CancelToken, Code, channel::channel};
    /// let (sender, _receiver) = channel(1);
    /// let token = CancelToken::new();
    /// proactor::block_on(async {
    ///     sender.send("first").await.unwrap();
    ///     token.cancel();
    ///     let refused = sender.send("second").cancel_on(&token).await.unwrap_err();
    ///     assert_eq!((refused.error.code(), refused.back), (Code::Cancelled, "second"));
    /// });
    /// ```
    pub fn send(&self, value: T) -> Sending<'_, T> {
        Sending { shared: &self.0, value: Some(value), number: None, cancel: None }
    }

    /// Closes the channel: sends fail, those that wait too; receivers get what is there, then [`Code::EndOfFile`].
    pub fn close(&self) {
        close(&self.0);
    }

    /// Whether it is closed, by either side.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl<T> Receiver<T> {
    /// Receives what is there, without waiting.
    ///
    /// Errors: [`Code::Incomplete`] (996) if nothing is, [`Code::EndOfFile`] (38) if the channel is closed besides.
    pub fn try_receive(&self) -> Result<T, Error> {
        let mut state = self.0.lock();
        let taken = state.take();
        let closed = state.closed;
        drop(state);
        match taken {
            Some((value, woken)) => {
                if let Some(waker) = woken {
                    waker.wake();
                }
                Ok(value)
            }
            None if closed => Err(State::<T>::end()),
            None => Err(Error::new(Code::Incomplete).hint("the channel is empty; wait, or look later")),
        }
    }

    /// Receives the next value: a future, or [`wait`](Receiving::wait) for it.
    ///
    /// Errors: [`Code::EndOfFile`] (38) when the channel is closed and empty; [`Code::Cancelled`].
    ///
    /// Dropping it loses nothing, whenever that is.
    pub fn receive(&self) -> Receiving<'_, T> {
        Receiving { shared: &self.0, number: None, cancel: None }
    }

    /// Closes the channel, as [`Sender::close`].
    pub fn close(&self) {
        close(&self.0);
    }

    /// How many values are in it.
    pub fn len(&self) -> usize {
        self.0.lock().values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn close<T>(shared: &Shared<T>) {
    let woken = shared.lock().close();
    woken.into_iter().for_each(Waker::wake);
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.lock().senders += 1;
        Sender(self.0.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.0.lock().receivers += 1;
        Receiver(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        let woken = if state.senders == 0 { state.close() } else { Vec::new() };
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receivers -= 1;
        let last = state.receivers == 0;
        let woken = if last { state.close() } else { Vec::new() };
        let values = if last { std::mem::take(&mut state.values) } else { VecDeque::new() };
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        drop(values);
    }
}

/// A send under way.
#[must_use = "a send does nothing unless it is awaited or waited for"]
pub struct Sending<'c, T> {
    shared: &'c Shared<T>,
    /// Until it is listed.
    value: Option<T>,
    number: Option<u64>,
    cancel: Option<Cancelled>,
}

/// A receive under way.
#[must_use = "a receive does nothing unless it is awaited or waited for"]
pub struct Receiving<'c, T> {
    shared: &'c Shared<T>,
    number: Option<u64>,
    cancel: Option<Cancelled>,
}

// Nothing in them is pinned.
impl<T> Unpin for Sending<'_, T> {}
impl<T> Unpin for Receiving<'_, T> {}

/// Whether the token, if there is one, was cancelled.
fn is_cancelled(cancel: &mut Option<Cancelled>, cx: &mut Context<'_>) -> bool {
    cancel.as_mut().is_some_and(|cancel| Pin::new(cancel).poll(cx).is_ready())
}

impl<T> Sending<'_, T> {
    /// Has the token cancel it: then the value comes back, or was delivered.
    pub fn cancel_on(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.cancelled());
        self
    }

    /// Waits on the calling thread. A worker of a port that waits here releases another; nothing of a per-thread port moves.
    pub fn wait(self) -> Result<(), Refused<T>> {
        self.wait_timeout(Wait::Forever)
    }

    /// The same until `wait` ends: then the value comes back with [`Code::WaitTimeout`].
    pub fn wait_timeout(mut self, wait: impl Into<Wait>) -> Result<(), Refused<T>> {
        match block_until(Pin::new(&mut self), wait.into()) {
            Some(result) => result,
            None => match self.withdraw() {
                Some(back) => Err(Refused { error: Error::new(Code::WaitTimeout).hint("the channel stayed full"), back }),
                None => Ok(()),
            },
        }
    }

    /// Takes the value back, if it was not delivered.
    fn withdraw(&mut self) -> Option<T> {
        let Some(number) = self.number.take() else { return self.value.take() };
        let mut state = self.shared.lock();
        let at = find(&state.sends, number).ok()?;
        let waiting = state.sends.remove(at);
        drop(state);
        waiting.and_then(|waiting| waiting.value)
    }
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), Refused<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Refused<T>>> {
        let this = self.get_mut();
        if is_cancelled(&mut this.cancel, cx) {
            let back = this.withdraw();
            return Poll::Ready(back.map_or(Ok(()), |back| Err(Refused { error: cancelled(), back })));
        }
        let waker = cx.waker().clone();
        let mut state = this.shared.lock();
        let Some(number) = this.number else {
            let Some(value) = this.value.take() else { panic!("a send was polled after its end") };
            let woken = match state.put(value) {
                Ok(woken) => Ok(woken),
                Err(Refused { error, back }) if error.code() == Code::Incomplete => {
                    let number = state.number();
                    this.number = Some(number);
                    state.sends.push_back(Waiting { number, waker, value: Some(back) });
                    // One waits for just this where there is no room at all.
                    Err(Ok(state.receiver()))
                }
                Err(closed) => Err(Err(closed)),
            };
            drop(state);
            let (poll, woken) = match woken {
                Ok(woken) => (Poll::Ready(Ok(())), woken),
                Err(Ok(woken)) => (Poll::Pending, woken),
                Err(Err(closed)) => (Poll::Ready(Err(closed)), None),
            };
            if let Some(waker) = woken {
                waker.wake();
            }
            return poll;
        };
        match find(&state.sends, number) {
            Ok(at) if state.closed => {
                let waiting = state.sends.remove(at);
                drop(state);
                this.number = None;
                Poll::Ready(waiting.and_then(|waiting| waiting.value).map_or(Ok(()), |value| Err(refused(value))))
            }
            Ok(at) => {
                let old = std::mem::replace(&mut state.sends[at].waker, waker);
                drop(state);
                drop(old);
                Poll::Pending
            }
            Err(_) => {
                this.number = None;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        drop(self.withdraw());
    }
}

impl<T> Receiving<'_, T> {
    /// Has the token cancel it. A value that it was to get goes to the next.
    pub fn cancel_on(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.cancelled());
        self
    }

    /// Waits on the calling thread. A worker of a port that waits here releases another; nothing of a per-thread port moves.
    pub fn wait(self) -> Result<T, Error> {
        self.wait_timeout(Wait::Forever)
    }

    /// The same until `wait` ends, with [`Code::WaitTimeout`].
    pub fn wait_timeout(mut self, wait: impl Into<Wait>) -> Result<T, Error> {
        let late = || Err(Error::new(Code::WaitTimeout).hint("nothing came through the channel in time"));
        block_until(Pin::new(&mut self), wait.into()).unwrap_or_else(late)
    }

    fn unlist(&mut self) {
        let Some(number) = self.number.take() else { return };
        let mut state = self.shared.lock();
        let gone = match find(&state.receives, number) {
            Ok(at) => state.receives.remove(at).map(|waiting| waiting.waker),
            Err(_) => None,
        };
        // Woken for a value that is still there: it is another's.
        let woken = if gone.is_none() { state.receiver() } else { None };
        drop(state);
        drop(gone);
        if let Some(waker) = woken {
            waker.wake();
        }
    }
}

impl<T> Future for Receiving<'_, T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let this = self.get_mut();
        if is_cancelled(&mut this.cancel, cx) {
            this.unlist();
            return Poll::Ready(Err(cancelled()));
        }
        let waker = cx.waker().clone();
        let mut state = this.shared.lock();
        if let Some((value, woken)) = state.take() {
            let gone =
                this.number.take().and_then(|number| find(&state.receives, number).ok()).and_then(|at| state.receives.remove(at));
            // If it was another that was woken for this one, and there is more, that finds it.
            drop(state);
            drop(gone);
            if let Some(waker) = woken {
                waker.wake();
            }
            return Poll::Ready(Ok(value));
        }
        if state.closed {
            return Poll::Ready(Err(State::<T>::end()));
        }
        let number = *this.number.get_or_insert_with(|| state.number());
        let waiting = Waiting { number, waker, value: None };
        let old = match find(&state.receives, number) {
            Ok(at) => Some(std::mem::replace(&mut state.receives[at], waiting)),
            Err(at) => {
                state.receives.insert(at, waiting);
                None
            }
        };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<T> Drop for Receiving<'_, T> {
    fn drop(&mut self) {
        self.unlist();
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
