//! The port itself: packets, entering the kernel, close.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::super::alarm::{Alarm, Alert};
use super::super::epoll::{self, Timing};
use super::super::pipe;
use super::super::{Contract, Got};
use super::lanes::{Floating, Instance, Lanes, Slab};
use super::leases::Leases;
use super::remote::Remote;
use crate::deliver::{After, Later, Packets};
use crate::error::{Code, Error};
use crate::handle::{Kind, Object, Which};
use crate::op::Header;
use crate::port::{Entry, Fetch};
use crate::time::{Place, Wait};

const ENTRIES: u32 = 256;
const COMPLETIONS: u32 = 4096;
/// A port whose packets never run out looks at the kernel once in so many fetches all the same.
const ENTER_EVERY: u32 = 32;
/// How long a teardown waits for what it cancelled; what is not over then is left to the kernel, with its memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// User data that is no operation's: a block's address is a multiple of 8.
const WAKE: u64 = 1;
const ALARM: u64 = 5;
/// A cancel of a lane's head, with the lane; of an accept that waits for first data, with its block; of a file's operation.
pub(super) const CANCEL_HEAD: u64 = 2;
pub(super) const CANCEL_WAITING: u64 = 4;
pub(super) const CANCEL_FILE: u64 = 3;
pub(super) const TAG: u64 = 7;

/// Where completions go: fetched from here, or dealt with outside of every borrow.
#[derive(Default)]
pub(super) struct Sink {
    ready: VecDeque<Entry>,
    later: Later,
}

impl Packets for Sink {
    fn packet(&mut self, entry: Entry) {
        self.ready.push_back(entry);
    }

    fn after(&mut self, after: After) {
        self.later.push(after);
    }
}

/// What the port's thread works on. Never borrowed while user code runs.
pub(super) struct Core {
    pub ring: ManuallyDrop<IoUring>,
    pub slab: Slab,
    pub floating: Floating,
    pub leases: Leases,
    /// Those of this port's timers.
    pub timings: Vec<Arc<Timing>>,
    pub sink: Sink,
    /// Completions taken out of a full queue to make room.
    stash: VecDeque<cqueue::Entry>,
    /// Operations whose last completion is to come.
    pub in_kernel: usize,
    /// Those of them that were asked to end.
    pub doomed: usize,
    fetches: u32,
    /// The ring polls the thread's alarm.
    alarm: Option<Arc<Alarm>>,
}

pub(crate) struct Port {
    pub(super) core: RefCell<Core>,
    remote: Arc<Remote>,
    /// The wheel of its operations' deadlines, one of the core's timings.
    pub(super) deadlines: OnceCell<Arc<Timing>>,
    /// The ring polls the remote's eventfd.
    listens: Cell<bool>,
    closed: Cell<bool>,
    contract: Contract,
}

/// # Safety
/// A started operation of this port, whose count keeps its object for as long as the result is used.
pub(super) unsafe fn object_of<'a>(header: NonNull<Header>) -> &'a Object {
    // SAFETY: the caller's promise.
    match unsafe { (*header.as_ptr()).object } {
        // SAFETY: as above.
        Some(object) => unsafe { &*object.as_ptr() },
        None => unreachable!("an operation without an object was started"),
    }
}

impl Core {
    /// Hands an operation to the kernel, at the next enter.
    #[inline]
    pub fn submit(&mut self, header: NonNull<Header>, entry: squeue::Entry) {
        self.in_kernel += 1;
        // SAFETY: the port's own operation. One that is asked for again stays asked to end.
        self.doomed += usize::from(unsafe { (*header.as_ptr()).sys.cancelled });
        self.push(&entry.user_data(header.as_ptr() as u64));
    }

