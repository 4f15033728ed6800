//! The completion routine: a closure that the starting thread runs inside an alertable wait.
//!
//! The completer queues the block to the thread that started the operation; nothing of the closure is touched anywhere else.
//!
//! | state of the block | who has it | leaves by |
//! |---|---|---|
//! | pending, listed with its thread | the backend, as any operation; the closure and the links are the thread's | its completion |
//! | queued to its thread, listed | the thread | the thread's alertable wait, which runs it; the thread's end, which frees it |
//! | pending after its thread's end, without a closure | the backend | its completion, whose queue is closed: the completer frees it |
//!
//! A thread that ends first drops the closures of its list and asks for cancellation, and only then closes its queue: who finds
//! the queue closed finds the closure gone.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use super::modifiers::launch;
use crate::backend;
use crate::buf::{Cargo, LoweredBuffers};
use crate::error::{Code, Error, Refused};
use crate::handle::Which;
use crate::home::Home;
use crate::op::{Brings, Completion, Delivery, Done, Header, Layered, Operation, Ticket, alloc_block, begin, free_shell};
use crate::sync::apc::Apc;
use crate::sync::current::{self, ThreadState};
use crate::trace;

/// What a block knows of its routine.
pub(crate) struct Pending {
    thread: Arc<ThreadState>,
    calls: &'static Calls,
    ticket: Ticket,
    /// The thread's list of what it started.
    previous: Cell<Option<NonNull<Header>>>,
    next: Cell<Option<NonNull<Header>>>,
}

/// What to do with a block whose types only its start knew.
struct Calls {
    run: unsafe fn(NonNull<Header>),
    forget: unsafe fn(NonNull<Header>),
}

/// The cargo of such a block.
struct WithRoutine<C, F> {
    cargo: C,
    routine: Option<F>,
}

struct Types<C, T, F>(PhantomData<(C, T, F)>);

impl<C: Cargo, T: Brings, F: FnOnce(Completion<T, C::Back>)> Types<C, T, F> {
    const CALLS: Calls = Calls { run: Self::run, forget: Self::forget };

    /// # Safety
    /// A completed block of these types, the calling thread's, unlisted.
    unsafe fn run(header: NonNull<Header>) {
        // SAFETY: the block is the caller's; cargo and closure are read out once and the shell freed.
        let (span, completion, routine) = unsafe {
            let layered = header.cast::<Layered<WithRoutine<C, F>>>().as_ptr();
            let span = trace::handler(&(*layered).header.work, "routine");
            let (bytes, result) = Done::take(&mut (*layered).header.work).typed();
            let WithRoutine { cargo, routine } = (&raw const (*layered).cargo).read();
            free_shell(header);
            (span, Completion { bytes, result, buffer: cargo.finish(bytes) }, routine)
        };
        if let Some(routine) = routine {
            let _inside = span.enter();
            routine(completion);
        }
    }

    /// # Safety
    /// A block of these types that the calling thread started and has not run: nobody else touches its closure.
    unsafe fn forget(header: NonNull<Header>) {
        // SAFETY: the closure is this thread's; the reference is to that field alone.
        let routine = unsafe {
            let layered = header.cast::<Layered<WithRoutine<C, F>>>().as_ptr();
            std::mem::take(&mut (*layered).cargo.routine)
        };
        super::unharmed(|| drop(routine));
    }
}

/// # Safety
/// A block started with a routine, not freed.
unsafe fn pending<'a>(header: NonNull<Header>) -> &'a Pending {
    // SAFETY: as the caller promises; `delivery` is not written between start and free.
    match unsafe { &(*header.as_ptr()).delivery } {
        Delivery::Routine(pending) => pending,
        _ => unreachable!("a block keeps its delivery"),
    }
}

/// The operations that one thread started with routines and has not run. The thread's own.
#[derive(Default)]
pub(crate) struct Started {
    first: Cell<Option<NonNull<Header>>>,
    count: Cell<usize>,
}

impl Started {
    /// # Safety
    /// The calling thread's list, and a block it begins with a routine.
    unsafe fn link(&self, header: NonNull<Header>) {
        let next = self.first.replace(Some(header));
        // SAFETY: listed blocks are not freed, and their links are this thread's.
        unsafe {
            pending(header).next.set(next);
            if let Some(next) = next {
                pending(next).previous.set(Some(header));
            }
        }
        self.count.set(self.count.get() + 1);
    }

    /// # Safety
    /// The calling thread's list, and a block of it.
    unsafe fn unlink(&self, header: NonNull<Header>) {
        // SAFETY: as in `link`.
        unsafe {
            let (previous, next) = (pending(header).previous.take(), pending(header).next.take());
            match previous {
                Some(previous) => pending(previous).next.set(next),
                None => self.first.set(next),
            }
            if let Some(next) = next {
                pending(next).previous.set(previous);
            }
        }
        self.count.set(self.count.get() - 1);
    }

