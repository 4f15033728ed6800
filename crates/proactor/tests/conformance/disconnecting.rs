//! SEMANTICS 15: disconnecting, for good and for reuse.

use std::io::{Read, Write};

use proactor::net::TcpStream;
use proactor::{Code, OpKind, within};

use crate::common::*;

#[test]
fn a_disconnect_yields_a_packet_and_closes_the_sending_half() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    packet(ours.disconnect(), block(1, 0));
    let done = success(&port);
    assert_eq!((done.key, done.op, done.done.bytes, done.block.unwrap().tag), (7, OpKind::Disconnect, 0, 1));
    assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0);
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(2, 4));
    let (_, code) = failure(&port);
    assert_eq!((code, code.winsock()), (Code::Shutdown, 10058));
}

#[test]
fn receives_go_on_after_a_disconnect() {
    let (ours, mut peer) = stream();
    let pended = start(ours.recv(vec![0; 16]));
    run(ours.disconnect()).result.unwrap();
    peer.write_all(b"still ").unwrap();
    assert_eq!(finish(pended).buffer, b"still ");
    peer.write_all(b"here").unwrap();
    assert_eq!(run(ours.recv(vec![0; 16])).buffer, b"here");
    drop(peer);
    assert_eq!(run(ours.recv(vec![0; 16])).bytes, 0);
}

#[test]
fn a_disconnect_follows_the_sends_started_before_it() {
    const ALL: usize = 8 << 20;
    let (ours, peer) = stream();
    let send = start(ours.send(pattern(ALL, 6)));
    let disconnect = start(ours.disconnect());
    let disconnect = pending(disconnect);
    let reader = reader(peer);
    assert_eq!(finish(send).bytes, ALL);
    finish(disconnect).result.unwrap();
    assert!(reader.join() == pattern(ALL, 6));
}

/// A listener's address, and each connection's peer as it comes.
fn peers(count: usize) -> (std::net::SocketAddr, std::sync::mpsc::Receiver<std::net::TcpStream>) {
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    let (send, come) = std::sync::mpsc::channel();
    worker(move || {
        for _ in 0..count {
            let (peer, _) = listener.accept().unwrap();
            peer.set_read_timeout(Some(LONG)).unwrap();
            send.send(peer).unwrap();
        }
    });
    (address, come)
}

#[test]
fn a_socket_disconnected_for_reuse_connects_again() {
    if wine() {
        skip!("a_socket_disconnected_for_reuse_connects_again", "Wine's DisconnectEx knows no TF_REUSE_SOCKET");
    }
    let (address, come) = peers(4);
    let port = port(1);
    let ours = port.home(TcpStream::unconnected_v4().unwrap(), 3);
    for turn in 0..4 {
        run(ours.connect(address)).result.unwrap();
        let mut peer = come.recv_timeout(LONG).unwrap();
        assert_eq!(run(ours.send(pattern(5, turn))).bytes, 5);
        let mut came = [0; 5];
        peer.read_exact(&mut came).unwrap();
        assert_eq!(came[..], pattern(5, turn));
        // Its receives are those of this connection.
        peer.write_all(b"long answer").unwrap();
        for _ in 0..11 {
            assert_eq!(run(ours.recv(vec![0; 1])).bytes, 1);
        }
        if turn % 2 == 0 {
            // The peer closes second.
            packet(ours.disconnect_for_reuse(), block(turn, 0));
            nothing(&port);
            assert_eq!(peer.read(&mut came).unwrap(), 0);
            drop(peer);
        } else {
            drop(peer);
            assert_eq!(run(ours.recv(vec![0; 8])).bytes, 0);
            packet(ours.disconnect_for_reuse(), block(turn, 0));
        }
        let done = success(&port);
        assert_eq!((done.key, done.op, done.block.unwrap().tag), (3, OpKind::Disconnect, turn));
        assert_eq!(code(&run(ours.send(vec![1]))), Some(Code::NotConnected));
    }
}

#[test]
fn a_disconnect_for_reuse_follows_the_sends_started_before_it() {
    if wine() {
        skip!("a_disconnect_for_reuse_follows_the_sends_started_before_it", "Wine's DisconnectEx knows no TF_REUSE_SOCKET");
    }
    const ALL: usize = 8 << 20;
    let (ours, peer) = stream();
    let send = start(ours.send(pattern(ALL, 6)));
    let disconnect = pending(start(ours.disconnect_for_reuse()));
    let reader = reader(peer);
    assert_eq!(finish(send).bytes, ALL);
    assert!(reader.join() == pattern(ALL, 6));
    finish(disconnect).result.unwrap();
    assert_eq!(code(&run(ours.disconnect_for_reuse())), Some(Code::NotConnected));
}

#[test]
fn a_disconnect_for_reuse_waits_for_the_peer_and_can_be_cancelled() {
    if wine() {
        skip!("a_disconnect_for_reuse_waits_for_the_peer_and_can_be_cancelled", "Wine's DisconnectEx knows no TF_REUSE_SOCKET");
    }
    let (ours, mut peer) = stream();
    let disconnect = pending(start(ours.disconnect_for_reuse()));
    disconnect.cancel().unwrap();
    assert_eq!(code(&finish(disconnect)), Some(Code::Cancelled));
    // The half is closed, and the other goes on.
    assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0);
    peer.write_all(b"still here").unwrap();
    assert_eq!(run(ours.recv(vec![0; 16])).buffer, b"still here");
    let disconnect = pending(start(ours.disconnect_for_reuse()));
    drop(peer);
    finish(disconnect).result.unwrap();
}

#[test]
fn without_a_connection_there_is_nothing_to_disconnect() {
    let ours = somewhere(TcpStream::unconnected_v4().unwrap());
    if wine() {
        skip!("without_a_connection_there_is_nothing_to_disconnect", "Wine's DisconnectEx knows no TF_REUSE_SOCKET");
    }
    assert_eq!(code(&run(ours.disconnect_for_reuse())), Some(Code::NotConnected));
}
