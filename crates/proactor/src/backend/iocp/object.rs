//! The backend's part of an object, and the four verbs on it: start, cancel, close, take the descriptor out. The lists
//! and locks they work on are in `lanes.rs`.
//!
//! | stage | who takes the operation out |
//! |---|---|
//! | Queued, Running | a thread of the pool, which sees `ended` |
//! | Held | the thread of `held.rs`, which sees `ended` |
//! | Waiting | the object's thread of `waits.rs` |
//! | Kernel | who gets the packet, or whose event is set |
//! | Settled | the same; for an overlapped one, who settled it |

use std::fmt;
use std::os::windows::io::{BorrowedHandle, BorrowedSocket, OwnedHandle};
use std::ptr::NonNull;

use super::events::Waiter;
use super::lanes::{Core, List, NONE, as_handle};
use super::multi::Step;
use super::port::Port;
use super::start::{self, Issued};
use super::timing::Timing;
use super::types::{Descriptor, Stage};
use super::{codes, events, finish, held, issuer, multi, sys};
use crate::deliver::{self, After, Packets};
use crate::error::{Code, Error};
use crate::handle::{Kind, Object, Which};
use crate::op::{Delivery, Header, Lane, Op, Value};
use crate::port::Entry;
use crate::shim::{Arc, MutexGuard};
use crate::time::{NOWHERE, Place};

/// An object's part. What threads may still look at while the object goes is in `core`, which has its own count.
pub(crate) struct ObjectState {
    pub(super) core: Arc<Core>,
    /// Of timers, which have no descriptor.
    timing: Option<Arc<Timing>>,
}

impl ObjectState {
    /// Takes a descriptor in. Neither flag matters here: overlapped calls ignore the non-blocking mode.
    pub fn new(descriptor: Descriptor, _connected: bool, _must_not_block: bool) -> ObjectState {
        let is_file = matches!(descriptor, Descriptor::File(_));
        let raw = descriptor.raw();
        let blocking = is_file && !sys::is_overlapped(as_handle(raw));
        std::mem::forget(descriptor);
        ObjectState::make(raw, is_file, blocking)
    }

    /// An object that is waited for, and nothing else.
    pub fn waited_for(handle: OwnedHandle) -> ObjectState {
        let descriptor = Descriptor::File(handle);
        let raw = descriptor.raw();
        std::mem::forget(descriptor);
        // No packets come of it.
        ObjectState::make(raw, true, true)
    }

    /// A file that an open operation will provide with its handle.
    pub fn unopened() -> ObjectState {
        ObjectState::make(NONE, true, false)
    }

    /// Timers, none armed.
    pub fn timers() -> ObjectState {
        let mut state = ObjectState::unopened();
        state.timing = Some(Timing::new());
        state
    }

    /// What is armed, if these are timers.
    pub fn timing(&self) -> Option<&Arc<Timing>> {
        self.timing.as_ref()
    }

    fn make(raw: u64, is_file: bool, blocking: bool) -> ObjectState {
        ObjectState { core: Arc::new(Core::new(raw, is_file, blocking)), timing: None }
    }

    pub fn borrow_socket(&self) -> BorrowedSocket<'_> {
        // SAFETY: open as long as a user's handle exists, and this borrow is one's.
        unsafe { BorrowedSocket::borrow_raw(self.core.socket() as u64) }
    }

    pub fn borrow_handle(&self) -> BorrowedHandle<'_> {
        assert!(self.core.is_open(), "the file is not open yet: wait for its open operation");
        // SAFETY: as above.
        unsafe { BorrowedHandle::borrow_raw(self.core.handle()) }
    }

    /// Gives an opening file its handle. False, and the handle closed, if it has one.
    pub(super) fn provide(&self, file: OwnedHandle) -> bool {
        let file = Descriptor::File(file);
        let provided = self.core.provide(file.raw());
        if provided {
            std::mem::forget(file);
        }
        provided
    }
}

impl Drop for ObjectState {
    fn drop(&mut self) {
        drop(self.core.take());
    }
}

impl fmt::Debug for ObjectState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.core.is_file { "handle" } else { "socket" };
        write!(f, "{name} {}", self.core.socket().cast_signed())
    }
}

