//! SEMANTICS 3, 4, 17: a port as an object to wait for, and alertable gets where several threads share a port.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use proactor::sync::{self, Event, Thread, Waited};
use proactor::{Code, CompletionPort, Outcome};

use crate::common::*;

#[test]
fn a_port_is_signalled_while_entries_remain() {
    let port = port(1);
    assert_eq!(sync::wait_one(&*port, SHORT), Ok(Waited::TimedOut));
    port.post(1, 0, None).unwrap();
    port.post(2, 0, None).unwrap();
    for _ in 0..2 {
        assert_eq!(sync::wait_one(&*port, LONG), Ok(Waited::Signalled(0)), "a wait takes nothing");
        assert_eq!(sync::wait_one(&*port, LONG), Ok(Waited::Signalled(0)));
        assert!(port.get(LONG).unwrap().packet().is_some());
    }
    assert_eq!(sync::wait_one(&*port, Duration::ZERO), Ok(Waited::TimedOut));
}

#[test]
fn a_post_ends_a_wait_for_the_port() {
    let port = port(1);
    let never = Event::manual();
    for _ in 0..50 {
        let theirs = port.clone();
        let posts = std::thread::spawn(move || theirs.post(7, 0, None).unwrap());
        assert_eq!(sync::wait_any(&[&never, &*port], LONG), Ok(Waited::Signalled(1)));
        assert!(port.get(Duration::ZERO).unwrap().packet().is_some());
        posts.join().unwrap();
    }
}

#[test]
fn operations_end_a_wait_for_the_port_with_nobody_in_get() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    port.associate(&ours, 7).unwrap();
    receive(&ours, 0, 16);
    assert_eq!(sync::wait_one(&*port, SHORT), Ok(Waited::TimedOut));
    let writes = std::thread::spawn(move || std::io::Write::write_all(&mut peer, b"data").map(|()| peer));
    assert_eq!(sync::wait_one(&*port, LONG), Ok(Waited::Signalled(0)));
    assert_eq!(port.get(Duration::ZERO).unwrap().packet().unwrap().done.bytes, 4);
    drop(writes.join().unwrap().unwrap());
}

#[test]
fn a_closed_port_is_no_object_to_wait_for() {
    let port = port(1);
    let theirs = port.clone();
    let waits = worker(move || sync::wait_one(&*theirs, LONG));
    waits.asleep();
    port.close();
    assert_eq!(waits.join(), Ok(Waited::Signalled(0)), "who waits is not left alone");
    assert_eq!(sync::wait_one(&*port, LONG).unwrap_err().code(), Code::InvalidHandle);
}

#[test]
fn a_thread_that_is_not_bound_runs_its_apcs_first() {
    let port: CompletionPort = CompletionPort::new(1).unwrap();
    port.post(7, 0, None).unwrap();
    Thread::current().queue_apc(|| {}).unwrap();
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
    Thread::current().queue_apc(|| {}).unwrap();
    assert_eq!(port.get_alertable(LONG).unwrap().packet().unwrap().key, 7, "bound by the first call");
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
}

/// The gate is full, so the second getter waits outside of the port's poll.
#[test]
fn a_getter_that_the_gate_holds_back_is_woken_by_an_apc() {
    if wine() {
        skip!("a_getter_that_the_gate_holds_back_is_woken_by_an_apc", "Wine ignores the concurrency limit");
    }
    let port = unwatched_port(1);
    port.post(1, 0, None).unwrap();
    assert!(port.get(LONG).unwrap().packet().is_some(), "this thread runs");
    let (send, receive) = mpsc::channel();
    let (theirs, ran) = (port.clone(), Arc::new(AtomicUsize::new(0)));
    let done = ran.clone();
    let getter = worker(move || {
        send.send(Thread::current()).unwrap();
        // A get runs all that is queued, the next turn's too if that is quick.
        while done.load(Ordering::SeqCst) < 20 {
            assert!(matches!(theirs.get_alertable(LONG), Ok(Outcome::Apc)));
        }
    });
    let thread = receive.recv().unwrap();
    for turn in 1..=20 {
        if turn % 2 == 0 {
            spin_for(Duration::from_millis(2));
        }
        let theirs = ran.clone();
        let call = move || {
            theirs.fetch_add(1, Ordering::SeqCst);
        };
        thread.queue_apc(call).unwrap();
        // Without sleeping: this worker must keep its place.
        spin_until("the APC", || ran.load(Ordering::SeqCst) == turn);
    }
    getter.spin_join();
}
