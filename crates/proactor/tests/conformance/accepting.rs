//! SEMANTICS 13: accepting, with and without first data.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use proactor::net::TcpListener;
use proactor::{Accepted, Code, Home, Packet, Value, within_mut};

use crate::common::*;

fn listener() -> TcpListener {
    TcpListener::bind(ANY).unwrap()
}

fn client<H: Home>(listener: &TcpListener<H>) -> std::net::TcpStream {
    peer_of(listener.local_addr().unwrap())
}

/// What an accept's packet brought.
fn accepted(packet: Packet<Io, usize>) -> (Accepted<proactor::net::TcpStream>, usize, Io) {
    match packet.done.result.unwrap() {
        Value::Tcp(accepted) => (*accepted, packet.done.bytes, packet.block.unwrap().into_inner()),
        other => panic!("an accept brings a connection, not {other:?}"),
    }
}

fn ended(mut stream: std::net::TcpStream) {
    match stream.read(&mut [0; 16]) {
        Ok(n) => assert_eq!(n, 0, "the connection was to end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn without_first_data_an_accept_completes_on_connect() {
    let port = port(1);
    let listener = listener();
    let listener = port.home(listener, 7);
    packet(listener.accept(), block(1, 0));
    nothing(&port);
    let mut silent = client(&listener);
    let packet = success(&port);
    assert_eq!(packet.key, 7);
    let (accepted, bytes, io) = accepted(packet);
    assert_eq!((bytes, io.tag), (0, 1));
    assert_eq!(run(somewhere(accepted.stream).send(b"welcome")).bytes, 7);
    let mut greeting = [0; 7];
    silent.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"welcome");
}

#[test]
fn an_accept_finds_a_client_that_came_before_it() {
    let listener = somewhere(listener());
    let silent = client(&listener);
    let accepted = run(listener.accept()).result.unwrap();
    assert_eq!(accepted.peer.ip(), Some(silent.local_addr().unwrap()));
}

#[test]
fn both_addresses_come_with_the_connection() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let port = port(1);
        let listener = TcpListener::bind(address.parse().unwrap()).unwrap();
        let listener = port.home(listener, 7);
        packet(listener.accept(), block(1, 0));
        packet(listener.accept_with(within_mut(|io: &mut Io| &mut io.buf[..])), block(2, 16));
        let mut clients = [client(&listener), client(&listener)];
        clients[1].write_all(b"data").unwrap();
        for client in clients {
            let (accepted, ..) = accepted(success(&port));
            assert_eq!(accepted.local.ip(), Some(client.peer_addr().unwrap()));
            assert_eq!(accepted.peer.ip(), Some(client.local_addr().unwrap()));
            assert_eq!(accepted.stream.local_addr().unwrap(), client.peer_addr().unwrap());
            assert_eq!(accepted.stream.peer_addr().unwrap(), client.local_addr().unwrap());
        }
    }
}

#[test]
fn the_listeners_options_are_inherited() {
    let listener = somewhere(listener());
    socket2::SockRef::from(&listener).set_keepalive(true).unwrap();
    let plain = start(listener.accept());
    let with_data = start(listener.accept_with(vec![0; 16]));
    let clients = [client(&listener), client(&listener)];
    (&clients[1]).write_all(b"data").unwrap();
    for accepted in [finish(plain).result.unwrap(), finish(with_data).result.unwrap()] {
        assert!(socket2::SockRef::from(&accepted.stream).keepalive().unwrap());
    }
}

#[test]
fn with_first_data_an_accept_completes_on_the_data() {
    let port = port(1);
    let listener = listener();
    let listener = port.home(listener, 7);
    packet(listener.accept_with(within_mut(|io: &mut Io| &mut io.buf[..])), block(1, 16));
    let mut client = client(&listener);
    nothing(&port);
    client.write_all(b"hello").unwrap();
    let (accepted, bytes, io) = accepted(success(&port));
    assert_eq!((bytes, io.tag, &io.buf[..5]), (5, 1, &b"hello"[..]));
    client.write_all(b"and more").unwrap();
    assert_eq!(run(somewhere(accepted.stream).recv(vec![0; 16])).buffer, b"and more");
    nothing(&port);
}

#[test]
fn first_data_that_was_there_already_comes_with_the_accept() {
    let listener = somewhere(listener());
    let mut client = client(&listener);
    client.write_all(b"hello").unwrap();
    let done = run(listener.accept_with(vec![0; 16]));
    assert_eq!((done.bytes, &done.buffer[..]), (5, &b"hello"[..]));
}

#[test]
fn first_data_longer_than_the_buffer_is_not_lost() {
    let listener = somewhere(listener());
    let accept = start(listener.accept_with(vec![0; 4]));
    client(&listener).write_all(b"longer").unwrap();
    let done = finish(accept);
    assert_eq!((done.bytes, &done.buffer[..]), (4, &b"long"[..]));
    assert_eq!(run(somewhere(done.result.unwrap().stream).recv(vec![0; 16])).buffer, b"er");
}

#[test]
fn first_data_fills_the_part_of_the_block_that_was_named() {
    let port = port(1);
    let listener = listener();
    let listener = port.home(listener, 7);
    packet(listener.accept_with(within_mut(|io: &mut Io| &mut io.buf[2..6])), block(1, 8));
    client(&listener).write_all(b"data").unwrap();
    let (_, bytes, io) = accepted(success(&port));
    assert_eq!((bytes, &io.buf[..]), (4, &b"\0\0data\0\0"[..]));
}

