//! SEMANTICS 7: closing ports and objects. `Arc` counts show that what travelled was dropped.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::{Block, Code, within, within_mut};

use crate::common::*;

/// A block whose drop can be seen.
struct Counted {
    buf: [u8; 16],
    _life: Arc<()>,
}

fn counted(life: &Arc<()>) -> Block<Counted> {
    Block::new(Counted { buf: [0; 16], _life: life.clone() })
}

fn all_dropped(what: &str, life: &Arc<()>) {
    until(what, || Arc::strong_count(life) == 1);
}

#[test]
fn a_closed_port_refuses_every_call_with_error_6() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 1);
    port.close();
    port.close();
    assert_eq!(port.get(LONG).unwrap_err().code(), Code::InvalidHandle);
    assert_eq!(port.get_many(&mut Batch::with_capacity(4), LONG).unwrap_err().code(), Code::InvalidHandle);
    let refused = port.post(9, 0, Some(block(5, 0))).unwrap_err();
    assert_eq!((refused.error.code(), refused.back.0, refused.back.1.unwrap().tag), (Code::InvalidHandle, 9, 5));
    let refused = ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])).packet(block(6, 1)).unwrap_err();
    assert_eq!((refused.error.code(), refused.back.tag), (Code::InvalidHandle, 6));
    assert_eq!(port.try_home(UdpSocket::bind(ANY).unwrap(), 1).unwrap_err().error.code(), Code::InvalidHandle);
}

#[test]
fn undelivered_packets_are_dropped_with_their_blocks_and_keys() {
    let life = Arc::new(());
    let port = port_of::<Counted, Arc<()>>();
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, life.clone());
    peer.write_all(b"hello").unwrap();
    assert_eq!(run(ours.readable()).bytes, 0);
    ours.recv(within_mut(|io: &mut Counted| &mut io.buf[..])).packet(counted(&life)).unwrap();
    for _ in 0..2000 {
        port.post(life.clone(), 0, Some(counted(&life))).unwrap();
        port.post(life.clone(), 0, None).unwrap();
    }
    port.close();
    drop((ours, port));
    all_dropped("every block and key is dropped", &life);
}

#[test]
fn pended_packet_operations_are_dropped_with_the_port_and_their_sockets_go_on() {
    let (life, key) = (Arc::new(()), Arc::new(()));
    let port = port_of::<Counted, Arc<()>>();
    let (ours, mut peer) = homeless();
    let listener = TcpListener::bind(ANY).unwrap();
    let udp = UdpSocket::bind(ANY).unwrap();
    let ours = port.home(ours, key.clone());
    let listener = port.home(listener, key.clone());
    let udp = port.home(udp, key.clone());
    ours.recv(within_mut(|io: &mut Counted| &mut io.buf[..])).packet(counted(&life)).unwrap();
    listener.accept().packet(counted(&life)).unwrap();
    udp.recv_from(within_mut(|io: &mut Counted| &mut io.buf[..])).packet(counted(&life)).unwrap();
    port.close();
    all_dropped("every block is dropped", &life);

    let accept = start(listener.accept());
    let _client = peer_of(listener.local_addr().unwrap());
    finish(accept).result.unwrap();
    let receive = start(ours.recv(vec![0; 16]));
    peer.write_all(b"still here").unwrap();
    assert_eq!(finish(receive).buffer, b"still here");
    assert_eq!(run(ours.send(b"yes")).bytes, 3);
    let mut answer = [0; 3];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(run(udp.send_to(b"x", udp.local_addr().unwrap())).bytes, 1);
    assert_eq!(run(udp.recv_from(vec![0; 4])).buffer, b"x");
    drop((ours, listener, udp, port));
    all_dropped("every key is dropped", &key);
}

#[test]
fn an_overlapped_operation_outlives_the_port_of_its_object() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 1);
    let receive = start(ours.recv(vec![0; 16]));
    port.close();
    drop(port);
    assert!(!receive.is_complete());
    peer.write_all(b"late").unwrap();
    assert_eq!(finish(receive).buffer, b"late");
}

#[test]
fn dropping_the_port_closes_it() {
    let life = Arc::new(());
    let port = port_of::<Counted, Arc<()>>();
    port.post(life.clone(), 0, Some(counted(&life))).unwrap();
    drop(port);
    all_dropped("the block and the key are dropped", &life);
}

#[test]
fn a_batch_of_a_closed_port_drops_what_it_holds() {
    let life = Arc::new(());
    let port = port_of::<Counted, Arc<()>>();
    for _ in 0..4 {
        port.post(life.clone(), 0, Some(counted(&life))).unwrap();
    }
    let mut batch = Batch::with_capacity(4);
    assert!(port.get_many(&mut batch, LONG).unwrap());
    assert_eq!(batch.len(), 4);
    drop(port);
    drop(batch);
    all_dropped("the batch's packets are dropped", &life);
}