/// Takes over a begun block. Where it is, if it is a timer.
///
/// # Safety
/// The block was begun with an operation count of its object, its home is set, its buffers are lowered.
pub(crate) unsafe fn start(header: NonNull<Header>) -> Place {
    // SAFETY: the caller hands over the block, and the user's handle it was started through keeps the object, and with it
    // the port, meanwhile. The block may be gone once it is in line.
    unsafe {
        if let Some(timing) = object_of(header).sys.timing() {
            return timing.arm(header).unwrap_or_else(|| {
                timing.refuse(header, port_of(header), Error::new(Code::InsufficientResources));
                NOWHERE
            });
        }
        let block = header.as_ptr();
        let (core, port) = (&object_of(header).sys.core, port_of(header));
        let is_packet = (*block).delivery.is_queued();
        (*block).sys.lane = (*block).work.op.lane();
        if multi::is_multi(&(*block).work.op) {
            port.multi_begins();
        }
        if !is_packet {
            // Before the lock: a callback that waits for the lock may keep the system from registering another wait.
            match events::take() {
                Ok(waiter) => (*block).sys.waiter = Some(waiter),
                Err(error) => {
                    (*block).work.settle(0, Err(error));
                    deliver::complete(header, &mut NoPort);
                    return NOWHERE;
                }
            }
        }
        get_in_line(core, header);
        // The close, or this, sees the other: it sets `closed`, then looks at the lanes.
        if is_packet && port.is_closed() {
            port.reap();
        }
    }
    NOWHERE
}

/// Starts an operation, or has it wait for those before it.
///
/// # Safety
/// As `start`.
unsafe fn get_in_line(core: &Arc<Core>, header: NonNull<Header>) {
    // SAFETY: as the caller promises.
    unsafe {
        let sys = &raw mut (*header.as_ptr()).sys;
        let mut list = core.lock((*sys).lane);
        list.push(header);
        if !list.must_wait(header) {
            let issued = give(header);
            return issue(list, header, issued);
        }
        (*sys).stage = Stage::Held;
        list.held += 1;
        if let Err(error) = held::list(core, (*sys).lane) {
            list.held -= 1;
            conclude(list, header, 0, Err(error));
        }
    }
}

/// Gives an operation to the kernel, on the thread that may.
///
/// # Safety
/// As `start::issue`.
unsafe fn give(header: NonNull<Header>) -> Issued {
    // SAFETY: as the caller promises.
    unsafe {
        match (*header.as_ptr()).delivery {
            Delivery::Overlapped(_) | Delivery::Routine(_) => issuer::on_its_thread(header),
            Delivery::Packet | Delivery::Part | Delivery::Handler(_) | Delivery::None => start::issue(header, object_of(header)),
        }
    }
}

/// Starts the held operations of a lane whose turn has come.
pub(super) fn release(core: &Core, lane: Lane) {
    loop {
        let mut list = core.lock(lane);
        // SAFETY: listed, so alive and pending, and their object with them; all of it guarded by the lock. The caller
        // keeps `core`.
        unsafe {
            let Some(header) = list.iter().find(|header| (*header.as_ptr()).sys.stage == Stage::Held) else { return };
            match (*header.as_ptr()).sys.ended {
                None if list.must_wait(header) => return,
                None => {
                    list.held -= 1;
                    let issued = give(header);
                    issue(list, header, issued);
                }
                Some(code) => {
                    list.held -= 1;
                    conclude(list, header, 0, Err(codes::of_end(code)));
                }
            }
        }
    }
}

/// Records what became of an operation given to the kernel or the pool.
///
/// # Safety
/// The block is in the locked list, and nobody else has it.
unsafe fn issue(list: MutexGuard<'_, List>, header: NonNull<Header>, issued: Issued) {
    // SAFETY: as the caller promises. Who gets the operation's completion waits for this lock.
    unsafe {
        let sys = &raw mut (*header.as_ptr()).sys;
        match issued {
            Issued::Kernel => (*sys).stage = Stage::Kernel,
            Issued::AtOnce => {
                (*sys).stage = Stage::Kernel;
                // Delivered here and now: the event's thread finds nothing, if it has not been faster.
                if let Some(waiter) = (*sys).waiter.filter(|waiter| waiter.disarm()) {
                    drop(list);
                    event_set(header, waiter);
                }
            }
            Issued::Pool => (*sys).stage = Stage::Queued,
            Issued::Waiting => (*sys).stage = Stage::Waiting,
            Issued::Done(bytes, result) => conclude(list, header, bytes, result),
        }
    }
}

