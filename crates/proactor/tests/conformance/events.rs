//! SEMANTICS 17: events, manual and auto reset.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proactor::sync::{self, Event, Waited};

use crate::common::*;

#[test]
fn a_manual_event_stays_signalled_until_it_is_reset() {
    let event = Event::manual();
    assert!(!event.wait_timeout(Duration::ZERO));
    event.set();
    event.set();
    assert!(event.wait_timeout(Duration::ZERO) && event.wait_timeout(LONG));
    event.reset();
    assert!(!event.wait_timeout(Duration::ZERO));
}

#[test]
fn an_auto_event_releases_one_waiter_per_signal() {
    let event = Event::auto();
    event.set();
    event.set();
    assert!(event.wait_timeout(LONG));
    assert!(!event.wait_timeout(Duration::ZERO), "two sets of a signalled event are one signal");
    let through = Arc::new(AtomicUsize::new(0));
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let (event, through) = (event.clone(), through.clone());
            std::thread::spawn(move || {
                event.wait();
                through.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    for released in 1..=3 {
        event.set();
        until("as many are through", || through.load(Ordering::SeqCst) == released);
    }
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    assert!(!event.wait_timeout(Duration::ZERO));
}

/// Which of them wait at that moment cannot be seen from outside, so: until all are through, and each is.
#[test]
fn a_set_that_is_taken_back_at_once_releases_who_waits() {
    for _ in 0..200 {
        let event = Event::manual();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let event = event.clone();
                std::thread::spawn(move || sync::wait_one(&event, LONG))
            })
            .collect();
        while !waiters.iter().all(|waiter| waiter.is_finished()) {
            event.set();
            event.reset();
        }
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(Waited::Signalled(0)));
        }
    }
}
