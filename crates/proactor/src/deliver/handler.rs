//! The handler delivery: `.then(f)` runs a closure with the completion, on a thread inside its port's `get`.
//!
//! The block carries the buffer and the closure. Its completion goes through the port's queue like a packet, so everything
//! the queue promises holds for it; whoever takes it out runs it instead of showing it (`Entry::unless_handler`).

use std::ptr::NonNull;

use super::modifiers::launch;
use crate::backend;
use crate::buf::{Cargo, LoweredBuffers};
use crate::context;
use crate::error::{Code, Error, Refused};
use crate::handle::{Handle, Home as HomeOf, Which};
use crate::home::{Carries, Home};
use crate::op::{Brings, Completion, Delivery, Done, Header, Layered, Operation, Ticket, alloc_block, begin, free_shell};
use crate::trace;

/// What a handler's block carries.
pub(super) struct Handling<C, F, R> {
    cargo: C,
    handler: F,
    /// Where the handler is to run, if not where its completion is taken.
    pub route: R,
}

/// Frees the block and runs its handler.
///
/// # Safety
/// The block is the caller's, its operation over; the function is the one its delivery names.
pub(crate) type Run = unsafe fn(NonNull<Header>);

/// # Safety
/// As for [`Run`], of a block made for these types.
unsafe fn run<C: Cargo, T: Brings, F: FnOnce(Completion<T, C::Back>)>(header: NonNull<Header>) {
    // SAFETY: the caller's promise.
    unsafe { call::<C, T, F, ()>(header) }
}

/// Calls the handler, whatever its route was.
///
/// # Safety
/// As for [`Run`], of a block made for these types.
pub(super) unsafe fn call<C: Cargo, T: Brings, F: FnOnce(Completion<T, C::Back>), R>(header: NonNull<Header>) {
    // SAFETY: the caller's promise. The cargo is read out once and the shell freed, before the handler: the operation it
    // starts takes the same memory. The backend initialized the bytes it counted.
    unsafe {
        let layered = header.cast::<Layered<Handling<C, F, R>>>().as_ptr();
        let span = trace::handler(&(*layered).header.work, "handler");
        let (bytes, result) = Done::take(&mut (*layered).header.work).typed();
        let Handling { cargo, handler, route } = (&raw const (*layered).cargo).read();
        free_shell(header);
        drop(route);
        let _inside = span.enter();
        handler(Completion { bytes, result, buffer: cargo.finish(bytes) });
    }
}

impl<C: Cargo, T: Brings, H: Home> Operation<'_, C, T, H> {
    /// Starts the operation and has `handler` called with its completion, by a thread inside `get` or `get_many` of the port
    /// the object is associated with (`BindIoCompletionCallback`, Asio's handlers).
    ///
    /// Handlers and packets of a port come in one order, first in, first out, and count alike against its concurrency. A
    /// `get` that ran handlers goes on waiting for a packet until its own end; a [`Batch`](crate::Batch) runs the handlers
    /// in it while it is iterated. A handler may start operations, the next one of its own chain too. Buffer and closure
    /// travel in one recycled block: a chain of handlers allocates nothing.
    ///
    /// Once accepted the handler is called exactly once, for failures and cancels too; the returned [`Ticket`] cancels the
    /// operation. But when the port is closed, handlers that wait for their call are dropped uncalled, and their operations
    /// cancelled. A panic in a handler leaves the `get` or the iterator that ran it, and nothing else is lost. On a
    /// [`LocalPort`](crate::LocalPort) the closure need not be `Send`.
    ///
    /// # Errors
    /// A refused operation never started and gives the buffer back, and the closure is dropped: [`Code::InvalidParameter`]
    /// if the object is not associated with a port, or if the arguments make no sense; [`Code::InvalidHandle`] if the port
    /// is closed; [`Code::TooManyOperations`], [`Code::TooManyBytesQueued`] at the object's [`Limits`](crate::Limits);
    /// [`Code::Forked`] in a forked child.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use proactor::{CompletionPort, net::UdpSocket};
    /// let port: Arc<CompletionPort> = Arc::new(CompletionPort::new(1)?);
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// port.associate(&socket, 7)?;
    /// let own = port.clone();
    /// socket.recv_from(vec![0; 64]).then(move |done| {
    ///     assert_eq!(&done.buffer[..done.bytes], b"hello");
    ///     own.post(1, done.bytes, None).unwrap();
    /// })?;
    /// # std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", socket.local_addr()?)?;
    /// let packet = port.get(None)?.packet().unwrap(); // runs the handler, then takes what it posted
    /// assert_eq!((packet.key, packet.done.bytes), (1, 5));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn then<F>(self, handler: F) -> Result<Ticket, Refused<C::Back>>
    where
        F: FnOnce(Completion<T, C::Back>) + 'static,
        H: Carries<F>,
    {
        // SAFETY: the bound says that the home carries it.
        unsafe { self.then_or(handler) }.map_err(|(error, back, _)| Refused { error, back })
    }

    /// As [`then`](Operation::then); a refused operation gives the closure back, too.
    ///
    /// # Safety
    /// `H: Carries<F>`, but for what of `F` moves to another thread only by an unsafe promise of its own.
    pub(crate) unsafe fn then_or<F>(self, handler: F) -> Result<Ticket, (Error, C::Back, F)>
    where
        F: FnOnce(Completion<T, C::Back>) + 'static,
    {
        start(self, handler, (), run::<C, T, F>).map_err(|(error, back, (handler, ()))| (error, back, handler))
    }
}

