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
//! | WAKER | the polling handle, after it filled the slot | the slot is whoever's clears the flag: the completer's, to wake, or the handle's, to fill it again |
//!
//! Every change is one read-modify-write with AcqRel, so COMPLETE and each other flag see one another in one order. The
//! completer takes its own copy of the event, and the waker out of its slot, before it sets COMPLETE, and wakes by address
//! alone: the handle may have freed the block by then.
//!
//! A poll that finds WAKER cleared by the completer knows that COMPLETE is about to follow, and has itself polled again. Only
//! one thread polls at a time (`&mut`), but each poll may come from another, with another waker.

use std::any::TypeId;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use super::modifiers::launch;
use super::{After, Packets};
use crate::backend;
use crate::buf::{Cargo, LoweredBuffers};
use crate::error::{Code, Error, Refused};
use crate::handle::Which;
use crate::home::{Home, Local, Shared as AnyThread};
use crate::op::{
    Brings, Completion, Delivery, Done, Header, Layered, Operation, Ticket, alloc_block, begin, free_block, free_shell,
};
use crate::shim::{AtomicU32, Ordering, UnsafeCell};
use crate::sync::Event;
use crate::sync::blocking::On;
use crate::sync::current::ThreadState;
use crate::sync::object::Core;
use crate::sync::waitable::sealed::Sealed;
use crate::time::{NOWHERE, Wait};

const COMPLETE: u32 = 1;
const GONE: u32 = 2;
const WAITING: u32 = 4;
const EVENT: u32 = 8;
const WAKER: u32 = 16;

/// The part of an overlapped block that handle and completer share.
pub(crate) struct Shared {
    state: AtomicU32,
    event: OnceLock<Event>,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the waker's slot is touched only by who cleared WAKER, or by the handle while it stands cleared.
unsafe impl Sync for Shared {}

impl Shared {
    pub fn new() -> Shared {
        Shared { state: AtomicU32::new(0), event: OnceLock::new(), waker: UnsafeCell::new(None) }
    }

    /// Of an operation that is over before it began.
    pub fn complete() -> Shared {
        Shared { state: AtomicU32::new(COMPLETE), event: OnceLock::new(), waker: UnsafeCell::new(None) }
    }

    pub fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// Publishes the completion; whether the handle had gone, so that the block is the completer's to free. If not, the
    /// block may be gone when this returns. The waker, if any, is the caller's to wake.
    ///
    /// # Safety
    /// `shared` is valid until COMPLETE is set in it, which this does once.
    pub unsafe fn publish(shared: *const Shared) -> (bool, Option<Waker>) {
        // SAFETY: valid until the compare-exchange below succeeds, as the caller promises.
        let (word, mut seen) = unsafe { (&raw const (*shared).state, (*shared).state.load(Ordering::Acquire)) };
        let (mut event, mut waker) = (None, None);
        loop {
            if seen & WAKER != 0 {
                // SAFETY: as above; who cleared the flag has the slot.
                unsafe {
                    seen = (*word).fetch_and(!WAKER, Ordering::AcqRel);
                    if seen & WAKER != 0 {
                        waker = (*shared).waker.with_mut(|slot| (*slot).take());
                        seen &= !WAKER;
                    }
                }
            }
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
        (seen & GONE != 0, waker)
    }

    /// Leaves a waker, in place of the one a poll before this left, if it did; whether the operation is complete instead.
    ///
    /// # Safety
    /// Only the handle calls it, which is borrowed exclusively.
    pub unsafe fn register(&self, waker: &Waker, again: bool) -> bool {
        if again {
            let seen = self.state.fetch_and(!WAKER, Ordering::AcqRel);
            if seen & COMPLETE != 0 {
                return true;
            }
            if seen & WAKER == 0 {
                // The completer has the slot.
                waker.wake_by_ref();
                return false;
            }
        }
        self.waker.with_mut(|slot| {
            // SAFETY: WAKER is clear, and only this handle sets it.
            let slot = unsafe { &mut *slot };
            if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
                *slot = Some(waker.clone());
            }
        });
        self.state.fetch_or(WAKER, Ordering::AcqRel) & COMPLETE != 0
    }

