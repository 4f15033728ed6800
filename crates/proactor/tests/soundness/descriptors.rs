//! Out of descriptors: a clear error, and the listener lives on.

use std::net::TcpStream as StdStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use proactor::net::TcpListener;
use proactor::{Block, Code, CompletionPort, Outcome};

use crate::alone::alone;

#[test]
fn accept_without_a_free_descriptor_fails_clearly_and_the_listener_lives_on() {
    alone("descriptors::accept_without_a_free_descriptor_fails_clearly_and_the_listener_lives_on", || {
        let port = CompletionPort::<(), usize>::new(1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        port.associate(&listener, 0).unwrap();
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        // SAFETY: a readable limit; this process is a child of the test's own.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        let mut hoard: Vec<OwnedFd> = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            hoard.push(file.into());
        }
        listener.accept().packet(Block::new(())).unwrap();
        let Outcome::Failed(packet) = port.get(Duration::from_secs(5)).unwrap() else { panic!("no failure") };
        let error = packet.error().unwrap();
        assert_eq!((error.code(), error.raw_os_error()), (Code::TooManyDescriptors, Some(libc::EMFILE)));
        assert!(error.to_string().contains("descriptor"), "{error}");
        hoard.truncate(hoard.len() - 4);
        listener.accept().packet(Block::new(())).unwrap();
        assert!(matches!(port.get(Duration::from_secs(5)).unwrap(), Outcome::Packet(_)), "the waiting client is accepted now");
        drop(client);
    });
}