#[test]
fn closing_a_stream_completes_its_receives_as_aborted_on_this_side() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 7);
    for tag in 0..3 {
        receive(&ours, tag, 16);
    }
    drop(ours);
    for tag in 0..3 {
        let (packet, code) = failure(&port);
        assert_eq!((packet.key, packet.done.bytes, code), (7, 0, Code::ConnectionAborted));
        assert_eq!((code.win32(), code.winsock()), (1236, 10053));
        assert_eq!(packet.block.unwrap().tag, tag, "in call order");
    }
    nothing(&port);
}

#[test]
fn closing_a_stream_completes_its_overlapped_operations() {
    let (ours, _peer) = stream();
    let (receive, ready) = (start(ours.recv(vec![0; 16])), start(ours.readable()));
    drop(ours);
    assert_eq!(code(&finish(receive)), Some(Code::ConnectionAborted));
    assert_eq!(code(&finish(ready)), Some(Code::ConnectionAborted));
}

#[test]
fn closing_a_stream_completes_a_pended_send_as_aborted() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 7);
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(1, 16 << 20));
    nothing(&port);
    drop(ours);
    let (packet, code) = failure(&port);
    assert_eq!(code, Code::ConnectionAborted);
    assert!(packet.done.bytes < 16 << 20);
}

#[test]
fn closing_a_listener_wakes_its_accepts_with_cancelled() {
    let port = port(1);
    let listener = TcpListener::bind(ANY).unwrap();
    let listener = port.home(listener, 7);
    packet(listener.accept(), block(0, 0));
    packet(listener.accept_with(within_mut(|io: &mut Io| &mut io.buf[..])), block(1, 16));
    packet(listener.readable(), block(2, 0));
    drop(listener);
    for _ in 0..3 {
        assert_eq!(failure(&port).1, Code::Cancelled);
    }
    nothing(&port);
}

#[test]
fn closing_a_datagram_socket_completes_its_receives_with_cancelled() {
    let port = port(1);
    let socket = UdpSocket::bind(ANY).unwrap();
    let socket = port.home(socket, 7);
    packet(socket.recv_from(within_mut(|io: &mut Io| &mut io.buf[..])), block(0, 16));
    drop(socket);
    assert_eq!(failure(&port).1, Code::Cancelled);
    let socket = UdpSocket::bind(ANY).unwrap();
    let receive = start(socket.recv_from(vec![0; 4]));
    drop(socket);
    assert_eq!(code(&finish(receive)), Some(Code::Cancelled));
}

#[test]
fn only_the_last_handle_closes() {
    let (ours, mut peer) = stream();
    let another = ours.clone();
    let receive = start(ours.recv(vec![0; 16]));
    drop(ours);
    assert!(!receive.is_complete());
    peer.write_all(b"hello").unwrap();
    assert_eq!(finish(receive).buffer, b"hello");
    let receive = start(another.recv(vec![0; 16]));
    drop(another);
    assert_eq!(code(&finish(receive)), Some(Code::ConnectionAborted));
}

#[test]
fn the_peer_learns_of_the_close_though_operations_were_pending() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive(&ours, 0, 16);
    drop(ours);
    assert_eq!(failure(&port).1, Code::ConnectionAborted);
    match peer.read(&mut [0; 4]) {
        Ok(n) => assert_eq!(n, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn an_accepted_connection_nobody_fetched_is_closed_with_the_port() {
    let port = port(1);
    let listener = TcpListener::bind(ANY).unwrap();
    let listener = port.home(listener, 7);
    let mut client = peer_of(listener.local_addr().unwrap());
    packet(listener.accept(), block(0, 0));
    port.post(0, 0, None).unwrap();
    // Fetching the post lets the accept complete; its packet stays behind.
    let fetched = take(&port);
    drop(fetched);
    drop(listener);
    port.close();
    match client.read(&mut [0; 4]) {
        Ok(n) => assert_eq!(n, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn a_closed_socket_gives_its_address_back() {
    let socket = somewhere(UdpSocket::bind(ANY).unwrap());
    let address = socket.local_addr().unwrap();
    let receive = start(socket.recv_from(vec![0; 4]));
    drop(socket);
    assert_eq!(code(&finish(receive)), Some(Code::Cancelled));
    UdpSocket::bind(address).expect("the address is free again");
    let (ours, peer) = stream();
    drop((TcpStream::from(peer), ours));
}
