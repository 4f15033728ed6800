//! SEMANTICS 1: ports, keys and homes.

use std::io::Write;
use std::sync::Arc;

use proactor::fs::{File, OpenOptions};
use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::{Block, Code, OpKind, Outcome, within_mut};

use crate::common::*;

#[test]
fn a_new_port_is_open_and_empty() {
    for limit in [0, 1, u32::MAX] {
        let port = port(limit);
        assert!(!port.is_closed());
        assert!(matches!(port.get(std::time::Duration::ZERO), Ok(Outcome::TimedOut)));
    }
}

#[test]
fn associating_after_the_first_operation_is_error_87() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let receive = start(ours.recv(vec![0; 16]));
    let refused = port.try_home(ours, 1).unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    let ours = refused.back;
    peer.write_all(b"hello").unwrap();
    assert_eq!(finish(receive).buffer, b"hello");
    assert_eq!(port.try_home(ours, 1).unwrap_err().error.code(), Code::InvalidParameter, "for life");
}

#[test]
fn a_refused_packet_does_not_give_the_object_a_home() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let refused = ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])).packet(block(0, 16)).unwrap_err();
    let ours = port.home(ours, 1);
    packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])), refused.back);
    peer.write_all(b"hello").unwrap();
    assert_eq!(success(&port).done.bytes, 5);
}

#[test]
fn any_key_is_legal_zero_and_duplicates_too() {
    let port = port(1);
    let sockets = [0, 0, 5, 5, usize::MAX].map(|key| {
        let socket = UdpSocket::bind(ANY).unwrap();
        let socket = port.home(socket, key);
        (socket, key)
    });
    for (tag, (socket, key)) in sockets.iter().enumerate() {
        packet(socket.recv_from(within_mut(|io: &mut Io| &mut io.buf[..])), block(tag, 4));
        std::net::UdpSocket::bind(ANY).unwrap().send_to(b"x", socket.local_addr().unwrap()).unwrap();
        let packet = success(&port);
        assert_eq!((packet.key, packet.block.unwrap().tag), (*key, tag));
    }
    for key in [0, 0, 1, usize::MAX] {
        port.post(key, 0, None).unwrap();
        assert_eq!(success(&port).key, key);
    }
}

#[test]
fn objects_of_every_kind_share_a_port_each_with_its_key() {
    let port = port(1);
    let scratch = Scratch::new("kinds");
    let listener = TcpListener::bind(ANY).unwrap();
    let socket = UdpSocket::bind(ANY).unwrap();
    let file = File::open_now(&scratch.0, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    let client = TcpStream::unconnected_v4().unwrap();
    let listener = port.home(listener, 1);
    let socket = port.home(socket, 2);
    let file = port.home(file, 3);
    let client = port.home(client, 4);
    packet(listener.accept(), block(1, 0));
    packet(socket.readable(), block(2, 0));
    packet(file.sync_all(), block(3, 0));
    packet(client.connect(listener.local_addr().unwrap()), block(4, 0));
    std::net::UdpSocket::bind(ANY).unwrap().send_to(b"x", socket.local_addr().unwrap()).unwrap();
    let mut came: Vec<_> = (0..4)
        .map(|_| {
            let packet = success(&port);
            assert_eq!(packet.key, packet.block.as_ref().unwrap().tag);
            (packet.key, packet.op)
        })
        .collect();
    came.sort_unstable_by_key(|(key, _)| *key);
    assert_eq!(came, [(1, OpKind::Accept), (2, OpKind::Ready), (3, OpKind::Sync), (4, OpKind::Connect)]);
}

#[test]
fn associating_with_a_closed_port_is_error_6_and_leaves_the_object_free() {
    let (closed, open) = (port(1), port(1));
    closed.close();
    let (ours, mut peer) = homeless();
    let refused = closed.try_home(ours, 1).unwrap_err();
    assert_eq!((refused.error.code(), refused.error.code().win32()), (Code::InvalidHandle, 6));
    let ours = refused.back;
    let ours = open.home(ours, 2);
    receive(&ours, 0, 16);
    peer.write_all(b"hello").unwrap();
    assert_eq!(success(&open).key, 2);
}

#[test]
fn a_key_dies_after_the_object_and_its_last_packet() {
    let key = Arc::new(42);
    let port = port_of::<Io, Arc<i32>>();
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, key.clone());
    assert_eq!(Arc::strong_count(&key), 2, "the port's own copy");
    packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])), block(0, 4));
    packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])), block(1, 4));
    peer.write_all(b"data").unwrap();
    let first = success(&port);
    assert_eq!((*first.key, Arc::strong_count(&key)), (42, 3));
    drop(ours);
    drop(first);
    assert_eq!(Arc::strong_count(&key), 2, "a packet is still to come");
    let (last, _) = failure(&port);
    assert!(Arc::ptr_eq(&last.key, &key));
    drop(last);
    until("the key is dropped", || Arc::strong_count(&key) == 1);
}

#[test]
fn a_posted_key_belongs_to_its_packet() {
    let key = Arc::new(());
    let port = port_of::<Io, Arc<()>>();
    port.post(key.clone(), 0, None).unwrap();
    port.post(key.clone(), 0, Some(Block::new(Io { buf: Vec::new(), tag: 0 }))).unwrap();
    for _ in 0..2 {
        assert!(Arc::ptr_eq(&success(&port).key, &key));
    }
    assert_eq!(Arc::strong_count(&key), 1);
}

#[test]
fn many_objects_come_and_go_on_one_port() {
    let port = port(1);
    for round in 0..300 {
        let (ours, mut peer) = homeless();
        let ours = port.home(ours, round);
        receive(&ours, round, 4);
        peer.write_all(b"data").unwrap();
        let packet = success(&port);
        assert_eq!((packet.key, packet.block.unwrap().tag, packet.done.bytes), (round, round, 4));
    }
    nothing(&port);
}