    /// The thread ends: its closures are dropped here, its operations asked to end. How many there were.
    pub fn abandon(&self) -> usize {
        let count = self.count.get();
        while let Some(header) = self.first.get() {
            // SAFETY: listed, so alive: it is pending, or in the thread's queue. Its object is kept by its count.
            unsafe {
                self.unlink(header);
                let Pending { calls, ticket, .. } = pending(header);
                (calls.forget)(header);
                if let Some(object) = (*header.as_ptr()).object {
                    backend::cancel(object.as_ref(), Which::One(*ticket));
                }
            }
        }
        count
    }
}

/// Runs a routine.
///
/// # Safety
/// The block came out of the calling thread's own queue.
pub(crate) unsafe fn run(header: NonNull<Header>) {
    // SAFETY: queued once, completed; its thread is this one, which has it listed.
    unsafe {
        current::with_started(|started| started.unlink(header));
        let run = pending(header).calls.run;
        run(header);
    }
}

/// Completes a block with a routine; whether its thread has ended, and the block is the caller's to free.
///
/// # Safety
/// As `deliver::complete`: the caller owns the operation, and gives the block up unless told otherwise.
pub(crate) unsafe fn complete(header: NonNull<Header>) -> bool {
    // SAFETY: the block lives until it is queued. The state is kept past that: its thread may run the block, and end.
    unsafe {
        let thread = pending(header).thread.clone();
        if let Some(home) = (*header.as_ptr()).object.as_ref().and_then(|object| object.as_ref().home()) {
            home.port.attended();
        }
        thread.apcs.push(Apc::Routine(header)).is_err()
    }
}

impl<C: Cargo, T: Brings, H: Home> Operation<'_, C, T, H> {
    /// Starts the operation; its completion calls `routine` on this thread, inside an alertable wait of this thread's and
    /// nowhere else (a completion routine, as of `ReadFileEx`).
    ///
    /// Alertable waits are those of [`sync::alertable`](crate::sync::alertable) and the ports' `get_alertable`. The routine
    /// is called once, for a failure and for what completed at once too; it need not be `Send`. Routines run in the order
    /// their operations completed. The operation makes progress as an [`Overlapped`](crate::Overlapped) one does; on an
    /// object of a port its routine is no packet. The returned [`Ticket`] cancels it.
    ///
    /// With its thread the operation ends: the routine is dropped there, the operation cancelled, and its buffer let go when
    /// the kernel has let go of it.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use std::cell::Cell;
    /// use proactor::{net::UdpSocket, sync::{Waited, alertable}};
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// let came = Rc::new(Cell::new(0));
    /// let theirs = came.clone();
    /// socket.recv_from(vec![0; 64]).routine(move |done| theirs.set(done.bytes))?;
    /// # let at = socket.local_addr()?;
    /// # std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", at)?;
    /// assert_eq!(alertable::sleep(None)?, Waited::Apc);
    /// assert_eq!(came.get(), 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`start`](Operation::start), and [`Code::ThreadEnded`] (31) while the thread is ending; the routine is dropped.
    pub fn routine<F>(self, routine: F) -> Result<Ticket, Refused<C::Back>>
    where
        F: FnOnce(Completion<T, C::Back>) + 'static,
    {
        let Operation { handle, op, cargo, modifiers, .. } = self;
        let header = alloc_block(WithRoutine { cargo, routine: Some(routine) });
        // SAFETY: a fresh block, ours alone until `start`.
        unsafe {
            let layered = header.cast::<Layered<WithRoutine<C, F>>>().as_ptr();
            (*layered).cargo.cargo.lower(&mut LoweredBuffers(&mut (*layered).header.work.buffers));
            let thread = ThreadState::current();
            let admitted = match thread.detached {
                true => Err(Error::new(Code::ThreadEnded).of(op.kind())),
                false => handle.home_or_process().and_then(|home| {
                    modifiers.check(handle)?;
                    super::check_and_admit(handle, &op, &(*layered).header.work.buffers).map(|budget| (home, budget))
                }),
            };
            let (home, budget) = match admitted {
                Ok(admitted) => admitted,
                Err(error) => {
                    let WithRoutine { cargo, routine } = (&raw const (*layered).cargo).read();
                    let back = cargo.give_back();
                    free_shell(header);
                    drop(routine);
                    return Err(Refused { error, back });
                }
            };
            (*layered).header.work.budget = budget;
            let mut ticket = begin(&mut (*layered).header, op, Some(handle.object()), Delivery::None);
            (*layered).header.delivery = Delivery::Routine(Pending {
                thread,
                calls: &Types::<C, T, F>::CALLS,
                ticket,
                previous: Cell::new(None),
                next: Cell::new(None),
            });
            current::with_started(|started| started.link(header));
            home.port.attend();
            ticket.place = launch(header, handle, modifiers);
            Ok(ticket)
        }
    }
}
