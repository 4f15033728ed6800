//! The overlapped delivery: `start()` gives a handle to ask, wait on, cancel, or drop.
//!
//! One word, `state`, decides who frees the block and who must be told:
//!
//! | flag | set by | meaning |
//! |---|---|---|
//! | COMPLETE | the completer, its last touch of a block whose handle lives | header and cargo are the handle's |
//! | GONE | the handle's drop | the completer frees the block; if COMPLETE stood already, the drop does |
//! | WAITING | a waiting handle | the completer wakes the word |
//! | EVENT | the handle, after it made the event | the completer sets the event |
//!
//! Every change is one read-modify-write with AcqRel, so COMPLETE and each other flag see one another in one order. The
//! completer takes its own copy of the event before it sets COMPLETE, and wakes by address alone: the handle may have
//! freed the block by then.

use std::any::TypeId;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use crate::backend;
use crate::buf::{Cargo, LoweredBuffers};
use crate::error::{Code, Error, Refused};
use crate::handle::Which;
use crate::home::{Home, Local, Shared as AnyThread};
use crate::op::{
    Brings, Completion, Delivery, Done, Header, Layered, Operation, Ticket, alloc_block, begin, free_block, free_shell,
};
use crate::shim::{AtomicU32, Ordering};
use crate::sync::Event;
use crate::sync::object::Core;
use crate::sync::waitable::sealed::Sealed;
use crate::time::Wait;

const COMPLETE: u32 = 1;
const GONE: u32 = 2;
const WAITING: u32 = 4;
const EVENT: u32 = 8;

/// The part of an overlapped block that handle and completer share.
pub(crate) struct Shared {
    state: AtomicU32,
    event: OnceLock<Event>,
}

impl Shared {
    pub fn new() -> Shared {
        Shared { state: AtomicU32::new(0), event: OnceLock::new() }
    }

