//! What the tests share.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use proactor::net::{TcpListener, TcpStream};

pub const LONG: Duration = Duration::from_secs(30);

/// Numbers that look like chance, and are the same in each run.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// Both ends of a connection.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let accept = listener.accept().start().unwrap();
    let client = TcpStream::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    (client, accept.wait().result.unwrap().stream)
}

/// One end, and the standard library's blocking other.
pub fn with_peer() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer = listener.accept().unwrap().0;
    peer.set_read_timeout(Some(LONG)).unwrap();
    peer.set_write_timeout(Some(LONG)).unwrap();
    (TcpStream::from(ours), peer)
}

/// Sends it all in pieces of any size, and closes that half.
pub fn send_in_pieces(mut peer: &std::net::TcpStream, data: &[u8], chance: &mut Chance) {
    let mut rest = data;
    while !rest.is_empty() {
        let n = (1 + chance.below(40_000)).min(rest.len());
        peer.write_all(&rest[..n]).unwrap();
        rest = &rest[n..];
        if chance.below(8) == 0 {
            std::thread::yield_now();
        }
    }
    peer.shutdown(Shutdown::Write).unwrap();
}

pub fn read_all(mut peer: &std::net::TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    peer.read_to_end(&mut all).unwrap();
    all
}

/// Polls once, and nobody waits for the waker.
pub fn once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(Waker::noop()))
}

/// Counts its wakes.
#[derive(Default)]
pub struct Bell(AtomicUsize);

impl Bell {
    pub fn waker() -> (Arc<Bell>, Waker) {
        let bell = Arc::new(Bell::default());
        (bell.clone(), bell.into())
    }

    #[track_caller]
    pub fn wait(&self) {
        until("a wake", || self.0.load(Ordering::SeqCst) > 0);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}
