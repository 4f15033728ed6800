//! Events: a set is seen by who waits, whoever was first.
//!
//! Seen to fail here:
//!
//! | change | fails |
//! |---|---|
//! | no fence in `set` | a waiter sleeps on |
//! | `set` does not wake | a waiter sleeps on |
//! | a manual event wakes one | the other sleeps on |

use loom::thread;

use crate::sync::Event;

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