/// Ends an operation that the kernel does not have: records its outcome, and sends it on the way it would have come.
///
/// # Safety
/// The block is in the locked list, whose object or core the caller keeps until this returns, and no call of the kernel
/// is pending on it.
pub(super) unsafe fn conclude(
    mut list: MutexGuard<'_, List>,
    header: NonNull<Header>,
    bytes: usize,
    result: Result<Value, Error>,
) {
    // SAFETY: as the caller promises; a packet's block is the port's once posted, but who dequeues it waits for the lock.
    unsafe {
        let block = header.as_ptr();
        (*block).work.settle(bytes, result);
        (*block).sys.stage = Stage::Settled;
        if let Some(waiter) = (*block).sys.waiter {
            if (*block).sys.armed && !waiter.disarm() {
                // The event was set all the same: its thread has the block, and waits for the lock.
                return;
            }
            events::give_back(waiter);
        }
        if (*block).delivery.is_queued() {
            return port_of(header).put(header);
        }
        list.unlink(header);
        drop(list);
        deliver::complete(header, &mut NoPort);
    }
}

/// Takes a completed operation out of its lane, and delivers it.
///
/// # Safety
/// The operation is over, and the caller has its one completion: the packet, or the event.
pub(super) unsafe fn retire(header: NonNull<Header>, packets: &mut impl Packets) {
    // SAFETY: the block, and with it its object, is the caller's.
    unsafe {
        let block = header.as_ptr();
        let object = object_of(header);
        let mut list = object.sys.core.lock((*block).sys.lane);
        if (*block).sys.stage != Stage::Settled {
            if !finish::is_over(header) {
                return not_over(list, header);
            }
            let (bytes, result) = finish::outcome(header, object);
            match multi::step(header, object, bytes, result) {
                Step::Last(bytes, result) => (*block).work.settle(bytes, result),
                Step::More(bytes, value) => {
                    // First, so that whoever takes the next one comes after it.
                    deliver::part(header, bytes, value, packets);
                    return go_on(list, header);
                }
                Step::Again => return go_on(list, header),
            }
        }
        list.unlink(header);
        let held = list.held > 0;
        drop(list);
        if held {
            held::tell();
        }
        if multi::is_multi(&(*block).work.op) {
            port_of(header).multi_ended();
        }
        deliver::complete(header, packets);
    }
}

/// Makes the next call of an operation of many completions, or ends it if it was asked to.
///
/// # Safety
/// The block is in the locked list, its last call is over, and its completion was taken by the caller.
unsafe fn go_on(list: MutexGuard<'_, List>, header: NonNull<Header>) {
    // SAFETY: as the caller promises.
    unsafe {
        let object = object_of(header);
        // Once on its way again, the operation may end, and its object go, before the lock is released.
        let _keep = object.sys.core.clone();
        match (*header.as_ptr()).sys.ended {
            Some(code) => conclude(list, header, 0, Err(codes::of_end(code))),
            None => {
                (*header.as_ptr()).sys.flags.get().write(0);
                let issued = start::issue(header, object);
                issue(list, header, issued);
            }
        }
    }
}

/// A packet came of an operation that is not over. Wine (8.0) does that when data comes at the moment at which the thread
/// that started the operation ends: it drops the operation unperformed. One that waited to receive, alone, is started
/// again; another's place in the order is gone, so it ends as cancelled.
///
/// # Safety
/// The block is in the locked list, and its packet was taken by the caller.
unsafe fn not_over(list: MutexGuard<'_, List>, header: NonNull<Header>) {
    // SAFETY: as the caller promises; the system has let go of the block.
    unsafe {
        let block = header.as_ptr();
        let object = object_of(header);
        let op = &(*block).work.op;
        let receives = multi::is_multi(op) || matches!(op, Op::Accept | Op::Recv | Op::RecvFrom | Op::RecvMsg | Op::Ready { .. });
        if (*block).sys.ended.is_none()
            && object.sys.core.is_open()
            && !port_of(header).is_closed()
            && receives
            && list.iter().filter(|other| (*other.as_ptr()).sys.stage != Stage::Held).count() == 1
        {
            return go_on(list, header);
        }
        let _keep = object.sys.core.clone();
        let code = (*block).sys.ended.unwrap_or(Code::Cancelled);
        conclude(list, header, 0, Err(codes::of_end(code)));
    }
}

