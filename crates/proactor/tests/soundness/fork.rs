//! After fork the child's calls fail, and the parent does not notice.

use std::time::Duration;

use proactor::net::{TcpListener, TcpStream};
use proactor::{Block, Code, CompletionPort, Outcome, within_mut};

use crate::alone::alone;

#[test]
fn after_fork_the_child_gets_errors_and_the_parent_goes_on() {
    alone("fork::after_fork_the_child_gets_errors_and_the_parent_goes_on", || {
        let port = CompletionPort::<Vec<u8>, usize>::new(1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let accept = listener.accept().start().unwrap();
        let client = TcpStream::unconnected_v4().unwrap();
        client.connect(listener.local_addr().unwrap()).start().unwrap().wait().result.unwrap();
        let server = accept.wait().result.unwrap().stream;
        port.associate(&server, 5).unwrap();
        server.recv(within_mut(|buf: &mut Vec<u8>| &mut buf[..])).packet(Block::new(vec![0; 64])).unwrap();
        let pending = client.recv(vec![0; 8]).start().unwrap();
        let waited_for = listener.accept().start().unwrap();

        // SAFETY: the child only makes library calls that answer at once and leaves by _exit; no lock is held by another
        // thread that it needs.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let forked = |code: Code| code == Code::Forked;
            let checks = [
                waited_for.wait().result.is_err_and(|e| forked(e.code())),
                port.get(Duration::ZERO).is_err_and(|e| forked(e.code())),
                port.post(1, 0, None).is_err_and(|e| forked(e.error.code())),
                server.send(b"x").start().is_err_and(|e| forked(e.error.code())),
                server
                    .recv(within_mut(|buf: &mut Vec<u8>| &mut buf[..]))
                    .packet(Block::new(vec![0; 8]))
                    .is_err_and(|e| forked(e.error.code())),
                CompletionPort::<(), usize>::new(1).is_err_and(|e| forked(e.code())),
                TcpListener::bind("127.0.0.1:0".parse().unwrap())
                    .is_ok_and(|l| l.accept().start().is_err_and(|e| forked(e.error.code()))),
            ];
            // Dropping everything in the child must not reach into the parent's epoll instance.
            drop((pending, server, client, listener));
            drop(port);
            let failed = checks.iter().position(|ok| !ok).map_or(0, |n| n as i32 + 1);
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(failed) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "check number {} failed in the child", status >> 8);

        client.send(b"on").start().unwrap().wait().result.unwrap();
        let Outcome::Packet(packet) = port.get(Duration::from_secs(5)).unwrap() else { panic!("the parent's packet") };
        assert_eq!((packet.key, packet.done.bytes), (5, 2));
        server.send(b"back").start().unwrap().wait().result.unwrap();
        assert_eq!(pending.wait().buffer, b"back");
    });
}
