//! The shared port: one epoll instance, a packet queue, the gate. How threads wait in it is in `fetch.rs`.
//!
//! Who wakes whom for a packet is in `backend/wake.rs`.
//!
//! | atomic | partner |
//! |---|---|
//! | `closed` store (SeqCst), then the queue is emptied | a pusher looks at `closed` after its push and empties too |
//! | `waitables` +1, then `idle` is looked at | a thread leaving the poll: idle −1, then `waitables` is looked at: one of them arms the library's thread |

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::super::alarm::Alarm;
use super::super::gate::{Freed, Gate};
use super::super::queue::Queue;
use super::super::wake::{Call, Wake};
use super::super::worker::Worker;
use super::super::{Contract, Plan};
use super::files::Files;
use super::lane::Slot;
use super::slab::Slab;
use super::timing::{Timing, Timings};
use super::{monitor, object, reaper, sys, types};
use crate::deliver::{After, Packets};
use crate::error::{Code, Error};
use crate::handle::{Kind, Which};
use crate::op::Lane;
use crate::port::Entry;
use crate::sync::object::Core;
use crate::time::Wait;

/// Tags of the descriptors that are not sockets; a slot's tag is generation << 32 | index, with the top bit clear.
const SPECIAL: u64 = 1 << 63;
pub(super) const KICK: u64 = SPECIAL;
pub(super) const CLOSING: u64 = SPECIAL | 1;
pub(super) const RING: u64 = SPECIAL | 2;
/// A timerfd; its index below.
pub(super) const TIMERS: u64 = SPECIAL | 1 << 61;
pub(super) const NESTED: u64 = SPECIAL | 1 << 62;

/// How long the end of a thread's own port waits for its file operations.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most events of one poll, and how many a thread takes that fetches fewer packets at once.
pub(super) const EVENTS: usize = 64;
pub(super) const FEW: usize = 16;

pub(crate) struct Port {
    pub(super) epoll: OwnedFd,
    pub(super) kick: OwnedFd,
    closing: OwnedFd,
    pub(super) queue: Queue,
    pub(super) gate: Gate,
    pub(super) wake: Wake,
    closed: AtomicBool,
    slab: Slab,
    contract: Contract,
    pub(super) files: OnceLock<Files>,
    pub(super) timings: Timings,
    pub(super) deadlines: OnceLock<Arc<Timing>>,
    /// Operations whose result somebody may wait for with nobody in `get`.
    pub(super) waitables: AtomicUsize,
    /// The library's thread watches this port now.
    pub(super) armed: AtomicBool,
    pub(super) nested: OnceLock<u64>,
    members: Mutex<Vec<Arc<Worker>>>,
    /// Somebody outside watches the queue, for good: every packet must show.
    pub(super) is_watched: AtomicBool,
    /// A foreign reactor watches the descriptor.
    pub(super) foreign: AtomicBool,
    /// Threads may wait for the port as an object.
    pub(super) waitable: OnceLock<Arc<Core>>,
    /// The block monitor has this port on its list, or shall never have it.
    pub(super) watched: AtomicBool,
    serves: Serves,
    /// Operations of a port with an owner that the blocking pool has.
    pooled: AtomicUsize,
    /// Handlers of a closed port with an owner that another thread came upon.
    stranded: Mutex<Vec<Entry>>,
    pub(super) this: Weak<Port>,
}

/// Whose threads complete the port's operations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    /// Those inside `get`, and the library's while there are none.
    Anyone,
    /// The same, and these always come back to it: the library's only while all of them block.
    Crew,
    /// The library's own alone.
    Process,
    /// One user's thread alone; what its packets carry may not be dropped elsewhere.
    Owner(std::thread::ThreadId),
}

/// Where completions go that no fetching thread takes: the port's queue.
pub(super) struct ToQueue<'a>(&'a Port);

impl Packets for ToQueue<'_> {
    fn packet(&mut self, entry: Entry) {
        self.0.push(entry);
    }

    fn after(&mut self, after: After) {
        after.run();
    }
}

