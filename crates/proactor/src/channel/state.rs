//! What the two sides of a channel share, behind its lock.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::refused;
use crate::error::{Code, Error, Refused};

/// A send or receive that waits, by its number: they are listed in the order of these.
pub(super) struct Waiting<T> {
    pub number: u64,
    pub waker: Waker,
    pub value: Option<T>,
}

pub(super) struct State<T> {
    pub values: VecDeque<T>,
    pub capacity: usize,
    /// With their values.
    pub sends: VecDeque<Waiting<T>>,
    /// One that is woken is taken out: it looks for a value, or hands the wake-up on.
    pub receives: VecDeque<Waiting<()>>,
    pub next: u64,
    pub closed: bool,
    pub senders: usize,
    pub receivers: usize,
}

pub(super) struct Shared<T>(pub Mutex<State<T>>);

impl<T> Shared<T> {
    pub fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn find<T>(list: &VecDeque<Waiting<T>>, number: u64) -> Result<usize, usize> {
    list.binary_search_by_key(&number, |waiting| waiting.number)
}

impl<T> State<T> {
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes a value, and lets the first send that waits have its place. Who is to be woken.
    pub fn take(&mut self) -> Option<(T, Option<Waker>)> {
        let first = self.values.pop_front();
        let mut woken = None;
        // With a capacity of none values come from those who wait with them.
        if (first.is_none() || self.values.len() < self.capacity)
            && !self.closed
            && let Some(mut send) = self.sends.pop_front()
        {
            self.values.extend(send.value.take());
            woken = Some(send.waker);
        }
        first.or_else(|| self.values.pop_front()).map(|value| (value, woken))
    }

    /// Whether a receive would get a value.
    pub fn has_values(&self) -> bool {
        !self.values.is_empty() || (!self.closed && !self.sends.is_empty())
    }

    /// The first receive that waits, to be woken for a value.
    pub fn receiver(&mut self) -> Option<Waker> {
        if self.has_values() { self.receives.pop_front().map(|waiting| waiting.waker) } else { None }
    }

    /// Puts a value in if there is room and nobody waits before it.
    pub fn put(&mut self, value: T) -> Result<Option<Waker>, Refused<T>> {
        if self.closed {
            return Err(refused(value));
        }
        if self.values.len() >= self.capacity || !self.sends.is_empty() {
            return Err(Refused {
                error: Error::new(Code::Incomplete).hint("the channel is full; wait, or send later"),
                back: value,
            });
        }
        self.values.push_back(value);
        Ok(self.receiver())
    }

    /// Nothing more is sent. Who is to be woken.
    pub fn close(&mut self) -> Vec<Waker> {
        if std::mem::replace(&mut self.closed, true) {
            return Vec::new();
        }
        let receives = self.receives.drain(..).map(|waiting| waiting.waker);
        let sends = self.sends.iter_mut().map(|waiting| std::mem::replace(&mut waiting.waker, Waker::noop().clone()));
        sends.chain(receives).collect()
    }

    pub fn end() -> Error {
        Error::new(Code::EndOfFile).hint("the channel is closed and empty")
    }
}
