//! Waiting: for one object, for any, for all, and for time; alertable or not.
//!
//! A wait looks at its objects in order, and takes the first that is signalled. Then, if it is alertable, it looks for APCs,
//! then at the clock. Only then is it listed with its objects and sleeps, with its slot of a port given to another worker.
//! A thread with a port of its own goes on completing that port's operations meanwhile.

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
    /// An alertable wait ran APCs instead (192). Nothing was consumed.
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
struct Attended<'a>(&'a [&'a dyn Waitable]);

impl<'a> Attended<'a> {
    fn to(objects: &'a [&'a dyn Waitable]) -> Attended<'a> {
        objects.iter().for_each(|object| object.wait_begins());
        Attended(objects)
    }
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|object| object.wait_ended());
    }
}

fn check(objects: &[&dyn Waitable], state: &ThreadState) -> Result<(), Error> {
    let refused = |hint| Err(Error::new(Code::InvalidParameter).hint(hint));
    match objects.len() {
        0 => return refused("there is nothing to wait for: give at least one object"),
        1..=MOST => {}
        _ => return refused("more than 64 objects in one wait; wait for groups of them on several threads"),
    }
    for object in objects {
        if object.core()?.is_mutex() && state.detached {
            return refused("this thread is ending, and would abandon the mutex");
        }
    }
    Ok(())
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
    check(objects, &state)?;
    for (index, object) in objects.iter().enumerate() {
        let core = object.core()?;
        if let Some(abandoned) = core.take(state.number) {
            return Ok(got(core, Claim::Signalled { index, abandoned }));
        }
    }
    let _attended = Attended::to(objects);
    let record = state.record();
    let enlist = || {
        for (index, object) in objects.iter().enumerate() {
            if object.core().is_ok_and(|core| core.enlist(&record, index)) {
                return;
            }
        }
    };
    let forget = || objects.iter().filter_map(|object| object.core().ok()).for_each(|core| core.forget(&record));
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
            claim @ Claim::Signalled { index, .. } => return Ok(got(objects[index].core()?, claim)),
        }
    }
}

/// A wait for all of some objects at once.
pub(super) fn all(objects: &[&dyn Waitable], wait: Wait, alertable: bool) -> Result<Waited, Error> {
    let state = ThreadState::current();
    check(objects, &state)?;
    let cores = objects.iter().map(|object| object.core().cloned()).collect::<Result<Vec<_>, Error>>()?;
    let record = state.record();
    let Some(group) = Group::new(record.clone(), cores) else {
        let hint = "an object is there twice: a wait for all takes each once";
        return Err(Error::new(Code::InvalidParameter).hint(hint));
    };
    let group = Arc::new(group);
    let got_all = |claim| {
        objects.iter().filter_map(|object| object.core().ok()).for_each(|core| {
            got(core, claim);
        });
        Ok(Waited::from(claim))
    };
    if let Some(claim) = group.take() {
        return got_all(claim);
    }
    let _attended = Attended::to(objects);
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
            claim @ Claim::Signalled { .. } => return got_all(claim),
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
    // Without an alarm the ports are driven in turns.
    let alarm = if drives { state.alarm().ok() } else { None };
    backend::while_blocked(|| {
        record.begin(alarm);
        enlist();
        let before = alertable.then(|| state.apcs.alertable(record));
        if drives && !record.is_claimed() {
            backend::drive(&|| record.is_claimed(), wait, alarm);
            record.claim(Claim::TimedOut);
        } else {
            record.sleep(wait);
        }
        if let Some(before) = before {
            state.apcs.not_alertable(before);
        }
        forget();
        record.end()
    })
}

/// The wait consumed an object: a mutex is this thread's.
fn got(core: &Arc<Core>, claim: Claim) -> Waited {
    if core.is_mutex() {
        current::note_mutex(core, true);
    }
    claim.into()
}

/// Signals one object, then waits for another.
pub(super) fn signal_and_wait(
    signal: &dyn Waitable,
    object: &dyn Waitable,
    wait: Wait,
    alertable: bool,
) -> Result<Waited, Error> {
    check(&[object], &ThreadState::current())?;
    signal.signal()?;
    any(&[object], wait, alertable)
}