impl Port {
    pub fn new(plan: Plan, contract: Contract) -> Result<Arc<Port>, Error> {
        Port::make(plan, contract, if plan.crew { Serves::Crew } else { Serves::Anyone })
    }

    /// A port for the calling thread alone.
    pub fn private(contract: Contract) -> Result<Arc<Port>, Error> {
        Port::make(Plan::ALONE, contract, Serves::Owner(std::thread::current().id()))
    }

    pub(super) fn make(plan: Plan, contract: Contract, serves: Serves) -> Result<Arc<Port>, Error> {
        types::check_fork()?;
        types::watch_forks();
        let (epoll, kick, closing) = (sys::epoll()?, sys::eventfd()?, sys::eventfd()?);
        sys::epoll_ctl(&epoll, libc::EPOLL_CTL_ADD, kick.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, KICK)?;
        sys::epoll_ctl(&epoll, libc::EPOLL_CTL_ADD, closing.as_raw_fd(), libc::EPOLLIN, CLOSING)?;
        Ok(Arc::new_cyclic(|this| Port {
            epoll,
            kick,
            closing,
            queue: Queue::new(),
            gate: Gate::new(plan.concurrency),
            wake: Wake::new(),
            closed: AtomicBool::new(false),
            slab: Slab::new(),
            contract,
            files: OnceLock::new(),
            timings: Timings::default(),
            deadlines: OnceLock::new(),
            waitables: AtomicUsize::new(0),
            armed: AtomicBool::new(false),
            nested: OnceLock::new(),
            members: Mutex::default(),
            is_watched: AtomicBool::new(false),
            foreign: AtomicBool::new(false),
            waitable: OnceLock::new(),
            watched: AtomicBool::new(!plan.block_monitor),
            serves,
            pooled: AtomicUsize::new(0),
            stranded: Mutex::default(),
            this: this.clone(),
        }))
    }

    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn packets(&self) -> ToQueue<'_> {
        ToQueue(self)
    }

    // ---- slots ----

    /// A slot for a descriptor, not yet watched.
    pub(super) fn lodge(&self, fd: libc::c_int, kind: Kind) -> Result<&Slot, Error> {
        let slot = self.slab.take().ok_or(Error::new(Code::InsufficientResources))?;
        slot.open(fd, kind);
        Ok(slot)
    }

    /// Registers a slot's descriptor, once, for everything, edge-triggered.
    pub(super) fn watch(&self, slot: &Slot) -> Result<(), Error> {
        const ALL: libc::c_int = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let generation = slot.generation.load(crate::shim::Ordering::Relaxed) & (u32::MAX >> 2);
        let tag = u64::from(generation) << 32 | u64::from(slot.index);
        match sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_ADD, slot.fd(), ALL, tag) {
            // A second connect on the same socket.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_MOD, slot.fd(), ALL, tag)
            }
            result => result,
        }
    }

    pub(super) fn unwatch(&self, fd: libc::c_int) {
        // It may not be registered; then there is nothing to undo.
        let _ = sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    pub(super) fn slot(&self, index: u32) -> Option<&Slot> {
        self.slab.get(index)
    }

    /// Both lanes of a slot are closed: closes the descriptor and frees the slot.
    pub(super) fn vacate(&self, slot: &Slot) {
        let fd = slot.fd.swap(u32::MAX, crate::shim::Ordering::Relaxed).cast_signed();
        if fd >= 0 {
            // A duplicate elsewhere would keep the registration alive and go on reporting.
            self.unwatch(fd);
            object::close_fd(fd);
        }
        self.slab.give_back(slot.index);
    }

    pub(super) fn free_slot(&self, slot: &Slot) {
        self.slab.give_back(slot.index);
    }

    pub(super) fn watch_ring(&self, fd: &impl AsRawFd) -> Result<(), Error> {
        sys::epoll_ctl(&self.epoll, libc::EPOLL_CTL_ADD, fd.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, RING)
    }

    // ---- packets ----

    /// Queues a packet and wakes a waiter for it.
    #[inline]
    pub(super) fn push(&self, entry: Entry) {
        self.queue.push(entry);
        self.tell(self.wake.pushed(&self.gate));
    }

    /// After packets were queued, with no lane owned: a closed port drops them. Runs user code (the blocks' drops), which
    /// may cancel on the very lane they came from.
    #[inline]
    pub(super) fn settled(&self) {
        if self.is_closed() {
            self.drain();
        }
    }

    #[inline]
    pub fn post(&self, entry: Entry) -> Result<(), Entry> {
        if self.is_closed() || types::is_forked() {
            return Err(entry);
        }
        if self.is_reaped_here() {
            self.queue.push(entry);
            self.tell_watchers();
        } else {
            self.push(entry);
        }
        self.settled();
        Ok(())
    }

    /// As `post`, to a port with an owner from any thread: what such a port carries may be dropped on any, too.
    pub fn post_remote(&self, entry: Entry) -> Result<(), Entry> {
        self.post(entry)?;
        // The owner may have emptied the queue for the last time before the post was in it.
        if self.is_closed() {
            self.drop_queued();
        }
        Ok(())
    }

    /// Gives fetched packets back unhandled, to be fetched first.
    pub fn give_back(&self, entries: impl DoubleEndedIterator<Item = Entry>) {
        self.queue.give_back(entries);
        self.left();
        self.settled();
    }

    /// After packets were seen in the queue, or given back to it: a waiter hears of them.
    pub(super) fn left(&self) {
        self.tell(self.wake.left(&self.gate));
    }

    #[inline]
    fn tell(&self, call: Call) {
        match call {
            Call::Nobody => {}
            Call::Signal => sys::signal(&self.kick),
            Call::Monitor => monitor::watch(self),
        }
        self.tell_watchers();
    }

    pub(super) fn freed(&self, freed: Freed) {
        if freed == Freed::KickPoller && self.wake.kick() {
            sys::signal(&self.kick);
        }
    }

    /// Drops everything queued: the port is closed.
    fn drain(&self) {
        if !self.is_at_home() {
            return;
        }
        self.drop_queued();
        if matches!(self.serves, Serves::Owner(_)) {
            std::mem::take(&mut *self.stranded()).into_iter().for_each(|entry| entry.discard(&self.contract));
        }
    }

    /// Also by another thread than the owner, if that has a way in: then blocks are `Send`, but what handlers hold need not be.
    fn drop_queued(&self) {
        while let Some(entry) = self.queue.pop() {
            if entry.is_handler() && !self.is_at_home() {
                self.stranded().push(entry);
            } else {
                entry.discard(&self.contract);
            }
        }
    }

    /// Whether the calling thread may drop whatever comes through this port.
    pub(super) fn is_at_home(&self) -> bool {
        !matches!(self.serves, Serves::Owner(owner) if owner != std::thread::current().id())
    }

    fn stranded(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.stranded.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    // ---- the gate's other callers ----

    /// A worker blocks, ends or is detached: its slot is free.
    pub fn slot_freed(&self) {
        self.freed(self.gate.release(|| !self.queue.is_empty()));
        self.left_by_crew();
    }

    /// If the last of a crew has stopped working, the library's thread does its work.
    pub(super) fn left_by_crew(&self) {
        if self.serves == Serves::Crew {
            reaper::arm(self);
        }
    }

    pub fn slot_taken(&self) {
        self.gate.unblock();
    }

    pub fn enlist(&self, worker: &Arc<Worker>) {
        self.members().push(worker.clone());
    }

    pub fn dismiss(&self, worker: &Arc<Worker>) {
        self.members().retain(|member| !Arc::ptr_eq(member, worker));
    }

    pub(super) fn members(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Worker>>> {
        self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether a blocked worker would keep others from their work.
    pub(super) fn needs_monitor(&self) -> bool {
        let counts = self.gate.counts();
        let waits = if counts.idle() == 0 { counts.parked() > 0 } else { !self.queue.is_empty() };
        self.gate.is_full(counts) && waits && !self.is_closed()
    }

    // ---- operations somebody may wait for ----

    /// An overlapped operation starts: it must progress though nobody calls `get`.
    pub fn attend(&self) {
        match self.serves {
            Serves::Anyone => {
                self.waitables.fetch_add(1, Ordering::SeqCst);
                reaper::arm(self);
            }
            Serves::Crew => reaper::arm(self),
            Serves::Process | Serves::Owner(_) => {}
        }
    }

    pub fn attended(&self) {
        if self.serves == Serves::Anyone {
            self.waitables.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(super) fn is_crew(&self) -> bool {
        self.serves == Serves::Crew
    }

    pub(super) fn has_owner(&self) -> bool {
        matches!(self.serves, Serves::Owner(_))
    }

    pub(super) fn is_unattended(&self) -> bool {
        match self.serves {
            Serves::Crew => {
                let counts = self.gate.counts();
                counts.slots() == 0 || (counts.idle() == 0 && self.is_closed())
            }
            _ => self.waitables.load(Ordering::SeqCst) > 0 && self.gate.counts().idle() == 0,
        }
    }

    /// For a port's only thread: completes operations, and only queues packets, until `done` or the end of `wait`.
    /// Who makes it done on another thread rings the alarm.
    pub fn drive(&self, done: &dyn Fn() -> bool, wait: Wait, alarm: Option<&Alarm>) -> bool {
        let mut looked = false;
        while !done() {
            if (looked && wait.is_over()) || types::is_forked() {
                return false;
            }
            match alarm {
                Some(alarm) => {
                    alarm.sleep_with(&self.epoll, wait);
                    self.reap(Wait::Poll);
                }
                None => self.reap(wait),
            }
            looked = true;
        }
        true
    }

    /// Takes what has happened, without waiting; packets only queue. Called by the library's thread.
    pub(super) fn reap(&self, wait: Wait) {
        if self.is_closed() {
            // Level-triggered and never read: with nobody left inside to be told, it would only wake this thread.
            self.unwatch(self.closing.as_raw_fd());
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let mut wait = wait;
        loop {
            let came = sys::epoll_wait(&self.epoll, &mut events, wait);
            let full = came.len() == EVENTS;
            let kicked = came.iter().any(|event| event.u64 == KICK);
            self.handle(came, &mut self.packets());
            if kicked && !self.queue.is_empty() {
                self.left();
            }
            if !full {
                return;
            }
            wait = Wait::Poll;
        }
    }

    /// The blocking pool takes an operation over.
    pub fn pool_begins(&self) {
        self.pooled.fetch_add(1, Ordering::SeqCst);
    }

    /// The blocking pool delivered an operation. A port's only thread may wait for that in the poll.
    pub fn pool_ended(&self) {
        self.pooled.fetch_sub(1, Ordering::SeqCst);
        if self.has_owner() {
            sys::signal(&self.kick);
        }
    }

    // ---- close ----

    /// Closes a port with an owner, on its thread. What the blocking pool has of it is waited for: its packets may only be
    /// dropped here.
    pub fn close_private(&self) {
        self.close();
        let end = Instant::now() + PATIENCE;
        if !self.drive(&|| self.pooled.load(Ordering::SeqCst) == 0, Wait::Until(end), None) && !types::is_forked() {
            log::warn!("proactor: file operations of a closed per-thread port do not end; their memory is left to them");
        }
        self.drain();
    }

    /// Closes the port: waiters are told, packets dropped, and operations that could only have become packets here are
    /// cancelled. Sockets and their overlapped operations go on.
    pub fn close(&self) {
        if types::is_forked() || self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        sys::signal(&self.closing);
        self.gate.close();
        self.tell_watchers();
        self.drain();
        for slot in self.slab.each() {
            for side in [Lane::Read, Lane::Write] {
                slot.cancel(side, Which::Packets, self, &mut self.packets());
            }
        }
        super::files::cancel(self, None, Which::Packets);
        for timing in self.timings.each() {
            timing.armed.cancel(Which::Packets, &mut self.packets());
        }
        self.drain();
        // What the ring still has is the library's to reap from now on, and all that a crew did.
        if self.files.get().is_some() || self.serves == Serves::Crew {
            self.attend();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.drain();
        reaper::forget(self);
    }
}
