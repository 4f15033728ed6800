//! SEMANTICS 5: exactly one completion for every operation accepted, and the order among those of one direction.

use std::io::{Read, Write};
use std::net::Shutdown;

use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::{Block, Code, OpKind, within, within_mut};

use crate::common::*;

#[test]
fn a_pended_operation_yields_exactly_one_packet() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive(&ours, 1, 16);
    nothing(&port);
    peer.write_all(b"hello").unwrap();
    let packet = success(&port);
    let io = packet.block.unwrap();
    assert_eq!((packet.key, packet.done.bytes, packet.op, io.tag, &io.buf[..5]), (7, 5, OpKind::Recv, 1, &b"hello"[..]));
    nothing(&port);
}

#[test]
fn an_inline_success_yields_exactly_one_packet() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    peer.write_all(b"hello").unwrap();
    // The data is there, or will be before long: a readiness that is over says so.
    packet(ours.readable(), block(0, 0));
    assert_eq!(success(&port).op, OpKind::Ready);
    receive(&ours, 1, 16);
    assert_eq!(success(&port).done.bytes, 5);
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(2, 3));
    let sent = success(&port);
    assert_eq!((sent.op, sent.done.bytes), (OpKind::Send, 3));
    nothing(&port);
}

#[test]
fn an_inline_error_yields_exactly_one_packet() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 7);
    packet(ours.shutdown(Shutdown::Write), block(0, 0));
    assert_eq!(success(&port).op, OpKind::Shutdown);
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(1, 3));
    let (failed, code) = failure(&port);
    assert_eq!((failed.key, failed.op, failed.block.unwrap().tag, code), (7, OpKind::Send, 1, Code::Shutdown));
    nothing(&port);
}

#[test]
fn a_truncated_datagram_yields_exactly_one_packet() {
    let port = port(1);
    let socket = UdpSocket::bind(ANY).unwrap();
    let socket = port.home(socket, 7);
    let sender = std::net::UdpSocket::bind(ANY).unwrap();
    for pended in [true, false] {
        if !pended {
            sender.send_to(b"longer than four", socket.local_addr().unwrap()).unwrap();
        }
        packet(socket.recv_from(within_mut(|io: &mut Io| &mut io.buf[..])), block(1, 4));
        if pended {
            sender.send_to(b"longer than four", socket.local_addr().unwrap()).unwrap();
        }
        let packet = take(&port);
        assert_eq!((packet.done.bytes, &packet.block.unwrap().buf[..]), (4, &b"long"[..]));
        nothing(&port);
    }
}

#[test]
fn a_cancelled_operation_yields_exactly_one_packet() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 7);
    let ticket = receive(&ours, 1, 16);
    ours.cancel(ticket).unwrap();
    assert_eq!(failure(&port).1, Code::Cancelled);
    nothing(&port);
}

#[test]
fn a_connect_yields_exactly_one_packet_whether_it_succeeds_or_fails() {
    let (_bound, nobody) = nobody();
    let port = port(1);
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let (good, bad) = (TcpStream::unconnected_v4().unwrap(), TcpStream::unconnected_v4().unwrap());
    let good = port.home(good, 1);
    let bad = port.home(bad, 2);
    packet(good.connect(listener.local_addr().unwrap()), block(0, 0));
    let connected = success(&port);
    assert_eq!((connected.key, connected.op), (1, OpKind::Connect));
    packet(bad.connect(nobody), block(0, 0));
    let (refused, code) = failure(&port);
    assert_eq!((refused.key, refused.op, code), (2, OpKind::Connect, Code::ConnectionRefused));
    nothing(&port);
}

#[test]
fn an_overlapped_operation_on_a_ports_object_posts_no_packet() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let receive = start(ours.recv(vec![0; 16]));
    peer.write_all(b"hello").unwrap();
    assert_eq!(finish(receive).buffer, b"hello");
    assert_eq!(run(ours.send(b"answer")).bytes, 6);
    nothing(&port);
}

#[test]
fn receives_that_find_data_fill_in_call_order() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 0);
    peer.write_all(&pattern(4 * 64, 1)).unwrap();
    packet(ours.readable(), block(usize::MAX, 0));
    assert_eq!(success(&port).op, OpKind::Ready);
    for tag in 0..64 {
        receive(&ours, tag, 4);
    }
    let mut all = Vec::new();
    for tag in 0..64 {
        let packet = success(&port);
        let io = packet.block.unwrap();
        assert_eq!(io.tag, tag, "completed in call order");
        all.extend_from_slice(&io.buf[..packet.done.bytes]);
    }
    assert_eq!(all, pattern(4 * 64, 1), "filled in call order");
}

#[test]
fn sends_of_one_stream_go_out_whole_and_in_call_order() {
    const EACH: usize = 2 << 20;
    let port = port(2);
    let (ours, mut peer) = homeless();
    socket2::SockRef::from(&ours).set_send_buffer_size(64 << 10).unwrap();
    let ours = port.home(ours, 0);
    for tag in 0..3 {
        let io = Block::new(Io { buf: pattern(EACH, tag), tag });
        packet(ours.send(within(|io: &mut Io| &io.buf[..])), io);
    }
    let reader = worker(move || {
        let mut all = vec![0; 3 * EACH];
        peer.read_exact(&mut all).map(|()| all)
    });
    for tag in 0..3 {
        let sent = success(&port);
        assert_eq!((sent.done.bytes, sent.block.unwrap().tag), (EACH, tag));
    }
    let all = reader.join().unwrap();
    for (tag, part) in all.chunks(EACH).enumerate() {
        assert!(part == pattern(EACH, tag), "send {tag} was mixed with another");
    }
}

#[test]
fn datagram_receives_fill_in_call_order() {
    let port = port(1);
    let socket = UdpSocket::bind(ANY).unwrap();
    let socket = port.home(socket, 0);
    let sender = std::net::UdpSocket::bind(ANY).unwrap();
    for tag in 0..8 {
        packet(socket.recv_from(within_mut(|io: &mut Io| &mut io.buf[..])), block(tag, 16));
    }
    for tag in 0..8_u8 {
        sender.send_to(&[tag], socket.local_addr().unwrap()).unwrap();
    }
    for tag in 0..8 {
        let io = success(&port).block.unwrap();
        assert_eq!((io.tag, usize::from(io.buf[0])), (tag, tag));
    }
}

#[test]
fn accepts_take_clients_in_call_order() {
    let port = port(1);
    let listener = TcpListener::bind(ANY).unwrap();
    let listener = port.home(listener, 0);
    for tag in 0..4 {
        packet(listener.accept(), block(tag, 0));
    }
    for tag in 0..4 {
        let client = peer_of(listener.local_addr().unwrap());
        let packet = success(&port);
        let proactor::Value::Tcp(accepted) = packet.done.result.unwrap() else { panic!("an accept brings a connection") };
        assert_eq!((packet.block.unwrap().tag, accepted.peer.ip()), (tag, Some(client.local_addr().unwrap())));
    }
}
