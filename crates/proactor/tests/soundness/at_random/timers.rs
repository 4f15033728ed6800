//! A thread's own waitable timer with a routine: set, set again, cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proactor::sync::{self, Waited, alertable};
use proactor::time::WaitableTimer;

use super::{LONG, SHORT, a_while};
use crate::live::Dice;

pub struct Own {
    timer: WaitableTimer,
    /// The number of the present setting.
    setting: Arc<AtomicU64>,
    /// How often the routine of the present setting ran.
    ran: Arc<AtomicU64>,
}

impl Own {
    pub fn new() -> Own {
        Own { timer: WaitableTimer::auto().unwrap(), setting: Arc::default(), ran: Arc::default() }
    }

    /// Set anew. From here on no routine of an earlier setting may run: an APC of it that is queued is taken back.
    fn set(&mut self, due: Duration, period: Duration) {
        let number = self.next();
        let due = Instant::now() + due;
        let (setting, ran) = (self.setting.clone(), self.ran.clone());
        let routine = move || {
            assert_eq!(setting.load(Ordering::SeqCst), number, "a routine of an earlier setting ran");
            assert!(Instant::now() >= due, "it ran early");
            let before = ran.fetch_add(1, Ordering::SeqCst);
            assert!(before == 0 || !period.is_zero(), "it was due once and ran again");
        };
        self.timer.set_routine(due, period, routine).unwrap();
    }

    fn next(&mut self) -> u64 {
        self.ran.store(0, Ordering::SeqCst);
        self.setting.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn step(&mut self, dice: &mut Dice) {
        match dice.roll(5) {
            0 => self.set(a_while(dice), Duration::ZERO),
            1 => self.set(a_while(dice), Duration::from_millis(1)),
            2 => {
                self.timer.cancel();
                self.next();
            }
            3 => {
                // Without a routine it is a signal, once.
                self.next();
                self.timer.set(a_while(dice)).unwrap();
                assert_eq!(sync::wait_one(&self.timer, LONG), Ok(Waited::Signalled(0)), "a timer's signal is lost");
                assert_eq!(sync::wait_one(&self.timer, Duration::ZERO), Ok(Waited::TimedOut), "it came twice");
            }
            _ => assert!(matches!(alertable::sleep(a_while(dice)), Ok(Waited::TimedOut | Waited::Apc))),
        }
    }

    /// What it was set to last runs, once.
    pub fn settle(mut self) {
        self.set(Duration::from_micros(100), Duration::ZERO);
        let end = Instant::now() + LONG;
        while self.ran.load(Ordering::SeqCst) == 0 {
            assert_ne!(alertable::sleep(end), Ok(Waited::TimedOut), "a timer's routine is lost");
        }
        let end = Instant::now() + SHORT;
        while alertable::sleep(end) == Ok(Waited::Apc) {}
        assert_eq!(self.ran.load(Ordering::SeqCst), 1);
    }
}
