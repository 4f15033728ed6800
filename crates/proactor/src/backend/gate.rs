//! The concurrency gate: at most `max` threads run at once, the newest waiter is released first.
//!
//! A thread that may run or sit in the port's wait holds a *slot*. `slots − idle` threads run; the rule of the kernel's
//! gate, "a waiter may take a packet while `running < max`", reads `slots − idle < max` here. In the steady state a
//! worker keeps its slot from one `get` to the next and only loads the counters.
//!
//! All three counters lie in one word, so every decision is made on one consistent snapshot:
//!
//! | counter | meaning | +1 | −1 |
//! |---|---|---|---|
//! | `slots` | threads running, or waiting in the poll | a slotless thread arrives while `running < max`; a parked one is released, or times out (overshoot is legal, as in the kernel) | a thread blocks, exits, or comes back while `running > max` |
//! | `idle` | slot holders inside the poll | before the last look at the queue | after the poll |
//! | `parked` | threads in the stack | under the stack's lock | under the stack's lock |
//!
//! | atomic | partner |
//! |---|---|
//! | `counts` idle +1 (SeqCst), then the queue is looked at | a poster pushes (SeqCst), then loads `counts` |
//! | `counts` slots −1 or idle −1 (SeqCst), then `parked` is looked at | a thread about to park checks `running` again by its compare-exchange under the lock |
//! | `permit` store (Release) + futex | the parked thread's load (Acquire) |
//!
//! Order: a thread that arrives parks on top. A thread that wakes in the poll and finds the gate full parks at the
//! bottom: it has waited longer than those above.

use crate::shim::{Arc, AtomicU32, AtomicU64, Mutex, Ordering, fence, lock};
use crate::time::Wait;

const BITS: u32 = 21;
const MASK: u64 = (1 << BITS) - 1;
const SLOT: u64 = 1;
const IDLE: u64 = 1 << BITS;
const PARKED: u64 = 1 << (2 * BITS);

const NO_PERMIT: u32 = 0;
const GRANTED: u32 = 1;
const CLOSED: u32 = 2;
/// Its thread is told to look whether it must go on waiting.
const ALERT: u32 = 4;

/// One snapshot of the counters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts(u64);

impl Counts {
    #[inline]
    pub fn slots(self) -> u64 {
        self.0 & MASK
    }

    #[inline]
    pub fn idle(self) -> u64 {
        (self.0 >> BITS) & MASK
    }

    #[inline]
    pub fn parked(self) -> u64 {
        self.0 >> (2 * BITS)
    }

    /// Threads that run a handler. Saturating: a thread leaving the poll may be seen between its two steps.
    #[inline]
    pub fn running(self) -> u64 {
        self.slots().saturating_sub(self.idle())
    }
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} slots, {} idle, {} parked", self.slots(), self.idle(), self.parked())
    }
}

/// Where one thread waits for a slot.
pub(crate) struct Permit {
    word: AtomicU32,
}

impl Permit {
    pub fn new() -> Permit {
        Permit { word: AtomicU32::new(NO_PERMIT) }
    }

    /// Has the thread look again, if it is parked alertably. What it will see was written before.
    pub fn alert(&self) {
        self.word.fetch_or(ALERT, Ordering::AcqRel);
        crate::backend::futex_wake_one(&self.word);
    }
}

/// How waiting for a slot ended. The thread holds a slot in the first three cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    Admitted,
    TimedOut,
    Alerted,
    Closed,
}

/// What somebody must do after a slot came free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Freed {
    Nothing,
    /// Packets are queued and a thread sits in the poll: wake it.
    KickPoller,
}

pub(crate) struct Gate {
    max: u64,
    counts: AtomicU64,
    stack: Mutex<Stack>,
}

#[derive(Default)]
struct Stack {
    /// The top is the last.
    parked: std::collections::VecDeque<Arc<Permit>>,
    closed: bool,
}

impl Gate {
    pub fn new(max: u32) -> Gate {
        Gate { max: u64::from(max), counts: AtomicU64::new(0), stack: Mutex::new(Stack::default()) }
    }

    #[inline]
    pub fn counts(&self) -> Counts {
        Counts(self.counts.load(Ordering::SeqCst))
    }

    /// Whether a waiting thread may take a packet now.
    #[inline]
    pub fn admits(&self, counts: Counts) -> bool {
        counts.running() < self.max
    }

    /// Whether more threads run than may.
    #[inline]
    pub fn is_over(&self, counts: Counts) -> bool {
        counts.running() > self.max
    }

    /// Whether all that may run do.
    #[inline]
    pub fn is_full(&self, counts: Counts) -> bool {
        counts.running() >= self.max
    }

    /// A thread without a slot takes one, if the gate admits it.
    pub fn try_enter(&self) -> bool {
        self.change(|counts| self.admits(counts).then_some(counts.0 + SLOT))
    }