    #[inline]
    pub fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what the entry points to lives in its block until its last completion.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.flush();
        }
    }

    /// Passes a full submission queue on.
    #[cold]
    fn flush(&mut self) {
        let Err(error) = self.ring.submit() else { return };
        if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) {
            // The completion queue is full too: make room there, and let the kernel use it.
            let came = self.ring.completion();
            self.stash.extend(came);
            self.enter(Wait::Poll);
        } else if error.raw_os_error() != Some(libc::EINTR) {
            log::error!("proactor: io_uring refuses submissions: {error}");
            std::thread::yield_now();
        }
    }

    /// Submits what gathered, runs the kernel's deferred work and waits for a completion.
    fn enter(&mut self, wait: Wait) {
        let result = match wait.left() {
            None => self.ring.submit_and_wait(1),
            Some(left) if left.is_zero() => {
                const GETEVENTS: u32 = 1;
                let pending = self.ring.submission().len() as u32;
                // SAFETY: no argument.
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(pending, 0, GETEVENTS, None) }
            }
            Some(left) => {
                let time = types::Timespec::from(left);
                self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&time))
            }
        };
        if let Err(error) = result
            && !matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN))
        {
            log::error!("proactor: io_uring cannot be entered: {error}");
            std::thread::yield_now();
        }
    }

    /// Deals with one completion; false if there is none.
    #[inline]
    fn reap_one(&mut self, wake: &Remote) -> bool {
        let next = self.stash.pop_front().or_else(|| self.ring.completion().next());
        let Some(entry) = next else { return false };
        match entry.user_data() {
            // Not found, or not to be had: on its way to be tried again, where no cancel finds it, it may wait once more.
            data if matches!(data & TAG, CANCEL_HEAD | CANCEL_WAITING | CANCEL_FILE) => {
                if self.doomed > 0 && matches!(-entry.result(), libc::ENOENT | libc::EALREADY) {
                    self.ask_again(data, -entry.result());
                }
            }
            WAKE | ALARM if cqueue::more(entry.flags()) => {}
            WAKE => self.listen(wake),
            ALARM => self.hear_alarm(),
            block => {
                let Some(header) = NonNull::new(block as *mut Header) else { unreachable!("a completion names its block") };
                self.finish(header, entry.result(), entry.flags());
            }
        }
        true
    }

    fn listen(&mut self, remote: &Remote) {
        let fd = types::Fd(remote.wake.as_raw_fd());
        self.push(&opcode::PollAdd::new(fd, libc::POLLIN as u32).multi(true).build().user_data(WAKE));
    }
}

impl Core {
    fn hear_alarm(&mut self) {
        let Some(fd) = self.alarm.as_ref().map(|alarm| types::Fd(alarm.fd())) else { return };
        self.push(&opcode::PollAdd::new(fd, libc::POLLIN as u32).multi(true).build().user_data(ALARM));
    }
}

impl Port {
    pub fn new(contract: Contract) -> Result<Rc<Port>, Error> {
        epoll::check_fork()?;
        epoll::watch_forks();
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .dontfork()
            .build(ENTRIES)
            .map_err(|error| Error::from_io(&error))?;
        let core = Core {
            ring: ManuallyDrop::new(ring),
            slab: Slab::default(),
            floating: Floating::default(),
            leases: Leases::default(),
            timings: Vec::new(),
            sink: Sink::default(),
            stash: VecDeque::new(),
            in_kernel: 0,
            doomed: 0,
            fetches: 0,
            alarm: None,
        };
        Ok(Rc::new(Port {
            core: RefCell::new(core),
            remote: Arc::new(Remote::new(contract)?),
            deadlines: OnceCell::new(),
            listens: Cell::new(false),
            closed: Cell::new(false),
            contract,
        }))
    }

    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// The way in for other threads.
    pub fn remote(&self) -> Arc<Remote> {
        if !epoll::is_forked() && !self.listens.replace(true) {
            self.with(|core| core.listen(&self.remote));
        }
        self.remote.clone()
    }

