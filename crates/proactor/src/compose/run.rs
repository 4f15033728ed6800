//! How a composition is run.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{Compose, On, Step};
use crate::buf::{Cargo, NoBuffer};
use crate::cancel::{CancelToken, Tree};
use crate::deliver::{Modifiers, Overlapped};
use crate::error::Error;
use crate::handle::{Kept, sealed::Opaque};
use crate::home::Carries;
use crate::op::{Completion, Interest, Op, Operation};

/// How often a composition is told that its object was closed.
const TOLD: usize = 16;

type Back<O, M> = <<M as Compose<O>>::Cargo as Cargo>::Back;
/// Why, the buffer, and who is to be told.
type Refusal<O, M, F> = (Error, Back<O, M>, F);
type Done<O, M> = Completion<<M as Compose<O>>::Brings, Back<O, M>>;

/// A composition described: nothing happens until a delivery is chosen: `.await`, [`wait`](Composed::wait), or
/// [`then`](Composed::then).
#[must_use = "a composition does nothing until a delivery is chosen: .await, .wait() or .then(f)"]
pub struct Composed<'o, O, M> {
    on: &'o O,
    machine: M,
    modifiers: Modifiers,
}

/// Makes an operation of a composition of your own: see [`Compose`].
pub fn compose<O: On, M: Compose<O>>(on: &O, machine: M) -> Composed<'_, O, M> {
    Composed { on, machine, modifiers: Modifiers::NONE }
}

/// The next operation, with what is asked of the whole.
fn operation<'o, O: On, M: Compose<O>>(
    machine: &mut M,
    on: &'o O,
    buffer: Back<O, M>,
    modifiers: &Modifiers,
) -> Operation<'o, M::Cargo, M::Brings, O::Home> {
    let mut operation = machine.operation(on, buffer);
    operation.modifiers.deadline = operation.modifiers.deadline.min(modifiers.deadline);
    operation.modifiers.token = operation.modifiers.token.or_else(|| modifiers.token.clone());
    operation.modifiers.harm = operation.modifiers.harm.max(machine.cancellation());
    operation
}

impl<'o, O: On, M: Compose<O>> Composed<'o, O, M> {
    /// Gives the whole so much time, as [`Operation::timeout`] does one operation: the one that is under way then ends with
    /// [`Code::WaitTimeout`](crate::Code::WaitTimeout), and the composition with it.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.modifiers.within(time);
        self
    }

    /// As [`timeout`](Composed::timeout), until a moment.
    pub fn deadline(mut self, end: Instant) -> Self {
        self.modifiers.until(end);
        self
    }

    /// Has the token cancel the whole, if it honours that ([`Compose::cancellation`]).
    pub fn cancel_on(mut self, token: &CancelToken) -> Self {
        self.modifiers.cancelled_by(token);
        self
    }

    /// Runs it on the calling thread, one step after the other, each as [`Operation::wait`] does.
    pub fn wait(self) -> M::Output {
        let Composed { on, mut machine, modifiers } = self;
        let mut step = machine.begin();
        loop {
            match step {
                Step::Done(output) => return output,
                Step::Next(buffer) => {
                    let done = operation(&mut machine, on, buffer, &modifiers).wait();
                    step = machine.resume(done);
                }
            }
        }
    }

    /// Runs it inside the port's `get`, as [`Operation::then`] does a single operation, and has `handler` called there with what it
    /// gives. Steps and handler run in whatever thread takes the completion before them, never inside this call.
    ///
    /// It holds no handle of the object: dropping the last one ends it with the error of that. The port's close drops it with its
    /// handler, uncalled.
    ///
    /// # Errors
    /// As [`Operation::then`]; the composition is dropped, its buffer with it, and the handler.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use proactor::{CompletionPort, compose};
    /// let port: Arc<CompletionPort> = Arc::new(CompletionPort::new(1)?);
    /// let (reader, writer) = proactor::pipe::pair()?;
    /// port.associate(&reader, 0)?;
    /// let own = port.clone();
    /// compose::read_exactly(&reader, vec![0; 8], 8).then(move |done| {
    ///     assert_eq!(done.buffer, b"in parts");
    ///     own.post(1, done.bytes, None).unwrap();
    /// })?;
    /// writer.write(b"in ").wait().result?;
    /// writer.write(b"parts").wait().result?;
    /// assert_eq!(port.get(None)?.packet().unwrap().done.bytes, 8);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn then<F>(self, handler: F) -> Result<(), Error>
    where
        F: FnOnce(M::Output) + 'static,
        <O as On>::Home: Carries<(M, F, M::Output)>,
    {
        let Composed { on, mut machine, modifiers } = self;
        let step = machine.begin();
        // SAFETY: a user's handle keeps the object, on a thread that may touch it.
        let kept = unsafe { Kept::new(on.opaque_of().0.object()) };
        match step {
            Step::Next(buffer) => Chain { kept, machine, handler, modifiers, told: 0, on: PhantomData }
                .start(on, buffer)
                .map_err(|(error, ..)| error),
            Step::Done(output) => {
                // It is over, and only the way to the handler is left.
                let over = Op::Ready { interest: Interest::Read };
                let mut operation = Operation::<NoBuffer, (), O::Home>::new(&on.opaque_of().0, over, NoBuffer);
                operation.modifiers.token = Some(Tree::cancelled().clone());
                // SAFETY: the bound: the home carries the handler, and what the machine made for it.
                let started = unsafe { operation.then_or(move |_| handler(output)) };
                started.map(drop).map_err(|(error, ..)| error)
            }
        }
    }
}

