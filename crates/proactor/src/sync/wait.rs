//! Waiting: for one object, for any, for all, and for time; alertable or not.
//!
//! A wait looks at its objects in order, and takes the first that is signalled. Then, if it is alertable, it looks for APCs,
//! then at the clock. Only then is it listed with its objects and sleeps, with its slot of a port given to another worker.
//! A thread with a port of its own goes on completing that port's operations meanwhile.

use std::any::Any;
use std::sync::Arc;

use super::current::{self, ThreadState};
use super::object::{Core, Group};
use super::record::{Claim, Record};
use super::waitable::Waitable;
use crate::backend;
use crate::error::{Code, Error};
use crate::time::Wait;

/// Most objects of one wait (`MAXIMUM_WAIT_OBJECTS`).
const MOST: usize = 64;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The object of this index is signalled, and was consumed by this wait if it is of the kind that is. Of a wait for
    /// all, which consumed all, it is 0.
    Signalled(usize),
    /// The same, and it is a mutex whose owner ended without releasing it (`WAIT_ABANDONED_0`): this thread owns it now, and
    /// what it guards may be half done. Of a wait for all it is the lowest such index.
    Abandoned(usize),
    /// The time was over first (258). Nothing was consumed.
    TimedOut,
    /// An alertable wait ran APCs instead (192): those of the library, on Windows also those the kernel had queued to the thread.
    /// Nothing was consumed.
    Apc,
}

impl Waited {
    /// Whether the wait got what it waited for.
    pub fn is_satisfied(&self) -> bool {
        matches!(self, Waited::Signalled(_) | Waited::Abandoned(_))
    }
}

impl From<Claim> for Waited {
    fn from(claim: Claim) -> Waited {
        match claim {
            Claim::Signalled { index, abandoned: false } => Waited::Signalled(index),
            Claim::Signalled { index, abandoned: true } => Waited::Abandoned(index),
            Claim::Apc => Waited::Apc,
            Claim::TimedOut => Waited::TimedOut,
        }
    }
}

/// Objects are attended to while they are waited for.
fn attend(objects: &[&dyn Waitable]) -> Vec<Box<dyn Any + Send + Sync>> {
    objects.iter().filter_map(|object| object.attend()).collect()
}

/// The cores of a wait's objects.
struct Cores<'a> {
    cores: [Option<&'a Arc<Core>>; MOST],
    has_mutexes: bool,
}

