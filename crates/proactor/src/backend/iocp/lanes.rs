//! An object's descriptor and its lanes: the lists of its pending operations.
//!
//! An operation is in the list of its lane from start until its completion is taken from the kernel (a packet: until it
//! is dequeued), so a ticket, which is weak, is looked for there. The lane's lock guards:
//!
//! | what | why |
//! |---|---|
//! | the list and its blocks' `stage`, `ended`, links | whoever dequeues waits until the starting call returned |
//! | the kernel's call that starts an operation | operations of a lane reach the kernel in call order |
//! | every use of the descriptor by an operation | `close` holds all three locks when it closes a socket |

use std::os::windows::io::{FromRawHandle, FromRawSocket, OwnedHandle, OwnedSocket};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Networking::WinSock::SOCKET;

use super::multi::is_multi;
use super::types::{Descriptor, Stage};
use super::waits::{self, Seat};
use super::{finish, held, start, sys};
use crate::error::Code;
use crate::handle::Which;
use crate::op::{Header, Lane, Op};
use crate::shim::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

/// INVALID_SOCKET, and as a HANDLE INVALID_HANDLE_VALUE.
pub(super) const NONE: u64 = u64::MAX;

pub(super) fn as_handle(raw: u64) -> HANDLE {
    std::ptr::with_exposed_provenance_mut(raw as usize)
}

/// The descriptor and the lanes.
pub(super) struct Core {
    raw: AtomicU64,
    pub is_file: bool,
    /// A file opened without FILE_FLAG_OVERLAPPED: its calls block, so the pool makes them.
    blocking: AtomicBool,
    /// Of an instance of a named pipe's server, see `pipe.rs`.
    pub pipe_state: AtomicU32,
    /// Of an object that is waited for, from its first wait on.
    pub seat: OnceLock<Seat>,
    lanes: [Mutex<List>; 3],
}

fn is_alone(op: &Op) -> bool {
    is_multi(op) || start::sends_alone(op)
}

/// The pending operations of one lane, in call order.
#[derive(Default)]
pub(super) struct List {
    head: Option<NonNull<Header>>,
    tail: Option<NonNull<Header>>,
    /// Operations that wait for those before them: a later one must not overtake them.
    pub held: usize,
    /// A thread delivers what has arrived.
    pub delivers: bool,
    /// Operations that all behind them in the lane wait for: those of many completions, and files that are sent.
    alone: usize,
}

// SAFETY: the list holds started operations, whose blocks any thread may work on under the lock.
unsafe impl Send for List {}

impl List {
    /// # Safety
    /// The block is the caller's and in no list.
    pub unsafe fn push(&mut self, header: NonNull<Header>) {
        // SAFETY: the links are guarded by this list's lock, which the caller holds; listed blocks are alive.
        unsafe {
            (*header.as_ptr()).sys.prev = self.tail;
            (*header.as_ptr()).sys.next = None;
            match self.tail {
                Some(tail) => (*tail.as_ptr()).sys.next = Some(header),
                None => self.head = Some(header),
            }
            self.alone += usize::from(is_alone(&(*header.as_ptr()).work.op));
        }
        self.tail = Some(header);
    }

    /// # Safety
    /// The block is in this list.
    pub unsafe fn unlink(&mut self, header: NonNull<Header>) {
        // SAFETY: as in `push`.
        unsafe {
            let (prev, next) = ((*header.as_ptr()).sys.prev.take(), (*header.as_ptr()).sys.next.take());
            match prev {
                Some(prev) => (*prev.as_ptr()).sys.next = next,
                None => self.head = next,
            }
            match next {
                Some(next) => (*next.as_ptr()).sys.prev = prev,
                None => self.tail = prev,
            }
            self.alone -= usize::from(is_alone(&(*header.as_ptr()).work.op));
        }
    }

    /// Whether an operation of this list has to wait for those before it: a shutdown and a file for every send, and everything
    /// for what waits already, for a file, and for an operation of many completions.
    ///
    /// # Safety
    /// The block is in this list.
    pub unsafe fn must_wait(&self, header: NonNull<Header>) -> bool {
        // SAFETY: listed, so alive; guarded by the lock, but for the status, which only the kernel writes.
        unsafe {
            let op = &(*header.as_ptr()).work.op;
            let waits_for_all = start::ends_sending(op) || start::sends_alone(op);
            (waits_for_all || self.held > 0 || self.alone > 0)
                && self.iter().take_while(|before| *before != header).any(|before| match (*before.as_ptr()).sys.stage {
                    Stage::Held => true,
                    Stage::Kernel if is_multi(&(*before.as_ptr()).work.op) => true,
                    Stage::Kernel => {
                        (waits_for_all || start::sends_alone(&(*before.as_ptr()).work.op)) && !finish::is_over(before)
                    }
                    Stage::Queued | Stage::Running | Stage::Waiting => waits_for_all,
                    Stage::Settled => false,
                })
        }
    }

    /// The next overlapped operation to deliver: they are told of by many threads, in any order. In a lane that has an order
    /// none overtakes one that is over as well, and whose thread is on its way.
    pub fn next_arrived(&self, lane: Lane) -> Option<NonNull<Header>> {
        for header in self.iter() {
            // SAFETY: listed, so alive; guarded by the lock, but for the status, which only the kernel writes.
            let (sys, is_over) = unsafe { (&(*header.as_ptr()).sys, finish::is_over(header)) };
            let is_over = sys.stage == Stage::Settled || (sys.stage == Stage::Kernel && is_over);
            match sys.arrived {
                true => return Some(header),
                false if is_over && sys.waiter.is_some() && lane != Lane::File => return None,
                false => {}
            }
        }
        None
    }

