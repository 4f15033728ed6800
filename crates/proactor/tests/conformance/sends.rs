//! SEMANTICS 11, the sending half: one completion, the full count.

use std::io::Read;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use proactor::{Block, Code, Gather, Slice, within, within_list};

use crate::common::*;

const ALL: usize = 8 << 20;

/// Reads to the end, at first not at all and then in small steps.
fn slow_reader(mut peer: std::net::TcpStream, begin: &Flag) -> Worker<Vec<u8>> {
    let begin = begin.clone();
    worker(move || {
        begin.wait();
        let (mut all, mut piece) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            match peer.read(&mut piece).unwrap() {
                0 => return all,
                n => all.extend_from_slice(&piece[..n]),
            }
            if all.len() < 1 << 20 {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    })
}

#[test]
fn a_send_completes_whole_though_the_reader_is_slow_as_a_packet() {
    let port = port(1);
    let (ours, peer) = homeless();
    socket2::SockRef::from(&ours).set_send_buffer_size(64 << 10).unwrap();
    let ours = port.home(ours, 7);
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), Block::new(Io { buf: pattern(ALL, 1), tag: 1 }));
    let begin = Flag::default();
    let reader = slow_reader(peer, &begin);
    nothing(&port);
    begin.set();
    let packet = success(&port);
    assert_eq!((packet.key, packet.done.bytes, packet.block.unwrap().buf.len()), (7, ALL, ALL));
    drop(ours);
    assert!(reader.join() == pattern(ALL, 1));
}

#[test]
fn a_send_completes_whole_though_the_reader_is_slow_overlapped() {
    let (ours, peer) = stream();
    socket2::SockRef::from(&ours).set_send_buffer_size(64 << 10).unwrap();
    let data: Arc<[u8]> = pattern(ALL, 2).into();
    let begin = Flag::default();
    let reader = slow_reader(peer, &begin);
    let send = start(ours.send(data.clone()));
    let send = pending(send);
    assert_eq!(Arc::strong_count(&data), 2, "the operation holds the buffer");
    begin.set();
    let done = finish(send);
    assert_eq!((done.bytes, code(&done)), (ALL, None));
    drop((done, ours));
    assert_eq!(Arc::strong_count(&data), 1);
    assert!(reader.join() == data[..]);
}

#[test]
fn a_vectored_send_goes_out_whole_and_in_order_overlapped() {
    let (ours, peer) = stream();
    socket2::SockRef::from(&ours).set_send_buffer_size(64 << 10).unwrap();
    let begin = Flag::default();
    let reader = slow_reader(peer, &begin);
    begin.set();
    let whole = pattern(1 << 20, 3);
    // Of uneven lengths, some of them nothing: more than one system call takes.
    let mut parts = Vec::new();
    let mut at = 0;
    for n in 0_usize.. {
        let len = ((n * 977) % 4001).min(whole.len() - at);
        parts.push(whole[at..at + len].to_vec());
        at += len;
        if at == whole.len() {
            break;
        }
    }
    assert!(parts.len() > 64);
    let done = run(ours.send_vectored(parts));
    assert_eq!((done.bytes, code(&done)), (whole.len(), None));
    drop(ours);
    assert!(reader.join() == whole);
}

#[test]
fn a_vectored_send_goes_out_whole_and_in_order_as_a_packet() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let parts = within_list(|io: &mut Io, list: &mut Gather<'_>| {
        list.push(&io.buf[4..]);
        list.push(&[]);
        list.push(&io.buf[..4]);
    });
    packet(ours.send_vectored(parts), Block::new(Io { buf: b"headbody".to_vec(), tag: 0 }));
    assert_eq!(success(&port).done.bytes, 8);
    let mut text = [0; 8];
    peer.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"bodyhead");
}

#[test]
fn buffers_of_every_kind_can_be_sent() {
    let (ours, mut peer) = stream();
    let array: [u8; 2] = *b"ar";
    assert_eq!(run(ours.send(array)).bytes, 2);
    assert_eq!(run(ours.send("text")).bytes, 4);
    assert_eq!(run(ours.send(b"bytes")).bytes, 5);
    assert_eq!(run(ours.send(vec![b'v'; 3])).bytes, 3);
    assert_eq!(run(ours.send(vec![b'b'; 2].into_boxed_slice())).bytes, 2);
    assert_eq!(run(ours.send(Slice::new(b"a slice of it".to_vec(), 2..7).unwrap())).buffer.into_inner(), b"a slice of it");
    let mut text = [0; 21];
    peer.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"artextbytesvvvbbslice");
}

#[test]
fn a_send_of_no_bytes_succeeds_with_a_packet() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 7);
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(1, 0));
    let packet = success(&port);
    assert_eq!((packet.done.bytes, packet.block.unwrap().tag), (0, 1));
    nothing(&port);
    let done = run(ours.send_vectored(vec![Vec::new(), Vec::new()]));
    assert_eq!((done.bytes, code(&done)), (0, None));
}

#[test]
fn the_list_of_buffers_is_captured_at_the_call() {
    let (ours, mut peer) = stream();
    let mut parts = vec![&b"one "[..], &b"two"[..]];
    let send = start(ours.send_vectored(parts.clone()));
    parts.clear();
    assert_eq!(finish(send).bytes, 7);
    let mut text = [0; 7];
    peer.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"one two");
}

#[test]
fn a_send_after_shutdown_is_error_10058() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    packet(ours.shutdown(Shutdown::Write), block(0, 0));
    assert_eq!(success(&port).done.bytes, 0);
    for _ in 0..2 {
        packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(1, 4));
        let (packet, code) = failure(&port);
        assert_eq!((packet.done.bytes, packet.block.unwrap().buf.len()), (0, 4));
        assert_eq!((code, code.winsock()), (Code::Shutdown, 10058));
    }
    let done = run(ours.send(b"late"));
    assert_eq!((code(&done), done.buffer), (Some(Code::Shutdown), b"late"));
    assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0, "the peer sees an orderly close");
}

#[test]
fn a_shutdown_follows_the_sends_started_before_it() {
    let (ours, peer) = stream();
    let send = start(ours.send(pattern(ALL, 4)));
    let shutdown = start(ours.shutdown(Shutdown::Write));
    let shutdown = pending(shutdown);
    let reader = reader(peer);
    assert_eq!(finish(send).bytes, ALL);
    finish(shutdown).result.unwrap();
    assert!(reader.join() == pattern(ALL, 4), "everything came before the end");
}

#[test]
fn a_send_to_a_peer_that_reset_the_connection_fails_with_connection_reset() {
    let (ours, peer) = stream();
    let seen = start(ours.recv(vec![0; 4]));
    reset(peer);
    assert_eq!(code(&finish(seen)), Some(Code::ConnectionReset));
    for _ in 0..2 {
        assert_eq!(code(&run(ours.send(b"x"))), Some(Code::ConnectionReset));
    }
}

#[test]
fn a_pended_send_fails_when_the_peer_resets() {
    let port = port(1);
    let (ours, peer) = homeless();
    let ours = port.home(ours, 7);
    for tag in 0..2 {
        packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(tag, ALL));
    }
    nothing(&port);
    reset(peer);
    for tag in 0..2 {
        let (packet, code) = failure(&port);
        assert_eq!((packet.block.unwrap().tag, code), (tag, Code::ConnectionReset));
        assert!(packet.done.bytes < ALL);
    }
}
