//! One accept of many completions: each connection a packet, the last packet with the block. Not of SEMANTICS.md; the
//! promises are those of `accept_multi`.

use std::io::{ErrorKind, Read, Write};

use proactor::net::TcpListener;
use proactor::{Accepted, Code, Limits, OpKind, Packet, Value};

use crate::common::*;

/// A connection of one that goes on.
#[track_caller]
fn accepted(packet: Packet<Io, usize>) -> Accepted<proactor::net::TcpStream> {
    assert_eq!((packet.key, packet.op, packet.done.bytes), (7, OpKind::AcceptMulti, 0));
    assert!(packet.more && packet.block.is_none());
    match packet.done.result.unwrap() {
        Value::Tcp(accepted) => *accepted,
        other => panic!("an accept brings a connection, not {other:?}"),
    }
}

/// The last packet: the block's tag, and why.
#[track_caller]
fn end(packet: Packet<Io, usize>) -> (usize, Option<Code>) {
    assert_eq!((packet.key, packet.op), (7, OpKind::AcceptMulti));
    assert!(!packet.more);
    (packet.block.expect("the last one brings the block").tag, packet.done.result.err().map(|error| error.code()))
}

fn ended(mut stream: std::net::TcpStream) {
    match stream.read(&mut [0; 16]) {
        Ok(n) => assert_eq!(n, 0, "the connection was to end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn each_client_is_a_packet_with_its_connection_and_both_addresses() {
    let port = port(1);
    let listener = port.home(TcpListener::bind(ANY).unwrap(), 7);
    let address = listener.local_addr().unwrap();
    let early = peer_of(address);
    packet(listener.accept_multi(), block(1, 0));
    assert_eq!(accepted(success(&port)).peer.ip(), Some(early.local_addr().unwrap()), "one that came before it");
    nothing(&port);
    for _ in 0..50 {
        let mut client = peer_of(address);
        let accepted = accepted(success(&port));
        assert_eq!(accepted.peer.ip(), Some(client.local_addr().unwrap()));
        assert_eq!(accepted.local.ip(), Some(address));
        client.write_all(b"hello").unwrap();
        assert_eq!(run(somewhere(accepted.stream).recv(vec![0; 16])).buffer, b"hello");
    }
}

#[test]
fn clients_that_come_at_once_all_arrive_in_order() {
    let port = port(1);
    let listener = port.home(TcpListener::bind(ANY).unwrap(), 7);
    let address = listener.local_addr().unwrap();
    packet(listener.accept_multi(), block(1, 0));
    let clients: Vec<_> = (0..64).map(|_| peer_of(address)).collect();
    for client in &clients {
        assert_eq!(accepted(success(&port)).peer.ip(), Some(client.local_addr().unwrap()));
    }
    nothing(&port);
}

#[test]
fn a_cancel_ends_it_once_and_later_clients_are_anothers() {
    let port = port(1);
    let listener = port.home(TcpListener::bind(ANY).unwrap(), 7);
    let address = listener.local_addr().unwrap();
    let ticket = packet(listener.accept_multi(), block(1, 0));
    packet(listener.accept(), block(2, 0));
    let _first = peer_of(address);
    accepted(success(&port));
    listener.cancel(ticket).unwrap();
    assert_eq!(end(take(&port)), (1, Some(Code::Cancelled)));
    assert_eq!(listener.cancel(ticket).unwrap_err().code(), Code::NotFound);
    nothing(&port);
    let second = peer_of(address);
    let packet = success(&port);
    assert_eq!((packet.op, packet.more), (OpKind::Accept, false));
    let Ok(Value::Tcp(accepted)) = packet.done.result else { panic!("a connection was due") };
    assert_eq!((accepted.peer.ip(), packet.block.unwrap().tag), (Some(second.local_addr().unwrap()), 2));
}

#[test]
fn a_cancel_racing_with_clients_loses_none() {
    let port = port(1);
    let listener = port.home(TcpListener::bind(ANY).unwrap(), 7);
    let address = listener.local_addr().unwrap();
    let clients = worker(move || (0..100).map(|_| peer_of(address)).collect::<Vec<_>>());
    let mut came = 0;
    let mut round = 0;
    while came < 100 {
        let ticket = packet(listener.accept_multi(), block(round, 0));
        if round % 2 == 0 {
            accepted(success(&port));
            came += 1;
        }
        listener.cancel(ticket).expect("it goes on until it is cancelled");
        loop {
            let packet = take(&port);
            if !packet.more {
                assert_eq!(end(packet), (round, Some(Code::Cancelled)));
                break;
            }
            accepted(packet);
            came += 1;
        }
        round += 1;
    }
    assert_eq!(came, 100);
    drop(clients.join());
    packet(listener.accept_multi(), block(0, 0));
    nothing(&port);
}

#[test]
fn closing_the_listener_ends_it_with_cancelled() {
    let port = port(1);
    let listener = port.home(TcpListener::bind(ANY).unwrap(), 7);
    let address = listener.local_addr().unwrap();
    packet(listener.accept_multi(), block(1, 0));
    let _client = peer_of(address);
    accepted(success(&port));
    drop(listener);
    assert_eq!(end(failure(&port).0), (1, Some(Code::Cancelled)));
    nothing(&port);
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn connections_nobody_fetched_are_closed_with_the_port() {
    for keep in [false, true] {
        let port = port(1);
        let listener = port.home(TcpListener::bind(ANY).unwrap(), 7);
        packet(listener.accept_multi(), block(1, 0));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let client = peer_of(listener.local_addr().unwrap());
                turn_on(&port);
                client
            })
            .collect();
        let kept = keep.then(|| accepted(success(&port)));
        port.close();
        drop(listener);
        for (n, client) in clients.into_iter().enumerate() {
            if !(keep && n == 0) {
                ended(client);
            }
        }
        drop(kept);
    }
}

#[test]
fn it_counts_as_one_operation_and_goes_on_though_the_limit_is_reached() {
    let port = port(1);
    let listener = port.home(TcpListener::bind(ANY).unwrap(), 7);
    listener.set_limits(Limits { operations: 1, ..Limits::default() });
    packet(listener.accept_multi(), block(1, 0));
    for _ in 0..5 {
        let _client = peer_of(listener.local_addr().unwrap());
        accepted(success(&port));
        assert_eq!(listener.accept().packet(block(2, 0)).unwrap_err().error.code(), Code::TooManyOperations);
    }
    listener.cancel_all().unwrap();
    assert_eq!(end(failure(&port).0), (1, Some(Code::Cancelled)));
    packet(listener.accept(), block(3, 0));
}
