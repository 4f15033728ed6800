//! SEMANTICS 12: datagrams.

use proactor::net::UdpSocket;
use proactor::{Block, Code, Datagram, Gather, GatherMut, OpKind, Value, within, within_list, within_list_mut, within_mut};

use crate::common::*;

fn socket() -> UdpSocket {
    UdpSocket::bind(ANY).unwrap()
}

fn std_socket() -> std::net::UdpSocket {
    let socket = std::net::UdpSocket::bind(ANY).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

#[test]
fn a_datagram_comes_with_its_sender_overlapped() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let ours = somewhere(UdpSocket::bind(address.parse().unwrap()).unwrap());
        let sender = std::net::UdpSocket::bind(address).unwrap();
        let receive = start(ours.recv_from(vec![0; 64]));
        sender.send_to(b"hello", ours.local_addr().unwrap()).unwrap();
        let done = finish(receive);
        let datagram = done.result.unwrap();
        assert_eq!((done.bytes, &done.buffer[..]), (5, &b"hello"[..]));
        assert_eq!((datagram.from.ip(), datagram.truncated), (Some(sender.local_addr().unwrap()), false));
        assert!(datagram.warning().is_none());
    }
}

#[test]
fn a_datagram_comes_with_its_sender_as_a_packet() {
    let port = port(1);
    let (ours, sender) = (socket(), std_socket());
    let ours = port.home(ours, 7);
    packet(ours.recv_from(within_mut(|io: &mut Io| &mut io.buf[..])), block(1, 16));
    nothing(&port);
    sender.send_to(b"hello", ours.local_addr().unwrap()).unwrap();
    let packet = success(&port);
    assert_eq!((packet.key, packet.op, packet.done.bytes), (7, OpKind::RecvFrom, 5));
    let Value::Datagram(datagram) = packet.done.result.unwrap() else { panic!("a datagram was due") };
    assert_eq!(*datagram, Datagram { from: sender.local_addr().unwrap().into(), truncated: false });
    assert_eq!(&packet.block.unwrap().buf[..5], b"hello");
}

#[test]
fn a_truncated_datagram_is_reported_with_its_data_and_its_sender() {
    let (ours, sender) = (socket(), std_socket());
    for pended in [true, false] {
        let send = || sender.send_to(b"longer than four", ours.local_addr().unwrap()).unwrap();
        if !pended {
            send();
        }
        let receive = start(ours.recv_from(vec![0; 4]));
        if pended {
            send();
        }
        let done = finish(receive);
        assert_eq!((done.bytes, &done.buffer[..]), (4, &b"long"[..]));
        let datagram = done.result.unwrap();
        assert_eq!((datagram.from.ip(), datagram.truncated), (Some(sender.local_addr().unwrap()), true));
        let warning = datagram.warning().unwrap().code();
        assert_eq!((warning, warning.win32(), warning.winsock()), (Code::MessageTruncated, 234, 10040));
    }
    sender.send_to(b"next", ours.local_addr().unwrap()).unwrap();
    assert_eq!(run(ours.recv_from(vec![0; 16])).buffer, b"next", "the rest of the long one is gone");
}

#[test]
fn a_datagram_that_just_fits_is_not_truncated() {
    let (ours, sender) = (socket(), std_socket());
    sender.send_to(b"four", ours.local_addr().unwrap()).unwrap();
    let done = run(ours.recv_from(vec![0; 4]));
    assert_eq!((done.bytes, done.result.unwrap().truncated), (4, false));
}

#[test]
fn an_empty_datagram_is_a_datagram() {
    let (ours, sender) = (socket(), std_socket());
    let receive = start(ours.recv_from(vec![0; 4]));
    sender.send_to(&[], ours.local_addr().unwrap()).unwrap();
    let done = finish(receive);
    assert_eq!((done.bytes, done.result.unwrap().from.ip()), (0, Some(sender.local_addr().unwrap())));
    assert_eq!(run(ours.send_to(Vec::new(), sender.local_addr().unwrap())).bytes, 0);
    assert_eq!(sender.recv(&mut [0; 4]).unwrap(), 0);
}

#[test]
fn each_receive_takes_one_datagram() {
    let (ours, sender) = (socket(), std_socket());
    for text in ["one", "two", "three"] {
        sender.send_to(text.as_bytes(), ours.local_addr().unwrap()).unwrap();
    }
    for text in ["one", "two", "three"] {
        assert_eq!(run(ours.recv_from(vec![0; 64])).buffer, text.as_bytes());
    }
}

#[test]
fn vectored_datagrams_are_scattered_and_gathered_in_order_overlapped() {
    let (ours, other) = (socket(), socket());
    let receive = start(ours.recv_from_vectored([vec![0; 3], vec![0; 16]]));
    let sent = run(other.send_to_vectored(["abcd", "efgh"], ours.local_addr().unwrap()));
    assert_eq!(sent.bytes, 8);
    let done = finish(receive);
    assert_eq!((done.bytes, &done.buffer[0][..], &done.buffer[1][..]), (8, &b"abc"[..], &b"defgh"[..]));
    assert_eq!(done.result.unwrap().from.ip(), Some(other.local_addr().unwrap()));
}

