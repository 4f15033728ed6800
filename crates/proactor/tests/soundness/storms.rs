//! Accepting and cancelling in a storm: the count of descriptors stays what it was.

use std::net::TcpStream as StdStream;
use std::time::{Duration, Instant};

use proactor::net::TcpListener;
use proactor::{Block, CompletionPort, Outcome, within_mut};

use crate::alone::alone;

#[cfg(target_os = "linux")]
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[cfg(not(target_os = "linux"))]
fn descriptors() -> usize {
    0
}

#[test]
fn a_storm_of_accepts_and_cancels_leaks_no_descriptor() {
    alone("storms::a_storm_of_accepts_and_cancels_leaks_no_descriptor", || {
        let port = CompletionPort::<Vec<u8>, usize>::new(2).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        port.associate(&listener, 0).unwrap();
        // Whatever the library opens once is open after this.
        drop(listener.accept().packet(Block::new(Vec::<u8>::new())).map(|ticket| listener.cancel(ticket)));
        assert!(matches!(port.get(Duration::from_secs(5)).unwrap(), Outcome::Failed(_)));
        let lone = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        drop(lone.accept().start().unwrap());
        let before = descriptors();

        let end = Instant::now() + Duration::from_secs(3);
        let (mut rounds, mut taken) = (0, 0);
        while Instant::now() < end {
            rounds += 1;
            let mut started = 0;
            for n in 0..8 {
                let block = Block::new(vec![0; 16]);
                let ticket = match n % 2 {
                    0 => listener.accept().packet(block).unwrap(),
                    _ => listener.accept_with(within_mut(|buf: &mut Vec<u8>| &mut buf[..])).packet(block).unwrap(),
                };
                started += 1;
                if n % 3 == 0 {
                    let _ = listener.cancel(ticket);
                }
            }
            let clients: Vec<_> = (0..4).map(|_| StdStream::connect(addr).unwrap()).collect();
            // A handle whose accept won, dropped unclaimed.
            let client = StdStream::connect(lone.local_addr().unwrap()).unwrap();
            drop(lone.accept().start().unwrap());
            drop(lone.accept().start().unwrap());
            let _ = listener.cancel_all();
            for _ in 0..started {
                match port.get(Duration::from_secs(10)).unwrap() {
                    Outcome::Packet(_) => taken += 1,
                    Outcome::Failed(_) => {}
                    other => panic!("a completion was lost: {other:?}"),
                }
            }
            drop((clients, client));
        }
        // What clients left in the backlogs is the kernel's; take it, so that it counts for nobody.
        while lone.accept().start().unwrap().wait_timeout(Duration::from_millis(50)).is_ok() {}
        println!("{rounds} rounds, {taken} accepted");
        assert!(rounds > 10 && taken > 0);
        assert_eq!(descriptors(), before, "descriptors after {rounds} rounds");
    });
}