    pub fn iter(&self) -> impl Iterator<Item = NonNull<Header>> {
        let mut at = self.head;
        std::iter::from_fn(move || {
            let header = at?;
            // SAFETY: listed, so alive; the list is locked while the iterator borrows it.
            at = unsafe { (*header.as_ptr()).sys.next };
            Some(header)
        })
    }
}

impl Core {
    pub fn new(raw: u64, is_file: bool, blocking: bool) -> Core {
        let pipe_state = AtomicU32::new(super::pipe::LISTENING);
        let (blocking, seat) = (AtomicBool::new(blocking), OnceLock::new());
        Core { raw: AtomicU64::new(raw), is_file, blocking, pipe_state, seat, lanes: Default::default() }
    }

    pub fn lock(&self, lane: Lane) -> MutexGuard<'_, List> {
        let lane = match lane {
            Lane::Read => &self.lanes[0],
            Lane::Write => &self.lanes[1],
            Lane::File => &self.lanes[2],
            Lane::Timer => unreachable!("timers have no lane"),
        };
        lock(lane)
    }

    pub fn handle(&self) -> HANDLE {
        as_handle(self.raw.load(Ordering::Acquire))
    }

    pub fn socket(&self) -> SOCKET {
        self.raw.load(Ordering::Acquire) as SOCKET
    }

    pub fn is_open(&self) -> bool {
        self.raw.load(Ordering::Acquire) != NONE
    }

    pub fn blocks(&self) -> bool {
        self.blocking.load(Ordering::Acquire)
    }

    /// Gives an opening file its handle; false if it has one.
    pub fn provide(&self, raw: u64) -> bool {
        self.raw.compare_exchange(NONE, raw, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Takes the descriptor out, which is then the caller's.
    pub fn take(&self) -> Option<Descriptor> {
        match self.raw.swap(NONE, Ordering::AcqRel) {
            NONE => None,
            // SAFETY: taken out of the object here, which owned it.
            raw if self.is_file => Some(Descriptor::File(unsafe { OwnedHandle::from_raw_handle(as_handle(raw)) })),
            // SAFETY: as above.
            raw => Some(Descriptor::Socket(unsafe { OwnedSocket::from_raw_socket(raw) })),
        }
    }

    /// Takes a file's handle out, to close it; the file may be opened again, then for overlapped I/O.
    pub fn take_file(&self) -> Option<OwnedHandle> {
        match self.take() {
            Some(Descriptor::File(file)) => {
                self.blocking.store(false, Ordering::Release);
                Some(file)
            }
            Some(Descriptor::Socket(_)) => unreachable!("only files are closed by an operation"),
            None => None,
        }
    }

    /// Asks the operations `which` means to end, with `code`; how many there were to be asked.
    pub fn cancel(&self, which: Which, code: Code) -> usize {
        [Lane::Read, Lane::Write, Lane::File].map(|lane| self.cancel_in(&self.lock(lane), which, code)).iter().sum()
    }

    /// The same in one lane.
    pub fn cancel_in(&self, list: &List, which: Which, code: Code) -> usize {
        let mut asked = 0;
        if list.held > 0 {
            held::tell();
        }
        for header in list.iter() {
            // SAFETY: listed, so alive, and its fixed parts may be read; `stage` and `ended` are the lock's.
            unsafe {
                if !which.means(header.as_ref()) {
                    continue;
                }
                let block = header.as_ptr();
                let still_pending = match (*block).sys.stage {
                    Stage::Queued | Stage::Running | Stage::Held => true,
                    Stage::Waiting => {
                        if (*block).sys.ended.is_none() {
                            waits::end(header, self);
                        }
                        true
                    }
                    // Between two calls it is pending all the same.
                    Stage::Kernel if is_multi(&(*block).work.op) => {
                        if self.is_open() {
                            self.cancel_in_kernel(header);
                        }
                        true
                    }
                    Stage::Kernel => self.is_open() && self.cancel_in_kernel(header),
                    Stage::Settled => false,
                };
                if still_pending {
                    asked += 1;
                    (*block).sys.ended.get_or_insert(code);
                }
            }
            if matches!(which, Which::One(_)) {
                break;
            }
        }
        asked
    }

    /// Asks the kernel to end an operation; whether it was pending. Wine does not find one that it is working on at that
    /// moment, and goes on with it: it is asked again until it is found, or over.
    ///
    /// # Safety
    /// The operation was started on this open handle, and its block is alive.
    unsafe fn cancel_in_kernel(&self, header: NonNull<Header>) -> bool {
        const ENOUGH: Duration = Duration::from_millis(100);
        let mut end = None;
        // SAFETY: as the caller promises.
        unsafe {
            while !finish::is_over(header) {
                if sys::cancel(self.handle(), (*header.as_ptr()).sys.overlapped.get()) {
                    return true;
                }
                if Instant::now() >= *end.get_or_insert_with(|| Instant::now() + ENOUGH) {
                    return false;
                }
                std::thread::yield_now();
            }
        }
        false
    }

    /// Whether an operation is pending whose packet could only come to a port.
    pub fn has_packets(&self) -> bool {
        [Lane::Read, Lane::Write, Lane::File].into_iter().any(|lane| {
            // SAFETY: listed, so alive; `delivery` does not change while an operation is pending.
            self.lock(lane).iter().any(|header| Which::Packets.means(unsafe { header.as_ref() }))
        })
    }
}
