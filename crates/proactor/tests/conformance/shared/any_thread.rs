//! Objects, their operations and the handles of these, used from any thread.

use std::io::{Read, Write};

use proactor::net::TcpListener;
use proactor::{Code, Outcome, within};

use crate::common::*;

#[test]
fn cancelling_all_means_the_operations_of_every_thread() {
    let port = port(1);
    let (ours, _peer) = stream();
    port.associate(&ours, 7).unwrap();
    receive(&ours, 0, 4);
    worker({
        let ours = ours.clone();
        move || receive(&ours, 1, 4)
    })
    .join();
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(2, 16 << 20));
    ours.cancel_all().unwrap();
    let mut tags: Vec<_> = (0..3)
        .map(|_| {
            let (packet, code) = failure(&port);
            assert_eq!(code, Code::Cancelled);
            packet.block.unwrap().tag
        })
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, [0, 1, 2]);
    nothing(&port);
}

#[test]
fn cancelling_this_threads_operations_leaves_those_of_others() {
    let (ours, mut peer) = stream();
    let mine = start(ours.recv(vec![0; 4]));
    let (go, ours_there) = (Flag::default(), ours.clone());
    let other = worker({
        let go = go.clone();
        // The thread lives on: Win32's cancel of a thread's own operations is another promise.
        move || {
            let theirs = start(ours_there.recv(vec![0; 4]));
            go.set();
            finish(theirs)
        }
    });
    go.wait();
    ours.cancel_thread();
    assert_eq!(code(&finish(mine)), Some(Code::Cancelled));
    assert!(!other.is_done());
    peer.write_all(b"data").unwrap();
    assert_eq!(other.join().buffer, b"data");
}

#[test]
fn a_cancelled_completion_wakes_a_worker_that_waits() {
    let port = port(1);
    let (ours, _peer) = stream();
    port.associate(&ours, 7).unwrap();
    let ticket = receive(&ours, 0, 4);
    let waiting = worker({
        let port = port.clone();
        move || matches!(port.get(LONG), Ok(Outcome::Failed(_)))
    });
    waiting.asleep();
    ours.cancel(ticket).unwrap();
    assert!(waiting.join());
}

#[test]
fn closing_a_listener_wakes_a_thread_blocked_in_accept() {
    let listener = TcpListener::bind(ANY).unwrap();
    let accept = start(listener.accept());
    let blocked = worker(move || code(&finish(accept)));
    blocked.asleep();
    drop(listener);
    assert_eq!(blocked.join(), Some(Code::Cancelled));
}

#[test]
fn a_handle_may_be_waited_for_on_another_thread_than_it_was_started_on() {
    let (ours, mut peer) = stream();
    let receive = start(ours.recv(vec![0; 16]));
    let waiting = worker(move || finish(receive));
    waiting.asleep();
    peer.write_all(b"hello").unwrap();
    assert_eq!(waiting.join().buffer, b"hello");
}

#[test]
fn many_threads_may_wait_for_one_operations_event() {
    let (ours, mut peer) = stream();
    let receive = start(ours.recv(vec![0; 16]));
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let event = receive.event();
            let waiting = worker(move || event.wait_timeout(LONG));
            waiting.asleep();
            waiting
        })
        .collect();
    peer.write_all(b"hello").unwrap();
    assert!(waiting.into_iter().all(Worker::join));
    finish(receive).result.unwrap();
}

#[test]
fn sends_from_many_threads_are_never_mixed() {
    const EACH: usize = 100_000;
    let (ours, mut peer) = stream();
    let senders: Vec<_> = (0..4_u8)
        .map(|byte| {
            let ours = ours.clone();
            worker(move || (0..5).for_each(|_| assert_eq!(run(ours.send(vec![byte; EACH])).bytes, EACH)))
        })
        .collect();
    drop(ours);
    let mut all = Vec::new();
    peer.read_to_end(&mut all).unwrap();
    senders.into_iter().for_each(Worker::join);
    assert_eq!(all.len(), 4 * 5 * EACH);
    assert!(all.chunks(EACH).all(|part| part.iter().all(|byte| *byte == part[0])));
}
