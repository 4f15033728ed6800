//! One set: the signals it has, those that came, and the waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Signal, hub};
use crate::backend;
use crate::op::{Source, Value, Waiting};
use crate::shim::{Mutex, lock};

#[derive(Default)]
pub(super) struct Set(Mutex<State>);

#[derive(Default)]
struct State {
    /// Those of the set, and how many of each nobody has taken.
    signals: BTreeMap<Signal, u32>,
    waiting: VecDeque<Waiting>,
}

impl Set {
    /// Whether it is new.
    pub fn insert(&self, signal: Signal) -> bool {
        let mut state = lock(&self.0);
        let new = !state.signals.contains_key(&signal);
        state.signals.entry(signal).or_default();
        new
    }

    /// Takes one out, or all; which.
    pub fn take(&self, signal: Option<Signal>) -> Vec<Signal> {
        let mut state = lock(&self.0);
        match signal {
            Some(signal) => state.signals.remove(&signal).map(|_| signal).into_iter().collect(),
            None => std::mem::take(&mut state.signals).into_keys().collect(),
        }
    }

    /// One came: for whoever waits first, or to be remembered.
    pub fn came(&self, signal: Signal) {
        loop {
            let first = {
                let mut state = lock(&self.0);
                let State { signals, waiting } = &mut *state;
                // Removed meanwhile.
                let Some(count) = signals.get_mut(&signal) else { return };
                match waiting.pop_front() {
                    None => {
                        *count = count.saturating_add(1);
                        return;
                    }
                    Some(first) => first,
                }
            };
            // One that is cancelled just now takes nothing along.
            if first.complete(Ok(Value::Signal(signal))).is_ok() {
                return;
            }
        }
    }
}

impl Source for Set {
    fn begin(self: Arc<Self>, arm: &mut dyn FnMut(u64) -> Option<Waiting>) {
        let (waiting, signal) = {
            let mut state = lock(&self.0);
            let Some(waiting) = arm(crate::time::NEVER) else { return };
            // Who remembers has nobody waiting.
            let Some((signal, count)) = state.signals.iter_mut().find(|(_, count)| **count > 0) else {
                return state.waiting.push_back(waiting);
            };
            *count -= 1;
            (waiting, *signal)
        };
        if waiting.complete(Ok(Value::Signal(signal))).is_err() {
            self.came(signal);
        }
    }

    fn over(&self, sequence: u64) {
        let mut state = lock(&self.0);
        if let Some(at) = state.waiting.iter().position(|waiting| waiting.sequence() == sequence) {
            state.waiting.remove(at);
        }
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        if backend::check_fork().is_ok() {
            hub::let_go(self.take(None));
        }
    }
}
