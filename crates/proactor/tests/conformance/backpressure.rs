//! Backpressure: permits, and queues of so many bytes.

use std::io::{Read, Write};
use std::time::Duration;

use proactor::flow::{Permit, Permits, SendQueue};
use proactor::net::{TcpListener, TcpStream};
use proactor::{Code, OpKind, Value};

use crate::common::*;
use crate::deliveries::{DELIVERIES, by};

#[test]
fn a_permit_is_brought_by_every_delivery_and_goes_back_when_it_is_dropped() {
    let port = port(1);
    let permits = port.home(Permits::new(1), 7);
    for delivery in DELIVERIES {
        let permit = by(delivery, &port, permits.acquire()).unwrap();
        assert!(permits.try_acquire().is_none());
        assert_eq!(permits.available(), 0);
        drop(permit);
        assert_eq!(permits.available(), 1);
        // And from one that gives it back while this waits.
        let permit = permits.try_acquire().unwrap();
        let other = worker(move || {
            std::thread::sleep(SHORT);
            drop(permit);
        });
        drop(by(delivery, &port, permits.acquire()).unwrap());
        other.join();
    }
    nothing(&port);
}

/// The permit of the next packet, and whose it is.
fn permit_of(port: &Port) -> (usize, Permit) {
    let packet = success(port);
    let Value::Permit(permit) = packet.done.result.unwrap() else { panic!("a permit was due") };
    (packet.block.unwrap().tag, permit)
}

#[test]
fn permits_go_to_waits_in_call_order_and_none_is_lost_to_a_cancel() {
    let port = port(1);
    let permits = port.home(Permits::new(0), 7);
    let tickets: Vec<_> = (1..=4).map(|tag| packet(permits.acquire(), block(tag, 0))).collect();
    nothing(&port);
    permits.cancel(tickets[1]).unwrap();
    let (cancelled, code) = failure(&port);
    assert_eq!((cancelled.error().unwrap().operation(), code), (Some(OpKind::Acquire), Code::Cancelled));
    permits.add(2);
    let (first, one) = permit_of(&port);
    let (third, _three) = permit_of(&port);
    assert_eq!((first, third), (1, 3));
    drop(one);
    let (fourth, four) = permit_of(&port);
    assert_eq!(fourth, 4);
    four.forget();
    assert_eq!(permits.available(), 0);
}

#[test]
fn a_permit_that_comes_to_an_operation_nobody_asks_any_more_goes_back() {
    let permits = somewhere(Permits::new(1));
    drop(run(permits.acquire()).result.unwrap());
    // Completed, never taken.
    drop(start(permits.acquire()));
    until("the permit is back", || {
        turn();
        permits.available() == 1
    });
    let waits: Vec<_> = (0..10).map(|_| start(permits.acquire())).collect();
    drop(waits);
    until("the permit is back", || {
        turn();
        permits.available() == 1
    });
}

#[test]
fn dropping_the_permits_cancels_the_waits_and_leaves_those_that_are_out() {
    let port = port(1);
    let permits = port.home(Permits::new(1), 7);
    let out = permits.try_acquire().unwrap();
    packet(permits.acquire(), block(1, 0));
    drop(permits);
    assert_eq!(failure(&port).1, Code::Cancelled);
    drop(out);
    nothing(&port);
}

#[test]
fn an_accept_loop_stops_at_its_limit_and_goes_on_when_a_connection_ends() {
    const LIMIT: usize = 3;
    const CLIENTS: usize = 10;
    let port = port(1);
    let listener = port.home(TcpListener::bind(ANY).unwrap(), 1);
    let permits = port.home(Permits::new(LIMIT), 2);
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..CLIENTS).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let (mut open, mut served, mut kept) = (Vec::new(), 0, None);
    packet(permits.acquire(), block(0, 0));
    while served < CLIENTS {
        let packet_ = match port.get(SHORT).unwrap().packet() {
            Some(packet) => packet,
            None => {
                // It has stopped, at the limit and not before.
                assert_eq!(open.len(), LIMIT);
                drop(open.remove(0));
                continue;
            }
        };
        match packet_.done.result.unwrap() {
            Value::Permit(permit) => {
                kept = Some(permit);
                packet(listener.accept(), block(0, 0));
            }
            Value::Tcp(accepted) => {
                open.push((accepted.stream, kept.take().expect("an accept has its permit")));
                assert!(open.len() <= LIMIT);
                served += 1;
                if served < CLIENTS {
                    packet(permits.acquire(), block(0, 0));
                }
            }
            other => panic!("{other:?}"),
        }
    }
    drop(clients);
}

#[test]
fn what_is_pushed_goes_out_whole_and_in_order() {
    const BYTES: usize = 600_000;
    let (ours, peer) = homeless();
    let queue = somewhere(SendQueue::new(&ours, 20_000));
    let reader = reader_of(BYTES, peer);
    let data = pattern(BYTES, 3);
    for (turn, piece) in data.chunks(777).enumerate() {
        run(queue.room(piece.len())).result.unwrap();
        queue.push(piece.to_vec()).unwrap_or_else(|refused| panic!("{turn}: {}", refused.error));
        assert!(queue.queued() <= 20_000);
    }
    run(queue.flush()).result.unwrap();
    assert_eq!(queue.queued(), 0);
    reader.join();
}

