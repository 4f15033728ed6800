//! Events: a set is seen by who waits, whoever was first, though it is taken back at once; and a wait whose time is over takes
//! nothing.
//!
//! Seen to fail here:
//!
//! | change | fails |
//! |---|---|
//! | `change` does not wake | a waiter sleeps on |
//! | `change` releases only the first of a manual event's waiters | the other sleeps on |
//! | `enlist` lists without looking at the state | a waiter sleeps on |
//! | `release` consumes for a waiter that claimed itself | the signal is lost; of a wait for any, two are taken |

use std::sync::Arc;

use loom::thread;

use crate::sync::Event;
use crate::sync::object::Core;
use crate::sync::record::{Claim, Record};

/// Two threads wait for one set.
#[test]
fn a_manual_event_releases_everybody() {
    loom::model(|| {
        let event = Event::manual();
        let waiters = [event.clone(), event.clone()].map(|event| thread::spawn(move || event.wait()));
        event.set();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert!(event.wait_timeout(crate::Wait::Poll));
    });
}

/// Two threads wait; the first one released signals the second.
#[test]
fn an_auto_event_releases_one_for_each_set() {
    loom::model(|| {
        let event = Event::auto();
        let waiters = [event.clone(), event.clone()].map(|event| {
            thread::spawn(move || {
                event.wait();
                event.set();
            })
        });
        event.set();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert!(event.wait_timeout(crate::Wait::Poll));
        assert!(!event.wait_timeout(crate::Wait::Poll));
    });
}

/// Two waits that are listed when the event is set and reset.
#[test]
fn a_set_that_is_taken_back_at_once_releases_who_is_listed() {
    loom::model(|| {
        let core = Core::event(false);
        let waiters = [1, 2].map(|number| {
            let record = Record::new(number);
            record.begin(None);
            assert!(!core.enlist(&record, 0));
            record
        });
        let theirs = core.clone();
        let setter = thread::spawn(move || {
            theirs.signal();
            theirs.unsignal();
        });
        for record in waiters {
            record.sleep(crate::Wait::Forever);
            assert_eq!(record.end(), Claim::Signalled { index: 0, abandoned: false });
        }
        setter.join().unwrap();
        assert_eq!(core.take(3), None);
    });
}

/// A set beside a wait that gives up: the one or the other has the signal.
#[test]
fn a_wait_whose_time_is_over_takes_nothing() {
    loom::model(|| {
        let core = Core::event(true);
        let setter = {
            let core = core.clone();
            thread::spawn(move || core.signal())
        };
        let record = Record::new(1);
        record.begin(None);
        core.enlist(&record, 0);
        record.claim(Claim::TimedOut);
        core.forget(&record);
        let claim = record.end();
        setter.join().unwrap();
        assert_eq!(core.take(2).is_some(), claim == Claim::TimedOut);
    });
}

/// Two objects signal one wait: it consumes one of them.
#[test]
fn a_wait_for_any_consumes_one() {
    loom::model(|| {
        let cores = [Core::event(true), Core::event(true)];
        let setters = cores.clone().map(|core: Arc<Core>| thread::spawn(move || core.signal()));
        let record = Record::new(1);
        record.begin(None);
        let _over = cores.iter().enumerate().any(|(index, core)| core.enlist(&record, index));
        record.sleep(crate::Wait::Forever);
        cores.iter().for_each(|core| core.forget(&record));
        let Claim::Signalled { index, .. } = record.end() else { panic!("it was signalled") };
        for setter in setters {
            setter.join().unwrap();
        }
        assert_eq!(cores[index].take(2), None, "consumed");
        assert_eq!(cores[1 - index].take(2), Some(false), "left alone");
    });
}
