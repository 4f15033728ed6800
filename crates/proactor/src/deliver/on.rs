//! Handlers that run through an executor: `.on(&executor).then(f)`.
//!
//! The block is the handler's own and carries the executor besides. Who takes the completion from the port makes a job of it,
//! in the same memory, and hands that to the executor.

use std::ptr::NonNull;

use super::handler::{self, Handling};
use crate::buf::Cargo;
use crate::context::{Executor, Job, WorkGuard};
use crate::error::Refused;
use crate::home::Shared;
use crate::op::{Brings, Completion, Delivery, Header, Layered, Operation, Ticket};

/// An operation whose handler runs through an executor: what [`Operation::on`] gives.
#[must_use = "an operation does nothing until a delivery is chosen: .then(f)"]
#[derive(Debug)]
pub struct OnExecutor<'o, C, T, E> {
    operation: Operation<'o, C, T, Shared>,
    executor: E,
}

/// Where a handler is to run, until it is on its way there. The guard keeps that place running.
type Route<E> = Option<WorkGuard<E>>;

impl<'o, C: Cargo, T: Brings> Operation<'o, C, T, Shared> {
    /// Has the handler run through an executor: on a [`Strand`](crate::context::Strand), say, so that the handlers of one connection
    /// come one after the other, in order, however many threads are inside `run`.
    ///
    /// ```
    /// use proactor::context::{Executor, IoContext, Strand};
    /// use proactor::net::UdpSocket;
    /// let context = IoContext::new(2)?;
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// context.associate(&socket)?;
    /// let strand = Strand::new(context.executor());
    /// let inside = strand.clone();
    /// socket.recv_from(vec![0; 64]).on(&strand).then(move |done| {
    ///     assert_eq!(done.bytes, 5);
    ///     assert!(inside.running_in_this_thread());
    /// })?;
    /// # std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", socket.local_addr()?)?;
    /// context.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on<E: Executor>(self, executor: &E) -> OnExecutor<'o, C, T, E> {
        OnExecutor { operation: self, executor: executor.clone() }
    }
}

impl<C: Cargo, T: Brings, E: Executor> OnExecutor<'_, C, T, E> {
    /// Starts the operation and has `handler` called with its completion, through the executor.
    ///
    /// As [`Operation::then`], whose errors these are: the object is associated with a port or a context, and a thread inside it takes the
    /// completion. If that thread is inside the executor too, or a strand over it is idle, the handler runs there and then; else
    /// it is queued, in the memory the operation had. Until it has run, the executor's context has work to do. When that context is
    /// gone, the handler is dropped uncalled.
    pub fn then<F>(self, handler: F) -> Result<Ticket, Refused<C::Back>>
    where
        F: FnOnce(Completion<T, C::Back>) + Send + 'static,
    {
        let route: Route<E> = Some(WorkGuard::new(self.executor));
        handler::start(self.operation, handler, route, hand_over::<C, T, F, E>)
            .map_err(|(error, back, _)| Refused { error, back })
    }
}

/// Hands the handler of a completed operation to its executor.
///
/// # Safety
/// As for `handler::Run`, of a block made for these types.
unsafe fn hand_over<C: Cargo, T: Brings, F: FnOnce(Completion<T, C::Back>), E: Executor>(header: NonNull<Header>) {
    // SAFETY: the caller's promise. From here on the block is a handler's without a route; what it holds is Send: the cargo by its
    // trait, the handler by the bound of `then`.
    let (guard, job) = unsafe {
        let layered = header.cast::<Layered<Handling<C, F, Route<E>>>>().as_ptr();
        let guard = (*layered).cargo.route.take();
        (*layered).header.delivery = Delivery::Handler(handler::call::<C, T, F, Route<E>>);
        (guard, Job::of_completed(header))
    };
    if let Some(guard) = guard {
        guard.executor().complete_job(job);
    }
}
