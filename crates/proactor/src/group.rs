//! Groups: several futures awaited as one, with every result, the losers' too.
//!
//! A group makes a token for its members, who bind their operations to it ([`Operation::cancel_on`](crate::Operation::cancel_on)).
//! When the group is decided it cancels that, and goes on until every member is over: so each gives its result, and its buffer back.
//!
//! | group | is decided by |
//! |---|---|
//! | [`all`] | nobody: it waits for all |
//! | [`one`] | the first member that is over |
//! | [`first_success`] | the first that succeeded |
//! | [`until_failure`] | the first that failed |
//!
//! Members are a vector, an array, or a tuple of up to six of different types. Each wake-up looks at all that are not over.
//!
//! ```
//! use std::time::Duration;
//! use proactor::{Code, group, net::UdpSocket, time::Timers};
//! let (socket, timers) = (UdpSocket::bind("127.0.0.1:0".parse().unwrap())?, Timers::new());
//! let race = group::one(|token| (
//!     socket.recv_from(vec![0; 512]).cancel_on(token),
//!     timers.after(Duration::from_millis(5)).cancel_on(token),
//! ));
//! let over = proactor::block_on(race);
//! let (received, timer) = over.results;
//! assert_eq!(over.first, Some(1));
//! assert!(timer.result.is_ok());
//! assert_eq!(received.result.unwrap_err().code(), Code::Cancelled);
//! assert_eq!(received.buffer.capacity(), 512); // the loser's buffer is back
//! # Ok::<(), std::io::Error>(())
//! ```

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cancel::CancelToken;
use crate::op::{Completion, Done};

/// Waits for all members; cancels none.
///
/// ```
/// let over = proactor::block_on(proactor::group::all(|_| [1, 2].map(|n| async move { n })));
/// assert_eq!((over.first, over.results), (None, [1, 2]));
/// ```
pub fn all<M: Members>(members: impl FnOnce(&CancelToken) -> M) -> Group<M> {
    Group::new(members, |_, _| false)
}

/// Waits for the first member that is over, whatever it brings, and cancels the others; they are waited for, too.
pub fn one<M: Members>(members: impl FnOnce(&CancelToken) -> M) -> Group<M> {
    Group::new(members, |_, _| true)
}

/// Waits for the first member that succeeds, and cancels the others; they are waited for, too. If all fail there is no first.
///
/// ```
/// use proactor::group;
/// let over = proactor::block_on(group::first_success(|_| (std::future::ready(Err::<(), _>("no")), std::future::ready(Ok::<_, ()>(5)))));
/// assert_eq!((over.first, over.results), (Some(1), (Err("no"), Ok(5))));
/// ```
pub fn first_success<M: Members>(members: impl FnOnce(&CancelToken) -> M) -> Group<M>
where
    M::Running: Judged,
{
    Group::new(members, |running, at| running.has_succeeded(at))
}

/// Waits for all members, but cancels the others when one fails.
pub fn until_failure<M: Members>(members: impl FnOnce(&CancelToken) -> M) -> Group<M>
where
    M::Running: Judged,
{
    Group::new(members, |running, at| !running.has_succeeded(at))
}

/// What a group came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over<T> {
    /// The member that decided it, counted from 0.
    pub first: Option<usize>,
    /// Every member's result, in the members' order.
    pub results: T,
}

/// A group of futures. Dropping it cancels its token and drops what is not over.
#[must_use = "a future does nothing unless it is polled"]
pub struct Group<M: Members> {
    running: M::Running,
    decides: fn(&M::Running, usize) -> bool,
    first: Option<usize>,
    token: CancelToken,
    over: bool,
}

impl<M: Members> Group<M> {
    fn new(members: impl FnOnce(&CancelToken) -> M, decides: fn(&M::Running, usize) -> bool) -> Group<M> {
        let token = CancelToken::new();
        let running = members(&token).run();
        Group { running, decides, first: None, token, over: false }
    }

    /// The members' token. Cancelling it asks all of them to end; the group is over when they have.
    pub fn token(&self) -> &CancelToken {
        &self.token
    }
}

// The members lie in boxes of their own.
impl<M: Members> Unpin for Group<M> {}

impl<M: Members> Future for Group<M> {
    type Output = Over<M::Results>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Over<M::Results>> {
        let this = self.get_mut();
        assert!(!this.over, "a group was polled after its end");
        loop {
            let mut ended = Vec::new();
            let all = this.running.poll(cx, &mut ended);
            let decided = this.first.is_none().then(|| ended.into_iter().find(|at| (this.decides)(&this.running, *at))).flatten();
            if decided.is_some() {
                this.first = decided;
                this.token.cancel();
            }
            if all {
                this.over = true;
                return Poll::Ready(Over { first: this.first, results: this.running.take() });
            }
            // Those that were cancelled just now may be over at once.
            if decided.is_none() {
                return Poll::Pending;
            }
        }
    }
}

impl<M: Members> Drop for Group<M> {
    fn drop(&mut self) {
        if !self.over {
            self.token.cancel();
        }
    }
}

/// Whether a result is a success.
pub trait Succeeds {
    /// Whether it is.
    fn has_succeeded(&self) -> bool;
}

impl<T, E> Succeeds for Result<T, E> {
    fn has_succeeded(&self) -> bool {
        self.is_ok()
    }
}

impl<T> Succeeds for Option<T> {
    fn has_succeeded(&self) -> bool {
        self.is_some()
    }
}

