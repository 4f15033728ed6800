//! SEMANTICS 8: threads end; what they started goes on.

use std::io::Write;

use proactor::fs::{File, OpenOptions};
use proactor::net::{TcpListener, UdpSocket};
use proactor::{Outcome, within_mut};

use crate::common::*;

#[test]
fn a_packet_operation_survives_its_thread() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    port.associate(&ours, 7).unwrap();
    worker({
        let ours = ours.clone();
        move || receive(&ours, 1, 16)
    })
    .join();
    nothing(&port);
    peer.write_all(b"hello").unwrap();
    let packet = success(&port);
    assert_eq!((packet.key, packet.done.bytes, packet.block.unwrap().tag), (7, 5, 1));
}

#[test]
fn an_overlapped_operation_survives_its_thread() {
    let (ours, mut peer) = stream();
    let listener = TcpListener::bind(ANY).unwrap();
    let socket = UdpSocket::bind(ANY).unwrap();
    let (receive, accept, datagram) = worker({
        let (ours, listener, socket) = (ours.clone(), listener.clone(), socket.clone());
        move || (start(ours.recv(vec![0; 16])), start(listener.accept()), start(socket.recv_from(vec![0; 16])))
    })
    .join();
    assert!(!receive.event().wait_timeout(SHORT));
    assert!(!accept.is_complete() && !datagram.is_complete());
    peer.write_all(b"hello").unwrap();
    assert_eq!(finish(receive).buffer, b"hello");
    let _client = peer_of(listener.local_addr().unwrap());
    finish(accept).result.unwrap();
    std::net::UdpSocket::bind(ANY).unwrap().send_to(b"x", socket.local_addr().unwrap()).unwrap();
    assert_eq!(finish(datagram).buffer, b"x");
}

#[cfg(target_os = "linux")]
#[test]
fn an_entry_of_ones_own_survives_its_thread() {
    use std::os::fd::AsRawFd;

    use proactor::raw::{
        Ring,
        io_uring::{opcode, types},
    };

    let Ok(ring) = Ring::new() else { return };
    let (reader, mut writer) = std::io::pipe().unwrap();
    let read = worker({
        let ring = ring.clone();
        move || {
            // SAFETY: descriptor and buffer are in the entry's memory.
            start(unsafe {
                ring.entry((reader, [0; 16]), |(reader, buf)| {
                    opcode::Read::new(types::Fd(reader.as_raw_fd()), buf.as_mut_ptr(), 16).build()
                })
            })
        }
    })
    .join();
    assert!(!read.event().wait_timeout(SHORT));
    writer.write_all(b"hello").unwrap();
    assert_eq!(finish(read).bytes, 5);
}

#[test]
fn an_overlapped_operation_on_a_ports_object_survives_its_thread() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    port.associate(&ours, 7).unwrap();
    let receive = worker({
        let ours = ours.clone();
        move || start(ours.recv(vec![0; 16]))
    })
    .join();
    assert!(!receive.event().wait_timeout(SHORT));
    peer.write_all(b"hello").unwrap();
    assert_eq!(finish(receive).buffer, b"hello");
}

#[test]
fn file_operations_survive_their_thread() {
    let port = port(2);
    let scratch = Scratch::new("survive");
    let whole = pattern(1 << 16, 1);
    std::fs::write(&scratch.0, &whole).unwrap();
    let file = File::open_now(&scratch.0, &OpenOptions::new().read(true)).unwrap();
    port.associate(&file, 7).unwrap();
    let overlapped = worker({
        let file = file.clone();
        move || {
            for tag in 0..64 {
                let at = tag as u64 * 1024;
                packet(file.read_at(within_mut(|io: &mut Io| &mut io.buf[..]), at), block(tag, 1024));
            }
            (0..64).map(|n| start(file.read_at(vec![0; 1024], n * 1024))).collect::<Vec<_>>()
        }
    })
    .join();
    for (n, read) in overlapped.into_iter().enumerate() {
        assert!(finish(read).buffer == whole[n * 1024..][..1024]);
    }
    for _ in 0..64 {
        let io = success(&port).block.unwrap();
        assert!(io.buf == whole[io.tag * 1024..][..1024]);
    }
}

#[test]
fn posts_survive_their_thread() {
    let port = port(1);
    worker({
        let port = port.clone();
        move || (0..100).for_each(|key| port.post(key, 0, None).unwrap())
    })
    .join();
    for key in 0..100 {
        assert_eq!(success(&port).key, key);
    }
}

#[test]
fn a_thread_that_ends_gives_its_place_to_another() {
    let port = unwatched_port(1);
    let (running, end) = (Flag::default(), Flag::default());
    let first = worker({
        let (port, running, end) = (port.clone(), running.clone(), end.clone());
        move || {
            success(&port);
            running.set();
            end.spin();
        }
    });
    port.post(0, 0, None).unwrap();
    running.wait();
    let second = worker({
        let port = port.clone();
        move || success(&port).key
    });
    second.asleep();
    port.post(1, 0, None).unwrap();
    end.set();
    first.join();
    assert_eq!(second.join(), 1);
}

#[test]
fn many_threads_that_end_leave_the_port_whole() {
    let port = port(2);
    for key in 0..200 {
        port.post(key, 0, None).unwrap();
        let got = worker({
            let port = port.clone();
            move || success(&port).key
        })
        .join();
        assert_eq!(got, key);
    }
    let waiting = worker({
        let port = port.clone();
        move || matches!(port.get(SHORT), Ok(Outcome::TimedOut))
    });
    assert!(waiting.join());
}
