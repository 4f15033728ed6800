//! Datagrams with their headers: what came with one, and what is chosen for one.

use std::net::{IpAddr, SocketAddr};

use proactor::net::{Headers, UdpSocket};
use proactor::{Block, Code, Gather, GatherMut, OpKind, Value, within, within_list, within_list_mut, within_mut};

use crate::common::*;

/// Sockets of one family, the first bound to all its addresses, with its address on the loopback.
fn pair(any: &str, loopback: &str) -> (UdpSocket, UdpSocket, SocketAddr) {
    let bind = |address: &str| UdpSocket::bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    let (ours, other) = (bind(any), bind(loopback));
    let address = SocketAddr::new(loopback.parse().unwrap(), ours.local_addr().unwrap().port());
    (ours, other, address)
}

const FAMILIES: [(&str, &str); 2] = [("0.0.0.0", "127.0.0.1"), ("::", "::1")];

#[test]
fn a_message_comes_with_its_sender_its_destination_and_its_interface_overlapped() {
    for (any, loopback) in FAMILIES {
        let (ours, other, address) = pair(any, loopback);
        ours.receive_headers(true).unwrap();
        let ours = somewhere(ours);
        for pended in [true, false] {
            let send = || run(other.send_to(b"hello", address)).result.unwrap();
            if !pended {
                send();
            }
            let receive = start(ours.recv_msg(vec![0; 64]));
            if pended {
                send();
            }
            let done = finish(receive);
            let message = done.result.unwrap();
            assert_eq!((done.bytes, &done.buffer[..], message.truncated), (5, &b"hello"[..], false));
            assert_eq!(message.from.ip(), Some(other.local_addr().unwrap()));
            assert_eq!(message.to, Some(address.ip()), "of {any}, pended: {pended}");
            assert!(message.interface.is_some_and(|index| index > 0), "{message:?}");
            assert!(message.warning().is_none());
        }
    }
}

#[test]
fn a_message_comes_with_its_headers_as_a_packet() {
    let port = port(1);
    let (ours, other, address) = pair("0.0.0.0", "127.0.0.1");
    ours.receive_headers(true).unwrap();
    let ours = port.home(ours, 7);
    packet(ours.recv_msg(within_mut(|io: &mut Io| &mut io.buf[..])), block(1, 16));
    nothing(&port);
    run(other.send_to(b"hello", address)).result.unwrap();
    let packet = success(&port);
    assert_eq!((packet.key, packet.op, packet.done.bytes), (7, OpKind::RecvMsg, 5));
    let Value::Message(message) = packet.done.result.unwrap() else { panic!("a message was due") };
    assert_eq!((message.from.ip(), message.to), (other.local_addr().ok(), Some(address.ip())));
    assert_eq!(&packet.block.unwrap().buf[..5], b"hello");
}

#[test]
fn a_socket_that_keeps_no_headers_tells_the_sender_alone() {
    let (ours, other, address) = pair("0.0.0.0", "127.0.0.1");
    for on in [false, true, false] {
        ours.receive_headers(on).unwrap();
        run(other.send_to(b"hello", address)).result.unwrap();
        let message = run(ours.recv_msg(vec![0; 64])).result.unwrap();
        assert_eq!(message.from.ip(), other.local_addr().ok());
        assert_eq!((message.to.is_some(), message.interface.is_some()), (on, on));
    }
}

#[test]
fn a_truncated_message_is_reported_with_its_data_and_its_headers() {
    let (ours, other, address) = pair("0.0.0.0", "127.0.0.1");
    ours.receive_headers(true).unwrap();
    for pended in [true, false] {
        let send = || run(other.send_to(b"longer than four", address)).result.unwrap();
        if !pended {
            send();
        }
        let receive = start(ours.recv_msg(vec![0; 4]));
        if pended {
            send();
        }
        let done = finish(receive);
        assert_eq!((done.bytes, &done.buffer[..]), (4, &b"long"[..]));
        let message = done.result.unwrap();
        assert_eq!((message.from.ip(), message.truncated), (other.local_addr().ok(), true));
        assert_eq!(message.to, Some(address.ip()));
        assert_eq!(message.warning().unwrap().code(), Code::MessageTruncated);
    }
}

#[test]
fn a_message_receive_of_no_bytes_waits_for_one_and_takes_none() {
    let (ours, other, address) = pair("0.0.0.0", "127.0.0.1");
    let ours = somewhere(ours);
    let receive = pending(start(ours.recv_msg(Vec::new())));
    run(other.send_to(b"hello", address)).result.unwrap();
    let done = finish(receive);
    assert_eq!((done.bytes, done.result.unwrap().from.ip()), (0, None));
    assert_eq!(run(ours.recv_from(vec![0; 16])).buffer, b"hello");
}

#[test]
fn a_message_receive_is_cancelled_and_gives_its_buffer_back() {
    let ours = somewhere(pair("0.0.0.0", "127.0.0.1").0);
    let receive = start(ours.recv_msg(vec![0; 16]));
    ours.cancel_all().unwrap();
    let done = finish(receive);
    assert_eq!((code(&done), done.buffer.capacity()), (Some(Code::Cancelled), 16));
}

#[test]
fn messages_are_scattered_and_gathered_in_order() {
    let port = port(1);
    let (ours, _, address) = pair("0.0.0.0", "127.0.0.1");
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
    packet(ours.recv_msg_vectored(scatter), block(1, 8));
    packet(ours.send_msg_vectored(gather, Headers::to(address)), Block::new(Io { buf: b"45670123".to_vec(), tag: 2 }));
    for _ in 0..2 {
        let packet = success(&port);
        let io = packet.block.unwrap();
        assert_eq!(packet.done.bytes, 8);
        match io.tag {
            1 => assert_eq!((packet.op, &io.buf[..]), (OpKind::RecvMsg, &b"56701234"[..])),
            _ => assert_eq!(packet.op, OpKind::SendMsg),
        }
    }
}

