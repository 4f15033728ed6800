//! Operations go on though nobody is in `get`, and whatever those do who are.

use std::io::Write;
use std::time::Duration;

use proactor::Outcome;
use proactor::net::{TcpListener, UdpSocket};
use proactor::time::Timers;

use crate::common::*;

#[test]
fn the_status_is_visible_with_nobody_in_get() {
    let port = port(1);
    let (ours, mut peer) = stream();
    let listener = TcpListener::bind(ANY).unwrap();
    let socket = UdpSocket::bind(ANY).unwrap();
    port.associate(&ours, 1).unwrap();
    port.associate(&listener, 2).unwrap();
    port.associate(&socket, 3).unwrap();
    let receive = start(ours.recv(vec![0; 16]));
    let accept = start(listener.accept());
    let datagram = start(socket.recv_from(vec![0; 16]));
    peer.write_all(b"hello").unwrap();
    let _client = peer_of(listener.local_addr().unwrap());
    std::net::UdpSocket::bind(ANY).unwrap().send_to(b"x", socket.local_addr().unwrap()).unwrap();
    until("the receive is over", || receive.is_complete());
    until("the accept is over", || accept.is_complete());
    until("the datagram is there", || datagram.is_complete());
    assert_eq!(finish(receive).buffer, b"hello");
    finish(accept).result.unwrap();
    assert_eq!(finish(datagram).buffer, b"x");
    nothing(&port);
}

#[test]
fn the_status_is_visible_with_a_worker_inside_get() {
    let port = port(1);
    let (ours, mut peer) = stream();
    port.associate(&ours, 1).unwrap();
    let inside = worker({
        let port = port.clone();
        move || success(&port).key
    });
    inside.asleep();
    let receive = start(ours.recv(vec![0; 16]));
    peer.write_all(b"hello").unwrap();
    assert_eq!(finish(receive).buffer, b"hello");
    assert!(!inside.is_done(), "it got no packet");
    port.post(9, 0, None).unwrap();
    assert_eq!(inside.join(), 9);
}

#[test]
fn the_status_is_visible_while_the_only_worker_is_busy() {
    let port = port(1);
    let (ours, mut peer) = stream();
    port.associate(&ours, 1).unwrap();
    port.post(9, 0, None).unwrap();
    assert_eq!(success(&port).key, 9);
    let receive = start(ours.recv(vec![0; 16]));
    peer.write_all(b"hello").unwrap();
    spin_until("the receive is over", || receive.is_complete());
    assert_eq!(finish(receive).buffer, b"hello");
}

#[test]
fn the_status_is_visible_when_the_worker_leaves_get_again_and_again() {
    let port = port(1);
    let (ours, mut peer) = stream();
    port.associate(&ours, 1).unwrap();
    let stop = Flag::default();
    let inside = worker({
        let (port, stop) = (port.clone(), stop.clone());
        move || {
            while !stop.is_set() {
                assert!(matches!(port.get(Duration::from_micros(100)), Ok(Outcome::TimedOut)));
            }
        }
    });
    for _ in 0..500 {
        let receive = start(ours.recv(vec![0; 8]));
        peer.write_all(b"x").unwrap();
        assert_eq!(finish(receive).buffer, b"x");
    }
    stop.set();
    inside.join();
}

#[test]
fn timers_fire_with_nobody_in_get() {
    let port = port(1);
    let timers = Timers::new();
    port.associate(&timers, 1).unwrap();
    let timer = start(timers.after(Duration::from_millis(3)));
    until("the timer has fired", || timer.is_complete());
    finish(timer).result.unwrap();
    nothing(&port);
}