#[test]
fn bytes_of_the_queue_come_as_they_were_pushed() {
    let (ours, mut peer) = homeless();
    let queue = SendQueue::new(&ours, 1 << 20);
    let data = pattern(100_000, 9);
    for piece in data.chunks(333) {
        queue.push(piece.to_vec()).unwrap();
    }
    queue.push(Vec::new()).unwrap();
    let mut back = vec![0; data.len()];
    peer.read_exact(&mut back).unwrap();
    assert!(back == data, "in order");
}

/// A pair whose buffers are small and stay so: a full one is full.
fn narrow() -> (TcpStream, std::net::TcpStream) {
    let (ours, peer) = homeless();
    socket2::SockRef::from(&ours).set_send_buffer_size(16 << 10).unwrap();
    socket2::SockRef::from(&peer).set_recv_buffer_size(16 << 10).unwrap();
    (ours, peer)
}

/// Fills the queue of a stream whose peer does not read, until it refuses.
fn fill(queue: &SendQueue<Here>) {
    let end = std::time::Instant::now() + LONG;
    let mut refusals = 0;
    while refusals < 20 {
        assert!(std::time::Instant::now() < end, "it takes without end");
        match queue.push(vec![7; 8 << 10]) {
            Ok(()) => refusals = 0,
            Err(refused) => {
                assert_eq!((refused.error.code(), refused.back.len()), (Code::TooManyBytesQueued, 8 << 10));
                refusals += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

#[test]
fn a_peer_that_does_not_read_costs_its_budget_and_room_is_told_by_every_delivery() {
    let port = port(1);
    for delivery in DELIVERIES {
        let (ours, mut peer) = narrow();
        let queue = port.home(SendQueue::new(&ours, 64 << 10), 7);
        fill(&queue);
        assert!(queue.queued() <= 64 << 10);
        let reader = worker(move || {
            std::thread::sleep(SHORT);
            let mut total = 0;
            let mut buffer = vec![0; 1 << 16];
            while let Ok(n @ 1..) = peer.read(&mut buffer) {
                total += n;
            }
            total
        });
        by(delivery, &port, queue.room(64 << 10)).unwrap();
        queue.push(vec![8; 64 << 10]).unwrap_or_else(|refused| panic!("{delivery}: {}", refused.error));
        by(delivery, &port, queue.flush()).unwrap();
        drop((queue, ours));
        assert!(reader.join() > 64 << 10, "{delivery}");
    }
    nothing(&port);
}

#[test]
fn a_buffer_larger_than_the_budget_goes_when_nothing_is_queued() {
    let (ours, peer) = homeless();
    let queue = somewhere(SendQueue::new(&ours, 10));
    let reader = reader_of(3000, peer);
    for _ in 0..3 {
        run(queue.room(1000)).result.unwrap();
        queue.push(vec![1; 1000]).unwrap();
    }
    run(queue.flush()).result.unwrap();
    reader.join();
}

#[test]
fn the_first_error_is_the_queues_end_and_everybody_hears_of_it() {
    let port = port(1);
    let (ours, peer) = narrow();
    let queue = port.home(SendQueue::new(&ours, 64 << 10), 7);
    fill(&queue);
    packet(queue.flush(), block(1, 0));
    packet(queue.room(64 << 10), block(2, 0));
    reset(peer);
    for _ in 0..2 {
        let code = failure(&port).1;
        assert!(matches!(code, Code::ConnectionReset | Code::ConnectionAborted), "{code:?}");
    }
    let refused = queue.push("more").unwrap_err();
    assert!(matches!(refused.error.code(), Code::ConnectionReset | Code::ConnectionAborted), "{:?}", refused.error);
    assert_eq!(&refused.back[..], b"more");
    assert!(run(queue.flush()).result.is_err());
    assert_eq!(queue.queued(), 0);
}

#[test]
fn closing_a_queue_drops_what_is_left_and_leaves_the_stream() {
    let port = port(1);
    let (ours, mut peer) = narrow();
    let queue = port.home(SendQueue::new(&ours, 64 << 10), 7);
    fill(&queue);
    packet(queue.flush(), block(1, 0));
    queue.close();
    assert_eq!(failure(&port).1, Code::InvalidHandle);
    assert_eq!(queue.push("more").unwrap_err().error.code(), Code::InvalidHandle);
    assert_eq!(code(&run(queue.room(1))), Some(Code::InvalidHandle));
    // Received as ever.
    peer.write_all(b"hello").unwrap();
    assert_eq!(ours.recv(vec![0; 64]).wait().bytes, 5);
    drop((queue, ours));
}

#[test]
fn a_wait_for_room_is_cancelled_alone() {
    let port = port(1);
    let (ours, _peer) = narrow();
    let queue = port.home(SendQueue::new(&ours, 64 << 10), 7);
    fill(&queue);
    let ticket = packet(queue.room(64 << 10), block(1, 0));
    packet(queue.flush(), block(2, 0));
    queue.cancel(ticket).unwrap();
    let (packet, code) = failure(&port);
    assert_eq!((packet.error().unwrap().operation(), packet.block.unwrap().tag, code), (Some(OpKind::Room), 1, Code::Cancelled));
    drop(queue);
    assert_eq!(failure(&port).0.block.unwrap().tag, 2);
}
