//! The completion port: the kernel's own, and what it lacks: keys beside operations, packets given back in order, and a
//! close that wakes its waiters and waits for what the kernel still holds.
//!
//! | packet | kernel's key | OVERLAPPED |
//! |---|---|---|
//! | an operation's, or a post with a block | OPERATION | the block |
//! | a bare post | the user's, any | null |
//! | a bare post of 4 GiB or more | LARGE | a boxed key and count |
//! | "look at `front`" | FRONT | not null, not used |

use std::collections::VecDeque;
use std::os::windows::io::BorrowedHandle;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{OnceLock, Weak};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::IO::OVERLAPPED_ENTRY;

use super::super::{Contract, Got, Plan};
use super::alarm::Alert;
use super::attend::Needs;
use super::inside::{self, Members};
use super::lanes::Core;
use super::object;
use super::owner::{Owner, Serves};
use super::sys::{Dequeued, Iocp};
use super::timing::Timing;
use super::watch::Watch;
use crate::deliver::{After, Packets};
use crate::error::{Code, Error};
use crate::op::{Header, Op, thread_number};
use crate::port::{Content, Entry, Fetch};
use crate::shim::{Arc, Mutex, MutexGuard, Ordering, lock};
use crate::time::Wait;

const OPERATION: usize = 0;
const LARGE: usize = 1;
const FRONT: usize = 2;

/// Most packets of one system call.
const MOST: usize = 64;

pub(crate) struct Port {
    iocp: Iocp,
    contract: Contract,
    pub(super) closed: AtomicBool,
    /// Packets given back unhandled, to be fetched before all others.
    front: Mutex<VecDeque<Entry>>,
    /// Its length, to be looked at without the lock.
    front_len: AtomicUsize,
    pub(super) members: Members,
    needs: Needs,
    watch: Watch,
    /// Held, and said to be, while packets are on their way from the kernel to `front`.
    stowing: Mutex<()>,
    stows: AtomicBool,
    /// The objects whose home this is; those that are gone are swept out before the list grows.
    objects: Mutex<Vec<Weak<Core>>>,
    /// The same of timers.
    pub(super) timings: Mutex<Vec<Weak<Timing>>>,
    pub(super) deadlines: OnceLock<Arc<Timing>>,
    pub(super) owner: Owner,
    pub(super) this: Weak<Port>,
}

/// A bare post whose count does not fit the kernel's packet.
struct Large {
    key: usize,
    bytes: usize,
}

/// Packets go to the fetching thread; there is room, because no more were asked of the kernel. Those of a closed port are
/// dropped.
struct ToFetch<'a, 'f>(&'a Port, &'a mut Fetch<'f>);

impl Packets for ToFetch<'_, '_> {
    fn packet(&mut self, entry: Entry) {
        if self.0.is_closed() {
            return self.0.owner.discard(entry, &self.0.contract);
        }
        if let Some(entry) = self.1.push(entry) {
            self.0.give_back(std::iter::once(entry));
        }
    }

    fn after(&mut self, after: After) {
        // No lock is held.
        after.run();
    }
}

/// Packets go to `front`, for whoever comes to fetch them.
struct ToFront<'a>(&'a Port);

impl Packets for ToFront<'_> {
    fn packet(&mut self, entry: Entry) {
        let mut front = self.0.front();
        front.push_back(entry);
        self.0.front_len.store(front.len(), Ordering::SeqCst);
        drop(front);
        self.0.tell_waiters();
    }

    fn after(&mut self, _: After) {
        unreachable!("the kernel's packets are those of packet operations");
    }
}

impl Port {
    pub fn new(plan: Plan, contract: Contract) -> Result<Arc<Port>, Error> {
        Port::make(plan, contract, Serves::Anyone)
    }

    /// A port for the calling thread alone.
    pub fn private(contract: Contract) -> Result<Arc<Port>, Error> {
        Port::make(Plan::ALONE, contract, Serves::Owner(thread_number()))
    }

