//! Which sets have which signals, for the whole process. The system is asked for a signal when the first set takes it, and told
//! to do as before when the last lets go.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::Signal;
use super::set::Set;
use crate::backend;
use crate::deliver::unharmed;
use crate::error::Error;

/// The sets of each signal.
type Hub = BTreeMap<Signal, Vec<Weak<Set>>>;

static HUB: std::sync::Mutex<Hub> = std::sync::Mutex::new(Hub::new());

fn hub() -> std::sync::MutexGuard<'static, Hub> {
    HUB.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Takes a signal into a set.
pub(super) fn add(set: &Arc<Set>, signal: Signal) -> Result<(), Error> {
    backend::check_fork()?;
    let signal = backend::check_signal(signal)?;
    let mut hub = hub();
    if !set.insert(signal) {
        return Ok(());
    }
    let sets = hub.entry(signal).or_default();
    sets.push(Arc::downgrade(set));
    if sets.len() == 1
        && let Err(error) = backend::catch_signal(signal, came)
    {
        hub.remove(&signal);
        set.take(Some(signal));
        return Err(error);
    }
    Ok(())
}

/// Takes a signal, or all, out of a set.
pub(super) fn remove(set: &Arc<Set>, signal: Option<Signal>) {
    if backend::check_fork().is_err() {
        return;
    }
    let signal = match signal.map(backend::check_signal) {
        // The system has none of it.
        Some(Err(_)) => return,
        Some(Ok(signal)) => Some(signal),
        None => None,
    };
    let mut hub = hub();
    for signal in set.take(signal) {
        leave(&mut hub, signal, |other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(set)));
    }
}

/// A set that had these is gone.
pub(super) fn let_go(signals: Vec<Signal>) {
    if signals.is_empty() {
        return;
    }
    let mut hub = hub();
    for signal in signals {
        leave(&mut hub, signal, |other| other.strong_count() == 0);
    }
}

fn leave(hub: &mut Hub, signal: Signal, is_it: impl Fn(&Weak<Set>) -> bool) {
    let Some(sets) = hub.get_mut(&signal) else { return };
    sets.retain(|set| !is_it(set));
    if sets.is_empty() {
        hub.remove(&signal);
        backend::release_signal(signal);
    }
}

/// A signal came: each set that has it gets it. On a thread of the library's or the system's, not inside a signal handler.
fn came(signal: Signal) {
    let sets: Vec<_> = hub().get(&signal).map(|sets| sets.iter().filter_map(Weak::upgrade).collect()).unwrap_or_default();
    for set in sets {
        unharmed(|| {
            set.came(signal);
            drop(set);
        });
    }
}
