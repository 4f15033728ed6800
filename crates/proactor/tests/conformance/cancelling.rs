//! SEMANTICS 9: cancelling asks; the completion answers.

use std::io::{Read, Write};
use std::sync::{Arc, Barrier};

use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::{Code, within_mut};

use crate::common::*;

#[test]
fn cancelling_one_operation_leaves_the_others() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let tickets: Vec<_> = (0..3).map(|tag| receive(&ours, tag, 4)).collect();
    ours.cancel(tickets[1]).unwrap();
    let (packet, code) = failure(&port);
    assert_eq!((packet.key, packet.done.bytes, packet.block.unwrap().tag, code), (7, 0, 1, Code::Cancelled));
    assert_eq!(code.win32(), 995);
    nothing(&port);
    peer.write_all(b"01234567").unwrap();
    for (tag, data) in [(0, b"0123"), (2, b"4567")] {
        let io = success(&port).block.unwrap();
        assert_eq!((io.tag, &io.buf[..]), (tag, &data[..]));
    }
}

#[test]
fn cancelling_this_threads_operations_succeeds_for_none() {
    let (ours, _peer) = stream();
    ours.cancel_thread();
    assert_eq!(run(ours.send(b"x")).bytes, 1);
    ours.cancel_thread();
    assert_eq!(run(ours.send(b"y")).bytes, 1, "nothing was harmed");
}

#[test]
fn cancelling_an_operation_that_is_over_is_error_1168() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let ticket = receive(&ours, 0, 4);
    peer.write_all(b"data").unwrap();
    assert_eq!(success(&port).done.bytes, 4);
    let error = ours.cancel(ticket).unwrap_err();
    assert_eq!((error.code(), error.code().win32()), (Code::NotFound, 1168));
    let receive = start(ours.recv(vec![0; 4]));
    peer.write_all(b"more").unwrap();
    until_on(&port, "the receive is over", || receive.is_complete());
    assert_eq!(receive.cancel().unwrap_err().code(), Code::NotFound);
    assert_eq!(finish(receive).buffer, b"more");
}

#[test]
fn cancelling_all_of_none_is_error_1168() {
    if wine() {
        skip!("cancelling_all_of_none_is_error_1168", "Wine's CancelIoEx succeeds with nothing pending");
    }
    let (ours, _peer) = stream();
    assert_eq!(ours.cancel_all().unwrap_err().code(), Code::NotFound);
    assert_eq!(run(ours.send(b"x")).bytes, 1);
    assert_eq!(ours.cancel_all().unwrap_err().code(), Code::NotFound);
    let listener = somewhere(TcpListener::bind(ANY).unwrap());
    assert_eq!(listener.cancel_all().unwrap_err().code(), Code::NotFound);
}

#[test]
fn an_old_ticket_does_not_cancel_the_blocks_next_operation() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let old = receive(&ours, 0, 4);
    peer.write_all(b"data").unwrap();
    let io = success(&port).block.unwrap();
    packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])), io);
    assert_eq!(ours.cancel(old).unwrap_err().code(), Code::NotFound);
    nothing(&port);
    peer.write_all(b"more").unwrap();
    assert_eq!(&success(&port).block.unwrap().buf[..], b"more");
}

#[test]
fn a_ticket_of_another_object_names_nothing() {
    let port = port(1);
    let ((ours, _peer), (other, _other_peer)) = (homeless(), homeless());
    let ours = port.home(ours, 1);
    let other = port.home(other, 2);
    let ticket = receive(&ours, 0, 4);
    receive(&other, 0, 4);
    assert_eq!(other.cancel(ticket).unwrap_err().code(), Code::NotFound);
    nothing(&port);
}

#[test]
fn cancelling_does_not_end_an_operation_by_itself() {
    let (ours, _peer) = stream();
    let pool = proactor::BufferPool::new(1, 64);
    let receive = start(ours.recv(pool.take().unwrap()));
    receive.cancel().unwrap();
    assert_eq!(pool.available(), 0, "the buffer is the operation's until its completion is taken");
    let done = finish(receive);
    assert_eq!((done.bytes, code(&done)), (0, Some(Code::Cancelled)));
    drop(done);
    assert_eq!(pool.available(), 1);
}