/// A composition under way between the threads of a port.
struct Chain<O, M, F> {
    kept: Kept,
    machine: M,
    handler: F,
    modifiers: Modifiers,
    /// How many of its operations failed, one after the other.
    told: usize,
    on: PhantomData<fn(O)>,
}

impl<O: On, M: Compose<O>, F: FnOnce(M::Output) + 'static> Chain<O, M, F> {
    /// Starts the next operation. Refused, it gives the reason and what is to be told of it.
    #[allow(clippy::type_complexity, reason = "the closure has no name")]
    fn start(
        mut self,
        on: &O,
        buffer: Back<O, M>,
    ) -> Result<(), Refusal<O, M, impl FnOnce(Done<O, M>) + 'static + use<O, M, F>>> {
        let operation = operation(&mut self.machine, on, buffer, &self.modifiers);
        // SAFETY: `then` asked that the home carries machine and handler. The rest is a token, and a keeper of an object that the
        // threads of its home may touch.
        unsafe { operation.then_or(move |done| self.go(done)) }.map(drop)
    }

    fn go(mut self, done: Done<O, M>) {
        let was_error = done.result.is_err();
        let buffer = match self.machine.resume(done) {
            Step::Done(output) => return (self.handler)(output),
            Step::Next(buffer) => buffer,
        };
        if was_error {
            self.told += 1;
            if self.told > TOLD {
                return log::error!("proactor: a composition asks for more after so many errors that it is dropped");
            }
        } else {
            self.told = 0;
        }
        let Some(handle) = self.kept.upgrade() else {
            let error = Error::new(self.kept.kind.code_of_close());
            return self.go(Completion { bytes: 0, result: Err(error), buffer });
        };
        let on = O::of_opaque(Opaque::new(handle));
        if let Err((error, buffer, again)) = self.start(&on, buffer) {
            drop(on);
            again(Completion { bytes: 0, result: Err(error), buffer });
        }
    }
}

impl<'o, O: On, M: Compose<O>> IntoFuture for Composed<'o, O, M> {
    type Output = M::Output;
    type IntoFuture = Running<'o, O, M>;

    /// Runs it with the executor's polls, each step as an awaited [`Operation`]: the first is started by the first poll.
    fn into_future(self) -> Running<'o, O, M> {
        Running { composed: Some(self), under_way: None }
    }
}

/// A composition that is awaited. Dropping it cancels the operation under way; what has arrived is lost with the buffer. Where that
/// matters use [`cancel_on`](Composed::cancel_on) and await it to its end.
#[must_use = "a future does nothing unless it is polled"]
pub struct Running<'o, O: On, M: Compose<O>> {
    /// None when it is over.
    composed: Option<Composed<'o, O, M>>,
    under_way: Option<Overlapped<M::Cargo, M::Brings, O::Home>>,
}

// Nothing in it is pinned: the operation is a handle, the machine is only called.
impl<O: On, M: Compose<O>> Unpin for Running<'_, O, M> {}

impl<O: On, M: Compose<O>> Future for Running<'_, O, M> {
    type Output = M::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<M::Output> {
        let this = self.get_mut();
        let Some(Composed { on, machine, modifiers }) = &mut this.composed else {
            panic!("a composition was polled after its end");
        };
        loop {
            let next = match &mut this.under_way {
                None => machine.begin(),
                Some(operation) => match Pin::new(operation).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(done) => {
                        this.under_way = None;
                        machine.resume(done)
                    }
                },
            };
            match next {
                Step::Next(buffer) => this.under_way = Some(operation(machine, on, buffer, modifiers).into_future()),
                Step::Done(output) => {
                    this.composed = None;
                    return Poll::Ready(output);
                }
            }
        }
    }
}
