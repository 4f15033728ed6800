//! A foreign reactor watches the port's descriptor, and calls `get` without waiting when it is readable.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use proactor::net::UdpSocket;
use proactor::{Block, CompletionPort, Outcome, within_mut};

fn readable(port: &impl AsFd) -> bool {
    let mut poll = libc::pollfd { fd: port.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one writable entry.
    unsafe { libc::poll(&raw mut poll, 1, 1000) == 1 }
}

#[test]
fn a_foreign_reactor_sees_every_packet_on_the_descriptor() {
    let port = CompletionPort::<Vec<u8>, usize>::new(1).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    port.associate(&socket, 1).unwrap();
    port.post(0, 0, None).unwrap();
    for round in 0..100 {
        // A post, or a datagram, with nobody inside `get`.
        if round % 2 == 0 {
            socket.recv_from(within_mut(|buf: &mut Vec<u8>| &mut buf[..])).packet(Block::new(vec![0; 8])).unwrap();
            let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            sender.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        } else {
            port.post(2, 0, None).unwrap();
        }
        let mut taken = 0;
        while taken == 0 {
            assert!(readable(&port), "round {round}: a packet does not show");
            while let Outcome::Packet(_) = port.get(Duration::ZERO).unwrap() {
                taken += 1;
            }
        }
    }
}
