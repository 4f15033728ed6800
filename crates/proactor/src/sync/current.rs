//! What the library knows of a thread: its wait, its APCs, its mutexes, its end.
//!
//! A thread is registered at its first use of anything here, or by who spawned it. While its thread-local storage is being
//! destroyed it has no state any more: its waits go on by one of the moment, and what would outlive it (a mutex, a routine)
//! is refused.

use std::cell::{OnceCell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::apc::{Apc, Queue};
use super::blocking::Blocking;
use super::object::{Core, Kind};
use super::record::Record;
use crate::backend::{self, Alarm};
use crate::deliver::{self, routine};
use crate::error::Error;
use crate::op::free_block;
use crate::time::Wait;

/// How long the end of a thread waits for what it cancelled on its own ports.
const PATIENCE: Duration = Duration::from_secs(1);

/// A thread's number, never used again.
fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

pub(crate) struct ThreadState {
    pub number: u64,
    pub apcs: Queue,
    /// Signalled at the thread's end.
    pub ended: Arc<Core>,
    /// The operation it is blocked on.
    pub blocking: Blocking,
    record: Arc<Record>,
    alarm: OnceLock<Arc<Alarm>>,
    /// Its thread is ending, or this is no thread's: nothing may be left with it.
    pub detached: bool,
}

impl ThreadState {
    fn make(detached: bool) -> Arc<ThreadState> {
        let number = number();
        Arc::new(ThreadState {
            number,
            apcs: Queue::default(),
            ended: Core::event(false),
            blocking: Blocking::default(),
            record: Record::new(number),
            alarm: OnceLock::new(),
            detached,
        })
    }

    /// For a thread that is about to be spawned.
    pub fn new() -> Arc<ThreadState> {
        ThreadState::make(false)
    }

    /// The calling thread's.
    pub fn current() -> Arc<ThreadState> {
        OWN.try_with(|own| own.get_or_init(|| Own::of(ThreadState::new())).state.clone())
            .unwrap_or_else(|_| ThreadState::make(true))
    }

    /// The calling thread is the one this was made for.
    pub fn install(self: &Arc<Self>) {
        let _ = OWN.try_with(|own| own.set(Own::of(self.clone())));
    }

    /// A record for one wait of this thread. A wait inside another, in the drop of what that one completed, has its own.
    pub fn record(&self) -> Arc<Record> {
        if self.record.is_idle() { self.record.clone() } else { Record::new(self.number) }
    }

    /// What wakes the thread where it does not sleep on a word.
    pub fn alarm(&self) -> Result<&Arc<Alarm>, Error> {
        if let Some(alarm) = self.alarm.get() {
            return Ok(alarm);
        }
        let alarm = Arc::new(Alarm::new()?);
        Ok(self.alarm.get_or_init(|| alarm))
    }

    /// From any thread: cancels what this one is blocked on.
    pub fn cancel_blocking(&self) -> Result<(), Error> {
        self.blocking.cancel(self.alarm.get().map(|alarm| &**alarm))
    }

    /// Runs what is queued on the calling thread, whose state this is, with the system too, and what that queues; whether there
    /// was anything.
    ///
    /// A panic leaves it, and the rest stays queued.
    pub fn drain(&self) -> bool {
        let mut any = false;
        loop {
            while let Some(apc) = self.apcs.pop() {
                any = true;
                match apc {
                    Apc::Call { run, .. } => run(),
                    // SAFETY: out of this thread's own queue.
                    Apc::Routine(header) => unsafe { routine::run(header) },
                }
            }
            if !backend::run_apcs() {
                return any;
            }
            any = true;
        }
    }
}

/// The thread's own side.
struct Own {
    state: Arc<ThreadState>,
    /// The mutexes it owns.
    mutexes: RefCell<Vec<Arc<Core>>>,
    /// The operations it started with routines.
    started: routine::Started,
}

impl Own {
    fn of(state: Arc<ThreadState>) -> Own {
        // The list of its own ports is used at its end: what is touched first goes last.
        backend::drives();
        Own { state, mutexes: RefCell::default(), started: routine::Started::default() }
    }
}

impl ThreadState {
    /// The thread this was made for will not run.
    pub fn never_began(&self) {
        self.end();
    }

    /// What is queued is dropped unrun, and who waits for the thread is told.
    fn end(&self) {
        for apc in self.apcs.close() {
            deliver::unharmed(|| match apc {
                Apc::Call { run, .. } => drop(run),
                // SAFETY: completed, and out of the thread's own queue; its closure was dropped before.
                Apc::Routine(header) => unsafe { free_block(header) },
            });
        }
        self.ended.signal();
    }
}

impl Drop for Own {
    /// The thread ends: its routines are dropped and their operations cancelled, its mutexes abandoned, its APCs dropped
    /// unrun, and who waits for it is told.
    fn drop(&mut self) {
        let pending = self.started.abandon();
        if pending > 0 && backend::drives() {
            // What is on its own ports ends nowhere else.
            let end = Wait::from(PATIENCE);
            backend::drive(&|| self.state.apcs.len() >= pending, end, None);
        }
        let number = self.state.number;
        for mutex in self.mutexes.take() {
            mutex.change(|kind| {
                if let Kind::Mutex { owner, depth, abandoned } = kind
                    && *owner == Some(number)
                {
                    (*owner, *depth, *abandoned) = (None, 0, true);
                }
            });
        }
        self.state.end();
    }
}

#[cfg(not(loom))]
thread_local! {
    static OWN: OnceCell<Own> = const { OnceCell::new() };
}

#[cfg(loom)]
loom::thread_local! {
    static OWN: OnceCell<Own> = OnceCell::new();
}

/// The calling thread's operations with routines. It has a list whenever it has such an operation.
pub(crate) fn with_started(work: impl FnOnce(&routine::Started)) {
    let _ = OWN.try_with(|own| own.get().map(|own| work(&own.started)));
}

/// The calling thread owns this mutex from now on, or no longer.
pub(crate) fn note_mutex(core: &Arc<Core>, owned: bool) {
    let _ = OWN.try_with(|own| {
        let Some(own) = own.get() else { return };
        let mut mutexes = own.mutexes.borrow_mut();
        let at = mutexes.iter().rposition(|mutex| Arc::ptr_eq(mutex, core));
        match (owned, at) {
            (true, None) => mutexes.push(core.clone()),
            (false, Some(at)) => drop(mutexes.swap_remove(at)),
            (true, Some(_)) | (false, None) => {}
        }
    });
}