    /// Drops the waker that a poll left, on this thread: the task may end long before the operation does.
    ///
    /// # Safety
    /// As for `register`, which was called.
    pub unsafe fn unregister(&self) {
        if self.state.fetch_and(!WAKER, Ordering::AcqRel) & WAKER != 0 {
            // SAFETY: who cleared the flag has the slot.
            drop(self.waker.with_mut(|slot| unsafe { (*slot).take() }));
        }
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

/// Completes an overlapped block.
///
/// # Safety
/// As `deliver::complete`: the caller owns the operation, and gives the block up.
pub(super) unsafe fn complete(header: NonNull<Header>, packets: &mut impl Packets) {
    // SAFETY: the block lives until `publish` sets COMPLETE in it.
    unsafe {
        let shared = match &(*header.as_ptr()).delivery {
            Delivery::Overlapped(shared) => std::ptr::from_ref(shared),
            _ => unreachable!("the delivery was matched by the caller"),
        };
        if let Some(home) = (*header.as_ptr()).object.as_ref().and_then(|object| object.as_ref().home()) {
            home.port.attended();
        }
        let (gone, waker) = Shared::publish(shared);
        if let Some(waker) = waker {
            packets.after(After::Wake(waker));
        }
        if gone {
            packets.after(After::Free(header));
        }
    }
}

/// What a handle knows of its operation without looking.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Started,
    /// A poll left a waker.
    Polled,
    /// It never began: its buffer goes back as it came.
    Refused,
    /// The result was taken by a poll; the block is gone.
    Taken,
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
    pub(super) stage: Stage,
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
        self.try_start().map_err(|(header, error)| {
            // SAFETY: the block was refused, so it is this call's: its cargo is read out once, and the shell freed.
            unsafe {
                let back = (&raw const (*header.cast::<Layered<C>>().as_ptr()).cargo).read().give_back();
                free_shell(header);
                Refused { error, back }
            }
        })
    }

    /// As `start`; a refused operation is complete, with the reason for its result.
    pub(super) fn start_anyway(self) -> Overlapped<C, T, H> {
        self.try_start().unwrap_or_else(|(mut header, error)| {
            // SAFETY: as in `start`.
            let header_mut = unsafe { header.as_mut() };
            header_mut.delivery = Delivery::Overlapped(Shared::complete());
            header_mut.work.result = Err(error);
            let ticket = Ticket { block: header.as_ptr() as usize, sequence: 0, place: NOWHERE };
            Overlapped { header, ticket, stage: Stage::Refused, kind: PhantomData }
        })
    }

