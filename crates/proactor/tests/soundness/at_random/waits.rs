//! Objects that threads wait for, and APCs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use proactor::sync::{self, Event, Mutex, Semaphore, ThreadRef, Waitable, Waited, alertable};
use proactor::time::WaitableTimer;

use super::{LONG, SHORT, a_while};
use crate::live::Dice;

/// How many kinds of object there are to wait for.
const OBJECTS: usize = 8;

/// What is waited for, and what came of it.
pub struct Waits {
    pub semaphores: [Semaphore; 3],
    pub released: [AtomicU64; 3],
    pub taken: [AtomicU64; 3],
    manual: Event,
    mutex: Mutex,
    inside: AtomicBool,
    /// Handed round: set once, and again by each who got it.
    token: Event,
    holders: AtomicUsize,
    /// The same, but it comes back only when its time has come.
    clock: WaitableTimer,
    ringers: AtomicUsize,
    rang: AtomicU64,
    /// Set, set again and cancelled by anybody.
    shaken: WaitableTimer,
    accepted: AtomicU64,
    ran: AtomicU64,
}

impl Waits {
    pub fn new() -> Waits {
        let semaphore = || Semaphore::new(0, u32::MAX).unwrap();
        let waits = Waits {
            semaphores: [semaphore(), semaphore(), semaphore()],
            released: Default::default(),
            taken: Default::default(),
            manual: Event::manual(),
            mutex: Mutex::new(),
            inside: AtomicBool::new(false),
            token: Event::auto(),
            holders: AtomicUsize::new(0),
            clock: WaitableTimer::auto().unwrap(),
            ringers: AtomicUsize::new(0),
            rang: AtomicU64::new(0),
            shaken: WaitableTimer::auto().unwrap(),
            accepted: AtomicU64::new(0),
            ran: AtomicU64::new(0),
        };
        waits.token.set();
        waits.clock.set(Duration::ZERO).unwrap();
        waits
    }

    fn object(&self, index: usize) -> &dyn Waitable {
        match index {
            0..3 => &self.semaphores[index],
            3 => &self.mutex,
            4 => &self.token,
            5 => &self.clock,
            6 => &self.shaken,
            _ => &self.manual,
        }
    }

    /// What a satisfied wait took must be nobody else's.
    fn took(&self, index: usize, dice: &mut Dice) {
        match index {
            0..3 => {
                self.taken[index].fetch_add(1, Ordering::SeqCst);
            }
            3 => {
                assert!(!self.inside.swap(true, Ordering::SeqCst), "two threads own the mutex");
                self.inside.store(false, Ordering::SeqCst);
                self.mutex.release().expect("this thread owns it");
            }
            4 => {
                assert_eq!(self.holders.fetch_add(1, Ordering::SeqCst), 0, "two threads took one signal");
                self.holders.fetch_sub(1, Ordering::SeqCst);
                self.token.set();
            }
            5 => {
                assert_eq!(self.ringers.fetch_add(1, Ordering::SeqCst), 0, "two threads took one signal of a timer");
                self.rang.fetch_add(1, Ordering::SeqCst);
                self.ringers.fetch_sub(1, Ordering::SeqCst);
                self.clock.set(a_while(dice)).unwrap();
            }
            _ => {}
        }
    }

    pub fn release(&self, at: usize, n: u64) {
        if self.semaphores[at].release(n as u32).is_ok() {
            self.released[at].fetch_add(n, Ordering::SeqCst);
        }
    }

