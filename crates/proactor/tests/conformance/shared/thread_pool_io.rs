//! SEMANTICS.md 19: I/O objects of a thread pool.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use proactor::Code;
use proactor::net::{TcpStream, UdpSocket};
use proactor::pool::{CleanupGroup, Io, Pool};
use proactor::sync::Event;

use crate::common::*;

fn pool(most: usize) -> Pool {
    Pool::new(0, most).expect("a pool")
}

/// Sends this to a datagram socket.
fn send_to(socket: &UdpSocket, bytes: &[u8]) {
    let to = socket.local_addr().unwrap();
    std::net::UdpSocket::bind(ANY).unwrap().send_to(bytes, to).unwrap();
}

#[test]
fn a_completion_is_a_callback_with_its_bytes_and_its_error() {
    let pool = pool(2);
    let socket = UdpSocket::bind(ANY).unwrap();
    let io = pool.io(&socket).unwrap();
    let (tell, told) = mpsc::channel();
    let failed = tell.clone();
    io.start(socket.recv_from(vec![0; 16]), move |_, done| {
        tell.send((done.bytes, done.result.err(), thread::current().id())).unwrap()
    })
    .unwrap();
    send_to(&socket, b"hello");
    let (bytes, error, on) = told.recv_timeout(LONG).unwrap();
    assert_eq!((bytes, error), (5, None));
    assert_ne!(on, thread::current().id());

    let ticket = io
        .start(socket.recv_from(vec![0; 16]), move |_, done| failed.send((done.bytes, done.result.err(), on)).unwrap())
        .unwrap();
    socket.cancel(ticket).unwrap();
    let (bytes, error, _) = told.recv_timeout(LONG).unwrap();
    assert_eq!((bytes, error.map(|error| error.code())), (0, Some(Code::Cancelled)));
}

/// A connection's whole conversation, each step started by the callback before it.
fn echo(io: Arc<(Io, TcpStream)>, buffer: Vec<u8>, ended: Event) {
    let own = io.clone();
    let receive = io.1.recv(buffer);
    let started = io.0.start(receive, move |_, received| {
        if received.result.is_err() || received.bytes == 0 {
            return ended.set();
        }
        let again = own.clone();
        let send = own.1.send(received.buffer);
        let started = own.0.start(send, move |_, sent| echo(again, sent.buffer, ended));
        assert!(started.is_ok());
    });
    assert!(started.is_ok());
}

#[test]
fn callbacks_start_the_next_operation() {
    let pool = pool(2);
    let (stream, mut peer) = homeless();
    let io = pool.io(&stream).unwrap();
    let ended = Event::manual();
    echo(Arc::new((io, stream)), Vec::with_capacity(64), ended.clone());
    for round in 0..200_u8 {
        std::io::Write::write_all(&mut peer, &[round; 48]).unwrap();
        let mut back = [0; 48];
        std::io::Read::read_exact(&mut peer, &mut back).unwrap();
        assert_eq!(back, [round; 48]);
    }
    drop(peer);
    assert!(ended.wait_timeout(LONG));
}

#[test]
fn an_object_has_one_binding() {
    let pool = pool(1);
    let socket = UdpSocket::bind(ANY).unwrap();
    let _io = pool.io(&socket).unwrap();
    assert_eq!(pool.io(&socket).unwrap_err().code(), Code::InvalidParameter);
    let other = port(1);
    assert_eq!(other.associate(&socket, 1).unwrap_err().code(), Code::InvalidParameter);
}

#[test]
fn an_operation_of_another_object_is_refused_with_its_buffer() {
    let pool = pool(1);
    let (socket, other) = (UdpSocket::bind(ANY).unwrap(), UdpSocket::bind(ANY).unwrap());
    let io = pool.io(&socket).unwrap();
    let _other_io = pool.io(&other).unwrap();
    let refused = io.start(other.recv_from(vec![7; 3]), |_, _| panic!("it never started")).unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    assert_eq!(refused.back, vec![7; 3]);
    // Nothing is counted for it.
    io.wait_for_callbacks().unwrap();
}

#[test]
fn a_wait_for_callbacks_waits_for_what_was_started() {
    let pool = pool(2);
    let socket = UdpSocket::bind(ANY).unwrap();
    let io = pool.io(&socket).unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let called = called.clone();
        io.start(socket.recv_from(vec![0; 16]), move |_, _| {
            thread::sleep(SHORT / 10);
            called.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
    }
    let waiter = thread::spawn({
        let io = io.clone();
        move || io.wait_for_callbacks().unwrap()
    });
    thread::sleep(SHORT);
    assert!(!waiter.is_finished(), "three operations pend");
    for _ in 0..3 {
        send_to(&socket, b"x");
    }
    waiter.join().unwrap();
    assert_eq!(called.load(Ordering::SeqCst), 3);
}

#[test]
fn a_wait_that_cancels_drops_callbacks_but_no_operation() {
    let pool = pool(2);
    let socket = UdpSocket::bind(ANY).unwrap();
    let io = pool.io(&socket).unwrap();
    io.start(socket.recv_from(vec![0; 16]), |_, _| panic!("its callback was dropped")).unwrap();
    assert_eq!(io.cancel_callbacks().unwrap(), 1);
    // The next one's callback is its own: the first datagram goes to the operation without one.
    let (tell, told) = mpsc::channel();
    io.start(socket.recv_from(vec![0; 16]), move |_, done| tell.send(done.buffer[0]).unwrap()).unwrap();
    send_to(&socket, b"1");
    send_to(&socket, b"2");
    assert_eq!(told.recv_timeout(LONG).unwrap(), b'2');
}

#[test]
fn operations_complete_and_call_back_though_the_io_object_is_dropped() {
    let pool = pool(1);
    let socket = UdpSocket::bind(ANY).unwrap();
    let io = pool.io(&socket).unwrap();
    let (tell, told) = mpsc::channel();
    io.start(socket.recv_from(vec![0; 16]), move |_, done| tell.send(done.bytes).unwrap()).unwrap();
    drop(io);
    drop(pool);
    send_to(&socket, b"three");
    assert_eq!(told.recv_timeout(LONG).unwrap(), 5);
}

#[test]
fn a_closed_group_takes_no_more_operations() {
    let pool = pool(1);
    let group = CleanupGroup::new();
    let socket = UdpSocket::bind(ANY).unwrap();
    let io = pool.environment().group(&group).io(&socket).unwrap();
    io.start(socket.recv_from(vec![0; 16]), |_, _| panic!("its callback was dropped")).unwrap();
    group.cancel_members().unwrap();
    let refused = io.start(socket.recv_from(vec![9; 2]), |_, _| panic!("it never started")).unwrap_err();
    assert_eq!((refused.error.code(), refused.back), (Code::InvalidHandle, vec![9; 2]));
}

/// A thread busy in a callback does not keep the pool from noticing completions, nor do all of them but one.
#[test]
fn completions_are_noticed_while_callbacks_run() {
    let pool = pool(3);
    let go = Event::manual();
    for _ in 0..2 {
        let until = go.clone();
        pool.submit(move |_| assert!(until.wait_timeout(LONG))).unwrap();
    }
    let socket = UdpSocket::bind(ANY).unwrap();
    let io = pool.io(&socket).unwrap();
    let (tell, told) = mpsc::channel();
    io.start(socket.recv_from(vec![0; 16]), move |_, done| tell.send(done.bytes).unwrap()).unwrap();
    send_to(&socket, b"x");
    let came = told.recv_timeout(LONG);
    go.set();
    assert_eq!(came, Ok(1));
}
