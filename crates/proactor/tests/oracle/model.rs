//! The concurrency gate exactly as SEMANTICS.md, section 3, has it: plain sequential code, no cleverness.

use std::collections::VecDeque;

pub type Thread = usize;
pub type Packet = usize;

/// A waiting thread that was handed a packet.
pub type Released = (Thread, Packet);

#[derive(Debug)]
pub struct Model {
    pub entries: VecDeque<Packet>,
    /// The newest is the last.
    pub waiters: Vec<Thread>,
    pub cur: i64,
    pub max: i64,
    bound: Vec<bool>,
}

/// How a wait began.
#[derive(Debug, PartialEq, Eq)]
pub enum Wait {
    Took(Packet),
    Joined,
}

impl Model {
    pub fn new(max: i64, threads: usize) -> Model {
        Model { entries: VecDeque::new(), waiters: Vec::new(), cur: 0, max, bound: vec![false; threads] }
    }

    /// "If bound elsewhere, run *block(old)* and bind here" (the caller blocks the other port); "if already bound here,
    /// `cur--`. Then if `cur < max` and an entry exists, take it and `cur++`; otherwise join the waiters."
    pub fn wait(&mut self, thread: Thread) -> Wait {
        if std::mem::replace(&mut self.bound[thread], true) {
            self.cur -= 1;
        }
        if self.cur < self.max
            && let Some(packet) = self.entries.pop_front()
        {
            self.cur += 1;
            return Wait::Took(packet);
        }
        self.waiters.push(thread);
        Wait::Joined
    }

    /// "A timeout or APC exit does `cur++` and stays bound."
    pub fn timeout(&mut self, thread: Thread) {
        self.waiters.retain(|waiter| *waiter != thread);
        self.cur += 1;
    }

    /// "If `cur < max` and a waiter exists, hand the packet straight to the newest waiter and `cur++`; else append."
    pub fn insert(&mut self, packet: Packet) -> Option<Released> {
        if self.cur < self.max
            && let Some(thread) = self.waiters.pop()
        {
            self.cur += 1;
            return Some((thread, packet));
        }
        self.entries.push_back(packet);
        None
    }

    /// "A bound thread enters any blocking wait: `cur--`; if `cur < max` and an entry and a waiter exist, release one
    /// waiter."
    pub fn block(&mut self, thread: Thread) -> Option<Released> {
        if !self.bound[thread] {
            return None;
        }
        self.cur -= 1;
        if self.cur < self.max && !self.entries.is_empty() && !self.waiters.is_empty() {
            self.cur += 1;
            return self.waiters.pop().zip(self.entries.pop_front());
        }
        None
    }

    /// "Unblock does `cur++` unconditionally."
    pub fn unblock(&mut self, thread: Thread) {
        if self.bound[thread] {
            self.cur += 1;
        }
    }

    /// "Or exits"; also what a thread does that binds to another port.
    pub fn leave(&mut self, thread: Thread) -> Option<Released> {
        let released = self.block(thread);
        self.bound[thread] = false;
        released
    }

    /// The real port released another waiter than this model, which only approximate order allows: they change places.
    pub fn exchange(&mut self, released: Thread, instead_of: Thread) {
        let place = self.waiters.iter_mut().find(|waiter| **waiter == released);
        *place.expect("the thread the port released was waiting") = instead_of;
    }

    pub fn is_bound(&self, thread: Thread) -> bool {
        self.bound[thread]
    }

    pub fn has_room(&self) -> bool {
        self.cur < self.max
    }

    /// What must never last: a packet that may be taken, and a thread that waits for one.
    pub fn is_settled(&self) -> bool {
        self.cur >= self.max || self.entries.is_empty() || self.waiters.is_empty()
    }
}
