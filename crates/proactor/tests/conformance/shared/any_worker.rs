//! Any of a port's many workers takes any completion, and each packet goes to one of them.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc;

use proactor::{Batch, CompletionPort, Concurrency, Outcome};

use crate::common::*;

#[test]
fn a_wait_without_end_ends_with_a_packet() {
    let port = port(1);
    let waiting = worker({
        let port = port.clone();
        move || matches!(port.get(None), Ok(Outcome::Packet(packet)) if packet.key == 3)
    });
    waiting.asleep();
    port.post(3, 0, None).unwrap();
    assert!(waiting.join());
}

#[test]
fn every_packet_goes_to_exactly_one_of_many_workers() {
    const PACKETS: usize = 20_000;
    let port = port(4);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let port = port.clone();
            worker(move || {
                let mut keys = Vec::new();
                while let Ok(Outcome::Packet(packet)) = port.get(LONG) {
                    if packet.key == usize::MAX {
                        break;
                    }
                    keys.push(packet.key);
                }
                keys
            })
        })
        .collect();
    (0..PACKETS).for_each(|key| port.post(key, 0, None).unwrap());
    workers.iter().for_each(|_| port.post(usize::MAX, 0, None).unwrap());
    let mut all = Vec::new();
    for worker in workers {
        let keys = worker.join();
        assert!(keys.is_sorted(), "a worker's packets are in the order they were posted");
        all.extend(keys);
    }
    all.sort_unstable();
    assert_eq!(all, (0..PACKETS).collect::<Vec<_>>());
}

#[test]
fn packets_given_back_wake_a_worker_that_waits() {
    let port = port(2);
    (0..2).for_each(|key| port.post(key, 0, None).unwrap());
    let mut batch = Batch::with_capacity(2);
    assert!(port.get_many(&mut batch, LONG).unwrap());
    let waiting = worker({
        let port = port.clone();
        move || success(&port).key
    });
    waiting.asleep();
    assert_eq!(batch.next().and_then(Outcome::packet).map(|packet| packet.key), Some(0));
    drop(batch);
    assert_eq!(waiting.join(), 1);
}

#[test]
fn three_receives_fill_in_call_order_ten_thousand_rounds_two_workers() {
    const ROUNDS: usize = 10_000;
    let port = port(2);
    let (ours, mut peer) = stream();
    port.associate(&ours, 0).unwrap();
    let (send, results) = mpsc::channel();
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (port, send) = (port.clone(), send.clone());
            worker(move || {
                let mut last = None;
                while let Ok(Outcome::Packet(packet)) = port.get(LONG) {
                    let io = packet.block.unwrap();
                    // Of what one worker takes, each packet was completed after the one before.
                    assert!(last < Some(io.tag), "operation {} completed after {last:?}", io.tag);
                    last = Some(io.tag);
                    let filled = usize::from_le_bytes(io.buf[..].try_into().unwrap());
                    send.send((io.tag, packet.done.bytes, filled)).unwrap();
                }
            })
        })
        .collect();
    for round in 0..ROUNDS {
        let mut messages = Vec::new();
        for tag in round * 3..round * 3 + 3 {
            receive(&ours, tag, 8);
            messages.extend_from_slice(&tag.to_le_bytes());
        }
        peer.write_all(&messages).unwrap();
        for _ in 0..3 {
            let (tag, bytes, filled) = results.recv_timeout(LONG).expect("a receive was lost");
            assert_eq!((bytes, filled), (8, tag), "round {round}: a receive was filled with another's message");
        }
    }
    port.close();
    workers.into_iter().for_each(Worker::join);
}

#[test]
fn any_worker_takes_any_completion_while_the_starting_thread_is_busy() {
    let port = Arc::new(CompletionPort::<Io, usize>::new(Concurrency::Threads(2)).unwrap());
    let (ours, mut peer) = stream();
    port.associate(&ours, 7).unwrap();
    receive(&ours, 1, 16);
    let other = worker({
        let port = port.clone();
        move || success(&port).done.bytes
    });
    peer.write_all(b"hello").unwrap();
    assert_eq!(other.spin_join(), 5);
}
