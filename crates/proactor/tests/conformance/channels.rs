//! Bounded channels: what is consumed is delivered, whoever gives up when.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use proactor::channel::{Receiver, Sender, channel};
use proactor::{CancelToken, Code, group};

use crate::common::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Count>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), Waker::from(count))
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn values_come_in_the_order_they_were_sent() {
    for capacity in [0, 1, 3, 100] {
        let (sender, receiver) = channel(capacity);
        let sends = worker(move || (0..1000).for_each(|n| sender.send(n).wait().unwrap()));
        for n in 0..1000 {
            assert_eq!(receiver.receive().wait_timeout(LONG), Ok(n));
        }
        sends.join();
        assert_eq!(receiver.receive().wait().unwrap_err().code(), Code::EndOfFile);
    }
}

#[test]
fn no_more_than_its_capacity_is_in_a_channel() {
    let (sender, receiver) = channel(2);
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    let refused = sender.try_send(3).unwrap_err();
    assert_eq!((refused.error.code(), refused.back), (Code::Incomplete, 3));
    let refused = sender.send(3).wait_timeout(SHORT / 3).unwrap_err();
    assert_eq!((refused.error.code(), refused.back), (Code::WaitTimeout, 3));
    assert_eq!((receiver.try_receive(), receiver.try_receive()), (Ok(1), Ok(2)));
    assert_eq!(receiver.try_receive().unwrap_err().code(), Code::Incomplete);
    assert_eq!(receiver.receive().wait_timeout(SHORT / 3).unwrap_err().code(), Code::WaitTimeout);
}

#[test]
fn a_waiting_send_goes_before_later_ones() {
    let (sender, receiver) = channel(1);
    sender.try_send(1).unwrap();
    let (woken, waker) = counter();
    let mut second = sender.send(2);
    assert!(poll(&mut second, &waker).is_pending());
    assert_eq!(receiver.try_receive(), Ok(1));
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert!(sender.try_send(3).is_err(), "its place is taken");
    assert_eq!(receiver.try_receive(), Ok(2));
    assert!(matches!(poll(&mut second, &waker), Poll::Ready(Ok(()))));
}

#[test]
fn a_receive_that_is_dropped_after_its_wake_up_hands_it_on() {
    let (sender, receiver) = channel(4);
    let ((first, one), (second, other)) = (counter(), counter());
    let (mut early, mut late) = (receiver.receive(), receiver.receive());
    assert!(poll(&mut early, &one).is_pending() && poll(&mut late, &other).is_pending());
    sender.try_send("kept").unwrap();
    assert_eq!((first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)), (1, 0));
    drop(early);
    assert_eq!(second.0.load(Ordering::SeqCst), 1);
    assert!(matches!(poll(&mut late, &other), Poll::Ready(Ok("kept"))));
}

#[test]
fn a_send_that_is_dropped_was_delivered_or_is_gone_from_the_channel() {
    let (sender, receiver) = channel(1);
    let (_, waker) = counter();
    sender.try_send(1).unwrap();
    let (mut second, mut third) = (sender.send(2), sender.send(3));
    assert!(poll(&mut second, &waker).is_pending() && poll(&mut third, &waker).is_pending());
    drop(second);
    assert_eq!((receiver.try_receive(), receiver.try_receive()), (Ok(1), Ok(3)));
    drop(third);
    assert!(receiver.try_receive().is_err());
}

#[test]
fn a_closed_channel_gives_what_is_in_it_and_then_its_end() {
    let (sender, receiver) = channel(2);
    let (_, waker) = counter();
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    let mut third = sender.send(3);
    assert!(poll(&mut third, &waker).is_pending());
    receiver.close();
    assert!(sender.is_closed());
    match poll(&mut third, &waker) {
        Poll::Ready(Err(refused)) => assert_eq!((refused.error.code(), refused.back), (Code::BrokenPipe, 3)),
        other => panic!("{other:?}"),
    }
    assert_eq!(sender.try_send(4).unwrap_err().error.code(), Code::BrokenPipe);
    assert_eq!((receiver.try_receive(), receiver.receive().wait()), (Ok(1), Ok(2)));
    assert_eq!(receiver.receive().wait().unwrap_err().code(), Code::EndOfFile);
}

