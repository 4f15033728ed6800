//! Waits for all: taken at once or not at all, whoever signals last, and no two in each other's way.
//!
//! Seen to fail here:
//!
//! | change | fails |
//! |---|---|
//! | `change` does not ask the groups | a waiter sleeps on |
//! | `enlist` of a group lists without looking | a waiter sleeps on |
//! | `satisfy` does not claim before it consumes | a wait whose time is over takes what it does not have |
//! | `satisfy` does not look whether the wait is listed still | a later wait of the thread gets what it did not wait for |
//! | locks are taken in the caller's order | two waits lock each other out |

use std::sync::Arc;

use loom::thread;

use crate::sync::object::{Core, Group, Kind};
use crate::sync::record::{Claim, Record};

/// Waits for all, as `sync::wait_all` does.
fn wait_all(number: u64, cores: &[&Arc<Core>]) -> Claim {
    let record = Record::new(number);
    let group = Arc::new(Group::new(record.clone(), cores.iter().map(|core| Arc::clone(core)).collect()).unwrap());
    if let Some(claim) = group.take() {
        return claim;
    }
    record.begin(None);
    group.enlist();
    record.sleep(crate::Wait::Forever);
    group.forget();
    record.end()
}

/// Two threads signal one object each; both are taken.
#[test]
fn the_last_signal_satisfies_it() {
    loom::model(|| {
        let (left, right) = (Core::event(true), Core::event(true));
        let setters = [left.clone(), right.clone()].map(|core| thread::spawn(move || core.signal()));
        assert!(matches!(wait_all(1, &[&left, &right]), Claim::Signalled { .. }));
        for setter in setters {
            setter.join().unwrap();
        }
        assert_eq!((left.take(2), right.take(2)), (None, None));
    });
}

/// A last signal that is taken back at once, by a thread that found the wait listed.
#[test]
fn a_last_signal_that_is_taken_back_satisfies_it() {
    loom::model(|| {
        let (left, right) = (Core::event(false), Core::event(false));
        let record = Record::new(1);
        let group = Arc::new(Group::new(record.clone(), vec![left.clone(), right.clone()]).unwrap());
        record.begin(None);
        group.enlist();
        left.signal();
        let setter = thread::spawn(move || {
            right.signal();
            right.unsignal();
        });
        record.sleep(crate::Wait::Forever);
        group.forget();
        assert!(matches!(record.end(), Claim::Signalled { .. }));
        setter.join().unwrap();
    });
}

/// Two waits for the same two semaphores in opposite orders, of which there is one of each, given back in turn.
#[test]
fn waits_in_opposite_orders_take_turns() {
    loom::model(|| {
        let one = || Core::new(Kind::Semaphore { count: 1, maximum: 1 });
        let (left, right) = (one(), one());
        let give_back = |core: &Arc<Core>| {
            core.change(|kind| {
                let Kind::Semaphore { count, .. } = kind else { panic!() };
                assert_eq!(*count, 0, "it was taken by one alone");
                *count = 1;
            });
        };
        let other = {
            let (left, right) = (left.clone(), right.clone());
            thread::spawn(move || {
                wait_all(1, &[&right, &left]);
                give_back(&left);
                give_back(&right);
            })
        };
        wait_all(2, &[&left, &right]);
        give_back(&right);
        give_back(&left);
        other.join().unwrap();
    });
}

/// A wait for all and a wait for one want the same signal: one of them has it, and the other waits on.
#[test]
fn a_signal_is_not_taken_twice() {
    loom::model(|| {
        let (shared, mine) = (Core::event(true), Core::event(true));
        mine.signal();
        let record = Record::new(1);
        let group = Arc::new(Group::new(record.clone(), vec![shared.clone(), mine.clone()]).unwrap());
        record.begin(None);
        group.enlist();
        let taker = {
            let shared = shared.clone();
            thread::spawn(move || shared.take(2).is_some())
        };
        shared.signal();
        let taken = taker.join().unwrap();
        record.claim(Claim::TimedOut);
        group.forget();
        let got = record.end() != Claim::TimedOut;
        assert!(taken != got, "one of them, and only one");
        assert_eq!(mine.take(3).is_some(), taken, "all or nothing");
        assert_eq!(shared.take(3), None);
    });
}

/// A signal comes as the wait gives up, and the thread waits again, by the same record, for another thing.
#[test]
fn a_signal_for_an_earlier_wait_does_not_end_a_later_one() {
    loom::model(|| {
        let (left, right) = (Core::event(false), Core::event(false));
        left.signal();
        let record = Record::new(1);
        let group = Arc::new(Group::new(record.clone(), vec![left, right.clone()]).unwrap());
        record.begin(None);
        group.enlist();
        let setter = thread::spawn(move || right.signal());
        record.claim(Claim::TimedOut);
        group.forget();
        record.end();
        let other = Core::event(true);
        record.begin(None);
        assert!(!other.enlist(&record, 0));
        setter.join().unwrap();
        assert!(record.claim(Claim::TimedOut), "nothing ended it");
        other.forget(&record);
        record.end();
    });
}

/// A wait's time is over as the last signal comes: it has all, or it took nothing.
#[test]
fn a_wait_whose_time_is_over_takes_nothing() {
    loom::model(|| {
        let (last, first) = (Core::event(true), Core::event(true));
        first.signal();
        let record = Record::new(1);
        let group = Arc::new(Group::new(record.clone(), vec![last.clone(), first.clone()]).unwrap());
        record.begin(None);
        group.enlist();
        let setter = {
            let last = last.clone();
            thread::spawn(move || last.signal())
        };
        record.claim(Claim::TimedOut);
        group.forget();
        let left = record.end() == Claim::TimedOut;
        setter.join().unwrap();
        assert_eq!((last.take(2).is_some(), first.take(2).is_some()), (left, left));
    });
}
