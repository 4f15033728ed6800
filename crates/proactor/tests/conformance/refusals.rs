//! What never started: a refused operation gives everything back at once, with no completion (SEMANTICS 5), and says why.

use proactor::net::{TcpStream, UdpSocket};
use proactor::{Block, Carries, Code, Home, Limits, Refused, within, within_list, within_mut};

use crate::common::*;

fn receive_refused<H: Home + Carries<Io>>(ours: &TcpStream<H>, tag: usize) -> Refused<Block<Io>> {
    ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])).packet(block(tag, 16)).expect_err("it was to be refused")
}

#[test]
fn a_packet_on_an_object_without_a_port_gives_the_block_back() {
    let (ours, _peer) = homeless();
    let refused = receive_refused(&ours, 5);
    assert_eq!((refused.error.code(), refused.back.tag, refused.back.buf.len()), (Code::InvalidParameter, 5, 16));
    // Nor on one whose home is the process's own.
    run(ours.send(b"x")).result.unwrap();
    let refused = receive_refused(&ours, 6);
    assert_eq!((refused.error.code(), refused.back.tag), (Code::InvalidParameter, 6));
}

#[test]
fn a_packet_of_another_block_type_than_the_ports_gives_the_block_back() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 1);
    let refused = ours.send(within(|text: &mut String| text.as_bytes())).packet(Block::new("hello".to_owned())).unwrap_err();
    assert_eq!((refused.error.code(), refused.back.into_inner()), (Code::InvalidParameter, "hello".to_owned()));
    nothing(&port);
}

#[test]
fn an_empty_list_of_buffers_is_error_10022() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 1);
    let refused = ours.send_vectored(Vec::<Vec<u8>>::new()).start().unwrap_err();
    assert_eq!((refused.error.code(), refused.error.code().winsock()), (Code::InvalidParameter, 10022));
    assert!(refused.back.is_empty());
    assert_eq!(ours.recv_vectored([[0_u8; 1]; 0]).start().unwrap_err().error.code(), Code::InvalidParameter);
    let refused = ours.send_vectored(within_list(|_: &mut Io, _| {})).packet(block(5, 16)).unwrap_err();
    assert_eq!((refused.error.code(), refused.back.tag), (Code::InvalidParameter, 5));
    let socket = somewhere(UdpSocket::bind(ANY).unwrap());
    let to = socket.local_addr().unwrap();
    assert_eq!(socket.send_to_vectored(Vec::<Vec<u8>>::new(), to).start().unwrap_err().error.code(), Code::InvalidParameter);
    nothing(&port);
}

#[test]
fn too_long_a_list_of_buffers_is_refused() {
    let (ours, _peer) = stream();
    let refused = ours.send_vectored(vec!["x"; 1025]).start().unwrap_err();
    assert_eq!((refused.error.code(), refused.back.len()), (Code::InvalidParameter, 1025));
    assert_eq!(run(ours.send_vectored(vec!["x"; 1024])).bytes, 1024);
}

#[test]
fn too_many_operations_are_refused_by_name() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 1);
    ours.set_limits(Limits { operations: 2, ..Limits::default() });
    receive(&ours, 0, 4);
    receive(&ours, 1, 4);
    let refused = receive_refused(&ours, 2);
    assert_eq!((refused.error.code(), refused.back.tag), (Code::TooManyOperations, 2));
    assert!(refused.error.to_string().contains("operations"), "{}", refused.error);
    let refused = ours.recv(vec![0; 4]).start().unwrap_err();
    assert_eq!((refused.error.code(), refused.back.len()), (Code::TooManyOperations, 4));
    std::io::Write::write_all(&mut peer, b"data").unwrap();
    // Complete, but in nobody's hands yet: it counts until it is fetched.
    until_on(&port, "the first receive's packet", || ours.recv(vec![0; 4]).start().is_err());
    assert_eq!(success(&port).done.bytes, 4);
    receive(&ours, 3, 4);
    assert_eq!(receive_refused(&ours, 4).error.code(), Code::TooManyOperations);
}

#[test]
fn too_many_bytes_queued_are_refused_by_name() {
    let (ours, peer) = stream();
    ours.set_limits(Limits { send_bytes: 16 << 20, ..Limits::default() });
    let first = start(ours.send(vec![1; 10 << 20]));
    let refused = ours.send(vec![2; 10 << 20]).start().unwrap_err();
    assert_eq!((refused.error.code(), refused.back.len()), (Code::TooManyBytesQueued, 10 << 20));
    assert!(refused.error.to_string().contains("bytes"), "{}", refused.error);
    let second = start(ours.send(vec![2; 6 << 20]));
    let reader = worker(move || {
        let mut all = vec![0; 26 << 20];
        std::io::Read::read_exact(&mut &peer, &mut all).map(|()| all)
    });
    assert_eq!(finish(first).bytes, 10 << 20);
    assert_eq!(finish(second).bytes, 6 << 20);
    assert_eq!(run(ours.send(refused.back)).bytes, 10 << 20, "the budget came back");
    let all = reader.join().unwrap();
    assert!(all[..10 << 20].iter().all(|byte| *byte == 1) && all[10 << 20..].iter().all(|byte| *byte == 2));
}

#[test]
fn one_send_larger_than_the_budget_is_accepted_when_nothing_is_queued() {
    let (ours, mut peer) = stream();
    ours.set_limits(Limits { send_bytes: 1024, ..Limits::default() });
    let large = start(ours.send(vec![1; 8 << 20]));
    assert_eq!(ours.send(b"x").start().unwrap_err().error.code(), Code::TooManyBytesQueued);
    let receive = start(ours.recv(vec![0; 4]));
    std::io::Write::write_all(&mut peer, b"data").unwrap();
    assert_eq!(finish(receive).buffer, b"data", "receives have no part in it");
    let reader = reader_of(8 << 20, peer);
    assert_eq!(finish(large).bytes, 8 << 20);
    reader.join();
    assert_eq!(run(ours.send(b"x")).bytes, 1);
}

#[test]
fn a_cancelled_send_gives_its_part_of_the_budget_back() {
    let (ours, _peer) = stream();
    ours.set_limits(Limits { send_bytes: 16 << 20, ..Limits::default() });
    let pended = start(ours.send(vec![1; 16 << 20]));
    assert!(ours.send(b"x").start().is_err());
    pended.cancel().unwrap();
    assert_eq!(code(&finish(pended)), Some(Code::Cancelled));
    let next = start(ours.send(b"x"));
    drop(next);
}

#[test]
fn a_handle_with_others_or_with_operations_in_flight_keeps_its_descriptor() {
    let (ours, _peer) = stream();
    let another = ours.clone();
    let refused = ours.into_std().unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    drop(another);
    let receive = start(refused.back.recv(vec![0; 4]));
    let refused = refused.back.into_std().unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    receive.cancel().unwrap();
    assert_eq!(code(&finish(receive)), Some(Code::Cancelled));
    refused.back.into_std().expect("nothing holds it any more");
}