/// An event was set: finishes its operation, in the order of its lane. If that is not over, the event was set for no reason,
/// and waits on.
///
/// # Safety
/// The block was armed with the waiter's event, and taken out of it by the caller alone.
pub(super) unsafe fn event_set(header: NonNull<Header>, waiter: &'static Waiter) {
    // SAFETY: pending, so alive; `lane` is fixed, the rest is read and written under the lock. One that has arrived is the
    // delivering thread's.
    unsafe {
        let sys = &raw mut (*header.as_ptr()).sys;
        let (core, lane) = (object_of(header).sys.core.clone(), (*sys).lane);
        let mut list = core.lock(lane);
        if (*sys).stage != Stage::Settled && !finish::is_over(header) {
            waiter.arm_again(header);
            return;
        }
        (*sys).arrived = true;
        if std::mem::replace(&mut list.delivers, true) {
            return;
        }
        while let Some(next) = list.next_arrived(lane) {
            drop(list);
            // First, so that a user who waits for the result finds the event free for the next operation.
            if let Some(waiter) = (*next.as_ptr()).sys.waiter {
                events::give_back(waiter);
            }
            retire(next, &mut NoPort);
            list = core.lock(lane);
        }
        list.delivers = false;
    }
}

/// The object of a pending operation.
///
/// # Safety
/// The block is alive and pending, or owned by the caller; it holds the object for as long.
pub(super) unsafe fn object_of<'a>(header: NonNull<Header>) -> &'a Object {
    // SAFETY: as the caller promises; `object` is fixed from start to consumption.
    match unsafe { (*header.as_ptr()).object } {
        // SAFETY: the block holds an operation count of it.
        Some(object) => unsafe { &*object.as_ptr() },
        None => unreachable!("an operation without an object was started"),
    }
}

/// # Safety
/// As for `object_of`.
pub(super) unsafe fn port_of<'a>(header: NonNull<Header>) -> &'a Port {
    // SAFETY: as the caller promises.
    match unsafe { object_of(header) }.home() {
        Some(home) => &home.port,
        None => unreachable!("an operation was started on an object without a home"),
    }
}

/// Where overlapped operations are delivered: no packet comes of them.
struct NoPort;

impl Packets for NoPort {
    fn packet(&mut self, _: Entry) {
        unreachable!("a packet is delivered by the port it was dequeued from");
    }

    fn after(&mut self, after: After) {
        // No lock is held.
        after.run();
    }
}

/// Cancels operations of an object; how many were meant.
pub(crate) fn cancel(object: &Object, which: Which) -> usize {
    match (object.sys.timing(), object.home()) {
        (Some(timing), Some(home)) => timing.cancel(which, &home.port),
        (Some(_), None) => 0,
        (None, _) => object.sys.core.cancel(which, Code::Cancelled),
    }
}

/// The last user's handle went: ends what is pending, and closes a socket or a pipe at once, so that the peer sees it. A file's
/// pending calls may need its handle: that goes with the object.
pub(crate) fn close(object: &Object) {
    if object.sys.timing().is_some() {
        cancel(object, Which::All);
        return;
    }
    let core = &object.sys.core;
    let code = object.kind.code_of_close();
    if core.is_file && !object.kind.is_pipe() {
        core.cancel(Which::All, code);
        return;
    }
    let lists = [Lane::Read, Lane::Write, Lane::File].map(|lane| core.lock(lane));
    for list in &lists {
        core.cancel_in(list, Which::All, code);
    }
    if object.kind == Kind::TcpListener {
        // A connection that came before the close is still to be fetched, and cannot be finished without its listener.
        for header in lists[0].iter() {
            // SAFETY: listed, so alive, and guarded by the lock.
            unsafe { finish::adopt_early(header, core) };
        }
    }
    drop(core.take());
}

/// Gives the descriptor up. The caller saw that nothing is in flight and that it holds the only handle.
pub(crate) fn take_descriptor(object: &Object) -> Option<Descriptor> {
    let descriptor = object.sys.core.take()?;
    if object.home().is_some() {
        sys::dissociate(as_handle(descriptor.raw()));
    }
    Some(descriptor)
}

impl Port {
    /// Gives an object its place in this port. Called once, before the object's home is set.
    pub fn attach(&self, object: &Object) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::new(Code::InvalidHandle).hint("the completion port is closed"));
        }
        if let Some(timing) = object.sys.timing() {
            timing.settle(self)?;
            self.enroll_timers(timing);
            return Ok(());
        }
        let core = &object.sys.core;
        if core.is_open() && !core.blocks() {
            self.associate(core.handle())?;
        }
        self.enroll(core);
        Ok(())
    }
}
