//! One io_uring per port, for files: shared by all threads, without task-run flags, its descriptor in the port's epoll
//! set.
//!
//! Contract: `start` submits under one lock (the stated exception to "no lock per operation"); `reap` is called when the
//! ring's descriptor has an event and delivers what completed. User data is an index into `in_flight`, whose entry stays
//! until the operation's own terminal completion. At most [`ENTRIES`]` * 2` operations are in the ring, as many as the
//! completion queue has room for; the others wait in `later`. Cancel requests complete too, so many of them make the
//! queue overflow: the kernel keeps what had no room until an enter fetches it, which `reap` makes.
//!
//! `entry.rs` has the one match that says how each operation is asked, `outcome.rs` what its completion means.
//!
//! The ring is dropped with its port, and every operation in it holds its object, whose home holds the port: nothing is
//! in flight then.

mod entry;
mod outcome;

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};

pub(super) use entry::entry;
use io_uring::{IoUring, cqueue, opcode, squeue};
pub(super) use outcome::{first_answer, outcome};

use super::deliver_settled;
use crate::deliver::Packets;
use crate::error::{Code, Error};
use crate::op::{Header, Op, Value};

const ENTRIES: u32 = 256;
/// In the user data of a cancel request, beside the index of what it means.
const CANCEL: u64 = 1 << 63;

/// What a kernel's io_uring may lack though it is used.
#[derive(Clone, Copy, Default)]
pub(super) struct Offers {
    /// From Linux 6.9 on. Elsewhere the pool cuts and extends files.
    pub set_len: bool,
}

/// Whether this kernel, under its filters, offers what is needed; if not, why.
pub(super) fn probe() -> Result<Offers, String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (6, 1) {
        return Err(format!("io_uring is used from Linux 6.1 on, this is {}", release.trim()));
    }
    let ring = IoUring::new(8).map_err(|error| format!("the system refuses io_uring: {error}"))?;
    let mut probe = io_uring::Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| format!("io_uring cannot be probed: {error}"))?;
    let needed = [
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::Readv::CODE,
        opcode::Writev::CODE,
        opcode::Fsync::CODE,
        opcode::OpenAt::CODE,
        opcode::Close::CODE,
        opcode::Fallocate::CODE,
        opcode::Statx::CODE,
        opcode::AsyncCancel::CODE,
    ];
    match needed.iter().all(|code| probe.is_supported(*code)) {
        true => Ok(Offers { set_len: probe.is_supported(opcode::Ftruncate::CODE) }),
        false => Err("this kernel's io_uring lacks a needed operation".to_owned()),
    }
}

/// An operation that is over, and how.
type Over = (NonNull<Header>, Result<Value, Error>);

pub(super) struct Ring {
    ring: IoUring,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_flight: Vec<Option<NonNull<Header>>>,
    free: Vec<usize>,
    later: VecDeque<NonNull<Header>>,
    /// How many in flight are the user's own: they may be pending for ever, so they take nobody's place.
    raw: usize,
}

impl State {
    fn is_full(&self) -> bool {
        self.in_flight.len() - self.free.len() - self.raw >= ENTRIES as usize * 2
    }

    /// Whether an operation of the user's own is there that was asked to end. The kernel does not find one that it is
    /// trying once more at that moment.
    fn is_doomed_raw(&self, index: usize) -> bool {
        // SAFETY: in flight, so alive; the operation does not change, and `cancelled` is guarded by the lock.
        let doomed = |header: &NonNull<Header>| unsafe { is_raw(*header) && (*header.as_ptr()).sys.cancelled };
        self.in_flight.get(index).and_then(Option::as_ref).is_some_and(doomed)
    }
}

/// # Safety
/// The block is alive.
unsafe fn is_raw(header: NonNull<Header>) -> bool {
    // SAFETY: as the caller promises; the operation is written before it is started and after it is over.
    unsafe { matches!((*header.as_ptr()).work.op, Op::Raw) }
}