    /// Starts it, or gives the block back.
    fn try_start(self) -> Result<Overlapped<C, T, H>, (NonNull<Header>, Error)> {
        let Operation { handle, op, cargo, modifiers, .. } = self;
        let header = alloc_block(cargo);
        // SAFETY: a fresh block, ours alone until `start`.
        unsafe {
            let layered = header.cast::<Layered<C>>().as_ptr();
            (*layered).cargo.lower(&mut LoweredBuffers(&mut (*layered).header.work.buffers));
            let admitted = handle.home_or_process().and_then(|home| {
                modifiers.check(handle)?;
                super::check_and_admit(handle, &op, &(*layered).header.work.buffers).map(|budget| (home, budget))
            });
            let (home, budget) = match admitted {
                Ok(admitted) => admitted,
                Err(error) => return Err((header, error.of(op.kind()))),
            };
            (*layered).header.work.budget = budget;
            let mut ticket = begin(&mut (*layered).header, op, Some(handle.object()), Delivery::Overlapped(Shared::new()));
            home.port.attend();
            ticket.place = launch(header, handle, modifiers);
            Ok(Overlapped { header, ticket, stage: Stage::Started, kind: PhantomData })
        }
    }
}

impl<C: Cargo, T, H: Home> Overlapped<C, T, H> {
    /// # Panics
    /// If a poll took the result, as futures do.
    pub(super) fn shared(&self) -> &Shared {
        assert!(self.stage != Stage::Taken, "the result of this operation was taken when it was awaited");
        // SAFETY: a block lives as long as its handle; `delivery` is not written between start and free.
        match unsafe { &(*self.header.as_ptr()).delivery } {
            Delivery::Overlapped(shared) => shared,
            _ => unreachable!("an overlapped block keeps its delivery"),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Taken || self.shared().is_complete()
    }

    pub(super) fn request_cancel(&self) -> bool {
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

    /// Whether it is complete before the end of `wait`.
    pub(super) fn wait_over(&self, wait: Wait) -> bool {
        if self.is_over() {
            return true;
        }
        // SAFETY: `object` is written at start and when the block is freed, not in between; the handle keeps the block.
        let Some(object) = (unsafe { (*self.header.as_ptr()).object }) else { return self.is_over() };
        let state = ThreadState::current();
        let drives = backend::drives();
        let is_own = TypeId::of::<H>() == TypeId::of::<Local>() && drives;
        let on = if is_own { On::Own { asked: false } } else { On::Operation(object, self.ticket) };
        let before = state.blocking.begin(on);
        let is_over = match (is_own, drives) {
            (true, _) => self.drive_over(wait, &state),
            // Its own ports go on meanwhile: that is a wait for the event.
            (false, true) => self.event().wait_timeout(wait),
            (false, false) => backend::while_blocked(|| self.shared().wait(wait)),
        };
        state.blocking.end(before);
        is_over
    }

    /// On a port of this thread's own: completes its operations meanwhile.
    fn drive_over(&self, wait: Wait, state: &ThreadState) -> bool {
        let alarm = state.alarm().ok();
        loop {
            backend::while_blocked(|| backend::drive(&|| self.is_over() || state.blocking.is_asked(), wait, alarm));
            if self.is_over() || !state.blocking.is_asked() {
                return self.is_over();
            }
            state.blocking.answered();
            self.request_cancel();
        }
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
    fn orphaned(mut self) -> Completion<T, C::Back> {
        self.orphan();
        self.take_it()
    }

    pub(super) fn orphan(&mut self) {
        // SAFETY: the child has this one thread, and every way to the operation but this handle fails there: the block,
        // a copy in the child's own memory, is the handle's.
        unsafe { (*self.header.as_ptr()).work.settle(0, Err(Error::new(Code::Forked))) };
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
    pub(super) fn take(mut self) -> Completion<T, C::Back> {
        debug_assert!(self.is_complete());
        self.take_it()
    }

    /// The same. The operation is complete, or nobody's but this handle's; nothing is left in the handle.
    pub(super) fn take_it(&mut self) -> Completion<T, C::Back> {
        let stage = std::mem::replace(&mut self.stage, Stage::Taken);
        assert!(stage != Stage::Taken, "the result of this operation was taken when it was awaited");
        // SAFETY: COMPLETE was read with acquire, so the completer is through with the block and it is the handle's
        // alone; the cargo is read out once and the shell freed.
        unsafe {
            let layered = self.header.cast::<Layered<C>>().as_ptr();
            let (bytes, result) = Done::take(&mut (*layered).header.work).typed();
            let cargo = (&raw const (*layered).cargo).read();
            free_shell(self.header);
            let buffer = if stage == Stage::Refused { cargo.give_back() } else { cargo.finish(bytes) };
            Completion { bytes, result, buffer }
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
        if self.stage == Stage::Taken {
            return;
        }
        if self.stage == Stage::Polled {
            // SAFETY: polled, and borrowed exclusively. First, so that the cancel does not wake a task that is gone.
            unsafe { self.shared().unregister() };
        }
        if !self.is_over() {
            self.request_cancel();
        }
        if self.shared().leave() {
            // SAFETY: COMPLETE stood before GONE, so the block is this side's and the operation is over.
            unsafe { free_block(self.header) }
        }
    }
}
