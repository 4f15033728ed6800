//! How connections end: half closed, reset, cancelled, dropped.

use std::io::{ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use proactor::compat::Stream;
use proactor::net::TcpStream;
use proactor::pipe::{PipeClient, PipeOptions};
use proactor::{Code, Error};

use super::common::{once, pair, until, with_peer};

/// Writes until something stays in flight.
fn clog(stream: &mut Stream<TcpStream>) {
    let data = vec![7; 64 << 10];
    let mut waited = 0;
    // Where every send goes through the kernel's queue, one that is pending may be over in a moment.
    while waited < 20 {
        match once(|cx| Pin::new(&mut *stream).poll_write(cx, &data)) {
            Poll::Ready(taken) => {
                taken.unwrap();
                waited = 0;
            }
            Poll::Pending => {
                waited += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

#[test]
fn a_half_that_is_closed_leaves_the_other_open() {
    let (ours, mut peer) = with_peer();
    let mut stream = Stream::new(ours);
    proactor::block_on(async {
        stream.write_all(b"question").await.unwrap();
        stream.close().await.unwrap();
        // Twice is once.
        stream.close().await.unwrap();
        let mut question = Vec::new();
        peer.read_to_end(&mut question).unwrap();
        assert_eq!(question, b"question");
        peer.write_all(b"answer").unwrap();
        drop(peer);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        let late = stream.write(b"late").await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_reset_is_an_error_of_the_read() {
    let (ours, peer) = with_peer();
    let mut stream = Stream::new(ours);
    let mut buf = [0; 8];
    assert!(once(|cx| futures_lite::AsyncRead::poll_read(Pin::new(&mut stream), cx, &mut buf)).is_pending());
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let error = proactor::block_on(stream.read(&mut buf)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let ours = || error.get_ref()?.downcast_ref::<Error>()?.raw_os_error();
    assert!(error.raw_os_error().or_else(ours).is_some(), "the system's own number is kept");
}

/// The poll that took the data said so long ago: whoever comes next hears of it, and everyone after.
#[test]
fn a_write_that_fails_later_is_reported_by_the_next_and_by_all_after_it() {
    let (ours, peer) = with_peer();
    let mut stream = Stream::new(ours);
    clog(&mut stream);
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    let first = proactor::block_on(stream.flush()).unwrap_err();
    assert_eq!(first.kind(), ErrorKind::ConnectionReset);
    assert_eq!(proactor::block_on(stream.write(b"more")).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(proactor::block_on(stream.flush()).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(proactor::block_on(stream.close()).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// Not `Interrupted`: callers try that again, and a part of the data would be missing.
#[test]
fn a_write_that_was_cancelled_is_an_end() {
    let (ours, _peer) = with_peer();
    let mut stream = Stream::new(ours);
    clog(&mut stream);
    stream.get_ref().cancel_all().unwrap();
    let error = proactor::block_on(stream.flush()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(error.get_ref().unwrap().downcast_ref::<Error>().unwrap().code(), Code::Cancelled);
    assert_eq!(proactor::block_on(stream.write(b"more")).unwrap_err().kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn a_read_that_was_cancelled_can_be_tried_again() {
    let (ours, peer) = pair();
    let mut stream = Stream::new(ours);
    let mut buf = [0; 8];
    assert!(once(|cx| futures_lite::AsyncRead::poll_read(Pin::new(&mut stream), cx, &mut buf)).is_pending());
    stream.get_ref().cancel_all().unwrap();
    assert_eq!(proactor::block_on(stream.read(&mut buf)).unwrap_err().kind(), ErrorKind::Interrupted);
    peer.send(b"after").wait().result.unwrap();
    assert_eq!(proactor::block_on(stream.read(&mut buf)).unwrap(), 5);
}

#[test]
fn dropping_it_cancels_what_is_in_flight() {
    let pool = proactor::BufferPool::new(8, 32 << 10);
    for _ in 0..5 {
        let (ours, peer) = with_peer();
        let mut stream = Stream::with_pool(ours, &pool);
        let mut buf = [0; 8];
        assert!(once(|cx| futures_lite::AsyncRead::poll_read(Pin::new(&mut stream), cx, &mut buf)).is_pending());
        clog(&mut stream);
        drop(stream);
        // The peer sees the end: nothing holds the connection.
        let _ = std::io::copy(&mut &peer, &mut std::io::sink());
    }
    until("every buffer", || pool.available() == pool.capacity());
}

#[test]
fn a_pipe_of_messages_is_refused() {
    let name = format!("proactor-compat-messages-{}", std::process::id());
    let server = PipeOptions::new().messages(true).create(&name).unwrap();
    let client = PipeClient::open(&name).unwrap();
    proactor::block_on(async {
        server.connect().await.result.unwrap();
        let mut stream = Stream::new(client);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(stream.write(b"x").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}