// SAFETY: both queues of the ring are used only under the lock of `state`; blocks in it belong to the ring.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl Ring {
    pub fn new() -> Result<Ring, Error> {
        let ring = IoUring::builder().dontfork().build(ENTRIES).map_err(|e| Error::from_io(&e))?;
        Ok(Ring { ring, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes over a begun block.
    pub fn start(&self, header: NonNull<Header>, packets: &mut impl Packets) {
        let mut state = self.lock();
        let begun = self.begin(&mut state, header);
        if begun.is_ok() {
            self.submit();
        }
        drop(state);
        if let Err(error) = begun {
            deliver_settled(header, 0, Err(error), packets);
        }
    }

    /// Puts an operation into the ring, or into the line for it. `Err`: it cannot even be asked.
    fn begin(&self, state: &mut State, header: NonNull<Header>) -> Result<(), Error> {
        // SAFETY: the caller's own block.
        let raw = unsafe { is_raw(header) };
        if !raw && state.is_full() {
            state.later.push_back(header);
            return Ok(());
        }
        let entry = entry(header)?;
        let index = match state.free.pop() {
            Some(index) => index,
            None => {
                state.in_flight.push(None);
                state.in_flight.len() - 1
            }
        };
        state.in_flight[index] = Some(header);
        state.raw += usize::from(raw);
        self.push(entry.user_data(index as u64));
        Ok(())
    }

    /// Under the lock.
    fn push(&self, entry: squeue::Entry) {
        loop {
            // SAFETY: the lock makes this the only user of the submission queue; what the entry points to lives in the
            // block until its terminal completion.
            if unsafe { self.ring.submission_shared().push(&entry) }.is_ok() {
                return;
            }
            // Full of entries a failed submit left: pass them on first.
            self.submit();
        }
    }

    /// Under the lock.
    fn push_cancel(&self, index: usize) {
        self.push(opcode::AsyncCancel::new(index as u64).build().user_data(CANCEL | index as u64));
    }

    /// Under the lock. Once published an entry counts as submitted, so a refusal is tried again, not reported.
    fn submit(&self) {
        while let Err(error) = self.ring.submit() {
            if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM)) {
                log::error!("proactor: io_uring refuses submissions: {error}");
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Asks the ring to cancel the operations `means` names; how many it named.
    pub fn cancel(&self, means: impl Fn(&Header) -> bool) -> usize {
        let state = self.lock();
        let mut count = 0;
        for (index, header) in state.in_flight.iter().enumerate() {
            let Some(header) = header else { continue };
            // SAFETY: in flight, so alive, and only fixed parts are read; `cancelled` is guarded by the lock.
            unsafe {
                if !means(header.as_ref()) {
                    continue;
                }
                (*header.as_ptr()).sys.cancelled = true;
            }
            count += 1;
            self.push_cancel(index);
        }
        for header in &state.later {
            // SAFETY: as above. It is ended when its turn comes.
            unsafe {
                if means(header.as_ref()) {
                    (*header.as_ptr()).sys.cancelled = true;
                    count += 1;
                }
            }
        }
        if count > 0 {
            self.submit();
        }
        drop(state);
        count
    }

    /// Delivers what completed.
    pub fn reap(&self, packets: &mut impl Packets) {
        let mut over = [const { None::<Over> }; 32];
        loop {
            let mut n = 0;
            let mut state = self.lock();
            // SAFETY: the lock makes this the only user of the completion queue. Its head is written back when this is dropped.
            let mut completions = unsafe { self.ring.completion_shared() };
            while n < over.len() {
                let Some(cqe) = completions.next() else { break };
                let index = (cqe.user_data() & !CANCEL) as usize;
                if cqe.user_data() & CANCEL != 0 {
                    if -cqe.result() == libc::ENOENT && state.is_doomed_raw(index) {
                        self.push_cancel(index);
                    }
                    continue;
                }
                if cqueue::more(cqe.flags()) {
                    if let Some(Some(header)) = state.in_flight.get(index) {
                        first_answer(*header, cqe.result());
                    }
                    continue;
                }
                let Some(header) = state.in_flight.get_mut(index).and_then(Option::take) else {
                    unreachable!("a completion without an operation")
                };
                state.free.push(index);
                // SAFETY: over, and not yet delivered.
                state.raw -= usize::from(unsafe { is_raw(header) });
                match outcome(header, cqe.result(), cqe.flags()) {
                    Some(result) => {
                        over[n] = Some((header, result));
                        n += 1;
                    }
                    // More to write, or the submitting thread's exit cancelled it: once more.
                    None => {
                        if let Err(error) = self.begin(&mut state, header) {
                            over[n] = Some((header, Err(error)));
                            n += 1;
                        }
                    }
                }
            }
            drop(completions);
            while n < over.len() && !state.is_full() {
                let Some(header) = state.later.pop_front() else { break };
                // SAFETY: the line's own block; `cancelled` is guarded by the lock.
                let begun = match unsafe { (*header.as_ptr()).sys.cancelled && !matches!((*header.as_ptr()).work.op, Op::Close) }
                {
                    true => Err(Error::new(Code::Cancelled)),
                    false => self.begin(&mut state, header),
                };
                if let Err(error) = begun {
                    over[n] = Some((header, Err(error)));
                    n += 1;
                }
            }
            // SAFETY: as in `push`.
            let submissions = unsafe { self.ring.submission_shared() };
            let (unsubmitted, overflown) = (!submissions.is_empty(), submissions.cq_overflow());
            drop(submissions);
            if unsubmitted || overflown {
                // Fetches what had no room, too.
                self.submit();
            }
            // Room in `over` is left only when the queue is empty, and the line too or the ring full.
            let finished = n < over.len() && !overflown;
            drop(state);
            for (header, result) in over[..n].iter_mut().filter_map(Option::take) {
                // SAFETY: out of the ring's lists and over, so this thread's.
                let bytes = unsafe { (*header.as_ptr()).work.bytes };
                deliver_settled(header, bytes, result, packets);
            }
            // What completes from here on is an event of its own.
            if finished {
                return;
            }
        }
    }
}
