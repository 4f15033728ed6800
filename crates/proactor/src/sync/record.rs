//! One wait of one thread: a word that is claimed once.
//!
//! | word | meaning | leaves by |
//! |---|---|---|
//! | IDLE | the thread does not wait by it | `begin`, its thread |
//! | PENDING, maybe with ALARMED | it waits, or is about to | one compare-exchange: of an object that signals it (under that object's lock), of who queues an APC, or of the thread itself at its timeout |
//! | CLAIMED and why | the wait is over, and what it got is its own | `end`, its thread, once no object lists it any more |
//!
//! Who signals consumes the signal together with the claim, under the object's lock: a waiter whose time ran out has claimed
//! its own wait, so it cannot be given what it would lose.
//!
//! | atomic | partner |
//! |---|---|
//! | `word` claimed, then woken by address or by the alarm | the waiting thread looks at the word before each sleep, and sleeps only while it is PENDING |

use crate::backend::{self, Alarm};
use crate::shim::{AtomicU32, Ordering};
use crate::time::Wait;
use std::sync::{Arc, OnceLock};

const IDLE: u32 = 0;
const PENDING: u32 = 1;
/// The thread sleeps in a port of its own: the alarm wakes it there.
const ALARMED: u32 = 2;
const CLAIMED: u32 = 4;
const APC: u32 = 8;
const TIMED_OUT: u32 = 16;
const ABANDONED: u32 = 32;
const INDEX_SHIFT: u32 = 8;

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It consumed the object of this index: a mutex whose owner ended without releasing it, perhaps.
    Signalled {
        index: usize,
        abandoned: bool,
    },
    Apc,
    TimedOut,
}

impl Claim {
    fn word(self) -> u32 {
        match self {
            Claim::Signalled { index, abandoned } => {
                CLAIMED | if abandoned { ABANDONED } else { 0 } | (index as u32) << INDEX_SHIFT
            }
            Claim::Apc => CLAIMED | APC,
            Claim::TimedOut => CLAIMED | TIMED_OUT,
        }
    }
}

pub(crate) struct Record {
    /// The thread's number among those that wait: what a mutex knows its owner by.
    pub owner: u64,
    word: AtomicU32,
    alarm: OnceLock<Arc<Alarm>>,
}

impl Record {
    pub fn new(owner: u64) -> Arc<Record> {
        Arc::new(Record { owner, word: AtomicU32::new(IDLE), alarm: OnceLock::new() })
    }

    pub fn is_idle(&self) -> bool {
        self.word.load(Ordering::Relaxed) == IDLE
    }

    /// The thread begins to wait. With an alarm it may sleep in the kernel's hands elsewhere than on the word.
    pub fn begin(&self, alarm: Option<&Arc<Alarm>>) {
        debug_assert!(self.is_idle(), "a record serves one wait at a time");
        let alarmed = match alarm {
            Some(alarm) => {
                self.alarm.get_or_init(|| alarm.clone());
                ALARMED
            }
            None => 0,
        };
        self.word.store(PENDING | alarmed, Ordering::SeqCst);
    }

    /// Ends the wait for this reason, if nothing has ended it yet. Whoever succeeds calls `wake`.
    pub fn claim(&self, claim: Claim) -> bool {
        let mut seen = self.word.load(Ordering::Relaxed);
        while seen & PENDING != 0 {
            let new = claim.word() | (seen & ALARMED);
            match self.word.compare_exchange(seen, new, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Wakes the thread of a claimed wait. It may have gone on already.
    pub fn wake(&self) {
        backend::futex_wake_one(&self.word);
        if self.word.load(Ordering::Relaxed) & ALARMED != 0
            && let Some(alarm) = self.alarm.get()
        {
            alarm.ring();
        }
    }

    pub fn is_claimed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLAIMED != 0
    }

    /// Sleeps until the wait is claimed, or its time is over and it has claimed itself.
    pub fn sleep(&self, wait: Wait) {
        loop {
            let seen = self.word.load(Ordering::Acquire);
            if seen & CLAIMED != 0 {
                return;
            }
            if wait.is_over() {
                self.claim(Claim::TimedOut);
                return;
            }
            backend::futex_wait(&self.word, seen, wait);
        }
    }

    /// Ends a claimed wait that no object lists any more.
    pub fn end(&self) -> Claim {
        // The claim ordered what the claimer did before this thread's next steps.
        let word = self.word.load(Ordering::Acquire);
        debug_assert!(word & CLAIMED != 0, "a wait ends claimed");
        self.word.store(IDLE, Ordering::Relaxed);
        match word & (APC | TIMED_OUT) {
            0 => Claim::Signalled { index: (word >> INDEX_SHIFT) as usize, abandoned: word & ABANDONED != 0 },
            APC => Claim::Apc,
            _ => Claim::TimedOut,
        }
    }
}