/// A refused start gives everything back.
type Started<C, F, R> = Result<Ticket, (Error, <C as Cargo>::Back, (F, R))>;

/// Starts an operation whose block carries its handler, and what `run` needs besides.
pub(super) fn start<C: Cargo, T, H: Home, F, R>(
    operation: Operation<'_, C, T, H>,
    handler: F,
    route: R,
    run: Run,
) -> Started<C, F, R> {
    let Operation { handle, op, cargo, modifiers, .. } = operation;
    let header = alloc_block(Handling { cargo, handler, route });
    // SAFETY: a fresh block, ours alone until it starts.
    unsafe {
        let layered = header.cast::<Layered<Handling<C, F, R>>>().as_ptr();
        (*layered).cargo.cargo.lower(&mut LoweredBuffers(&mut (*layered).header.work.buffers));
        let kind = op.kind();
        let admitted = home_of(handle)
            .map_err(|error| error.of(kind))
            .and_then(|home| modifiers.check(handle).map(|()| home))
            .and_then(|home| super::check_and_admit(handle, &op, &(*layered).header.work.buffers).map(|budget| (home, budget)));
        let (home, budget) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                let Handling { cargo, handler, route } = (&raw const (*layered).cargo).read();
                free_shell(header);
                return Err((error, cargo.give_back(), (handler, route)));
            }
        };
        (*layered).header.work.budget = budget;
        let delivery = Delivery::Handler(run);
        let mut ticket = begin(&mut (*layered).header, op, Some(handle.object()), delivery);
        if let Some(context) = context::of_home(home) {
            // Until its handler has returned.
            context.work_started();
        }
        ticket.place = launch(header, handle, modifiers);
        // A close that swept the object before this start would leave the handler pending for ever.
        if home.port.is_closed() {
            backend::cancel(handle, Which::Packets);
        }
        Ok(ticket)
    }
}

/// Whether the object has a home where somebody runs handlers.
fn home_of(handle: &Handle) -> Result<&HomeOf, Error> {
    match handle.home() {
        Some(home) if home.port.contract().block_type.is_none() => Err(Error::new(Code::InvalidParameter).hint(
            "the object lives on the process's own port since its first operation, where nobody runs handlers; associate it with a port before that",
        )),
        Some(home) if home.port.is_closed() => Err(Error::new(Code::InvalidHandle).hint("the completion port is closed")),
        Some(home) => Ok(home),
        None => Err(Error::new(Code::InvalidParameter)
            .hint("associate the object with a completion port first: the handler runs in its threads")),
    }
}
