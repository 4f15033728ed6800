//! Accepting and cancelling in a storm, and pipes that change hands in one: the count of descriptors stays what it was.

use std::net::TcpStream as StdStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proactor::net::TcpListener;
use proactor::pipe::{PipeClient, PipeOptions};
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

/// A client has come to its end, be it by a panic.
struct Gone<'a>(&'a AtomicUsize);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Instances change between listening and connected while others read, write, cancel and come.
#[test]
fn a_storm_of_pipe_clients_gets_its_own_words_back_and_leaks_no_descriptor() {
    alone("storms::a_storm_of_pipe_clients_gets_its_own_words_back_and_leaks_no_descriptor", || {
        let name = format!("proactor-storm-{}", std::process::id());
        let options = PipeOptions::new().messages(true);
        let storm = |time: Duration| {
            let first = options.create(&name).unwrap();
            let end = Instant::now() + time;
            let clients = AtomicUsize::new(3);
            let served: usize = std::thread::scope(|scope| {
                let servers: Vec<_> = (0..3)
                    .map(|_| {
                        scope.spawn(|| {
                            let server = options.create(&name).unwrap();
                            let mut served = 0;
                            while server.connect().wait_timeout(Duration::from_millis(500)).result.is_ok() {
                                loop {
                                    let part = server.read(vec![0; 5]).wait();
                                    if part.bytes == 0 {
                                        break;
                                    }
                                    server.write(part.buffer).wait().result.unwrap();
                                }
                                // Who reads when the client is sent away is told.
                                let ahead = server.read(vec![0; 5]).start().unwrap();
                                server.disconnect().wait().result.unwrap();
                                assert_eq!(ahead.wait().bytes, 0);
                                served += 1;
                            }
                            served
                        })
                    })
                    .collect();
                for seed in 0..3_u8 {
                    let (name, end, clients) = (&name, end, &clients);
                    scope.spawn(move || {
                        let _gone = Gone(clients);
                        while Instant::now() < end {
                            let client = PipeClient::open_within(name, Duration::from_secs(10)).unwrap();
                            let words = [seed, 1, 2, 3, 4, 5, 6, seed];
                            client.write(words.to_vec()).wait().result.unwrap();
                            let mut came = Vec::new();
                            while came.len() < words.len() {
                                let read = client.read(vec![0; 64]).wait();
                                assert!(read.bytes > 0, "{:?}", read.result);
                                came.extend_from_slice(&read.buffer);
                            }
                            assert_eq!(came, words);
                            // In flight when the client goes.
                            let _unanswered = client.read(vec![0; 8]).start().unwrap();
                        }
                    });
                }
                // One that waits among them, and is cancelled. To the last: a client may find it between two of its waits.
                while clients.load(Ordering::SeqCst) > 0 {
                    if first.connect().wait_timeout(Duration::from_millis(1)).result.is_err() {
                        continue;
                    }
                    let words = first.read(vec![0; 64]).wait().buffer;
                    first.write(words).wait().result.unwrap();
                    assert_eq!(first.read(vec![0; 64]).wait().bytes, 0);
                    first.disconnect().wait().result.unwrap();
                }
                servers.into_iter().map(|server| server.join().unwrap()).sum()
            });
            served
        };
        storm(Duration::from_millis(100));
        let before = descriptors();
        let served = storm(Duration::from_secs(2));
        println!("{served} clients served");
        assert!(served > 20, "{served}");
        assert_eq!(descriptors(), before);
    });
}
