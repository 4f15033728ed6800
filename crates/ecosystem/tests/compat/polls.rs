//! Polls that nobody waits for, tasks that change, and buffers of any size: nothing is lost, nothing comes twice.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{AsyncBufRead, AsyncRead, AsyncWrite};
use proactor::BufferPool;
use proactor::compat::Stream;

use super::common::{Bell, Chance, once, pair, read_all, send_in_pieces, until, with_peer};

const LEN: usize = 2_000_000;

#[test]
fn abandoned_reads_lose_nothing() {
    let (ours, peer) = with_peer();
    let data = Chance(1).bytes(LEN);
    std::thread::scope(|scope| {
        scope.spawn(|| send_in_pieces(&peer, &data, &mut Chance(2)));
        let (mut stream, mut chance, mut all) = (Stream::new(ours), Chance(3), Vec::new());
        loop {
            let mut buf = vec![0; 1 + chance.below(70_000)];
            let n = match chance.below(3) {
                // Whoever waits comes back in another task, after polls that were given up.
                0 => proactor::block_on(futures_lite::AsyncReadExt::read(&mut stream, &mut buf)).unwrap(),
                _ => match once(|cx| Pin::new(&mut stream).poll_read(cx, &mut buf)) {
                    Poll::Ready(n) => n.unwrap(),
                    Poll::Pending => continue,
                },
            };
            if n == 0 {
                break;
            }
            all.extend_from_slice(&buf[..n]);
        }
        assert!(all == data, "{} of {} bytes", all.len(), data.len());
    });
}

/// A write that was pending may come back with other data: what was not taken is not sent.
#[test]
fn abandoned_writes_send_what_they_said_and_no_more() {
    let (ours, peer) = with_peer();
    let data = Chance(1).bytes(LEN);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&peer));
        let (mut stream, mut chance, mut sent) = (Stream::new(ours), Chance(4), 0);
        while sent < data.len() {
            // Never to be seen by the peer, unless it is said to be taken.
            let n = (1 + chance.below(60_000)).min(data.len() - sent);
            match once(|cx| Pin::new(&mut stream).poll_write(cx, &data[sent..sent + n])) {
                Poll::Ready(taken) => sent += taken.unwrap(),
                Poll::Pending if chance.below(2) == 0 => {
                    proactor::block_on(futures_lite::AsyncWriteExt::flush(&mut stream)).unwrap();
                }
                Poll::Pending => std::thread::yield_now(),
            }
        }
        proactor::block_on(futures_lite::AsyncWriteExt::close(&mut stream)).unwrap();
        assert!(reader.join().unwrap() == data);
    });
}

#[test]
fn the_last_task_that_polled_is_woken() {
    let (ours, peer) = pair();
    let mut stream = Stream::new(ours);
    let (_, first) = Bell::waker();
    let (bell, second) = Bell::waker();
    let mut buf = [0; 8];
    for waker in [&first, &second] {
        assert!(Pin::new(&mut stream).poll_read(&mut Context::from_waker(waker), &mut buf).is_pending());
    }
    drop(first);
    peer.send(b"x").wait().result.unwrap();
    bell.wait();
    assert!(matches!(proactor::block_on(futures_lite::AsyncReadExt::read(&mut stream, &mut buf)), Ok(1)));
}

#[test]
fn empty_buffers_are_ready_and_touch_nothing() {
    let (ours, peer) = pair();
    let mut stream = Stream::new(ours);
    assert!(matches!(once(|cx| Pin::new(&mut stream).poll_read(cx, &mut [])), Poll::Ready(Ok(0))));
    assert!(matches!(once(|cx| Pin::new(&mut stream).poll_write(cx, &[])), Poll::Ready(Ok(0))));
    assert!(matches!(once(|cx| Pin::new(&mut stream).poll_flush(cx)), Poll::Ready(Ok(()))));
    peer.send(b"x").wait().result.unwrap();
    assert!(matches!(proactor::block_on(futures_lite::AsyncReadExt::read(&mut stream, &mut [0; 2])), Ok(1)));
}

#[test]
fn what_is_not_consumed_comes_again() {
    let (ours, peer) = pair();
    let mut stream = Stream::new(ours);
    peer.send(b"hello").wait().result.unwrap();
    let fill = |stream: &mut Stream<_>| {
        until("data", || once(|cx| Pin::new(&mut *stream).poll_fill_buf(cx).map(|_| ())).is_ready());
        stream.buffered().to_vec()
    };
    assert_eq!(fill(&mut stream), b"hello");
    futures_lite::AsyncBufReadExt::consume(&mut stream, 2);
    assert_eq!(fill(&mut stream), b"llo");
    // More than there is takes what there is.
    futures_lite::AsyncBufReadExt::consume(&mut stream, 200);
    assert_eq!(stream.buffered(), b"");
    peer.send(b"more").wait().result.unwrap();
    assert_eq!(fill(&mut stream), b"more");
}

/// One buffer's worth at a time is taken: a peer that does not read holds the writer up.
#[test]
fn a_writer_waits_for_a_peer_that_does_not_read() {
    let (ours, peer) = with_peer();
    let mut stream = Stream::with_pool(ours, &BufferPool::new(4, 4096));
    let data = Chance(7).bytes(10_000);
    let mut sent = Vec::new();
    while let Poll::Ready(taken) = once(|cx| Pin::new(&mut stream).poll_write(cx, &data)) {
        let taken = taken.unwrap();
        assert!((1..=4096).contains(&taken));
        sent.extend_from_slice(&data[..taken]);
        assert!(sent.len() < 100 << 20, "the socket takes everything");
    }
    assert!(once(|cx| Pin::new(&mut stream).poll_flush(cx)).is_pending());
    assert!(once(|cx| Pin::new(&mut stream).poll_close(cx)).is_pending());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&peer));
        proactor::block_on(futures_lite::AsyncWriteExt::close(&mut stream)).unwrap();
        assert!(reader.join().unwrap() == sent);
    });
}