    pub fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// Publishes the completion; whether the handle had gone, so that the block is the completer's to free. If not, the
    /// block may be gone when this returns.
    ///
    /// # Safety
    /// `shared` is valid until COMPLETE is set in it, which this does once.
    pub unsafe fn publish(shared: *const Shared) -> bool {
        // SAFETY: valid until the compare-exchange below succeeds, as the caller promises.
        let (word, mut seen) = unsafe { (&raw const (*shared).state, (*shared).state.load(Ordering::Acquire)) };
        let mut event = None;
        loop {
            if seen & EVENT != 0 && event.is_none() {
                // SAFETY: as above; EVENT was set after the event was made.
                event = unsafe { (*shared).event.get().cloned() };
            }
            // SAFETY: as above.
            match unsafe { (*word).compare_exchange(seen, seen | COMPLETE, Ordering::AcqRel, Ordering::Acquire) } {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        if let Some(event) = event {
            event.set();
        }
        if seen & WAITING != 0 {
            backend::futex_wake_all(word);
        }
        seen & GONE != 0
    }

    /// The handle goes; whether the block is its to free.
    pub fn leave(&self) -> bool {
        self.state.fetch_or(GONE, Ordering::AcqRel) & COMPLETE != 0
    }

    pub fn event(&self) -> &Event {
        let event = self.event.get_or_init(Event::manual);
        if self.state.fetch_or(EVENT, Ordering::AcqRel) & COMPLETE != 0 {
            event.set();
        }
        event
    }

    /// Waits until the operation is complete or `wait` ends; whether it is.
    pub fn wait(&self, wait: Wait) -> bool {
        loop {
            let seen = self.state.fetch_or(WAITING, Ordering::AcqRel) | WAITING;
            if seen & COMPLETE != 0 {
                return true;
            }
            if wait.is_over() {
                return false;
            }
            backend::futex_wait(&self.state, seen, wait);
        }
    }
}

/// Completes an overlapped block; whether its handle had gone, and the block is the caller's to free.
///
/// # Safety
/// As `deliver::complete`: the caller owns the operation, and gives the block up unless told otherwise.
pub(crate) unsafe fn complete(header: NonNull<Header>) -> bool {
    // SAFETY: the block lives until `publish` sets COMPLETE in it.
    unsafe {
        let shared = match &(*header.as_ptr()).delivery {
            Delivery::Overlapped(shared) => std::ptr::from_ref(shared),
            _ => unreachable!("the delivery was matched by the caller"),
        };
        if let Some(home) = (*header.as_ptr()).object.as_ref().and_then(|object| object.as_ref().home()) {
            home.port.attended();
        }
        Shared::publish(shared)
    }
}

/// A started operation: `OVERLAPPED` and `GetOverlappedResult` in one value.
///
/// Its type names what it carries and what it brings: `Overlapped<Fill<Vec<u8>>, ()>` is a receive into a `Vec`,
/// `Overlapped<NoBuffer, Accepted<TcpStream>>` an accept.
///
/// It makes progress whether or not anybody waits or sits in a port's `get`. Dropping it cancels the operation and lets
/// the buffer go when the kernel has let go of it; a result that arrived already is lost with it.
#[must_use = "dropping the handle cancels the operation"]
pub struct Overlapped<C: Cargo, T, H: Home = AnyThread> {
    header: NonNull<Header>,
    ticket: Ticket,
    kind: PhantomData<(C, T, H)>,
}

// SAFETY: the handle owns its half of the block; the cargo is Send (Cargo: Send), the rest are atomics and plain data.
unsafe impl<C: Cargo, T> Send for Overlapped<C, T, AnyThread> {}
// SAFETY: through a shared handle only the atomics are reached.
unsafe impl<C: Cargo, T> Sync for Overlapped<C, T, AnyThread> {}

impl<C: Cargo, T: Brings, H: Home> Operation<'_, C, T, H> {
    /// Starts the operation and gives a handle to it.
    ///
    /// An object without a home gets the process's own, which one thread of the library serves; on a port's object
    /// the operation progresses in the threads inside `get`, and in the library's thread while there are none.
    ///
    /// # Errors
    /// A refused operation never started and gives the buffer back: [`Code::InvalidParameter`] for arguments that make
    /// no sense, [`Code::TooManyOperations`] and [`Code::TooManyBytesQueued`] at the object's
    /// [`Limits`](crate::Limits), [`Code::Forked`] in a forked child, or the system's error if the object cannot be
    /// watched at all.
    ///
    /// ```
    /// use proactor::net::UdpSocket;
    /// let a = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// let receive = a.recv_from(vec![0; 64]).start()?;
    /// a.send_to(b"hello", a.local_addr()?).start()?.wait().result?;
    /// let done = receive.wait();
    /// assert_eq!(&done.buffer[..], b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(self) -> Result<Overlapped<C, T, H>, Refused<C::Back>> {
        let Operation { handle, op, cargo, .. } = self;
        let header = alloc_block(cargo);
        // SAFETY: a fresh block, ours alone until `start`.
        unsafe {
            let layered = header.cast::<Layered<C>>().as_ptr();
            (*layered).cargo.lower(&mut LoweredBuffers(&mut (*layered).header.work.buffers));
            let admitted = handle.home_or_process().and_then(|home| {
                super::check_and_admit(handle, &op, &(*layered).header.work.buffers).map(|budget| (home, budget))
            });
            let (home, budget) = match admitted {
                Ok(admitted) => admitted,
                Err(error) => {
                    let back = (&raw const (*layered).cargo).read().give_back();
                    free_shell(header);
                    return Err(Refused { error, back });
                }
            };
            (*layered).header.work.budget = budget;
            let ticket = begin(&mut (*layered).header, op, Some(handle.object()), Delivery::Overlapped(Shared::new()));
            let overlapped = Overlapped { header, ticket, kind: PhantomData };
            home.port.attend();
            backend::start(header);
            Ok(overlapped)
        }
    }
}

impl<C: Cargo, T, H: Home> Overlapped<C, T, H> {
    fn shared(&self) -> &Shared {
        // SAFETY: a block lives as long as its handle; `delivery` is not written between start and free.
        match unsafe { &(*self.header.as_ptr()).delivery } {
            Delivery::Overlapped(shared) => shared,
            _ => unreachable!("an overlapped block keeps its delivery"),
        }
    }

    fn is_over(&self) -> bool {
        self.shared().is_complete()
    }

    fn request_cancel(&self) -> bool {
        // SAFETY: `object` is written at start and when the block is freed, not in between; the block keeps the object,
        // the handle keeps the block.
        match unsafe { (*self.header.as_ptr()).object } {
            // SAFETY: as above.
            Some(object) => backend::cancel(unsafe { object.as_ref() }, Which::One(self.ticket)) > 0,
            None => false,
        }
    }
}

impl<C: Cargo, T: Brings, H: Home> Overlapped<C, T, H> {
    /// Whether the operation is over (`HasOverlappedIoCompleted`).
    pub fn is_complete(&self) -> bool {
        self.is_over()
    }