    /// Works on the core, then runs the user code that came of it.
    #[inline]
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Core) -> T) -> T {
        let (result, later) = {
            let mut core = self.core.borrow_mut();
            let result = work(&mut core);
            if core.sink.later.is_empty() {
                return result;
            }
            (result, std::mem::take(&mut core.sink.later))
        };
        later.run();
        result
    }

    pub fn attach(&self, object: &Object) -> Result<(), Error> {
        epoll::check_fork()?;
        if self.is_closed() {
            return Err(Error::new(Code::InvalidHandle).hint("the completion port is closed"));
        }
        if let Some(timing) = object.sys.timing() {
            timing.settle_local(self.remote());
            self.core.borrow_mut().timings.push(timing.clone());
            return Ok(());
        }
        if matches!(object.kind, Kind::File | Kind::Raw) {
            return Ok(());
        }
        // The mode of a watched descriptor is its user's, and a pipe's instances share theirs.
        if object.kind != Kind::Watched && !object.kind.is_pipe_server() {
            object.sys.make_blocking();
        }
        let connected = object.sys.is_connected() || !object.kind.is_stream();
        let mut lanes = Lanes::new(object.sys.raw(), object.kind, connected);
        if let Some(pipe) = &object.sys.pipe {
            lanes.instance = Some(Instance { listener: pipe.raw(), state: pipe::LISTENING });
        }
        object.sys.set_index(self.core.borrow_mut().slab.insert(lanes));
        Ok(())
    }

    #[inline]
    pub fn start(&self, header: NonNull<Header>) -> Place {
        let place = self.with(|core| core.start(header));
        if self.is_closed() {
            self.discard_ready();
        }
        place
    }

    pub fn post(&self, entry: Entry) -> Result<(), Entry> {
        if self.is_closed() || epoll::is_forked() {
            return Err(entry);
        }
        self.core.borrow_mut().sink.ready.push_back(entry);
        Ok(())
    }

    /// Gives fetched packets back unhandled, to be fetched first.
    pub fn give_back(&self, entries: impl DoubleEndedIterator<Item = Entry>) {
        {
            let mut core = self.core.borrow_mut();
            entries.rev().for_each(|entry| core.sink.ready.push_front(entry));
        }
        if self.is_closed() {
            self.discard_ready();
        }
    }

    /// A packet that is there without entering the kernel.
    #[inline]
    pub fn next(&self) -> Result<Option<Entry>, Error> {
        epoll::check_fork()?;
        if self.is_closed() {
            return Err(Error::new(Code::InvalidHandle).hint("the completion port is closed"));
        }
        self.remote.answer();
        Ok(self.with(|core| {
            core.fetches = core.fetches.wrapping_add(1);
            if core.fetches.is_multiple_of(ENTER_EVERY) && !core.sink.ready.is_empty() {
                // Behind what is queued, but not for ever.
                if core.in_kernel > 0 {
                    core.enter(Wait::Poll);
                    while core.reap_one(&self.remote) {}
                }
                core.expire();
                core.sink.ready.extend(std::iter::from_fn(|| self.remote.pop()));
            }
            loop {
                match core.sink.ready.pop_front() {
                    None if core.reap_one(&self.remote) => {}
                    None => return self.remote.pop(),
                    entry => return entry,
                }
            }
        }))
    }

    #[inline]
    pub fn get(&self, out: &mut Fetch<'_>, wait: Wait) -> Result<Got, Error> {
        self.fetch(out, wait, None)
    }

    /// As `get`, until the alert is up besides; entries come first.
    pub fn get_alertable(&self, out: &mut Fetch<'_>, wait: Wait, alert: &Alert<'_>) -> Result<Got, Error> {
        if let Some(alarm) = alert.alarm {
            self.hear(alarm);
        }
        self.fetch(out, wait, Some(alert))
    }

    #[inline]
    fn fetch(&self, out: &mut Fetch<'_>, wait: Wait, alert: Option<&Alert<'_>>) -> Result<Got, Error> {
        let mut looked = false;
        loop {
            if looked && self.is_closed() {
                return Ok(Got::Abandoned);
            }
            while out.room() > 0 {
                match self.next()? {
                    Some(entry) => drop(out.push(entry)),
                    None => break,
                }
            }
            if !out.is_empty() {
                return Ok(Got::Entries);
            }
            // What ran after the last completions posted here.
            if out.room() > 0 && !self.core.borrow().sink.ready.is_empty() {
                continue;
            }
            let is_alerted = alert.is_some_and(Alert::is_up);
            if is_alerted && looked {
                return Ok(Got::Alerted);
            }
            if looked && wait.is_over() {
                return Ok(Got::TimedOut);
            }
            self.enter(if is_alerted { Wait::Poll } else { wait });
            looked = true;
        }
    }

    /// Completes operations, and only queues packets, until `done` or the end of `wait`; whether it is done. Who makes it
    /// done on another thread rings the alarm, which is that of this port's thread.
    pub fn drive(&self, done: &dyn Fn() -> bool, wait: Wait, alarm: Option<&Arc<Alarm>>) -> bool {
        if let Some(alarm) = alarm {
            self.hear(alarm);
        }
        let mut looked = false;
        loop {
            // A forked child has not got the ring's mappings.
            if epoll::is_forked() {
                return done();
            }
            self.remote.answer();
            self.with(|core| {
                while core.reap_one(&self.remote) {}
                // Posts that stay in their own queue would keep this thread from sleeping.
                core.sink.ready.extend(std::iter::from_fn(|| self.remote.pop()));
            });
            if self.is_closed() {
                self.discard_ready();
            }
            if done() {
                return true;
            }
            if looked && wait.is_over() {
                return false;
            }
            self.enter(wait);
            looked = true;
        }
    }

    /// From now on the thread's alarm ends its waits here.
    fn hear(&self, alarm: &Arc<Alarm>) {
        let mut core = self.core.borrow_mut();
        if core.alarm.is_none() && !epoll::is_forked() {
            core.alarm = Some(alarm.clone());
            core.hear_alarm();
        }
    }

    fn enter(&self, wait: Wait) {
        let mut core = self.core.borrow_mut();
        core.leases.top_up();
        let wait = core.until_due(wait);
        let wait = if wait.is_poll() || self.remote.fall_asleep() { wait } else { Wait::Poll };
        core.enter(wait);
        self.remote.wake_up();
        core.expire();
    }

    /// Closes the port: packets nobody fetched are dropped, and operations that could only have become packets here are
    /// cancelled. Returns when they are over, or the kernel will not let go of them: then they are left to it.
    pub fn close(&self) {
        if epoll::is_forked() || self.closed.replace(true) {
            return;
        }
        self.remote.close();
        self.with(|core| {
            for header in core.floating.find(|header| Which::Packets.means(header)) {
                core.ask_to_end(header);
            }
            for index in core.slab.indices() {
                core.cancel_lanes(index, Which::Packets);
            }
            core.cancel_timers(None, Which::Packets);
        });
        self.after_cancel();
    }

    /// After a cancel: with the port closed nobody else sees its end.
    pub(super) fn after_cancel(&self) {
        if !self.is_closed() {
            return;
        }
        let end = Instant::now() + PATIENCE;
        let is_over = || self.core.borrow().doomed == 0;
        if !self.drive(&is_over, Wait::Until(end), None) && !epoll::is_forked() {
            log::warn!("proactor: the kernel holds operations of a closed per-thread port; their memory is left to it");
        }
        self.with(|core| {
            let Core { leases, ring, .. } = core;
            leases.give_back(&ring.submitter());
        });
    }

    pub(super) fn discard_ready(&self) {
        loop {
            let Some(entry) = self.core.borrow_mut().sink.ready.pop_front() else { return };
            entry.discard(&self.contract);
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // A forked child has not got the ring's mappings; taking them down could hit others at their place.
        if !epoll::is_forked() {
            self.remote.close();
            self.closed.set(true);
            self.discard_ready();
            // SAFETY: dropped here only. No operation is in it: each holds its object, and with it this port.
            unsafe { ManuallyDrop::drop(&mut self.core.get_mut().ring) };
        }
    }
}
