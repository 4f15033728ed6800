//! Blocking calls: `.wait()` and `.wait_timeout(d)` on an operation.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use proactor::fs::{File, OpenOptions};
use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::{Code, Limits};

use crate::common::*;

#[test]
fn a_receive_waits_for_what_comes() {
    let (ours, mut peer) = stream();
    let writer = worker(move || {
        std::thread::sleep(SHORT);
        peer.write_all(b"hello").unwrap();
        peer
    });
    let done = ours.recv(vec![0; 64]).wait();
    done.result.unwrap();
    assert_eq!((done.bytes, &done.buffer[..]), (5, &b"hello"[..]));
    writer.join();
}

#[test]
fn a_send_waits_until_all_of_it_is_taken() {
    let (ours, peer) = stream();
    let data = pattern(8 << 20, 1);
    let reader = reader(peer);
    let done = ours.send(data).wait();
    assert_eq!(done.bytes, 8 << 20);
    drop(ours);
    assert_eq!(reader.join(), done.buffer);
}

#[test]
fn a_connection_is_made_and_accepted_by_blocking_calls() {
    let listener = somewhere(TcpListener::bind(ANY).unwrap());
    let address = listener.local_addr().unwrap();
    let client = worker(move || {
        let stream = TcpStream::unconnected_v4().unwrap();
        stream.connect(address).wait().result.unwrap();
        stream.send(b"first").wait().result.unwrap();
        stream.recv(vec![0; 8]).wait().bytes
    });
    let accepted = somewhere(listener.accept().wait().result.unwrap().stream);
    assert_eq!(accepted.recv(vec![0; 8]).wait().bytes, 5);
    drop(accepted);
    assert_eq!(client.join(), 0);
}

#[test]
fn a_wait_that_ends_first_cancels_and_gives_the_buffer_back() {
    let (ours, mut peer) = stream();
    let began = Instant::now();
    let done = ours.recv(Vec::with_capacity(64)).wait_timeout(SHORT);
    assert!(began.elapsed() >= SHORT);
    assert_eq!(code(&done), Some(Code::WaitTimeout));
    assert_eq!((done.bytes, done.buffer.capacity() >= 64), (0, true));
    let text = done.result.unwrap_err().to_string();
    assert!(text.contains("receive") && text.contains("in time"), "{text}");
    // It is over: what comes now is the next one's.
    peer.write_all(b"late").unwrap();
    let done = ours.recv(done.buffer).wait_timeout(LONG);
    assert_eq!(&done.buffer[..done.bytes], b"late");
}

#[test]
fn the_real_result_wins_over_the_end_of_the_wait() {
    let (ours, mut peer) = stream();
    peer.write_all(b"there").unwrap();
    run(ours.readable()).result.unwrap();
    let done = ours.recv(vec![0; 64]).wait_timeout(LONG);
    assert_eq!(&done.buffer[..done.bytes], b"there");
    let done = ours.send(b"back").wait_timeout(LONG);
    done.result.unwrap();
    let mut back = [0; 4];
    peer.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"back");
}

#[test]
fn datagrams_are_neither_lost_nor_taken_twice_by_waits_that_end() {
    let ours = somewhere(UdpSocket::bind(ANY).unwrap());
    let to = ours.local_addr().unwrap();
    const COUNT: u8 = 60;
    let sender = worker(move || {
        let socket = std::net::UdpSocket::bind(ANY).unwrap();
        for number in 0..COUNT {
            socket.send_to(&[number], to).unwrap();
            std::thread::sleep(Duration::from_micros(700));
        }
    });
    let (mut came, end) = (Vec::new(), Instant::now() + LONG);
    while came.len() < usize::from(COUNT) {
        assert!(Instant::now() < end, "{} of {COUNT} came", came.len());
        let done = ours.recv_from(vec![0; 4]).wait_timeout(Duration::from_micros(500));
        match done.result {
            Ok(_) => came.push(done.buffer[0]),
            Err(error) => assert_eq!(error.code(), Code::WaitTimeout),
        }
    }
    sender.join();
    assert_eq!(came, (0..COUNT).collect::<Vec<_>>());
}

#[test]
fn a_refused_call_gives_its_buffer_back_as_it_came() {
    let (ours, _peer) = stream();
    ours.set_limits(Limits { operations: 0, ..Limits::default() });
    let done = ours.recv(pattern(9, 1)).wait();
    assert_eq!(code(&done), Some(Code::TooManyOperations));
    assert_eq!(done.buffer, pattern(9, 1));
    let done = ours.recv(pattern(9, 2)).wait_timeout(LONG);
    assert_eq!(code(&done), Some(Code::TooManyOperations));
    assert_eq!(done.buffer, pattern(9, 2));
}

fn file(name: &str) -> (Scratch, AtHome<File>) {
    let path = Scratch::new(name);
    let file = File::open_now(&path.0, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    (path, somewhere(file))
}

#[test]
fn a_file_is_read_and_written_by_blocking_calls() {
    let (_path, file) = file("blocking");
    let data = pattern(100_000, 3);
    let done = file.write_at(data, 0).wait();
    done.result.unwrap();
    let data = done.buffer;
    for (offset, len) in [(0, 4096), (1, 4096), (99_000, 4096), (100_000, 16), (200_000, 16), (0, 100_000)] {
        let done = file.read_at(vec![0; len], offset as u64).wait();
        done.result.unwrap();
        let expected = &data[offset.min(data.len())..(offset + len).min(data.len())];
        assert_eq!((done.bytes, &done.buffer[..done.bytes]), (expected.len(), expected), "{len} at {offset}");
        let done = file.read_at(vec![0; len], offset as u64).wait_timeout(LONG);
        assert_eq!(&done.buffer[..done.bytes], expected);
    }
    // Lists, and arrays, whose place changes when they come back.
    let done = file.read_at_vectored([vec![0; 10], vec![0; 20]], 5).wait();
    assert_eq!(done.buffer.concat(), data[5..35]);
    let done = file.read_at([0_u8; 64], 7).wait();
    assert_eq!(done.buffer, data[7..71]);
}

#[test]
fn a_read_that_makes_no_sense_is_refused() {
    let (_path, file) = file("blocking-refused");
    let done = file.read_at(pattern(8, 1), u64::MAX).wait();
    assert_eq!(code(&done), Some(Code::InvalidParameter));
    assert_eq!(done.buffer, pattern(8, 1));
}

/// Whether the bytes were cached must not decide it.
#[test]
fn a_blocking_read_decides_the_objects_home() {
    let path = Scratch::new("blocking-home");
    std::fs::write(&path.0, b"contents").unwrap();
    let file = File::open_now(&path.0, &OpenOptions::new().read(true)).unwrap();
    assert_eq!(file.read_at(vec![0; 8], 0).wait().bytes, 8);
    let refused = port(1).try_home(file, 1).unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
}