    /// The result if it is there; otherwise the handle back, with [`Code::Incomplete`] (996).
    pub fn into_result(self) -> Result<Completion<T, C::Back>, Refused<Self>> {
        if self.is_complete() {
            return Ok(self.take());
        }
        Err(Refused { error: Error::new(Code::Incomplete), back: self })
    }

    /// Waits for the result (`GetOverlappedResult` with `bWait`). A worker of a port that waits here releases another.
    ///
    /// On a per-thread port this thread completes the port's operations meanwhile; packets only queue. In a forked child what
    /// was pending is `Forked`: it goes on in the parent.
    pub fn wait(self) -> Completion<T, C::Back> {
        if !self.is_complete() && backend::check_fork().is_err() {
            return self.orphaned();
        }
        while !self.wait_over(Wait::Forever) {}
        self.take()
    }

    fn wait_over(&self, wait: Wait) -> bool {
        if TypeId::of::<H>() != TypeId::of::<Local>() {
            return backend::while_blocked(|| self.shared().wait(wait));
        }
        // SAFETY: `object` is written at start and when the block is freed, not in between; the handle keeps the block.
        let port =
            unsafe { (*self.header.as_ptr()).object.and_then(|object| object.as_ref().home()).map(|home| home.port.clone()) };
        let sleep = |wait| backend::while_blocked(|| self.shared().wait(wait));
        port.is_some_and(|port| port.drive(&|| self.is_over(), &sleep, wait))
    }

    /// Waits for the result until `wait` ends; then gives the handle back with [`Code::WaitTimeout`] (258), or with
    /// [`Code::Incomplete`] (996) for a wait of no time at all. The operation goes on.
    pub fn wait_timeout(self, wait: impl Into<Wait>) -> Result<Completion<T, C::Back>, Refused<Self>> {
        let wait = wait.into();
        if self.is_complete() || (!wait.is_poll() && self.wait_over(wait)) {
            return Ok(self.take());
        }
        let code = if wait.is_poll() { Code::Incomplete } else { Code::WaitTimeout };
        Err(Refused { error: Error::new(code), back: self })
    }

    /// In a forked child, of an operation that was pending: the parent's completes; nobody completes or reads this copy.
    fn orphaned(self) -> Completion<T, C::Back> {
        // SAFETY: the child has this one thread, and every way to the operation but this handle fails there: the block,
        // a copy in the child's own memory, is the handle's.
        unsafe { (*self.header.as_ptr()).work.settle(0, Err(Error::new(Code::Forked))) };
        self.take_it()
    }

    /// Asks for cancellation (`CancelIoEx`). The operation still completes, with [`Code::Cancelled`] or with the real
    /// result if that won the race. [`Code::NotFound`] (1168) if it is over.
    pub fn cancel(&self) -> Result<(), Error> {
        if self.is_complete() || !self.request_cancel() {
            return Err(Error::new(Code::NotFound));
        }
        Ok(())
    }

    /// The operation's event, manual-reset: signalled once the operation is complete.
    pub fn event(&self) -> Event {
        self.shared().event().clone()
    }

    /// Takes the result of a complete operation.
    fn take(self) -> Completion<T, C::Back> {
        debug_assert!(self.is_complete());
        self.take_it()
    }

    fn take_it(self) -> Completion<T, C::Back> {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: COMPLETE was read with acquire, so the completer is through with the block and it is the handle's
        // alone; the cargo is read out once and the shell freed.
        unsafe {
            let layered = this.header.cast::<Layered<C>>().as_ptr();
            let (bytes, result) = Done::take(&mut (*layered).header.work).typed();
            let cargo = (&raw const (*layered).cargo).read();
            free_shell(this.header);
            Completion { bytes, result, buffer: cargo.finish(bytes) }
        }
    }
}

impl<C: Cargo, T, H: Home> Sealed for Overlapped<C, T, H> {
    fn core(&self) -> Result<&Arc<Core>, Error> {
        if !self.is_over() {
            // A forked child would wait for ever.
            backend::check_fork()?;
        }
        self.shared().event().core()
    }
}

impl<C: Cargo, T, H: Home> std::fmt::Debug for Overlapped<C, T, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlapped").field("complete", &self.is_over()).finish_non_exhaustive()
    }
}

impl<C: Cargo, T, H: Home> Drop for Overlapped<C, T, H> {
    fn drop(&mut self) {
        if !self.is_over() {
            self.request_cancel();
        }
        if self.shared().leave() {
            // SAFETY: COMPLETE stood before GONE, so the block is this side's and the operation is over.
            unsafe { free_block(self.header) }
        }
    }
}
