//! Futures: `.await` on an operation, on any executor, with wakers from any thread.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proactor::fs::{File, OpenOptions};
use proactor::net::UdpSocket;
use proactor::{Code, IoBuf, Limits};

use crate::common::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Count>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn counter() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), Waker::from(count))
}

/// Polls once.
fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[track_caller]
fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it was to be ready"),
    }
}

#[test]
fn an_awaited_operation_gives_its_completion_and_the_buffer() {
    let (ours, mut peer) = stream();
    block_on(async {
        let sent = ours.send(b"over").await;
        assert_eq!(sent.bytes, 4);
        let mut over = [0; 4];
        peer.read_exact(&mut over).unwrap();
        peer.write_all(b"back").unwrap();
        let done = ours.recv(vec![0; 16]).await;
        done.result.unwrap();
        assert_eq!(&done.buffer[..done.bytes], b"back");
    });
}

#[test]
fn what_comes_later_wakes_the_task() {
    let (ours, mut peer) = stream();
    let writer = worker(move || {
        for turn in 0..50_u8 {
            if turn % 10 == 0 {
                std::thread::sleep(SHORT / 10);
            }
            peer.write_all(&[turn]).unwrap();
            let mut back = [0];
            peer.read_exact(&mut back).unwrap();
            assert_eq!(back, [turn + 1]);
        }
    });
    block_on(async {
        for turn in 0..50 {
            let done = ours.recv(vec![0; 4]).await;
            assert_eq!(&done.buffer[..done.bytes], [turn]);
            ours.send(vec![turn + 1]).await.result.unwrap();
        }
    });
    writer.join();
}

#[test]
fn a_refused_operation_is_a_completion_with_the_error_and_the_buffer_as_it_came() {
    let (ours, _peer) = stream();
    ours.set_limits(Limits { operations: 0, ..Limits::default() });
    let done = block_on(async { ours.recv(pattern(9, 1)).await });
    assert_eq!(code(&done), Some(Code::TooManyOperations));
    assert_eq!(done.buffer, pattern(9, 1));
    assert!(done.result.unwrap_err().to_string().contains("receive"));
    // Or dropped, unawaited.
    drop(std::future::IntoFuture::into_future(ours.recv(pattern(9, 1))));
}

#[test]
fn the_last_waker_is_the_one_that_is_woken_once() {
    let (ours, mut peer) = stream();
    let ((first, early), (second, late)) = (counter(), counter());
    let mut op = start(ours.recv(vec![0; 16]));
    assert!(poll(&mut op, &early).is_pending());
    assert!(poll(&mut op, &early).is_pending());
    assert!(poll(&mut op, &late).is_pending());
    peer.write_all(b"x").unwrap();
    until("the task is woken", || second.get() > 0);
    assert_eq!((first.get(), second.get()), (0, 1));
    assert_eq!(ready(poll(&mut op, &late)).bytes, 1);
}

#[test]
fn an_operation_polled_after_its_end_is_ready_at_once() {
    let (ours, mut peer) = stream();
    let op = start(ours.recv(vec![0; 16]));
    peer.write_all(b"x").unwrap();
    until("it is complete", || op.is_complete());
    let (count, waker) = counter();
    let mut op = op;
    assert_eq!(ready(poll(&mut op, &waker)).bytes, 1);
    assert_eq!(count.get(), 0);
    assert_eq!(Arc::strong_count(&count), 2, "the waker was not kept");
}

#[test]
fn every_way_to_ask_works_after_a_poll() {
    let (ours, mut peer) = stream();
    let (_, waker) = counter();
    let mut op = start(ours.recv(vec![0; 16]));
    assert!(poll(&mut op, &waker).is_pending());
    let event = op.event();
    assert!(!op.is_complete() && !event_within(&event, SHORT));
    let op = op.wait_timeout(SHORT).unwrap_err().back;
    peer.write_all(b"x").unwrap();
    assert_eq!(op.wait().bytes, 1);
    assert!(event_within(&event, LONG));
}

#[test]
fn a_dropped_future_cancels_and_lets_its_waker_go() {
    let (ours, mut peer) = stream();
    let (count, waker) = counter();
    let mut op = start(ours.recv(vec![0; 16]));
    assert!(poll(&mut op, &waker).is_pending());
    assert_eq!(Arc::strong_count(&count), 3);
    drop(op);
    assert_eq!(Arc::strong_count(&count), 2, "the task is not held until the operation is over");
    // Once the cancel has reached the kernel, what comes is the next receive's.
    turn();
    let next = start(ours.recv(vec![0; 16]));
    peer.write_all(b"whole").unwrap();
    assert_eq!(finish(next).bytes, 5);
    assert_eq!(count.get(), 0);
}

/// A buffer that tells when it is freed.
struct Told(Vec<u8>, Arc<AtomicUsize>);

