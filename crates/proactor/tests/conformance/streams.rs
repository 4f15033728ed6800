//! SEMANTICS 11, the receiving half: what a receive completes with, resets and orderly closes, readiness.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use proactor::net::{TcpStream, UnixStream};
use proactor::{BufferPool, Code, GatherMut, OpKind, within, within_list_mut, within_mut};

use crate::common::*;

#[test]
fn a_receive_takes_what_is_there_and_not_more_than_fits() {
    let (ours, mut peer) = stream();
    peer.write_all(b"0123456789").unwrap();
    let done = run(ours.recv(vec![0; 4]));
    assert_eq!((done.bytes, &done.buffer[..]), (4, &b"0123"[..]));
    let done = run(ours.recv(vec![0; 64]));
    assert_eq!((done.bytes, &done.buffer[..]), (6, &b"456789"[..]));
}

#[test]
fn a_receive_fills_only_the_part_of_the_block_that_was_named() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[2..6])), block(1, 8));
    peer.write_all(b"abcdefgh").unwrap();
    let packet = success(&port);
    assert_eq!((packet.done.bytes, &packet.block.unwrap().buf[..]), (4, &b"\0\0abcd\0\0"[..]));
}

#[test]
fn a_vectored_receive_fills_its_buffers_in_order_as_a_packet() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let parts = within_list_mut(|io: &mut Io, list: &mut GatherMut<'_>| {
        let (head, body) = io.buf.split_at_mut(3);
        // Body first: the order is the list's, not the memory's.
        list.push(body);
        list.push(head);
    });
    peer.write_all(b"bodyhea").unwrap();
    packet(ours.recv_vectored(parts), block(1, 7));
    let packet = success(&port);
    assert_eq!((packet.done.bytes, &packet.block.unwrap().buf[..]), (7, &b"heabody"[..]));
}

#[test]
fn a_vectored_receive_fills_its_buffers_in_order_overlapped() {
    let (ours, mut peer) = stream();
    let receive = start(ours.recv_vectored(vec![Vec::with_capacity(3), Vec::with_capacity(0), Vec::with_capacity(8)]));
    peer.write_all(b"01234").unwrap();
    let done = finish(receive);
    assert_eq!(
        (done.bytes, &done.buffer[0][..], &done.buffer[1][..], &done.buffer[2][..]),
        (5, &b"012"[..], &b""[..], &b"34"[..])
    );
    let receive = start(ours.recv_vectored([[0; 2], [0; 2]]));
    peer.write_all(b"abcd").unwrap();
    assert_eq!(finish(receive).buffer, [*b"ab", *b"cd"]);
}

#[test]
fn a_vectored_receive_takes_a_thousand_buffers() {
    let (ours, mut peer) = stream();
    peer.write_all(&pattern(1000, 3)).unwrap();
    run(ours.readable()).result.unwrap();
    let mut all = Vec::new();
    while all.len() < 1000 {
        let done = run(ours.recv_vectored(vec![[0_u8; 1]; 1000]));
        assert!(done.bytes > 0);
        all.extend(done.buffer.iter().map(|[byte]| *byte).take(done.bytes));
    }
    assert_eq!(all, pattern(1000, 3));
}

#[test]
fn leased_buffers_come_back_with_the_data() {
    let pool = BufferPool::new(1, 64);
    let (ours, mut peer) = stream();
    let receive = start(ours.recv(pool.take().unwrap()));
    peer.write_all(b"hello").unwrap();
    let done = finish(receive);
    assert_eq!(&done.buffer[..], b"hello");
    drop(done);
    assert_eq!(pool.available(), 1);
}

#[test]
fn an_orderly_close_is_a_success_with_no_bytes_for_every_receive() {
    let port = port(1);
    let (ours, peer) = homeless();
    let ours = port.home(ours, 7);
    for tag in 0..3 {
        receive(&ours, tag, 16);
    }
    nothing(&port);
    peer.shutdown(Shutdown::Write).unwrap();
    for tag in 0..3 {
        let packet = success(&port);
        assert_eq!((packet.done.bytes, packet.block.unwrap().tag), (0, tag));
    }
    receive(&ours, 3, 16);
    assert_eq!(success(&port).done.bytes, 0, "and again for a later one");
    assert_eq!(run(ours.recv(vec![0; 16])).bytes, 0);
}

#[test]
fn data_sent_before_an_orderly_close_comes_first() {
    let (ours, mut peer) = stream();
    peer.write_all(b"last words").unwrap();
    drop(peer);
    assert_eq!(run(ours.recv(vec![0; 4])).buffer, b"last");
    assert_eq!(run(ours.recv(vec![0; 16])).buffer, b" words");
    assert_eq!(run(ours.recv(vec![0; 16])).bytes, 0);
}