#[test]
fn the_last_of_a_side_closes_the_channel_and_wakes_the_other() {
    let (sender, receiver) = channel::<u8>(1);
    let other = sender.clone();
    let waits = worker(move || receiver.receive().wait().unwrap_err().code());
    drop(sender);
    assert!(!waits.is_done());
    drop(other);
    assert_eq!(waits.join(), Code::EndOfFile);
    let (sender, receiver) = channel(0);
    let held = Arc::new(());
    let theirs = held.clone();
    let waits = worker(move || sender.send(theirs).wait().unwrap_err().error.code());
    std::thread::sleep(SHORT / 3);
    drop(receiver);
    assert_eq!(waits.join(), Code::BrokenPipe);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a_token_ends_a_send_with_its_value_and_a_receive_with_none() {
    let (sender, receiver) = channel(1);
    let token = CancelToken::new();
    let theirs = token.clone();
    let canceller = worker(move || {
        std::thread::sleep(SHORT / 3);
        theirs.cancel();
    });
    block_on(async {
        assert_eq!(receiver.receive().cancel_on(&token).await.unwrap_err().code(), Code::Cancelled);
        sender.try_send(1).unwrap();
        let refused = sender.send(2).cancel_on(&token).await.unwrap_err();
        assert_eq!((refused.error.code(), refused.back), (Code::Cancelled, 2));
        assert_eq!(receiver.receive().await, Ok(1));
    });
    canceller.join();
}

#[test]
fn a_race_of_receives_takes_one_value_from_each_winner_only() {
    let ((one, of_one), (two, of_two)) = (channel(64), channel(64));
    let sends = worker(move || {
        for n in 0..2000_u32 {
            if n % 2 == 0 { &one } else { &two }.send(n).wait().unwrap();
        }
    });
    let mut came = Vec::new();
    block_on(async {
        while came.len() < 2000 {
            let over = group::one(|token| (of_one.receive().cancel_on(token), of_two.receive().cancel_on(token))).await;
            came.extend(over.results.0);
            came.extend(over.results.1);
        }
    });
    sends.join();
    assert_eq!(came.iter().filter(|n| *n % 2 == 0).copied().collect::<Vec<_>>(), (0..2000).step_by(2).collect::<Vec<_>>());
    came.sort_unstable();
    assert_eq!(came, (0..2000).collect::<Vec<_>>());
}

/// Receives until the end, giving up at random in between.
fn fickle(receiver: Receiver<u32>, seed: u32) -> Vec<u32> {
    let (mut came, mut turn) = (Vec::new(), seed);
    loop {
        turn = turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let result = match turn >> 29 {
            0 => {
                // Asked, and dropped with its waker in the list or on its way.
                let mut dropped = receiver.receive();
                match poll(&mut dropped, Waker::noop()) {
                    Poll::Ready(result) => result,
                    Poll::Pending => continue,
                }
            }
            1 => receiver.receive().wait_timeout(Duration::from_micros(u64::from(turn >> 8) % 100)),
            2 => {
                let token = CancelToken::new();
                let mut cancelled = receiver.receive().cancel_on(&token);
                match poll(&mut cancelled, Waker::noop()) {
                    Poll::Ready(result) => result,
                    Poll::Pending => {
                        token.cancel();
                        cancelled.wait()
                    }
                }
            }
            _ => receiver.receive().wait_timeout(LONG),
        };
        match result {
            Ok(value) => came.push(value),
            Err(error) if error.code() == Code::EndOfFile => return came,
            Err(error) => assert!(matches!(error.code(), Code::WaitTimeout | Code::Cancelled), "{error}"),
        }
    }
}

/// Sends a range, giving up at random and sending again what came back.
fn insistent(sender: Sender<u32>, range: std::ops::Range<u32>) {
    for mut value in range {
        while let Err(refused) = match value % 3 {
            0 => sender.send(value).wait_timeout(Duration::from_micros(u64::from(value % 50))),
            1 => sender.try_send(value),
            _ => sender.send(value).wait(),
        } {
            assert!(matches!(refused.error.code(), Code::WaitTimeout | Code::Incomplete), "{}", refused.error);
            value = refused.back;
            std::thread::yield_now();
        }
    }
}

#[test]
fn many_senders_and_receivers_that_give_up_at_random_lose_and_double_nothing() {
    const EACH: u32 = 3000;
    for capacity in [0, 1, 7] {
        let (sender, receiver) = channel(capacity);
        let sends: Vec<_> = (0..3)
            .map(|n| {
                let sender = sender.clone();
                worker(move || {
                    // Without room nothing can be tried.
                    match capacity {
                        0 => (n * EACH..(n + 1) * EACH).for_each(|value| sender.send(value).wait().unwrap()),
                        _ => insistent(sender, n * EACH..(n + 1) * EACH),
                    }
                })
            })
            .collect();
        drop(sender);
        let receives: Vec<_> = (0..3)
            .map(|n| {
                let receiver = receiver.clone();
                worker(move || fickle(receiver, n))
            })
            .collect();
        drop(receiver);
        let begin = Instant::now();
        sends.into_iter().for_each(Worker::join);
        let came: Vec<u32> = receives.into_iter().flat_map(Worker::join).collect();
        assert!(begin.elapsed() < LONG * 2);
        assert_eq!(came.len(), 3 * EACH as usize, "capacity {capacity}");
        assert_eq!(came.into_iter().collect::<BTreeSet<_>>().len(), 3 * EACH as usize);
    }
}
