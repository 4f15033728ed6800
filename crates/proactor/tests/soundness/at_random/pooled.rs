//! Wait and timer objects of a thread pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proactor::pool::{Pool, Timer, WaitObject};
use proactor::sync::{Event, Waited};

use super::waits::Waits;
use super::{SHORT, a_while, until};
use crate::live::Dice;

/// How many of each there are.
const EACH: usize = 3;

pub struct Pooled {
    /// Each waits for its semaphore, whose signals it takes.
    waits: [WaitObject; EACH],
    timers: [Timer; EACH],
    counts: Arc<Counts>,
    _pool: Pool,
}

#[derive(Default)]
struct Counts {
    /// Waits begun, and what the callbacks were told.
    set: [AtomicU64; EACH],
    signalled: [AtomicU64; EACH],
    timed_out: [AtomicU64; EACH],
    rang: [AtomicU64; EACH],
}

impl Pooled {
    pub fn new(waits: &Arc<Waits>) -> Pooled {
        let pool = Pool::new(1, 4).unwrap();
        let counts = Arc::new(Counts::default());
        let wait = |at: usize| {
            let (waits, counts) = (waits.clone(), counts.clone());
            let told = move |waited| match waited {
                Waited::Signalled(0) => {
                    waits.taken[at].fetch_add(1, Ordering::SeqCst);
                    counts.signalled[at].fetch_add(1, Ordering::SeqCst);
                }
                Waited::TimedOut => _ = counts.timed_out[at].fetch_add(1, Ordering::SeqCst),
                other => panic!("a wait for one object ended with {other:?}"),
            };
            pool.wait(move |_, waited| told(waited)).unwrap()
        };
        let timer = |at: usize| {
            let counts = counts.clone();
            pool.timer(move |_| _ = counts.rang[at].fetch_add(1, Ordering::SeqCst)).unwrap()
        };
        Pooled { waits: [wait(0), wait(1), wait(2)], timers: [timer(0), timer(1), timer(2)], counts, _pool: pool }
    }

    pub fn step(&self, dice: &mut Dice, waits: &Waits) {
        let (at, time) = (dice.roll(EACH as u64) as usize, a_while(dice));
        match dice.roll(6) {
            0..2 => {
                self.counts.set[at].fetch_add(1, Ordering::SeqCst);
                self.waits[at].set(waits.semaphores[at].clone(), time).unwrap();
            }
            2 => self.waits[at].unset(),
            3 => self.timers[at].set(time, None).unwrap(),
            4 => self.timers[at].set(time, Some(Duration::from_millis(1))).unwrap(),
            _ => self.timers[at].unset(),
        }
    }

    /// What was due came, and what is set now comes once.
    pub fn settle(self) {
        let read = |count: &AtomicU64| count.load(Ordering::SeqCst);
        for at in 0..EACH {
            self.waits[at].unset();
            self.timers[at].unset();
            self.waits[at].wait_for_callbacks().unwrap();
            self.timers[at].wait_for_callbacks().unwrap();
        }
        println!("pool: {:?}", self.counts);
        let Counts { set, signalled, timed_out, rang } = &*self.counts;
        for at in 0..EACH {
            assert!(read(&signalled[at]) + read(&timed_out[at]) <= read(&set[at]), "a wait was told of twice");
            let before = (read(&timed_out[at]), read(&rang[at]));
            self.waits[at].set(Event::auto(), Duration::from_millis(1)).unwrap();
            self.timers[at].set(Duration::from_millis(1), None).unwrap();
            let now = || (read(&timed_out[at]), read(&rang[at]));
            until("a callback of the pool", || now().0 > before.0 && now().1 > before.1);
            std::thread::sleep(SHORT);
            assert_eq!(now(), (before.0 + 1, before.1 + 1), "a callback came twice");
        }
        assert!(signalled.iter().chain(timed_out).chain(rang).all(|count| read(count) > 0));
    }
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { set, signalled, timed_out, rang } = self;
        write!(f, "{set:?} waits set, {signalled:?} signalled, {timed_out:?} timed out; {rang:?} timer callbacks")
    }
}
