//! SEMANTICS 2: the ends of one wait, never confused.

use std::io::Write;
use std::time::{Duration, Instant};

use proactor::{Block, Code, OpKind, Outcome, Value};

use crate::common::*;

#[test]
fn a_success_gives_key_bytes_and_operation() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive(&ours, 5, 16);
    peer.write_all(b"hello").unwrap();
    let Ok(Outcome::Packet(packet)) = port.get(LONG) else { panic!("a success was due") };
    assert!(matches!(packet.done.result, Ok(Value::None)) && packet.error().is_none());
    assert_eq!((packet.key, packet.done.bytes, packet.op, packet.block.unwrap().tag), (7, 5, OpKind::Recv, 5));
}

#[test]
fn a_failed_operation_gives_the_same_three_and_the_error() {
    let port = port(1);
    let (ours, peer) = homeless();
    let ours = port.home(ours, 7);
    receive(&ours, 5, 16);
    reset(peer);
    let Ok(Outcome::Failed(packet)) = port.get(LONG) else { panic!("a failure was due") };
    let error = packet.error().unwrap();
    assert_eq!((error.code(), error.operation()), (Code::ConnectionReset, Some(OpKind::Recv)));
    assert_eq!((packet.key, packet.done.bytes, packet.op, packet.block.unwrap().tag), (7, 0, OpKind::Recv, 5));
}

#[test]
fn a_wait_that_times_out_takes_nothing() {
    let port = port(1);
    for wait in [Duration::ZERO, Duration::from_micros(1), Duration::from_millis(5)] {
        assert!(matches!(port.get(wait), Ok(Outcome::TimedOut)));
    }
    assert!(matches!(port.get(Instant::now()), Ok(Outcome::TimedOut)), "a moment that has come");
    port.post(1, 2, None).unwrap();
    assert_eq!(success(&port).key, 1);
}

#[test]
fn a_wait_lasts_as_long_as_it_says() {
    let port = port(1);
    for wait in [Duration::from_millis(1), SHORT] {
        let began = Instant::now();
        assert!(matches!(port.get(wait), Ok(Outcome::TimedOut)));
        assert!(began.elapsed() >= wait);
        let end = Instant::now() + wait;
        assert!(matches!(port.get(end), Ok(Outcome::TimedOut)));
        assert!(Instant::now() >= end);
    }
}

#[test]
fn a_packet_that_is_there_is_taken_without_waiting() {
    let port = port(1);
    port.post(1, 0, None).unwrap();
    assert!(matches!(port.get(Duration::ZERO), Ok(Outcome::Packet(_))));
    assert!(matches!(port.get(Duration::ZERO), Ok(Outcome::TimedOut)));
}

#[test]
fn a_post_without_a_block_is_a_success_without_an_operation() {
    let port = port(1);
    port.post(7, 123_456, None).unwrap();
    let packet = success(&port);
    assert!(packet.block.is_none());
    assert_eq!((packet.key, packet.done.bytes, packet.op), (7, 123_456, OpKind::Post));
}

#[test]
fn a_post_carries_key_bytes_and_block() {
    let port = port(1);
    port.post(usize::MAX, usize::MAX >> 1, Some(Block::new(Io { buf: b"inside".to_vec(), tag: 9 }))).unwrap();
    let packet = success(&port);
    assert_eq!((packet.key, packet.done.bytes, packet.op), (usize::MAX, usize::MAX >> 1, OpKind::Post));
    let io = packet.block.unwrap().into_inner();
    assert_eq!((&io.buf[..], io.tag), (&b"inside"[..], 9));
}

#[test]
fn packets_are_first_in_first_out_however_many() {
    let port = port(1);
    for key in 0..5000 {
        port.post(key, 0, (key % 3 == 0).then(|| block(key, 0))).unwrap();
    }
    for key in 0..5000 {
        let packet = success(&port);
        assert_eq!((packet.key, packet.block.is_some()), (key, key % 3 == 0));
    }
    nothing(&port);
}

#[test]
fn posts_of_one_thread_stay_in_their_order_among_those_of_others() {
    const EACH: usize = 3000;
    let port = port(1);
    let posters: Vec<_> = (0..4)
        .map(|poster| {
            let port = self::poster(&port);
            worker(move || (0..EACH).for_each(|n| port.post(poster, n, None).unwrap()))
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..4 * EACH {
        let packet = success(&port);
        assert_eq!(packet.done.bytes, next[packet.key]);
        next[packet.key] += 1;
    }
    posters.into_iter().for_each(Worker::join);
    nothing(&port);
}

#[test]
fn completions_are_not_starved_by_posts() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive(&ours, 0, 16);
    peer.write_all(b"hello").unwrap();
    port.post(0, 0, None).unwrap();
    let mut posts = 0;
    loop {
        let packet = success(&port);
        if packet.key == 7 {
            break;
        }
        posts += 1;
        assert!(posts < 100_000, "a queue that never runs dry kept a completion back");
        port.post(0, 0, None).unwrap();
    }
}
