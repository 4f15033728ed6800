//! SEMANTICS 6: what an operation's handle shows from start to completion, with somebody in `get` and with nobody.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proactor::{Block, BufferPool, Code, within_mut};

use crate::common::*;

#[test]
fn the_status_is_pending_until_completion_and_the_event_set_with_it() {
    let (ours, mut peer) = stream();
    let receive = start(ours.recv(vec![0; 16]));
    let event = receive.event();
    assert!(!receive.is_complete());
    assert!(!event_within(&event, SHORT), "reset at start");
    peer.write_all(b"hello").unwrap();
    assert!(event_within(&event, LONG));
    assert!(receive.is_complete());
    assert!(event.wait_timeout(Duration::ZERO), "it stays signalled");
    let done = receive.into_result().unwrap();
    assert_eq!((done.bytes, &done.buffer[..]), (5, &b"hello"[..]));
}

#[test]
fn the_event_is_set_for_an_inline_success_too() {
    let (ours, mut peer) = stream();
    peer.write_all(b"hello").unwrap();
    run(ours.readable()).result.unwrap();
    let receive = start(ours.recv(vec![0; 16]));
    assert!(event_within(&receive.event(), LONG));
    assert_eq!(receive.into_result().unwrap().bytes, 5);
    let send = start(ours.send(b"x"));
    assert!(event_within(&send.event(), LONG));
    assert!(send.is_complete());
}

#[test]
fn the_event_is_set_for_a_failure_and_a_cancellation() {
    let (ours, peer) = stream();
    let cancelled = start(ours.recv(vec![0; 16]));
    let event = cancelled.event();
    cancelled.cancel().unwrap();
    assert!(event_within(&event, LONG));
    assert_eq!(code(&finish(cancelled)), Some(Code::Cancelled));
    let failed = start(ours.recv(vec![0; 16]));
    let event = failed.event();
    reset(peer);
    assert!(event_within(&event, LONG));
    assert_eq!(code(&finish(failed)), Some(Code::ConnectionReset));
}

#[test]
fn an_event_outlives_its_operation() {
    let (ours, mut peer) = stream();
    let receive = start(ours.recv(vec![0; 16]));
    let event = receive.event();
    peer.write_all(b"hello").unwrap();
    finish(receive).result.unwrap();
    assert!(event.wait_timeout(Duration::ZERO));
}

#[test]
fn asking_for_a_pending_result_without_waiting_is_error_996() {
    let (ours, mut peer) = stream();
    let receive = start(ours.recv(vec![0; 16]));
    let refused = receive.into_result().unwrap_err();
    assert_eq!((refused.error.code(), refused.error.code().win32()), (Code::Incomplete, 996));
    let refused = refused.back.wait_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(refused.error.code(), Code::Incomplete);
    peer.write_all(b"hello").unwrap();
    assert_eq!(finish(refused.back).buffer, b"hello", "the operation went on");
}

#[test]
fn a_wait_that_ends_first_is_error_258_and_the_operation_goes_on() {
    let (ours, mut peer) = stream();
    let receive = start(ours.recv(vec![0; 16]));
    let began = Instant::now();
    let refused = receive.wait_timeout(SHORT).unwrap_err();
    assert!(began.elapsed() >= SHORT);
    assert_eq!((refused.error.code(), refused.error.code().win32()), (Code::WaitTimeout, 258));
    let refused = refused.back.wait_timeout(Instant::now() + SHORT).unwrap_err();
    assert_eq!(refused.error.code(), Code::WaitTimeout);
    peer.write_all(b"hello").unwrap();
    assert_eq!(finish(refused.back).buffer, b"hello");
}

#[test]
fn bytes_are_reported_on_failure_too() {
    let (ours, mut peer) = stream();
    let send = pending(start(ours.send(vec![7; 16 << 20])));
    peer.read_exact(&mut [0; 4096]).unwrap();
    reset(peer);
    let done = finish(send);
    assert_eq!(code(&done), Some(Code::ConnectionReset));
    assert!(done.bytes < 16 << 20);
    assert_eq!(done.buffer.len(), 16 << 20, "the buffer comes back from a failure");
}

#[test]
fn packets_and_overlapped_operations_mix_on_one_object() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive(&ours, 1, 4);
    let overlapped = start(ours.recv(vec![0; 4]));
    receive(&ours, 2, 4);
    peer.write_all(b"aaaabbbbcccc").unwrap();
    assert_eq!(finish(overlapped).buffer, b"bbbb");
    assert_eq!(success(&port).block.unwrap().buf, b"aaaa");
    assert_eq!(success(&port).block.unwrap().buf, b"cccc");
}

#[test]
fn dropping_the_handle_cancels_and_lets_the_buffer_go() {
    let port = port(1);
    let pool = BufferPool::new(2, 16);
    for on_port in [false, true] {
        let (ours, mut peer) = homeless();
        let ours = if on_port { port.home(ours, 1) } else { somewhere(ours) };
        let receive = start(ours.recv(pool.take().unwrap()));
        assert_eq!(pool.available(), 1);
        drop(receive);
        match on_port {
            true => until_on(&port, "the buffer is let go", || pool.available() == 2),
            false => until("the buffer is let go", || pool.available() == 2),
        }
        peer.write_all(b"hello").unwrap();
        assert_eq!(run(ours.recv(vec![0; 16])).buffer, b"hello", "what comes later is another's");
    }
    nothing(&port);
}

#[test]
fn dropping_the_handle_of_a_completed_operation_lets_the_buffer_go() {
    let pool = BufferPool::new(1, 16);
    let (ours, mut peer) = stream();
    let receive = start(ours.recv(pool.take().unwrap()));
    peer.write_all(b"lost").unwrap();
    until("the receive is over", || receive.is_complete());
    drop(receive);
    assert_eq!(pool.available(), 1);
    peer.write_all(b"next").unwrap();
    assert_eq!(run(ours.recv(vec![0; 16])).buffer, b"next");
}

#[test]
fn many_operations_in_flight_each_have_their_own_status() {
    let (ours, mut peer) = stream();
    let mut receives: Vec<_> = (0..100).map(|_| start(ours.recv(vec![0; 1]))).collect();
    let rest = receives.split_off(50);
    peer.write_all(&[7; 50]).unwrap();
    for receive in receives {
        assert_eq!(finish(receive).buffer, [7]);
    }
    assert!(rest.iter().all(|receive| !receive.is_complete()));
    ours.cancel_all().unwrap();
    for receive in rest {
        assert_eq!(code(&finish(receive)), Some(Code::Cancelled));
    }
}

#[test]
fn a_block_is_used_again_for_the_next_operation() {
    type Counted = (Vec<u8>, Arc<()>);
    let port = port_of::<Counted, usize>();
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let life = Arc::new(());
    let mut io = Block::new((vec![0; 4], life.clone()));
    for round in 0..100 {
        packet(ours.recv(within_mut(|io: &mut Counted| &mut io.0[..])), io);
        peer.write_all(&[round; 4]).unwrap();
        io = success(&port).block.unwrap();
        assert_eq!(io.0, [round; 4]);
    }
    drop(io);
    assert_eq!(Arc::strong_count(&life), 1);
}
