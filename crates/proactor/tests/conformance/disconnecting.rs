//! SEMANTICS 15, what exists of it: disconnecting.

use std::io::{Read, Write};

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
