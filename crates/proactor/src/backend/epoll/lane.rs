//! Slots and lanes: one direction of one socket, its operations in call order, and who may work on them.
//!
//! `state` of a lane is a word of flags. BUSY is ownership: whoever sets it alone touches the list, performs the
//! operations and delivers their completions; everybody else leaves a flag and goes. Nobody ever waits, except a
//! cancel, which must say what it found.
//!
//! | flag | set by | meaning |
//! |---|---|---|
//! | BUSY | the owner | the list is being worked on |
//! | READY | an event; the owner when it leaves | a system call may succeed; clear: the next edge tells (*armed*) |
//! | WORK | a start that met BUSY | the inbox has operations |
//! | HUP | an event | the peer closed or failed: no more edges need follow a short read |
//! | CLOSE | the last handle's drop | complete everything, then CLOSED |
//! | CLOSED | the owner, for good, BUSY with it | until the slot has its next tenant |
//!
//! | from | to | by |
//! |---|---|---|
//! | idle (READY or armed) | BUSY | compare-exchange: start, an event with news, cancel, close |
//! | BUSY | BUSY + flags | the same, met by BUSY: the owner will see them |
//! | BUSY | idle | the owner's compare-exchange from BUSY alone; fails if a flag came, and the owner goes round again |
//!
//! All orders are SeqCst: an event that finds READY set skips the lane, which is right only if the owner's later system
//! call sees the data that made the event.

use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};

use super::super::fifo::Fifo;
use super::perform::{self, Step};
use super::port::Port;
use crate::deliver::{self, After, Later, Packets};
use crate::error::{Code, Error};
use crate::handle::{Kind, Which};
use crate::op::{Header, Lane as Side, Op, Value};
use crate::port::Entry;
use crate::shim::{AtomicPtr, AtomicU32, Ordering};

pub(crate) const BUSY: u32 = 1;
pub(crate) const READY: u32 = 2;
pub(crate) const WORK: u32 = 4;
pub(crate) const HUP: u32 = 8;
pub(crate) const CLOSE: u32 = 16;
pub(crate) const CLOSED: u32 = 32;

/// The ownership word of a lane: plain enough for a model to check every interleaving.
pub(crate) struct Ownership(AtomicU32);

impl Ownership {
    pub fn new(state: u32) -> Ownership {
        Ownership(AtomicU32::new(state))
    }

