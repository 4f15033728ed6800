//! Promises: set by a completion or by anything, waited for or awaited.

use std::io::Write;
use std::sync::Arc;

use proactor::{Code, Promise, Promised, promise};

use crate::common::*;

#[test]
fn a_value_that_was_set_is_there_at_once() {
    let (promise, mut promised) = promise();
    assert!(!promised.is_ready());
    promise.set(7);
    assert!(promised.is_ready());
    assert_eq!(promised.wait_timeout(std::time::Duration::ZERO).unwrap(), 7);
}

#[test]
fn a_value_set_by_another_thread_ends_the_wait() {
    let (promise, promised) = promise();
    let setter = worker(move || {
        std::thread::sleep(SHORT);
        promise.set("value".to_owned());
    });
    assert_eq!(promised.wait().unwrap(), "value");
    setter.join();
}

#[test]
fn a_value_set_by_another_thread_wakes_who_awaits_it() {
    let (promise, promised) = promise();
    let setter = worker(move || {
        std::thread::sleep(SHORT);
        promise.set(5);
    });
    assert_eq!(block_on(promised).unwrap(), 5);
    setter.join();
}

#[test]
fn a_promise_dropped_unset_is_an_error_that_says_so() {
    let (promise, promised) = promise::<u32>();
    let waits = worker(move || promised.wait().unwrap_err());
    drop(promise);
    let error = waits.join();
    assert_eq!(error.code(), Code::Abandoned);
    assert!(error.to_string().contains("dropped without being set"), "{error}");

    let (promise, promised) = proactor::promise::<u32>();
    let dropper = worker(move || {
        std::thread::sleep(SHORT);
        drop(promise);
    });
    assert_eq!(block_on(promised).unwrap_err().code(), Code::Abandoned);
    dropper.join();
}

#[test]
fn a_wait_that_ends_first_leaves_the_promise() {
    let (promise, mut promised) = promise();
    assert_eq!(promised.wait_timeout(SHORT).unwrap_err().code(), Code::WaitTimeout);
    assert_eq!(promised.wait_timeout(std::time::Duration::ZERO).unwrap_err().code(), Code::Incomplete);
    promise.set(3);
    assert_eq!(promised.wait_timeout(LONG).unwrap(), 3);
    // And once is once.
    assert_eq!(promised.wait_timeout(LONG).unwrap_err().code(), Code::InvalidHandle);
    assert_eq!(block_on(promised).unwrap_err().code(), Code::InvalidHandle);
}

#[test]
fn its_event_is_signalled() {
    let (promise, promised) = promise();
    let event = promised.event();
    assert!(!event.wait_timeout(SHORT));
    promise.set(());
    assert!(event.wait_timeout(LONG));
    promised.wait().unwrap();
}

#[test]
fn a_value_nobody_waits_for_is_dropped() {
    let token = Arc::new(());
    let (promise, promised) = promise();
    drop(promised);
    promise.set(token.clone());
    assert_eq!(Arc::strong_count(&token), 1);
    let (promise, promised) = proactor::promise();
    promise.set(token.clone());
    drop(promised);
    assert_eq!(Arc::strong_count(&token), 1);
}

/// Hops from thread to thread: each sets the next one's.
#[test]
fn no_promise_is_lost_in_a_long_chain() {
    const LINKS: usize = 64;
    for awaits in [false, true] {
        let (first, mut before): (Promise<usize>, Promised<usize>) = promise();
        let mut links = Vec::new();
        for _ in 0..LINKS {
            let (promise, after) = promise();
            let own = std::mem::replace(&mut before, after);
            links.push(worker(move || {
                let value = if awaits { proactor::block_on(own) } else { own.wait() };
                promise.set(value.unwrap() + 1);
            }));
        }
        first.set(0);
        assert_eq!(before.wait().unwrap(), LINKS);
        links.into_iter().for_each(Worker::join);
    }
}

#[test]
fn a_completion_sets_a_promise() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 1);
    let (promise, mut promised) = promise();
    ours.recv(vec![0; 16]).then(|done| promise.set(done)).unwrap();
    peer.write_all(b"hello").unwrap();
    while !promised.is_ready() {
        nothing(&port);
    }
    let done = promised.wait_timeout(LONG).unwrap();
    assert_eq!(&done.buffer[..done.bytes], b"hello");
}