#[test]
fn a_close_right_behind_the_data_is_not_missed() {
    for _ in 0..300 {
        let port = port(1);
        let (ours, mut peer) = homeless();
        let ours = port.home(ours, 7);
        receive(&ours, 0, 64);
        receive(&ours, 1, 64);
        peer.write_all(b"x").unwrap();
        drop(peer);
        assert_eq!(success(&port).done.bytes, 1);
        assert_eq!(success(&port).done.bytes, 0);
    }
}

#[test]
fn a_reset_while_receives_are_pending_is_never_taken_for_an_orderly_close() {
    let port = port(1);
    let (ours, peer) = homeless();
    let ours = port.home(ours, 7);
    for tag in 0..3 {
        receive(&ours, tag, 16);
    }
    nothing(&port);
    reset(peer);
    for tag in 0..3 {
        let (packet, code) = failure(&port);
        assert_eq!((packet.key, packet.done.bytes, packet.block.unwrap().tag), (7, 0, tag));
        assert_eq!((code, code.win32(), code.winsock()), (Code::ConnectionReset, 64, 10054));
    }
}

#[test]
fn a_receive_after_a_reset_fails() {
    if wine() {
        skip!("a_receive_after_a_reset_fails", "Wine answers a receive after a reset with success and 0 bytes");
    }
    let (ours, peer) = stream();
    let pended = start(ours.recv(vec![0; 16]));
    reset(peer);
    assert_eq!(code(&finish(pended)), Some(Code::ConnectionReset));
    for _ in 0..3 {
        assert_eq!(code(&run(ours.recv(vec![0; 16]))), Some(Code::ConnectionReset));
    }
}

#[test]
fn a_reset_that_came_before_the_receive_is_reported() {
    if wine() {
        skip!("a_reset_that_came_before_the_receive_is_reported", "Wine answers success with 0 bytes");
    }
    let (ours, peer) = stream();
    let ready = start(ours.readable());
    reset(peer);
    let _ = finish(ready);
    assert_eq!(code(&run(ours.recv(vec![0; 16]))), Some(Code::ConnectionReset));
}

#[test]
fn a_reset_seen_by_a_send_is_not_an_orderly_close_for_the_next_receive() {
    if wine() {
        skip!("a_reset_seen_by_a_send_is_not_an_orderly_close_for_the_next_receive", "Wine answers success with 0 bytes");
    }
    let (ours, peer) = stream();
    reset(peer);
    until("a send fails", || code(&run(ours.send(b"x"))) == Some(Code::ConnectionReset));
    for _ in 0..3 {
        assert_eq!(code(&run(ours.recv(vec![0; 16]))), Some(Code::ConnectionReset));
    }
}

#[test]
fn a_reset_after_this_side_shut_sending_down_is_not_an_orderly_close() {
    let (ours, peer) = stream();
    run(ours.shutdown(Shutdown::Write)).result.unwrap();
    let (first, second) = (start(ours.recv(vec![0; 16])), start(ours.recv(vec![0; 16])));
    reset(peer);
    assert_eq!(code(&finish(first)), Some(Code::ConnectionReset));
    assert_eq!(code(&finish(second)), Some(Code::ConnectionReset));
}

#[test]
fn an_orderly_close_of_both_sides_is_not_a_reset() {
    let (ours, mut peer) = stream();
    run(ours.shutdown(Shutdown::Write)).result.unwrap();
    assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0);
    drop(peer);
    for _ in 0..3 {
        let done = run(ours.recv(vec![0; 16]));
        assert_eq!((done.bytes, code(&done)), (0, None));
    }
}

#[test]
fn an_orderly_close_the_peer_began_is_not_a_reset() {
    let (ours, mut peer) = stream();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(run(ours.recv(vec![0; 16])).bytes, 0);
    run(ours.shutdown(Shutdown::Write)).result.unwrap();
    assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0);
    for _ in 0..3 {
        let done = run(ours.recv(vec![0; 16]));
        assert_eq!((done.bytes, code(&done)), (0, None));
    }
}

#[test]
fn non_blocking_mode_and_receive_timeouts_do_not_affect_operations() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let options = socket2::SockRef::from(&ours);
    options.set_nonblocking(true).unwrap();
    options.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    options.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
    let ours = port.home(ours, 7);
    receive(&ours, 0, 16);
    nothing(&port);
    peer.write_all(b"hello").unwrap();
    assert_eq!(success(&port).done.bytes, 5);
    let send = start(ours.send(vec![1; 8 << 20]));
    let send = pending(send);
    let reader = reader_of(8 << 20, peer);
    assert_eq!(finish(send).bytes, 8 << 20);
    reader.join();
}