    pub fn step(self: &Arc<Self>, dice: &mut Dice, peers: &[ThreadRef]) {
        let wait = a_while(dice);
        let is_alertable = dice.roll(2) == 0;
        match dice.roll(10) {
            0 => self.release(dice.roll(3) as usize, 1 + dice.roll(2)),
            1 => {
                self.manual.set();
                self.manual.reset();
            }
            2 => match dice.roll(3) {
                0 => self.shaken.set(wait).unwrap(),
                1 => self.shaken.set_periodic(wait, Duration::from_millis(1)).unwrap(),
                _ => self.shaken.cancel(),
            },
            3 => {
                let to = &peers[dice.roll(peers.len() as u64) as usize];
                let theirs = self.clone();
                let call = move || {
                    theirs.ran.fetch_add(1, Ordering::SeqCst);
                };
                if to.queue_apc(call).is_ok() {
                    self.accepted.fetch_add(1, Ordering::SeqCst);
                }
            }
            4..7 => {
                let mut which: Vec<usize> = (0..OBJECTS).collect();
                for at in (1..OBJECTS).rev() {
                    which.swap(at, dice.roll(at as u64 + 1) as usize);
                }
                which.truncate(1 + dice.roll(5) as usize);
                let objects: Vec<_> = which.iter().map(|index| self.object(*index)).collect();
                let waited = if is_alertable { alertable::wait_any(&objects, wait) } else { sync::wait_any(&objects, wait) };
                if let Waited::Signalled(at) = waited.expect("a wait that may be made") {
                    self.took(which[at], dice);
                }
            }
            7 => {
                let first = dice.roll(OBJECTS as u64) as usize;
                let which = [first, (first + 1 + dice.roll(OBJECTS as u64 - 1) as usize) % OBJECTS];
                let objects = which.map(|index| self.object(index));
                let waited = if is_alertable { alertable::wait_all(&objects, wait) } else { sync::wait_all(&objects, wait) };
                if waited.expect("a wait that may be made").is_satisfied() {
                    which.into_iter().for_each(|index| self.took(index, dice));
                }
            }
            8 => {
                let (at, index) = (dice.roll(3) as usize, dice.roll(OBJECTS as u64) as usize);
                let (signal, object) = (&self.semaphores[at], self.object(index));
                // Before it can be taken, so that no count runs ahead.
                self.released[at].fetch_add(1, Ordering::SeqCst);
                let waited = match is_alertable {
                    true => alertable::signal_and_wait(signal, object, wait),
                    false => sync::signal_and_wait(signal, object, wait),
                };
                if waited.expect("a wait that may be made").is_satisfied() {
                    self.took(index, dice);
                }
            }
            _ => {
                let waited = if is_alertable { alertable::sleep(wait) } else { sync::sleep(wait) };
                assert!(matches!(waited, Ok(Waited::TimedOut | Waited::Apc)));
            }
        }
    }

    /// All threads have ended.
    pub fn finish(&self) {
        for at in 0..3 {
            let mut left = 0;
            while sync::wait_one(&self.semaphores[at], Duration::ZERO) == Ok(Waited::Signalled(0)) {
                left += 1;
            }
            let (released, taken) = (self.released[at].load(Ordering::SeqCst), self.taken[at].load(Ordering::SeqCst));
            assert_eq!(released, taken + left, "semaphore {at}: {released} signals, {taken} taken, {left} left");
            assert!(taken > 0);
        }
        assert_eq!(sync::wait_one(&self.token, Duration::ZERO), Ok(Waited::Signalled(0)), "the token is lost");
        assert_eq!(sync::wait_one(&self.token, Duration::ZERO), Ok(Waited::TimedOut), "there are two tokens");
        assert_eq!(sync::wait_one(&self.mutex, Duration::ZERO), Ok(Waited::Signalled(0)), "nobody owns the mutex");
        self.mutex.release().expect("this thread owns it");
        assert_eq!(sync::wait_one(&self.clock, LONG), Ok(Waited::Signalled(0)), "a timer's signal is lost");
        assert_eq!(sync::wait_one(&self.clock, SHORT), Ok(Waited::TimedOut), "it came twice");
        self.shaken.set(Duration::from_millis(1)).unwrap();
        assert_eq!(sync::wait_one(&self.shaken, LONG), Ok(Waited::Signalled(0)), "what it was set to last does not come");
        assert_eq!(sync::wait_one(&self.shaken, SHORT), Ok(Waited::TimedOut), "it has no period any more");
        // Each thread ran what was queued to it before it ended.
        let (accepted, ran) = (self.accepted.load(Ordering::SeqCst), self.ran.load(Ordering::SeqCst));
        println!("{ran} APCs; {:?} signals taken; a timer rang {:?} times", self.taken, self.rang);
        assert_eq!(ran, accepted, "APCs that were accepted, and that ran");
        assert!(ran > 0 && self.rang.load(Ordering::SeqCst) > 0);
    }
}