#[test]
fn a_cancel_racing_with_data_ends_in_cancelled_or_in_the_data_and_loses_none() {
    const ROUNDS: usize = 3000;
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let begin = Arc::new(Barrier::new(2));
    let writer = worker({
        let begin = begin.clone();
        move || {
            for round in 0..ROUNDS {
                begin.wait();
                peer.write_all(&round.to_le_bytes()).unwrap();
            }
            peer
        }
    });
    let mut came = Vec::with_capacity(ROUNDS * 8);
    let (mut cancelled, mut real) = (0, 0);
    for round in 0..ROUNDS {
        let ticket = receive(&ours, round, 8);
        begin.wait();
        // From no delay to a little more than a send takes, so that both ends of the race are met.
        (0..(round % 16) * 64).for_each(|_| std::hint::spin_loop());
        let asked = ours.cancel(ticket);
        let packet = take(&port);
        match packet.error().map(|error| error.code()) {
            None => {
                real += 1;
                came.extend_from_slice(&packet.block.unwrap().buf[..packet.done.bytes]);
            }
            Some(Code::Cancelled) => {
                asked.expect("an operation ended as cancelled, so there was something to cancel");
                assert_eq!(packet.done.bytes, 0);
                cancelled += 1;
            }
            other => panic!("neither cancelled nor the data: {other:?}"),
        }
        // What the cancelled receive did not take, this one does, so that the next round begins with nothing there.
        while came.len() < (round + 1) * 8 {
            receive(&ours, round, 8);
            let packet = success(&port);
            came.extend_from_slice(&packet.block.unwrap().buf[..packet.done.bytes]);
        }
    }
    let sent: Vec<u8> = (0..ROUNDS).flat_map(usize::to_le_bytes).collect();
    assert!(came == sent, "bytes were lost or mixed");
    assert_eq!(cancelled + real, ROUNDS);
    nothing(&port);
    drop(writer.join());
}

#[test]
fn a_cancelled_send_reports_the_bytes_that_went_before() {
    const ALL: usize = 16 << 20;
    let (ours, mut peer) = stream();
    let send = pending(start(ours.send(pattern(ALL, 1))));
    let mut first = vec![0; 1 << 20];
    peer.read_exact(&mut first).unwrap();
    assert!(!send.is_complete(), "a send is over only when whole");
    send.cancel().unwrap();
    let done = finish(send);
    assert_eq!(code(&done), Some(Code::Cancelled));
    assert!(done.bytes >= first.len() && done.bytes < ALL);
    drop(ours);
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    assert_eq!(first.len() + rest.len(), done.bytes);
    first.extend_from_slice(&rest);
    assert!(first[..] == done.buffer[..done.bytes]);
}

#[test]
fn readiness_can_be_cancelled() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let ticket = packet(ours.readable(), block(0, 0));
    ours.cancel(ticket).unwrap();
    assert_eq!(failure(&port).1, Code::Cancelled);
    peer.write_all(b"data").unwrap();
    receive(&ours, 1, 4);
    assert_eq!(success(&port).done.bytes, 4);
}

#[test]
fn a_datagram_receive_can_be_cancelled() {
    let socket = somewhere(UdpSocket::bind(ANY).unwrap());
    let receive = start(socket.recv_from(vec![0; 16]));
    receive.cancel().unwrap();
    assert_eq!(code(&finish(receive)), Some(Code::Cancelled));
    let receive = start(socket.recv_from(vec![0; 16]));
    run(socket.send_to(b"x", socket.local_addr().unwrap())).result.unwrap();
    assert_eq!(finish(receive).buffer, b"x");
}

#[test]
fn a_connect_can_be_cancelled_or_is_over_already() {
    let (_bound, nobody) = nobody();
    let ours = somewhere(TcpStream::unconnected_v4().unwrap());
    let connect = start(ours.connect(nobody));
    let asked = connect.cancel();
    match code(&finish(connect)) {
        Some(Code::Cancelled) => asked.expect("it ended as cancelled"),
        Some(Code::ConnectionRefused) => {}
        other => panic!("neither cancelled nor refused: {other:?}"),
    }
}