#[test]
fn with_first_data_an_orderly_close_completes_with_no_bytes() {
    let port = port(1);
    let listener = listener();
    let listener = port.home(listener, 7);
    packet(listener.accept_with(within_mut(|io: &mut Io| &mut io.buf[..])), block(1, 16));
    let client = client(&listener);
    client.shutdown(Shutdown::Write).unwrap();
    let (accepted, bytes, _) = accepted(success(&port));
    assert_eq!(bytes, 0);
    assert_eq!(accepted.peer.ip(), Some(client.local_addr().unwrap()));
}

#[test]
fn a_silent_client_keeps_only_its_own_accept() {
    let listener = somewhere(listener());
    let (first, second) = (start(listener.accept_with(vec![0; 16])), start(listener.accept_with(vec![0; 16])));
    let mut silent = client(&listener);
    client(&listener).write_all(b"hello").unwrap();
    let done = finish(second);
    assert_eq!(done.buffer, b"hello");
    assert!(!first.is_complete());
    silent.write_all(b"at last").unwrap();
    assert_eq!(finish(first).buffer, b"at last");
}

#[test]
fn silent_clients_cannot_exhaust_accepts_that_ask_for_no_data() {
    let port = port(1);
    let listener = listener();
    let listener = port.home(listener, 7);
    packet(listener.accept(), block(0, 0));
    let silent: Vec<_> = (0..64)
        .map(|tag| {
            let client = client(&listener);
            accepted(success(&port));
            packet(listener.accept(), block(tag, 0));
            client
        })
        .collect();
    let speaks = client(&listener);
    let (accepted, ..) = accepted(success(&port));
    assert_eq!(accepted.peer.ip(), Some(speaks.local_addr().unwrap()));
    drop(silent);
}

#[test]
fn a_pended_accept_can_be_cancelled() {
    let port = port(1);
    let listener = listener();
    let listener = port.home(listener, 7);
    let ticket = packet(listener.accept(), block(1, 0));
    listener.cancel(ticket).unwrap();
    assert_eq!(failure(&port).1, Code::Cancelled);
    let _client = client(&listener);
    packet(listener.accept(), block(2, 0));
    assert_eq!(accepted(success(&port)).2.tag, 2, "the client is another accept's");
}

#[test]
fn an_accept_can_be_cancelled_while_it_waits_for_first_data() {
    let listener = somewhere(listener());
    let accept = start(listener.accept_with(vec![0; 16]));
    // Its own client first: the next accept's completion shows that the first one has it.
    let first = client(&listener);
    let next = start(listener.accept());
    let second = client(&listener);
    assert_eq!(finish(next).result.unwrap().peer.ip(), Some(second.local_addr().unwrap()));
    assert!(!accept.is_complete());
    accept.cancel().unwrap();
    let done = finish(accept);
    assert_eq!((done.bytes, code(&done)), (0, Some(Code::Cancelled)));
    ended(first);
}

#[test]
fn closing_the_listener_ends_accepts_that_wait_for_first_data() {
    let listener = somewhere(listener());
    let accept = start(listener.accept_with(vec![0; 16]));
    let first = client(&listener);
    let next = start(listener.accept());
    let _second = client(&listener);
    finish(next).result.unwrap();
    drop(listener);
    assert_eq!(code(&finish(accept)), Some(Code::Cancelled));
    ended(first);
}

#[test]
fn a_connection_nobody_takes_out_of_the_completion_is_closed() {
    let listener = somewhere(listener());
    let accept = start(listener.accept());
    let client = client(&listener);
    until("the accept is over", || accept.is_complete());
    drop(accept);
    ended(client);
}

#[test]
fn the_accepted_stream_can_be_given_a_home_of_its_own() {
    let (listeners, streams) = (port(1), port(1));
    let listener = listener();
    let listener = listeners.home(listener, 1);
    packet(listener.accept_with(within_mut(|io: &mut Io| &mut io.buf[..])), block(0, 16));
    let mut client = client(&listener);
    client.write_all(b"hello").unwrap();
    let (accepted, ..) = accepted(success(&listeners));
    let stream = streams.home(accepted.stream, 2);
    receive(&stream, 0, 16);
    client.write_all(b"again").unwrap();
    let packet = success(&streams);
    assert_eq!((packet.key, packet.done.bytes), (2, 5));
    nothing(&listeners);
}

#[test]
fn a_listeners_readiness_says_that_a_client_waits_and_takes_none() {
    let port = port(1);
    let listener = listener();
    let listener = port.home(listener, 7);
    packet(listener.readable(), block(0, 0));
    nothing(&port);
    let client = client(&listener);
    assert_eq!(success(&port).done.bytes, 0);
    packet(listener.readable(), block(0, 0));
    success(&port);
    packet(listener.accept(), block(0, 0));
    assert_eq!(accepted(success(&port)).0.peer.ip(), Some(client.local_addr().unwrap()));
    let ready = start(listener.readable());
    assert!(!ready.is_complete());
    let _another = peer_of(listener.local_addr().unwrap());
    finish(ready).result.unwrap();
}

#[test]
fn many_accepts_at_once_take_many_clients() {
    let port = port(2);
    let listener = listener();
    let listener = port.home(listener, 7);
    for tag in 0..32 {
        packet(listener.accept(), block(tag, 0));
    }
    let address = listener.local_addr().unwrap();
    let clients = worker(move || (0..32).map(|_| peer_of(address)).collect::<Vec<_>>());
    let mut peers: Vec<_> = (0..32).map(|_| accepted(success(&port)).0.peer.ip().unwrap()).collect();
    let mut addresses: Vec<_> = clients.join().iter().map(|client| client.local_addr().unwrap()).collect();
    peers.sort();
    addresses.sort();
    assert_eq!(peers, addresses);
}