#[test]
fn a_receive_of_no_bytes_waits_for_data_and_takes_none() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive(&ours, 0, 0);
    nothing(&port);
    peer.write_all(b"hello").unwrap();
    let packet = success(&port);
    assert_eq!((packet.op, packet.done.bytes), (OpKind::Recv, 0));
    receive(&ours, 1, 0);
    assert_eq!(success(&port).done.bytes, 0, "at once, now that data is there");
    let done = run(ours.recv(Vec::new()));
    assert_eq!((done.bytes, code(&done)), (0, None));
    assert_eq!(run(ours.recv(vec![0; 16])).buffer, b"hello");
}

#[test]
fn readiness_to_read_takes_no_data() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    packet(ours.readable(), block(0, 0));
    nothing(&port);
    peer.write_all(b"hello").unwrap();
    let packet = success(&port);
    assert_eq!((packet.op, packet.done.bytes), (OpKind::Ready, 0));
    assert_eq!(run(ours.readable()).bytes, 0);
    assert_eq!(run(ours.recv(vec![0; 16])).buffer, b"hello");
    let ready = start(ours.readable());
    let ready = pending(ready); // the data is taken
    drop(peer);
    finish(ready).result.expect("an orderly close can be read");
}

#[test]
fn readiness_to_write_waits_for_room() {
    let (ours, peer) = stream();
    run(ours.writable()).result.unwrap();
    let send = start(ours.send(vec![1; 8 << 20]));
    let writable = start(ours.writable());
    let writable = pending(writable); // behind a send that is not over
    let reader = reader_of(8 << 20, peer);
    assert_eq!(finish(send).bytes, 8 << 20);
    reader.join();
    finish(writable).result.unwrap();
}

#[test]
fn receives_do_not_wait_for_sends() {
    let (ours, mut peer) = stream();
    let send = start(ours.send(vec![1; 8 << 20]));
    let receive = start(ours.recv(vec![0; 16]));
    peer.write_all(b"hello").unwrap();
    assert_eq!(finish(receive).buffer, b"hello");
    assert!(!send.is_complete());
    drop(peer);
    assert!(finish(send).result.is_err());
}

#[test]
fn a_receive_on_a_socket_that_is_not_connected_fails_with_its_code() {
    let port = port(1);
    let ours = TcpStream::unconnected_v4().unwrap();
    let ours = port.home(ours, 7);
    receive(&ours, 0, 16);
    assert_eq!(failure(&port).1, Code::NotConnected);
}

#[test]
fn a_send_on_a_socket_that_is_not_connected_fails_with_its_code() {
    if wine() {
        skip!("a_send_on_a_socket_that_is_not_connected_fails_with_its_code", "Wine answers 10054");
    }
    let port = port(1);
    let ours = TcpStream::unconnected_v4().unwrap();
    let ours = port.home(ours, 7);
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(1, 16));
    assert_eq!(failure(&port).1, Code::NotConnected);
}

#[test]
fn a_stream_of_the_standard_librarys_goes_in_and_out() {
    let (ours, mut peer) = stream();
    let pending = start(ours.recv(vec![0; 16]));
    let refused = ours.into_std().unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    let ours = refused.back;
    pending.cancel().unwrap();
    assert_eq!(code(&finish(pending)), Some(Code::Cancelled));
    let mut std = ours.into_std().unwrap();
    peer.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    std.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
}

#[test]
fn unix_streams_keep_the_same_promises() {
    let Ok((ours, peer)) = UnixStream::pair() else {
        skip!("unix_streams_keep_the_same_promises", "this system has no pairs of Unix sockets");
    };
    let port = port(1);
    let ours = port.home(ours, 7);
    for tag in 0..3 {
        packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])), block(tag, 4));
    }
    assert_eq!(run(peer.send(b"aaaabbbbcccc")).bytes, 12);
    for (tag, data) in [b"aaaa", b"bbbb", b"cccc"].into_iter().enumerate() {
        let io = success(&port).block.unwrap();
        assert_eq!((io.tag, &io.buf[..]), (tag, &data[..]));
    }
    let closing = start(peer.recv(vec![0; 4]));
    drop(peer);
    assert_eq!(code(&finish(closing)), Some(Code::ConnectionAborted));
    assert_eq!(run(ours.recv(vec![0; 4])).bytes, 0);
}