    /// Before the poll; whether packets are queued, so that the poll must not wait.
    pub fn idle_begin(&self, queued: impl Fn() -> bool) -> bool {
        self.counts.fetch_add(IDLE, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        queued()
    }

    pub fn idle_end(&self) -> Counts {
        Counts(self.counts.fetch_sub(IDLE, Ordering::SeqCst) - IDLE)
    }

    /// Whether the gate has room, a thread is parked, and nobody watches the poll: who makes it so calls `refill`.
    pub fn wants_refill(&self, counts: Counts) -> bool {
        counts.idle() == 0 && counts.parked() > 0 && self.admits(counts)
    }

    /// Unblock: a thread that gave up its slot runs again. Unconditional; overshoot is legal.
    pub fn unblock(&self) {
        self.counts.fetch_add(SLOT, Ordering::SeqCst);
    }

    /// A slot holder blocks or exits. `queued` tells whether packets wait.
    pub fn release(&self, queued: impl Fn() -> bool) -> Freed {
        self.counts.fetch_sub(SLOT, Ordering::SeqCst);
        self.refill(queued)
    }

    /// Releases waiting threads while the gate admits them and there is something to do: a packet, or a poll that
    /// nobody watches.
    pub fn refill(&self, queued: impl Fn() -> bool) -> Freed {
        loop {
            let counts = self.counts();
            if !self.admits(counts) {
                return Freed::Nothing;
            }
            fence(Ordering::SeqCst);
            let queued = queued();
            if counts.idle() > 0 && !queued {
                return Freed::Nothing;
            }
            if counts.parked() == 0 {
                return if queued && counts.idle() > 0 { Freed::KickPoller } else { Freed::Nothing };
            }
            let mut stack = lock(&self.stack);
            let taken = self.change(|c| (self.admits(c) && c.parked() > 0).then(|| c.0 + SLOT - PARKED));
            if taken {
                let permit = stack.parked.pop_back();
                drop(stack);
                if let Some(permit) = permit {
                    permit.word.store(GRANTED, Ordering::Release);
                    crate::backend::futex_wake_one(&permit.word);
                }
            }
        }
    }

    /// Waits for a slot. `has_slot`: the thread holds one and found the gate over its limit; it parks at the bottom and
    /// gives the slot up, unless the gate has room again. Ends when `is_alerted`, too, which is asked again after each
    /// [`Permit::alert`].
    pub fn park_alertably(&self, permit: &Arc<Permit>, has_slot: bool, wait: Wait, is_alerted: &dyn Fn() -> bool) -> Parked {
        {
            let mut stack = lock(&self.stack);
            if stack.closed {
                return Parked::Closed;
            }
            // Not stored: an alert that came before is seen by what it was for.
            permit.word.swap(NO_PERMIT, Ordering::AcqRel);
            let admitted = std::cell::Cell::new(false);
            self.change(|c| {
                let must_park = if has_slot { self.is_over(c) } else { !self.admits(c) };
                admitted.set(!must_park);
                Some(match (must_park, has_slot) {
                    (true, true) => c.0 - SLOT + PARKED,
                    (true, false) => c.0 + PARKED,
                    (false, true) => c.0,
                    (false, false) => c.0 + SLOT,
                })
            });
            if admitted.get() {
                return Parked::Admitted;
            }
            if has_slot {
                stack.parked.push_front(permit.clone());
            } else {
                stack.parked.push_back(permit.clone());
            }
        }
        loop {
            let word = permit.word.load(Ordering::Acquire);
            if word & CLOSED != 0 {
                return Parked::Closed;
            }
            if word & GRANTED != 0 {
                return Parked::Admitted;
            }
            if word & ALERT != 0 {
                permit.word.fetch_and(!ALERT, Ordering::AcqRel);
                continue;
            }
            let alerted = is_alerted();
            if alerted || wait.is_over() {
                let mut stack = lock(&self.stack);
                if let Some(at) = stack.parked.iter().position(|p| Arc::ptr_eq(p, permit)) {
                    stack.parked.remove(at);
                    // A waiter that leaves runs on and counts: overshoot is legal.
                    self.counts.fetch_add(SLOT.wrapping_sub(PARKED), Ordering::SeqCst);
                    return if alerted { Parked::Alerted } else { Parked::TimedOut };
                }
                // Released at the last moment: the permit is being written.
                drop(stack);
                crate::backend::futex_wait(&permit.word, word, Wait::Forever);
            } else {
                crate::backend::futex_wait(&permit.word, word, wait);
            }
        }
    }

    #[cfg(loom)]
    pub fn park(&self, permit: &Arc<Permit>, has_slot: bool, wait: Wait) -> Parked {
        self.park_alertably(permit, has_slot, wait, &|| false)
    }

    /// Wakes every parked thread, for good. They leave without a slot.
    pub fn close(&self) {
        let mut stack = lock(&self.stack);
        stack.closed = true;
        for permit in stack.parked.drain(..) {
            self.counts.fetch_sub(PARKED, Ordering::SeqCst);
            permit.word.store(CLOSED, Ordering::Release);
            crate::backend::futex_wake_one(&permit.word);
        }
    }

    fn change(&self, new: impl Fn(Counts) -> Option<u64>) -> bool {
        let mut seen = self.counts.load(Ordering::SeqCst);
        while let Some(next) = new(Counts(seen)) {
            match self.counts.compare_exchange(seen, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }
}
