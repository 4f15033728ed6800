//! SEMANTICS 14: connecting.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use proactor::net::{TcpListener, TcpStream};
use proactor::{Block, Code, OpKind, within};

use crate::common::*;

/// A listener of the standard library's, and its address.
fn listener() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &std::net::TcpListener) -> std::net::TcpStream {
    let (peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(LONG)).unwrap();
    peer
}

#[test]
fn a_connect_yields_a_packet_and_names_both_ends() {
    let port = port(1);
    let (listener, address) = listener();
    let ours = TcpStream::unconnected_v4().unwrap();
    let ours = port.home(ours, 7);
    packet(ours.connect(address), block(1, 0));
    let packet = success(&port);
    assert_eq!((packet.key, packet.op, packet.done.bytes, packet.block.unwrap().tag), (7, OpKind::Connect, 0, 1));
    let peer = accept(&listener);
    assert_eq!(ours.peer_addr().unwrap(), address);
    assert_eq!(ours.local_addr().unwrap(), peer.peer_addr().unwrap());
    nothing(&port);
}

#[test]
fn the_library_binds_for_its_user() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = std::net::TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let ours = somewhere(TcpStream::unconnected_for(address).unwrap());
        run(ours.connect(address)).result.unwrap();
        let local = ours.local_addr().unwrap();
        assert!(local.port() != 0 && local.ip() == address.ip());
    }
}

#[test]
fn a_socket_its_user_bound_keeps_its_address() {
    let (listener, address) = listener();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, Some(socket2::Protocol::TCP)).unwrap();
    socket.bind(&ANY.into()).unwrap();
    let bound = socket.local_addr().unwrap().as_socket();
    let ours = TcpStream::from(socket);
    run(ours.connect(address)).result.unwrap();
    assert_eq!(Some(accept(&listener).peer_addr().unwrap()), bound);
    assert_eq!(Some(ours.local_addr().unwrap()), bound);
}

#[test]
fn a_refused_connect_fails_asynchronously() {
    let (_bound, nobody) = nobody();
    let port = port(1);
    let ours = TcpStream::unconnected_v4().unwrap();
    let ours = port.home(ours, 7);
    packet(ours.connect(nobody), block(1, 0));
    let (packet, code) = failure(&port);
    assert_eq!((packet.key, packet.op, packet.block.unwrap().tag), (7, OpKind::Connect, 1));
    assert_eq!((code, code.win32(), code.winsock()), (Code::ConnectionRefused, 1225, 10061));
    let ours = TcpStream::unconnected_v4().unwrap();
    let error = run(ours.connect(nobody)).result.unwrap_err();
    assert_eq!((error.code(), error.operation()), (Code::ConnectionRefused, Some(OpKind::Connect)));
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn first_data_goes_with_the_connect_and_is_counted() {
    let port = port(1);
    let (listener, address) = listener();
    let ours = TcpStream::unconnected_v4().unwrap();
    let ours = port.home(ours, 7);
    packet(ours.connect_with(address, within(|io: &mut Io| &io.buf[..5])), Block::new(Io { buf: b"hello!".to_vec(), tag: 1 }));
    let packet = success(&port);
    assert_eq!((packet.done.bytes, packet.block.unwrap().tag), (5, 1));
    let mut text = [0; 5];
    accept(&listener).read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
}

#[test]
fn first_data_goes_out_whole_though_it_is_long() {
    if wine() {
        skip!("first_data_goes_out_whole_though_it_is_long", "Wine's ConnectEx stops at what fits the socket's buffer");
    }
    let (listener, address) = listener();
    let ours = somewhere(TcpStream::unconnected_v4().unwrap());
    let connect = start(ours.connect_with(address, pattern(8 << 20, 5)));
    let reader = worker(move || {
        let mut all = vec![0; 8 << 20];
        accept(&listener).read_exact(&mut all).map(|()| all)
    });
    let done = finish(connect);
    assert_eq!((done.bytes, code(&done)), (8 << 20, None));
    assert!(reader.join().unwrap() == pattern(8 << 20, 5));
}

#[test]
fn a_refused_connect_gives_its_first_data_back() {
    let (_bound, nobody) = nobody();
    let ours = somewhere(TcpStream::unconnected_v4().unwrap());
    let done = run(ours.connect_with(nobody, b"hello".to_vec()));
    assert_eq!((done.bytes, code(&done), &done.buffer[..]), (0, Some(Code::ConnectionRefused), &b"hello"[..]));
}

#[test]
fn a_connected_socket_sends_receives_and_shuts_down() {
    let (listener, address) = listener();
    let ours = somewhere(TcpStream::unconnected_v4().unwrap());
    run(ours.connect(address)).result.unwrap();
    let mut peer = accept(&listener);
    let receive = start(ours.recv(vec![0; 16]));
    assert_eq!(run(ours.send(b"question")).bytes, 8);
    let mut text = [0; 8];
    peer.read_exact(&mut text).unwrap();
    peer.write_all(b"answer").unwrap();
    assert_eq!(finish(receive).buffer, b"answer");
    run(ours.shutdown(Shutdown::Write)).result.unwrap();
    assert_eq!(peer.read(&mut text).unwrap(), 0);
}

#[test]
fn sends_started_behind_a_connect_follow_it() {
    let listener = somewhere(TcpListener::bind(ANY).unwrap());
    let accept = start(listener.accept());
    let ours = somewhere(TcpStream::unconnected_v4().unwrap());
    run(ours.connect_with(listener.local_addr().unwrap(), b"first ")).result.unwrap();
    assert_eq!(run(ours.send(b"second")).bytes, 6);
    let server = finish(accept).result.unwrap().stream;
    let mut all = Vec::new();
    while all.len() < 12 {
        all.extend(run(server.recv(vec![0; 16])).buffer);
    }
    assert_eq!(all, b"first second");
}

#[test]
fn connecting_a_connected_socket_is_an_invalid_parameter() {
    let (_listener, address) = listener();
    let ours = somewhere(TcpStream::unconnected_v4().unwrap());
    run(ours.connect(address)).result.unwrap();
    assert_eq!(code(&run(ours.connect(address))), Some(Code::InvalidParameter));
    run(ours.send(b"still connected")).result.unwrap();
}

#[test]
fn many_connects_at_once_all_arrive() {
    let port = port(2);
    let listener = somewhere(TcpListener::bind(ANY).unwrap());
    let accepts: Vec<_> = (0..32).map(|_| start(listener.accept())).collect();
    let streams: Vec<_> = (0..32)
        .map(|key| {
            let stream = TcpStream::unconnected_v4().unwrap();
            let stream = port.home(stream, key);
            packet(stream.connect(listener.local_addr().unwrap()), block(key, 0));
            stream
        })
        .collect();
    let mut keys: Vec<_> = streams
        .iter()
        .map(|_| {
            let packet = success(&port);
            assert_eq!(packet.key, packet.block.unwrap().tag);
            packet.key
        })
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, (0..32).collect::<Vec<_>>());
    let mut came: Vec<_> = accepts.into_iter().map(|accept| finish(accept).result.unwrap().peer.ip().unwrap()).collect();
    let mut went: Vec<_> = streams.iter().map(|stream| stream.local_addr().unwrap()).collect();
    came.sort();
    went.sort();
    assert_eq!(came, went);
}