    pub fn load(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn reset(&self, state: u32) {
        // The price of a SeqCst store, and loom orders it among the flags others leave.
        self.0.swap(state, Ordering::SeqCst);
    }

    /// Leaves a flag without taking the lane.
    pub fn mark(&self, flags: u32) {
        self.0.fetch_or(flags, Ordering::SeqCst);
    }

    /// Takes the lane with the flags that stood there, or leaves `flags` for its owner.
    pub fn acquire(&self, flags: u32) -> Option<u32> {
        let mut seen = self.load();
        loop {
            let next = if seen & BUSY != 0 { seen | flags } else { BUSY };
            match self.0.compare_exchange(seen, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) if seen & BUSY != 0 => return None,
                Ok(_) => return Some(seen | flags),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes the lane with an event's news or leaves them, unless they are known already.
    pub fn acquire_with_news(&self, news: u32) -> Option<u32> {
        let seen = self.load();
        if seen & CLOSED != 0 || (seen & READY != 0 && news & HUP == 0) {
            return None;
        }
        self.acquire(news)
    }

    /// Takes the lane only if it is free.
    pub fn try_acquire(&self) -> Option<u32> {
        let seen = self.load();
        if seen & BUSY != 0 {
            return None;
        }
        self.0.compare_exchange(seen, BUSY, Ordering::SeqCst, Ordering::SeqCst).ok()
    }

    /// Leaves the lane, or takes the flags that came meanwhile.
    pub fn release(&self, idle: u32) -> Result<(), u32> {
        match self.0.compare_exchange(BUSY, idle, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.0.swap(BUSY, Ordering::SeqCst) & !BUSY),
        }
    }
}

/// What only the owner of BUSY touches.
pub(super) struct Owned {
    list: Fifo,
    /// Accepts that have their connection and wait for its first data.
    pub waiting: Vec<NonNull<Header>>,
    pub ready: bool,
    pub hup: bool,
    /// The sending side was shut down here.
    pub shut: bool,
    /// A pipe's client was sent away: what its server still reads is to be looked at.
    pub disconnected: bool,
}

impl Owned {
    const fn new() -> Owned {
        Owned { list: Fifo::new(), waiting: Vec::new(), ready: false, hup: false, shut: false, disconnected: false }
    }

    /// Takes out the operations `which` means, in order.
    fn remove(&mut self, which: Which) -> Vec<NonNull<Header>> {
        let mut out = self.list.remove(which, 0);
        self.waiting.retain(|header| {
            // SAFETY: as above.
            let meant = which.means(unsafe { header.as_ref() });
            if meant {
                out.push(*header);
            }
            !meant
        });
        out
    }
}

pub(super) struct Lane {
    pub state: Ownership,
    inbox: AtomicPtr<Header>,
    owned: UnsafeCell<Owned>,
}

impl Lane {
    fn new() -> Lane {
        Lane {
            state: Ownership::new(BUSY | CLOSED),
            inbox: AtomicPtr::new(ptr::null_mut()),
            owned: UnsafeCell::new(Owned::new()),
        }
    }

    /// Leaves an operation for the owner.
    fn push_inbox(&self, header: NonNull<Header>) {
        let mut top = self.inbox.load(Ordering::Relaxed);
        loop {
            // SAFETY: not yet published, so still this thread's.
            unsafe { (*header.as_ptr()).sys.next = NonNull::new(top) };
            match self.inbox.compare_exchange(top, header.as_ptr(), Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Moves the inbox behind the list, oldest first.
    fn drain_inbox(&self, owned: &mut Owned) {
        if self.inbox.load(Ordering::SeqCst).is_null() {
            return;
        }
        let mut next = NonNull::new(self.inbox.swap(ptr::null_mut(), Ordering::SeqCst));
        let mut oldest_first = None;
        while let Some(header) = next {
            // SAFETY: taken out of the inbox, so the owner's.
            unsafe { next = std::mem::replace(&mut (*header.as_ptr()).sys.next, oldest_first) };
            oldest_first = Some(header);
        }
        while let Some(header) = oldest_first {
            // SAFETY: as above.
            oldest_first = unsafe { (*header.as_ptr()).sys.next };
            owned.list.push(header);
        }
    }
}

/// One socket's place in its port.
pub(super) struct Slot {
    pub index: u32,
    pub fd: AtomicU32,
    pub generation: AtomicU32,
    kind: AtomicU32,
    pub read: Lane,
    pub write: Lane,
    open_lanes: AtomicU32,
    /// Index + 1 of the listener's slot this connection's first data is reported to.
    pub parent: AtomicU32,
    /// 1 once the socket is connected, or needs no connection. Of a pipe's server: its state (`pipe.rs`).
    pub connected: AtomicU32,
    /// Of a pipe's server: the descriptor to which its clients come, kept open by the object.
    pub listener: AtomicU32,
    /// The errno that ended the connection. The kernel tells it once, to whichever lane asks first, and answers later
    /// receives as if the peer had closed.
    pub lost: AtomicU32,
}

// SAFETY: the UnsafeCells inside the lanes are touched only by the owner of their BUSY flag.
unsafe impl Sync for Slot {}
// SAFETY: the pointers inside are operations, whose blocks may be worked on by any thread.
unsafe impl Send for Slot {}

/// Deliveries made while a lane is owned: packets go on at once, user code runs only after the lane is free again.
struct Within<'a, P> {
    packets: &'a mut P,
    later: Later,
}

impl<P: Packets> Packets for Within<'_, P> {
    fn packet(&mut self, entry: Entry) {
        self.packets.packet(entry);
    }

    fn after(&mut self, after: After) {
        self.later.push(after);
    }
}

impl Slot {
    pub fn new(index: u32) -> Slot {
        Slot {
            index,
            fd: AtomicU32::new(u32::MAX),
            generation: AtomicU32::new(0),
            kind: AtomicU32::new(0),
            read: Lane::new(),
            write: Lane::new(),
            open_lanes: AtomicU32::new(0),
            parent: AtomicU32::new(0),
            connected: AtomicU32::new(0),
            listener: AtomicU32::new(0),
            lost: AtomicU32::new(0),
        }
    }

    /// A new tenant moves in. The first call on each side is made at once: an edge may have passed already.
    pub fn open(&self, fd: libc::c_int, kind: Kind) {
        self.fd.store(fd.cast_unsigned(), Ordering::Relaxed);
        self.kind.store(kind as u32, Ordering::Relaxed);
        self.open_lanes.store(2, Ordering::Relaxed);
        self.connected.store(0, Ordering::Relaxed);
        self.lost.store(0, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Relaxed);
        for lane in [&self.read, &self.write] {
            // SAFETY: the lane is CLOSED, so nobody owns it, and the slot was taken from the free list by us alone.
            unsafe { *lane.owned.get() = Owned::new() };
            lane.state.reset(READY);
        }
    }

    pub fn fd(&self) -> libc::c_int {
        self.fd.load(Ordering::Relaxed).cast_signed()
    }

    pub fn is(&self, kind: Kind) -> bool {
        self.kind.load(Ordering::Relaxed) == kind as u32
    }

    pub fn is_pipe_server(&self) -> bool {
        self.is(Kind::PipeServer) || self.is(Kind::MessagePipeServer)
    }

    pub fn is_pipe(&self) -> bool {
        self.is_pipe_server() || self.is(Kind::Pipe) || self.is(Kind::MessagePipe)
    }

    fn lane(&self, side: Side) -> &Lane {
        match side {
            Side::Read => &self.read,
            Side::Write => &self.write,
            Side::File | Side::Timer => unreachable!("files and timers have no lane"),
        }
    }

    /// Starts an operation: behind those pending, or at once.
    #[inline]
    pub fn start(&self, side: Side, header: NonNull<Header>, port: &Port, packets: &mut impl Packets) {
        let lane = self.lane(side);
        if let Some(flags) = lane.state.try_acquire() {
            // SAFETY: BUSY is ours.
            let owned = unsafe { &mut *lane.owned.get() };
            lane.drain_inbox(owned);
            owned.list.push(header);
            // SAFETY: a pending operation of this owner's, only read.
            let waits = flags == 0 && unsafe { perform::needs_readiness(&(*header.as_ptr()).work.op, &(*header.as_ptr()).sys) };
            // Nothing can be done before the next edge, for it or for those before it.
            let flags = match waits.then(|| lane.state.release(0)) {
                Some(Ok(())) => return port.settled(),
                Some(Err(news)) => news,
                None => flags,
            };
            self.work(lane, flags, port, packets);
        } else {
            lane.push_inbox(header);
            if let Some(flags) = lane.state.acquire(WORK) {
                self.work(lane, flags, port, packets);
            }
        }
    }

    /// An event came. `READY` and `HUP` are its news; a lane that knows them already is left alone.
    #[inline]
    pub fn event(&self, side: Side, news: u32, port: &Port, packets: &mut impl Packets) {
        let lane = self.lane(side);
        if let Some(flags) = lane.state.acquire_with_news(news) {
            self.work(lane, flags, port, packets);
        }
    }

    /// Wakes a lane whose accepts wait for first data.
    pub fn nudge(&self, port: &Port, packets: &mut impl Packets) {
        if let Some(flags) = self.read.state.acquire(WORK) {
            self.work(&self.read, flags, port, packets);
        }
    }

    /// Cancels; how many operations were meant. Waits for the lane: its owner makes no blocking call.
    pub fn cancel(&self, side: Side, which: Which, port: &Port, packets: &mut impl Packets) -> usize {
        let lane = self.lane(side);
        let mut spins = 0;
        let flags = loop {
            if let Some(flags) = lane.state.try_acquire() {
                break flags;
            }
            if lane.state.load() & CLOSED != 0 {
                return 0;
            }
            pause(&mut spins);
        };
        // SAFETY: BUSY is ours.
        let owned = unsafe { &mut *lane.owned.get() };
        lane.drain_inbox(owned);
        let meant = owned.remove(which);
        let mut within = Within { packets: &mut *packets, later: Later::new() };
        for header in &meant {
            abort(*header, Error::new(Code::Cancelled), port, &mut within);
        }
        let later = within.later;
        self.work(lane, flags, port, packets);
        later.run();
        meant.len()
    }

    /// What ended the connection, if anything but the peer's orderly close did. Waits for a send that is at it right now,
    /// which may have been told by the kernel and not said so yet; its owner
    /// makes no blocking call, unless it reads a file that it sends.
    pub fn lost(&self) -> Option<i32> {
        let mut spins = 0;
        loop {
            let idle = self.write.state.load() & (BUSY | CLOSED) != BUSY;
            match self.lost.load(Ordering::SeqCst) {
                0 if idle => return None,
                0 => {}
                errno => return Some(errno.cast_signed()),
            }
            pause(&mut spins);
        }
    }

    /// The last handle went: each lane completes what it has and closes, and the second one closes the descriptor.
    pub fn close(&self, port: &Port, packets: &mut impl Packets) {
        for lane in [&self.read, &self.write] {
            if let Some(flags) = lane.state.acquire(CLOSE) {
                self.work(lane, flags, port, packets);
            }
        }
    }

    /// Works a lane that the caller owns, until nothing is left to do, and leaves it.
    #[inline]
    fn work(&self, lane: &Lane, mut flags: u32, port: &Port, packets: &mut impl Packets) {
        let mut within = Within { packets, later: Later::new() };
        let (mut closed, mut disconnected) = (false, false);
        loop {
            // SAFETY: BUSY is ours until `release` below succeeds.
            let owned = unsafe { &mut *lane.owned.get() };
            owned.ready |= flags & READY != 0;
            owned.hup |= flags & HUP != 0;
            lane.drain_inbox(owned);
            if flags & CLOSE != 0 {
                self.abort_all(owned, port, &mut within);
                lane.state.reset(BUSY | CLOSED);
                closed = true;
                break;
            }
            self.perform(owned, port, &mut within);
            if !owned.waiting.is_empty() {
                perform::first_data(self, owned, port, &mut within);
            }
            disconnected |= std::mem::take(&mut owned.disconnected);
            let idle = if owned.ready { READY } else { 0 };
            // What `open` and the next owner read of `ready` is in the word.
            owned.ready = false;
            match lane.state.release(idle) {
                Ok(()) => break,
                Err(news) => flags = news | idle,
            }
        }
        let later = within.later;
        if closed && self.open_lanes.fetch_sub(1, Ordering::AcqRel) == 1 {
            port.vacate(self);
        }
        port.settled();
        if disconnected {
            // Only now that this lane is free: completions over there may run user code.
            self.event(Side::Read, READY, port, &mut port.packets());
        }
        later.run();
    }

    #[inline]
    fn perform(&self, owned: &mut Owned, port: &Port, packets: &mut impl Packets) {
        while let Some(header) = owned.list.head() {
            // SAFETY: a pending operation at the head of the owner's list is the owner's; an overlapped handle reads only
            // `delivery`, which is not borrowed here.
            let (work, sys) = unsafe { (&mut (*header.as_ptr()).work, &mut (*header.as_ptr()).sys) };
            if !owned.ready && perform::needs_readiness(&work.op, sys) {
                return;
            }
            let step = match work.op {
                Op::Recv => perform::recv(self, owned, work),
                Op::Send => perform::send(self, owned, work),
                _ => perform::perform(self, owned, work, sys, port),
            };
            match step {
                Step::Done(bytes, result) => {
                    owned.list.pop();
                    settle(header, bytes, result, packets);
                }
                // SAFETY: the operation is this owner's, and its object alive.
                Step::More(bytes, value) => unsafe { deliver::part(header, bytes, value, packets) },
                Step::Blocked => owned.ready = false,
                Step::AwaitsData => {
                    owned.list.pop();
                    owned.waiting.push(header);
                }
            }
        }
    }

    fn abort_all(&self, owned: &mut Owned, port: &Port, packets: &mut impl Packets) {
        let code = match () {
            () if self.is(Kind::TcpStream) || self.is(Kind::UnixStream) => Code::ConnectionAborted,
            () if self.is_pipe() => Code::BrokenPipe,
            () => Code::Cancelled,
        };
        for header in owned.remove(Which::All) {
            abort(header, Error::new(code), port, packets);
        }
    }
}

/// One turn of waiting for a lane's owner, who makes no blocking call but may have been preempted.
fn pause(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(64) { std::thread::yield_now() } else { std::hint::spin_loop() }
}

/// Records an operation's outcome and delivers it.
#[inline(always)]
pub(super) fn settle(header: NonNull<Header>, bytes: usize, result: Result<Value, Error>, packets: &mut impl Packets) {
    // SAFETY: the caller owns the pending block and has taken it out of its list; nothing is in the kernel's hands.
    unsafe {
        (*header.as_ptr()).work.settle(bytes, result);
        deliver::complete(header, packets);
    }
}

/// Ends an operation that did not reach its goal; the bytes transferred so far stand.
fn abort(header: NonNull<Header>, error: Error, port: &Port, packets: &mut impl Packets) {
    // SAFETY: as in `settle`.
    let (bytes, child) = unsafe {
        let block = header.as_ptr();
        (*block).sys.connecting = false;
        ((*block).work.bytes, (*block).sys.child.take())
    };
    if let Some(child) = child {
        child.abandon(port);
    }
    settle(header, bytes, Err(error), packets);
}

/// Whether an operation waits for events at all.
pub(super) fn is_immediate(op: &Op) -> bool {
    matches!(op, Op::Shutdown { .. } | Op::Disconnect { reuse: false })
}
