//! What connections hold while they idle, and what they do when the pool is empty.

use std::pin::Pin;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use proactor::BufferPool;
use proactor::compat::Stream;

use super::common::{Chance, once, pair, until};

#[test]
fn an_idle_connection_pins_no_buffer() {
    let pool = BufferPool::new(2, 1024);
    let (ours, peer) = pair();
    let mut stream = Stream::with_pool(ours, &pool);
    for _ in 0..3 {
        assert!(once(|cx| Pin::new(&mut stream).poll_read(cx, &mut [0; 4])).is_pending());
        assert_eq!(pool.available(), 2, "while it waits");
        peer.send(b"hello").wait().result.unwrap();
        proactor::block_on(stream.read_exact(&mut [0; 4])).unwrap();
        assert_eq!(pool.available(), 1, "while there is something to read");
        proactor::block_on(stream.read_exact(&mut [0; 1])).unwrap();
        assert_eq!(pool.available(), 2, "when all is read");
        proactor::block_on(stream.write_all(b"answer")).unwrap();
        proactor::block_on(stream.flush()).unwrap();
        assert_eq!(pool.available(), 2, "when all is sent");
    }
}

#[test]
fn an_empty_pool_makes_nobody_wait() {
    let pool = BufferPool::new(1, 512);
    let taken = pool.take().unwrap();
    let (a, b) = pair();
    let (mut a, mut b) = (Stream::with_pool(a, &pool), Stream::with_pool(b, &pool));
    let data = Chance(1).bytes(20_000);
    proactor::block_on(async {
        let mut back = vec![0; data.len()];
        let write = async { a.write_all(&data).await.unwrap() };
        let read = async { b.read_exact(&mut back).await.unwrap() };
        futures_lite::future::zip(write, read).await;
        assert!(back == data);
    });
    drop(taken);
    until("the buffer", || pool.available() == 1);
}
