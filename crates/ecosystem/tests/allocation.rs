//! Poll-style I/O over completion streams allocates nothing per message in the steady state, as a counting allocator sees it.
//! The features are all on, and nobody listens to the spans.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::future::zip;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use proactor::LocalPort;
use proactor::compat::{Reads, Stream, Writes};
use proactor::net::TcpStream;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, with a count beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: passed on as given.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: passed on as given.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

async fn echo<S: Reads + Writes>(client: &mut Stream<S>, server: &mut Stream<S>, rounds: usize) {
    for round in 0..rounds {
        let message = [round as u8; 100];
        let mut back = [0; 100];
        let ask = async {
            client.write_all(&message).await.unwrap();
            client.flush().await.unwrap();
            client.read_exact(&mut back).await.unwrap();
        };
        let answer = async {
            let mut buf = [0; 100];
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
            server.flush().await.unwrap();
        };
        zip(ask, answer).await;
        assert_eq!(back, message);
    }
}

/// One stretch without an allocation must come: on a busy machine the library may need another piece of a queue, once, which
/// it keeps. What each round allocates, or each hundredth, is in every stretch.
async fn counted<S: Reads + Writes>(what: &str, client: S, server: S) {
    let (mut client, mut server) = (Stream::new(client), Stream::new(server));
    echo(&mut client, &mut server, 100).await;
    let mut made = 0;
    for _ in 0..5 {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        echo(&mut client, &mut server, 2000).await;
        made = ALLOCATIONS.load(Ordering::SeqCst) - before;
        if made == 0 {
            return;
        }
    }
    panic!("{what}: {made} allocations in 2000 rounds, and some in all before");
}

// One test: the count is the process's.
#[test]
fn the_steady_state_allocates_nothing() {
    let pair = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        (client, TcpStream::from(listener.accept().unwrap().0))
    };
    let (client, server) = pair();
    proactor::block_on(counted("on the process's port", client, server));
    let port = LocalPort::<(), usize>::new().unwrap();
    let (client, server) = pair();
    let (client, server) = (port.associate(client, 1).unwrap(), port.associate(server, 2).unwrap());
    port.block_on(counted("on a port of one's own", client, server));
}