    pub(super) fn make(plan: Plan, contract: Contract, serves: Serves) -> Result<Arc<Port>, Error> {
        // The kernel sees who blocks, and cannot be asked not to look.
        let Plan { concurrency, block_monitor: _unused, crew: _no_attendants } = plan;
        let iocp = Iocp::new(concurrency)?;
        Ok(Arc::new_cyclic(|this| Port {
            iocp,
            contract,
            closed: AtomicBool::new(false),
            front: Mutex::default(),
            front_len: AtomicUsize::new(0),
            members: Members::default(),
            needs: Needs::default(),
            watch: Watch::default(),
            stowing: Mutex::default(),
            stows: AtomicBool::new(false),
            objects: Mutex::default(),
            timings: Mutex::default(),
            deadlines: OnceLock::new(),
            owner: Owner::new(serves),
            this: this.clone(),
        }))
    }

    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub fn borrow(&self) -> BorrowedHandle<'_> {
        self.iocp.borrow()
    }

    pub(super) fn iocp(&self) -> &Iocp {
        &self.iocp
    }

    pub(super) fn downgrade(&self) -> Weak<Port> {
        self.this.clone()
    }

    pub(super) fn members(&self) -> &Members {
        &self.members
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Whether packets come here at all.
    pub(super) fn carries_packets(&self) -> bool {
        self.owner.serves != Serves::Process
    }

    pub(super) fn needs(&self) -> &Needs {
        &self.needs
    }

    // ---- objects ----

    /// Has a handle's packets come here. On the process's own port there are none, and nothing would take the handle off
    /// it again on a system without `sys::dissociate`.
    pub(super) fn associate(&self, handle: HANDLE) -> Result<(), Error> {
        if self.carries_packets() { self.iocp.associate(handle) } else { Ok(()) }
    }

    /// Remembers an object for this port's close.
    pub(super) fn enroll(&self, core: &Arc<Core>) {
        if !self.carries_packets() {
            return;
        }
        let mut objects = self.objects();
        if objects.len() == objects.capacity() {
            objects.retain(|object| object.strong_count() > 0);
        }
        objects.push(Arc::downgrade(core));
    }

    fn objects(&self) -> MutexGuard<'_, Vec<Weak<Core>>> {
        lock(&self.objects)
    }

    pub(super) fn cores(&self) -> Vec<Arc<Core>> {
        self.objects().iter().filter_map(Weak::upgrade).collect()
    }

    // ---- packets ----

    pub fn post(&self, entry: Entry) -> Result<(), Entry> {
        if self.is_closed() {
            return Err(entry);
        }
        let content = entry.content();
        let posted = match content {
            Content::Block(header) => self.iocp.post(OPERATION, 0, header.as_ptr().cast()),
            Content::Bare { key, bytes } => match u32::try_from(bytes) {
                Ok(bytes) => self.iocp.post(key, bytes, std::ptr::null()),
                Err(_) => {
                    let large = Box::into_raw(Box::new(Large { key, bytes }));
                    self.iocp.post(LARGE, 0, large.cast()).inspect_err(|_| {
                        // SAFETY: made just above, and refused.
                        drop(unsafe { Box::from_raw(large) });
                    })
                }
            },
        };
        if posted.is_err() {
            return Err(match content {
                Content::Block(header) => Entry::of_block(header),
                Content::Bare { key, bytes } => Entry::bare(key, bytes),
            });
        }
        if self.is_closed() {
            // The close may have looked before the packet was there.
            self.drain(Wait::Poll);
        }
        Ok(())
    }

    /// Queues the packet of an operation that is over without the kernel. It must not be lost: if the kernel is out of
    /// memory for it, the next `get` finds it here.
    pub(super) fn put(&self, header: NonNull<Header>) {
        if self.iocp.post(OPERATION, 0, header.as_ptr().cast()).is_err() {
            self.push_front(std::iter::once(Entry::of_block(header)));
        }
    }

    fn front(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        lock(&self.front)
    }

    pub(super) fn push_front(&self, entries: impl DoubleEndedIterator<Item = Entry>) -> usize {
        let mut front = self.front();
        let before = front.len();
        for entry in entries.rev() {
            front.push_front(entry);
        }
        self.front_len.store(front.len(), Ordering::SeqCst);
        let added = front.len() - before;
        drop(front);
        self.tell_waiters();
        added
    }

    pub(super) fn has_front(&self) -> bool {
        self.front_len.load(Ordering::SeqCst) > 0
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Gives fetched packets back unhandled, to be fetched first.
    pub fn give_back(&self, entries: impl DoubleEndedIterator<Item = Entry>) {
        for _ in 0..self.push_front(entries) {
            // Somebody may be waiting.
            self.tell_of_front();
        }
        if self.is_closed() {
            self.drain(Wait::Poll);
        }
    }

    fn pop_front(&self, out: &mut Fetch<'_>) {
        while out.room() > 0 && self.front_len.load(Ordering::SeqCst) > 0 {
            let mut front = self.front();
            let entry = front.pop_front();
            self.front_len.store(front.len(), Ordering::SeqCst);
            drop(front);
            if let Some(entry) = entry {
                ToFetch(self, out).packet(entry);
            }
        }
    }

    // ---- get ----

    pub fn get(&self, out: &mut Fetch<'_>, wait: Wait) -> Result<Got, Error> {
        self.get_until(out, wait, None)
    }

    /// As `get`, until the alert is up besides. A thread that is not bound to this port yet is told of that first, one that
    /// is gets entries first.
    pub fn get_alertable(&self, out: &mut Fetch<'_>, wait: Wait, alert: &Alert<'_>) -> Result<Got, Error> {
        let was_bound = matches!(self.owner.serves, Serves::Owner(_)) || inside::is_bound(self);
        if !was_bound && alert.is_up() && !self.is_closed() {
            drop(inside::enter(self)?);
            return Ok(Got::Alerted);
        }
        let _alarmed = alert.enter();
        self.get_until(out, wait, Some(alert))
    }

    fn get_until(&self, out: &mut Fetch<'_>, wait: Wait, alert: Option<&Alert<'_>>) -> Result<Got, Error> {
        if self.is_closed() {
            return Err(Error::new(Code::InvalidHandle).hint("the completion port is closed"));
        }
        let _inside = inside::enter(self)?;
        self.after_stowing();
        loop {
            if self.is_closed() {
                return Ok(Got::Abandoned);
            }
            self.pop_front(out);
            if !out.is_empty() {
                if out.room() > 0 {
                    self.fetch(out, Wait::Poll)?;
                }
                return Ok(Got::Entries);
            }
            let is_alerted = alert.is_some_and(Alert::is_up);
            let timed_out = self.fetch(out, if is_alerted { Wait::Poll } else { wait })?;
            if !out.is_empty() {
                return Ok(Got::Entries);
            }
            // A wait that an APC of the kernel's ended has not looked for entries.
            if is_alerted && timed_out {
                return Ok(Got::Alerted);
            }
            if timed_out && wait.is_over() {
                return Ok(Got::TimedOut);
            }
        }
    }

    /// Takes from the kernel what fits. Whether the wait timed out.
    fn fetch(&self, out: &mut Fetch<'_>, wait: Wait) -> Result<bool, Error> {
        let mut entries = [OVERLAPPED_ENTRY::default(); MOST];
        let room = out.room().min(MOST);
        match self.iocp.dequeue(&mut entries[..room], wait) {
            Dequeued::Entries(count) => {
                for entry in &entries[..count] {
                    if self.take(entry, &mut ToFetch(self, out)) {
                        self.pop_front(out);
                    }
                }
                Ok(false)
            }
            Dequeued::TimedOut => Ok(true),
            Dequeued::Alerted => Ok(false),
            Dequeued::Failed(error) => Err(error),
        }
    }

    /// Turns a packet of the kernel's into an entry. Whether it only says that `front` is to be looked at.
    fn take(&self, entry: &OVERLAPPED_ENTRY, packets: &mut impl Packets) -> bool {
        let Some(overlapped) = NonNull::new(entry.lpOverlapped) else {
            let bytes = entry.dwNumberOfBytesTransferred as usize;
            packets.packet(Entry::bare(entry.lpCompletionKey, bytes));
            return false;
        };
        match entry.lpCompletionKey {
            FRONT => return true,
            LARGE => {
                // SAFETY: packets of this key are `post`'s boxes, each fetched once.
                let large = unsafe { Box::from_raw(overlapped.as_ptr().cast::<Large>()) };
                packets.packet(Entry::bare(large.key, large.bytes));
            }
            // Handles are associated with key OPERATION alone.
            _ => {
                let header = overlapped.cast::<Header>();
                // SAFETY: a block that was posted, or whose operation this is the one completion of.
                unsafe {
                    // These were settled before they were posted.
                    if matches!((*header.as_ptr()).work.op, Op::Post | Op::Timer { .. } | Op::Awaited { .. }) {
                        packets.packet(Entry::of_block(header));
                    } else {
                        object::retire(header, packets);
                    }
                }
            }
        }
        false
    }

    /// Takes from the kernel what there is, if nobody is inside, and only queues it. Whether there may be more.
    pub(super) fn stow(&self) -> bool {
        let _one_at_a_time = lock(&self.stowing);
        self.stows.store(true, Ordering::SeqCst);
        let mut entries = [OVERLAPPED_ENTRY::default(); MOST];
        let mut count = 0;
        if !self.is_closed()
            && !self.members.any_inside()
            && let Dequeued::Entries(some) = self.iocp.dequeue(&mut entries, Wait::Poll)
        {
            count = some;
        }
        for entry in &entries[..count] {
            // Who enters looks at `front` first: nobody has to be told of it.
            self.take(entry, &mut ToFront(self));
        }
        self.stows.store(false, Ordering::SeqCst);
        count > 0
    }

    /// What another thread has taken from the kernel is in `front` when this returns.
    pub(super) fn after_stowing(&self) {
        if self.stows.load(Ordering::SeqCst) {
            drop(lock(&self.stowing));
        }
    }

    pub(super) fn tell_of_front(&self) {
        // A failure is made good by the next `get`, which looks there first.
        let _ = self.iocp.post(FRONT, 0, std::ptr::from_ref(self).cast());
    }

    /// Drops what is queued: the port is closed. Waits for the first packet, if at all.
    pub(super) fn drain(&self, mut wait: Wait) {
        if !self.owner.may_drop() {
            return;
        }
        let mut slots = [const { None }; MOST];
        let mut out = Fetch::new(&mut slots);
        self.pop_front(&mut out);
        while let Ok(false) = self.fetch(&mut out, wait) {
            wait = Wait::Poll;
        }
        debug_assert!(out.is_empty(), "packets of a closed port are dropped");
        self.owner.discard_left(&self.contract);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.drain(Wait::Poll);
    }
}