#[test]
fn vectored_datagrams_are_scattered_and_gathered_in_order_as_packets() {
    let port = port(1);
    let ours = socket();
    let ours = port.home(ours, 7);
    let scatter = within_list_mut(|io: &mut Io, list: &mut GatherMut<'_>| {
        let (head, body) = io.buf.split_at_mut(3);
        list.push(body);
        list.push(head);
    });
    let gather = within_list(|io: &mut Io, list: &mut Gather<'_>| {
        list.push(&io.buf[4..]);
        list.push(&io.buf[..4]);
    });
    packet(ours.recv_from_vectored(scatter), block(1, 8));
    let to = ours.local_addr().unwrap();
    packet(ours.send_to_vectored(gather, to), Block::new(Io { buf: b"45670123".to_vec(), tag: 2 }));
    for _ in 0..2 {
        let packet = success(&port);
        let io = packet.block.unwrap();
        assert_eq!(packet.done.bytes, 8);
        if io.tag == 1 {
            assert_eq!(&io.buf[..], b"56701234");
        }
    }
}

#[test]
fn a_connected_socket_sends_to_its_peer_and_hears_nobody_else() {
    let (ours, peer, stranger) = (socket(), std_socket(), std_socket());
    ours.connect(peer.local_addr().unwrap()).unwrap();
    assert_eq!(run(ours.send(b"hello")).bytes, 5);
    let mut text = [0; 16];
    assert_eq!(peer.recv_from(&mut text).unwrap(), (5, ours.local_addr().unwrap()));
    let receive = start(ours.recv_from(vec![0; 16]));
    stranger.send_to(b"not for you", ours.local_addr().unwrap()).unwrap();
    peer.send_to(b"answer", ours.local_addr().unwrap()).unwrap();
    assert_eq!(finish(receive).buffer, b"answer");
}

#[test]
fn a_peer_that_is_not_there_fails_the_next_receive_of_a_connected_socket() {
    if wine() {
        skip!(
            "a_peer_that_is_not_there_fails_the_next_receive_of_a_connected_socket",
            "Wine never ends a receive that is pending after that error"
        );
    }
    let ours = somewhere(socket());
    let nobody = std_socket().local_addr().unwrap();
    ours.connect(nobody).unwrap();
    let receive = start(ours.recv_from(vec![0; 16]));
    run(ours.send(b"anybody?")).result.unwrap();
    assert_eq!(code(&finish(receive)), Some(Code::ConnectionRefused));
    let peer = std::net::UdpSocket::bind(nobody).unwrap();
    let receive = start(ours.recv_from(vec![0; 16]));
    peer.send_to(b"here now", ours.local_addr().unwrap()).unwrap();
    assert_eq!(finish(receive).buffer, b"here now", "the socket goes on");
}

#[test]
fn a_datagram_too_long_for_one_is_error_10040() {
    let ours = somewhere(socket());
    let done = run(ours.send_to(vec![0; 70_000], ours.local_addr().unwrap()));
    assert_eq!((done.bytes, code(&done)), (0, Some(Code::MessageTruncated)));
    assert_eq!(done.buffer.len(), 70_000);
}

#[test]
fn readiness_of_a_datagram_socket_takes_none() {
    let port = port(1);
    let (ours, sender) = (socket(), std_socket());
    let ours = port.home(ours, 7);
    packet(ours.writable(), block(0, 0));
    assert_eq!(success(&port).op, OpKind::Ready);
    packet(ours.readable(), block(1, 0));
    nothing(&port);
    sender.send_to(b"hello", ours.local_addr().unwrap()).unwrap();
    let packet = success(&port);
    assert_eq!((packet.op, packet.done.bytes), (OpKind::Ready, 0));
    run(ours.readable()).result.unwrap();
    assert_eq!(run(ours.recv_from(vec![0; 16])).buffer, b"hello");
}

#[test]
fn a_datagram_receive_of_no_bytes_waits_for_one_and_takes_none() {
    let (ours, sender) = (socket(), std_socket());
    let receive = start(ours.recv_from(Vec::new()));
    let receive = pending(receive);
    sender.send_to(b"hello", ours.local_addr().unwrap()).unwrap();
    let done = finish(receive);
    assert_eq!((done.bytes, code(&done)), (0, None));
    assert_eq!(run(ours.recv_from(vec![0; 16])).buffer, b"hello");
}

#[test]
fn a_sent_datagram_reports_its_bytes_as_a_packet() {
    let port = port(1);
    let (ours, peer) = (socket(), std_socket());
    let ours = port.home(ours, 7);
    let to = peer.local_addr().unwrap();
    packet(ours.send_to(within(|io: &mut Io| &io.buf[1..]), to), Block::new(Io { buf: b"hello".to_vec(), tag: 1 }));
    let packet = success(&port);
    assert_eq!((packet.op, packet.done.bytes, packet.block.unwrap().tag), (OpKind::SendTo, 4, 1));
    let mut text = [0; 16];
    assert_eq!(peer.recv_from(&mut text).unwrap(), (4, ours.local_addr().unwrap()));
    assert_eq!(&text[..4], b"ello");
}