#[test]
fn a_message_goes_to_an_address_or_to_the_connected_peer() {
    let port = port(1);
    let (ours, other, _) = pair("127.0.0.1", "127.0.0.1");
    let ours = port.home(ours, 7);
    let (from, to) = (ours.local_addr().unwrap(), other.local_addr().unwrap());
    let send = |headers| {
        packet(ours.send_msg(within(|io: &mut Io| &io.buf[..]), headers), Block::new(Io { buf: b"hello".to_vec(), tag: 1 }));
        success(&port).done.bytes
    };
    assert_eq!(send(Headers::to(to)), 5);
    ours.connect(to).unwrap();
    assert_eq!(send(Headers::to_peer()), 5);
    for _ in 0..2 {
        let done = run(other.recv_from(vec![0; 16]));
        assert_eq!((&done.buffer[..], done.result.unwrap().from.ip()), (&b"hello"[..], Some(from)));
    }
}

#[test]
fn the_headers_chosen_for_a_message_are_those_it_arrives_with() {
    for (any, loopback) in FAMILIES {
        let (ours, other, address) = pair(any, loopback);
        ours.receive_headers(true).unwrap();
        // A single datagram's hop limit and class are Linux's.
        let chooses = !cfg!(windows);
        let mut headers = Headers::to(address).from(address.ip());
        if chooses {
            headers = headers.hop_limit(7).traffic_class(0xb8 | 1);
        }
        for connected in [false, true] {
            if connected {
                other.connect(address).unwrap();
                headers.to = None;
            }
            assert_eq!(run(other.send_msg(b"hello", headers.clone())).bytes, 5);
            let message = run(ours.recv_msg(vec![0; 16])).result.unwrap();
            assert_eq!((message.from.ip(), message.to), (other.local_addr().ok(), Some(address.ip())));
            if chooses {
                assert_eq!((message.hop_limit, message.traffic_class), (Some(7), Some(0xb9)), "of {any}");
            }
        }
    }
}

#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    if wine() {
        skip!("an_answer_comes_from_the_address_that_was_asked", "Wine's WSASendMsg ignores control data");
    }
    let port = port(1);
    let (server, client, asked) = pair("0.0.0.0", "127.0.0.1");
    // Another address of this system than the one it would choose for the answer.
    let asked = SocketAddr::new([127, 0, 0, 2].into(), asked.port());
    server.receive_headers(true).unwrap();
    let server = port.home(server, 7);
    run(client.send_to(b"ask", asked)).result.unwrap();
    packet(server.recv_msg(within_mut(|io: &mut Io| &mut io.buf[..])), block(1, 16));
    let Value::Message(message) = success(&port).done.result.unwrap() else { panic!("a message was due") };
    assert_eq!(message.to, Some(asked.ip()));
    packet(server.send_msg(within(|io: &mut Io| &io.buf[..]), message.reply().unwrap()), block(2, 3));
    assert_eq!(success(&port).done.bytes, 3);
    let answer = run(client.recv_from(vec![0; 16]));
    assert_eq!((answer.bytes, answer.result.unwrap().from.ip()), (3, Some(asked)));
}

#[test]
fn a_socket_of_both_families_tells_the_mapped_address_of_an_ipv4_message() {
    let both = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).unwrap();
    both.set_only_v6(false).unwrap();
    both.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let both = UdpSocket::from(std::net::UdpSocket::from(both));
    both.receive_headers(true).unwrap();
    let other = UdpSocket::bind(ANY).unwrap();
    let port = both.local_addr().unwrap().port();
    run(other.send_to(b"hello", SocketAddr::new([127, 0, 0, 1].into(), port))).result.unwrap();
    let message = run(both.recv_msg(vec![0; 16])).result.unwrap();
    assert_eq!(message.to, Some("::ffff:127.0.0.1".parse::<IpAddr>().unwrap()));
    run(both.send_msg(b"answer", message.reply().unwrap())).result.unwrap();
    let answer = run(other.recv_from(vec![0; 16])).result.unwrap();
    assert_eq!(answer.from.ip(), Some(SocketAddr::new([127, 0, 0, 1].into(), port)));
}

#[test]
fn headers_that_no_datagram_can_have_are_refused() {
    let (ours, _, address) = pair("0.0.0.0", "127.0.0.1");
    for headers in [Headers::to(address).hop_limit(0), Headers::to(address).from("::1".parse().unwrap())] {
        let refused = ours.send_msg(b"hello".to_vec(), headers).start().unwrap_err();
        assert_eq!((refused.error.code(), &refused.back[..]), (Code::InvalidParameter, &b"hello"[..]));
    }
    let done = run(ours.send_msg(b"nobody to send it to", Headers::to_peer().from(address.ip())));
    // Wine's answer is the latter.
    assert!(matches!(code(&done), Some(Code::NotConnected | Code::InvalidParameter)), "{:?}", done.result);
}

#[test]
fn a_message_from_an_address_that_is_not_ours_fails() {
    if wine() {
        skip!("a_message_from_an_address_that_is_not_ours_fails", "Wine's WSASendMsg ignores control data");
    }
    let (ours, _, address) = pair("0.0.0.0", "127.0.0.1");
    let done = run(ours.send_msg(b"hello", Headers::to(address).from([192, 0, 2, 1].into())));
    let code = code(&done).expect("an error");
    assert!(matches!(code, Code::InvalidParameter | Code::AddressNotAvailable | Code::NetworkUnreachable), "{code:?}");
}