impl<T, B> Succeeds for Completion<T, B> {
    fn has_succeeded(&self) -> bool {
        self.result.is_ok()
    }
}

impl Succeeds for Done {
    fn has_succeeded(&self) -> bool {
        self.result.is_ok()
    }
}

/// What a group can be made of: a vector, an array or a tuple of what can be awaited.
pub trait Members {
    /// The same, under way.
    type Running: Running<Results = Self::Results>;
    /// Their results.
    type Results;
    #[doc(hidden)]
    fn run(self) -> Self::Running;
}

/// Members under way.
pub trait Running {
    /// Their results.
    type Results;
    /// Polls those that are not over; adds who is now. Whether all are.
    #[doc(hidden)]
    fn poll(&mut self, cx: &mut Context<'_>, ended: &mut Vec<usize>) -> bool;
    /// All are over.
    #[doc(hidden)]
    fn take(&mut self) -> Self::Results;
}

/// Members whose results say whether they succeeded.
pub trait Judged: Running {
    /// Of one that is over.
    #[doc(hidden)]
    fn has_succeeded(&self, at: usize) -> bool;
}

/// One member under way.
pub enum Each<F: Future> {
    #[doc(hidden)]
    Pending(Pin<Box<F>>),
    #[doc(hidden)]
    Over(Option<F::Output>),
}

impl<F: Future> Each<F> {
    fn new(future: impl IntoFuture<IntoFuture = F, Output = F::Output>) -> Each<F> {
        Each::Pending(Box::pin(future.into_future()))
    }

    fn poll(&mut self, at: usize, cx: &mut Context<'_>, ended: &mut Vec<usize>) -> bool {
        if let Each::Pending(future) = self
            && let Poll::Ready(result) = future.as_mut().poll(cx)
        {
            *self = Each::Over(Some(result));
            ended.push(at);
        }
        matches!(self, Each::Over(_))
    }

    fn take(&mut self) -> F::Output {
        match self {
            Each::Over(result) => match result.take() {
                Some(result) => result,
                None => unreachable!("results are taken once"),
            },
            Each::Pending(_) => unreachable!("all are over"),
        }
    }

    fn has_succeeded(&self) -> bool
    where
        F::Output: Succeeds,
    {
        matches!(self, Each::Over(Some(result)) if result.has_succeeded())
    }
}

impl<F: IntoFuture> Members for Vec<F> {
    type Running = Vec<Each<F::IntoFuture>>;
    type Results = Vec<F::Output>;
    fn run(self) -> Self::Running {
        self.into_iter().map(Each::new).collect()
    }
}

impl<F: IntoFuture, const N: usize> Members for [F; N] {
    type Running = [Each<F::IntoFuture>; N];
    type Results = [F::Output; N];
    fn run(self) -> Self::Running {
        self.map(Each::new)
    }
}

/// Polls each; whether all are over.
fn poll_each<F: Future>(members: &mut [Each<F>], cx: &mut Context<'_>, ended: &mut Vec<usize>) -> bool {
    members.iter_mut().enumerate().fold(true, |all, (at, member)| member.poll(at, cx, ended) & all)
}

impl<F: Future> Running for Vec<Each<F>> {
    type Results = Vec<F::Output>;
    fn poll(&mut self, cx: &mut Context<'_>, ended: &mut Vec<usize>) -> bool {
        poll_each(self, cx, ended)
    }
    fn take(&mut self) -> Vec<F::Output> {
        self.iter_mut().map(Each::take).collect()
    }
}

impl<F: Future, const N: usize> Running for [Each<F>; N] {
    type Results = [F::Output; N];
    fn poll(&mut self, cx: &mut Context<'_>, ended: &mut Vec<usize>) -> bool {
        poll_each(self, cx, ended)
    }
    fn take(&mut self) -> [F::Output; N] {
        self.each_mut().map(Each::take)
    }
}

impl<F: Future<Output: Succeeds>> Judged for Vec<Each<F>> {
    fn has_succeeded(&self, at: usize) -> bool {
        self[at].has_succeeded()
    }
}

impl<F: Future<Output: Succeeds>, const N: usize> Judged for [Each<F>; N] {
    fn has_succeeded(&self, at: usize) -> bool {
        self[at].has_succeeded()
    }
}

macro_rules! tuples {
    ($(($($member:ident $at:tt)*);)*) => {$(
        impl<$($member: IntoFuture),*> Members for ($($member,)*) {
            type Running = ($(Each<$member::IntoFuture>,)*);
            type Results = ($($member::Output,)*);
            fn run(self) -> Self::Running {
                ($(Each::new(self.$at),)*)
            }
        }

        impl<$($member: Future),*> Running for ($(Each<$member>,)*) {
            type Results = ($($member::Output,)*);
            fn poll(&mut self, cx: &mut Context<'_>, ended: &mut Vec<usize>) -> bool {
                true $(& self.$at.poll($at, cx, ended))*
            }
            fn take(&mut self) -> Self::Results {
                ($(self.$at.take(),)*)
            }
        }

        impl<$($member: Future<Output: Succeeds>),*> Judged for ($(Each<$member>,)*) {
            fn has_succeeded(&self, at: usize) -> bool {
                match at {
                    $($at => self.$at.has_succeeded(),)*
                    _ => false,
                }
            }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0 B 1);
    (A 0 B 1 C 2);
    (A 0 B 1 C 2 D 3);
    (A 0 B 1 C 2 D 3 E 4);
    (A 0 B 1 C 2 D 3 E 4 F 5);
}