// SAFETY: a vector's memory, which stays where it is until the vector is dropped.
unsafe impl IoBuf for Told {
    fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_dropped_futures_buffer_is_freed_once_the_operation_is_over() {
    let freed = Arc::new(AtomicUsize::new(0));
    let (ours, peer) = stream();
    let (_, waker) = counter();
    // More than a connection holds, so it is pending.
    let mut op = start(ours.send(Told(vec![1; 16 << 20], freed.clone())));
    assert!(poll(&mut op, &waker).is_pending());
    assert_eq!(freed.load(Ordering::SeqCst), 0);
    drop(op);
    drop(ours);
    until("the buffer is freed", || freed.load(Ordering::SeqCst) > 0);
    drop(peer);
    assert_eq!(freed.load(Ordering::SeqCst), 1);
}

#[test]
fn a_result_that_arrived_is_not_lost_to_a_race_over_a_borrowed_future() {
    const COUNT: u8 = 100;
    let ours = somewhere(UdpSocket::bind(ANY).unwrap());
    let to = ours.local_addr().unwrap();
    let sender = std::net::UdpSocket::bind(ANY).unwrap();
    let came = block_on(async {
        let (mut came, mut turn) = (Vec::new(), 0_u8);
        while came.len() < usize::from(COUNT) {
            // The datagram comes before the poll, after it, or after the cancel.
            let send = |at: u8| {
                if turn % 3 == at {
                    sender.send_to(&[turn], to).unwrap();
                }
            };
            let mut op = start(ours.recv_from(vec![0; 4]));
            send(0);
            let beaten = poll_fn(|cx| {
                Poll::Ready(match Pin::new(&mut op).poll(cx) {
                    Poll::Ready(done) => Some(done),
                    Poll::Pending => None,
                })
            });
            let done = match beaten.await {
                Some(done) => done,
                None => {
                    send(1);
                    let _ = op.cancel();
                    send(2);
                    op.await
                }
            };
            match done.result {
                Ok(_) => came.push(done.buffer[0]),
                Err(error) => {
                    assert_eq!(error.code(), Code::Cancelled);
                    // It is there, or about to be, and nobody took it.
                    came.push(ours.recv_from(vec![0; 4]).await.buffer[0]);
                }
            }
            turn += 1;
        }
        came
    });
    assert_eq!(came, (0..COUNT).collect::<Vec<_>>());
}

#[test]
fn a_future_polled_after_its_end_panics_as_futures_do() {
    let (ours, _peer) = stream();
    let (_, waker) = counter();
    let mut op = start(ours.send(b"x"));
    until("it is complete", || op.is_complete());
    assert_eq!(ready(poll(&mut op, &waker)).bytes, 1);
    assert!(op.is_complete());
    assert_eq!(op.cancel().unwrap_err().code(), Code::NotFound);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut op, &waker))).is_err());
    drop(op);
}

#[test]
fn many_operations_are_awaited_together() {
    const STREAMS: usize = 40;
    let mut peers = Vec::new();
    let mut pending = Vec::new();
    for _ in 0..STREAMS {
        let (ours, peer) = stream();
        pending.push(Some(start(ours.recv(vec![0; 4]))));
        peers.push((ours, peer));
    }
    let (ours, writers): (Vec<_>, Vec<_>) = peers.into_iter().unzip();
    let writer = worker(move || {
        for (number, mut peer) in writers.iter().enumerate().rev() {
            peer.write_all(&[number as u8]).unwrap();
        }
        writers
    });
    let came = block_on(poll_fn(|cx| {
        let mut left = false;
        for (number, slot) in pending.iter_mut().enumerate() {
            let Some(op) = slot else { continue };
            match Pin::new(op).poll(cx) {
                Poll::Ready(done) => {
                    assert_eq!(done.buffer, [number as u8]);
                    *slot = None;
                }
                Poll::Pending => left = true,
            }
        }
        if left { Poll::Pending } else { Poll::Ready(STREAMS) }
    }));
    assert_eq!(came, STREAMS);
    drop((ours, writer.join()));
}

#[test]
fn a_closed_object_wakes_who_awaits_it() {
    let (ours, _peer) = stream();
    let (count, waker) = counter();
    let mut op = start(ours.recv(vec![0; 16]));
    assert!(poll(&mut op, &waker).is_pending());
    drop(ours);
    until("the task is woken", || count.get() > 0);
    assert!(ready(poll(&mut op, &waker)).result.is_err());
}

#[test]
fn files_are_awaited() {
    let path = Scratch::new("futures");
    let file = somewhere(File::open_now(&path.0, &OpenOptions::new().read(true).write(true).create(true)).unwrap());
    block_on(async {
        for turn in 0..20 {
            let done = file.write_at(pattern(10_000, turn), 0).await;
            done.result.unwrap();
            let data = done.buffer;
            file.sync_data().await.result.unwrap();
            assert_eq!(file.read_at(vec![0; 10_000], 0).await.buffer, data);
        }
    });
}

#[test]
fn objects_of_a_port_are_awaited_as_well() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 1);
    let writer = worker(move || {
        std::thread::sleep(SHORT);
        peer.write_all(b"hello").unwrap();
        peer
    });
    let done = block_on_port(&port, async { ours.recv(vec![0; 16]).await });
    assert_eq!(done.bytes, 5);
    writer.join();
}