impl<'a> Cores<'a> {
    fn of(objects: &[&'a dyn Waitable], state: &ThreadState) -> Result<Cores<'a>, Error> {
        let refused = |hint| Err(Error::new(Code::InvalidParameter).hint(hint));
        match objects.len() {
            0 => return refused("there is nothing to wait for: give at least one object"),
            1..=MOST => {}
            _ => return refused("more than 64 objects in one wait; wait for groups of them on several threads"),
        }
        let mut cores = Cores { cores: [None; MOST], has_mutexes: false };
        for (slot, object) in cores.cores.iter_mut().zip(objects) {
            let core = object.core()?;
            cores.has_mutexes |= core.is_mutex();
            *slot = Some(core);
        }
        if cores.has_mutexes && state.detached {
            return refused("this thread is ending, and would abandon the mutex");
        }
        Ok(cores)
    }

    fn each(&self) -> impl Iterator<Item = &'a Arc<Core>> {
        self.cores.iter().map_while(|core| *core)
    }

    /// The wait consumed the object of an index, or all: mutexes are this thread's now.
    fn got(&self, claim: Claim, all: bool) -> Waited {
        if self.has_mutexes
            && let Claim::Signalled { index, .. } = claim
        {
            let consumed = self.each().enumerate().filter(|(at, core)| (all || *at == index) && core.is_mutex());
            consumed.for_each(|(_, core)| current::note_mutex(core, true));
        }
        claim.into()
    }
}

/// A wait of no objects: until its time is over, or an APC.
pub(super) fn sleep(wait: Wait, alertable: bool) -> Waited {
    let state = ThreadState::current();
    loop {
        if alertable && state.drain() {
            return Waited::Apc;
        }
        if wait.is_over() {
            return Waited::TimedOut;
        }
        pend(&state, &state.record(), wait, alertable, || (), || ());
    }
}

/// A wait for any of some objects.
pub(super) fn any(objects: &[&dyn Waitable], wait: Wait, alertable: bool) -> Result<Waited, Error> {
    let state = ThreadState::current();
    let cores = Cores::of(objects, &state)?;
    for (index, core) in cores.each().enumerate() {
        if let Some(abandoned) = core.take(state.number) {
            return Ok(cores.got(Claim::Signalled { index, abandoned }, false));
        }
    }
    let _attended = attend(objects);
    let record = state.record();
    let enlist = || {
        // Until it is over.
        let _over = cores.each().enumerate().any(|(index, core)| core.enlist(&record, index));
    };
    let forget = || cores.each().for_each(|core| core.forget(&record));
    loop {
        if alertable && state.drain() {
            return Ok(Waited::Apc);
        }
        if wait.is_poll() && !backend::drives() {
            return Ok(Waited::TimedOut);
        }
        match pend(&state, &record, wait, alertable, enlist, forget) {
            Claim::TimedOut => return Ok(Waited::TimedOut),
            // It runs above, unless it was taken back meanwhile.
            Claim::Apc => {}
            claim @ Claim::Signalled { .. } => return Ok(cores.got(claim, false)),
        }
    }
}

/// A wait for all of some objects at once.
pub(super) fn all(objects: &[&dyn Waitable], wait: Wait, alertable: bool) -> Result<Waited, Error> {
    let state = ThreadState::current();
    let cores = Cores::of(objects, &state)?;
    let record = state.record();
    let Some(group) = Group::new(record.clone(), cores.each().cloned().collect()) else {
        let hint = "an object is there twice: a wait for all takes each once";
        return Err(Error::new(Code::InvalidParameter).hint(hint));
    };
    let group = Arc::new(group);
    if let Some(claim) = group.take() {
        return Ok(cores.got(claim, true));
    }
    let _attended = attend(objects);
    loop {
        if alertable && state.drain() {
            return Ok(Waited::Apc);
        }
        if wait.is_poll() && !backend::drives() {
            return Ok(Waited::TimedOut);
        }
        match pend(&state, &record, wait, alertable, || group.enlist(), || group.forget()) {
            Claim::TimedOut => return Ok(Waited::TimedOut),
            Claim::Apc => {}
            claim @ Claim::Signalled { .. } => return Ok(cores.got(claim, true)),
        }
    }
}

/// Sleeps on a record that `enlist` lists with its objects, until it is claimed.
fn pend(
    state: &ThreadState,
    record: &Arc<Record>,
    wait: Wait,
    alertable: bool,
    enlist: impl FnOnce(),
    forget: impl FnOnce(),
) -> Claim {
    let drives = backend::drives();
    let hears_system = alertable && backend::HAS_APCS;
    // Without an alarm the ports are driven in turns, and the system's APCs are not heard.
    let alarm = if drives || hears_system { state.alarm().ok() } else { None };
    backend::while_blocked(|| {
        record.begin(alarm);
        enlist();
        let before = alertable.then(|| state.apcs.alertable(record));
        if drives && !record.is_claimed() {
            backend::drive(&|| record.is_claimed(), wait, alarm);
            record.claim(Claim::TimedOut);
        } else {
            if let (true, Some(alarm)) = (hears_system, alarm) {
                backend::sleep_alertably(&|| record.is_claimed(), wait, alarm);
                if backend::apcs_have_run() {
                    record.claim(Claim::Apc);
                }
            }
            record.sleep(wait);
        }
        if let Some(before) = before {
            state.apcs.not_alertable(before);
        }
        forget();
        record.end()
    })
}

/// Signals one object, then waits for another.
pub(super) fn signal_and_wait(
    signal: &dyn Waitable,
    object: &dyn Waitable,
    wait: Wait,
    alertable: bool,
) -> Result<Waited, Error> {
    Cores::of(&[object], &ThreadState::current())?;
    signal.signal()?;
    any(&[object], wait, alertable)
}
