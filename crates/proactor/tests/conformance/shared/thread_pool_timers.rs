//! SEMANTICS.md 19: timer and wait objects of a thread pool.

use std::sync::mpsc::{self, Receiver};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use proactor::pool::{CleanupGroup, Pool, Timer, WaitObject};
use proactor::sync::{Event, Mutex, Semaphore, Waited};
use proactor::{Code, IoBuf};

use crate::common::*;

fn pool() -> Pool {
    Pool::new(0, 4).expect("a pool")
}

/// A timer that tells when its callbacks run.
fn timer(pool: &Pool) -> (Timer, Receiver<Instant>) {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    (pool.timer(move |_| tell.lock().unwrap().send(Instant::now()).unwrap_or(())).unwrap(), told)
}

/// A wait object that tells what its callbacks are told.
fn waiting(pool: &Pool) -> (WaitObject, Receiver<Waited>) {
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    (pool.wait(move |_, waited| tell.lock().unwrap().send(waited).unwrap_or(())).unwrap(), told)
}

#[track_caller]
fn comes<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(LONG).expect("a callback was due")
}

#[track_caller]
fn nothing_comes<T: std::fmt::Debug>(told: &Receiver<T>) {
    if let Ok(told) = told.recv_timeout(SHORT) {
        panic!("no callback was due, it told {told:?}");
    }
}

#[test]
fn a_timer_calls_back_once_it_is_due_and_never_before() {
    let pool = pool();
    let (timer, told) = timer(&pool);
    let begin = Instant::now();
    timer.set(SHORT, None).unwrap();
    assert!(timer.is_set());
    assert!(comes(&told) >= begin + SHORT);
    assert!(!timer.is_set());
    nothing_comes(&told);
}

#[test]
fn a_timer_due_in_the_past_calls_back_at_once() {
    let pool = pool();
    let (timer, told) = timer(&pool);
    timer.set_at(Instant::now() - SHORT, None).unwrap();
    comes(&told);
}

#[test]
fn a_period_calls_back_again_and_again_without_drift() {
    let pool = pool();
    let (timer, told) = timer(&pool);
    let (begin, period) = (Instant::now(), Duration::from_millis(5));
    timer.set(period, Some(period)).unwrap();
    for n in 1..=20 {
        assert!(comes(&told) >= begin + period * n, "callback {n} came early");
    }
    timer.unset();
    timer.wait_for_callbacks().unwrap();
    while told.try_recv().is_ok() {}
    nothing_comes(&told);
    assert!(!timer.is_set());
}

#[test]
fn a_timer_set_anew_forgets_what_it_was_set_to() {
    let pool = pool();
    let (timer, told) = timer(&pool);
    timer.set(Duration::from_secs(3600), None).unwrap();
    timer.set(SHORT / 10, None).unwrap();
    comes(&told);
    timer.set(SHORT / 10, Some(SHORT / 10)).unwrap();
    timer.set(Duration::from_secs(3600), None).unwrap();
    timer.wait_for_callbacks().unwrap();
    while told.try_recv().is_ok() {}
    nothing_comes(&told);
    assert!(timer.is_set());
}

#[test]
fn a_dropped_timer_is_not_due_any_more() {
    let pool = pool();
    let (timer, told) = timer(&pool);
    timer.set(SHORT / 3, Some(SHORT / 3)).unwrap();
    drop(timer);
    nothing_comes(&told);
}

#[test]
fn a_period_of_no_time_is_refused() {
    let pool = pool();
    let (timer, _told) = timer(&pool);
    assert_eq!(timer.set(SHORT, Some(Duration::ZERO)).unwrap_err().code(), Code::InvalidParameter);
    assert!(!timer.is_set());
}

#[test]
fn a_wait_object_calls_back_once_for_each_time_it_is_set() {
    let pool = pool();
    let (wait, told) = waiting(&pool);
    let event = Event::manual();
    wait.set(event.clone(), None).unwrap();
    nothing_comes(&told);
    event.set();
    assert_eq!(comes(&told), Waited::Signalled(0));
    // One-shot: the event is still set.
    nothing_comes(&told);
    wait.set(event, None).unwrap();
    assert_eq!(comes(&told), Waited::Signalled(0));
}

#[test]
fn a_wait_object_consumes_the_signal_it_was_called_for_alone() {
    let pool = pool();
    let (wait, told) = waiting(&pool);
    let semaphore = Semaphore::new(0, 10).unwrap();
    wait.set(semaphore.clone(), None).unwrap();
    semaphore.release(3).unwrap();
    assert_eq!(comes(&told), Waited::Signalled(0));
    assert_eq!(semaphore.release(1).unwrap(), 2);
}

#[test]
fn a_wait_that_ends_in_time_is_told_so_and_takes_no_signal() {
    let pool = pool();
    let (wait, told) = waiting(&pool);
    let event = Event::auto();
    for limit in [Duration::ZERO, SHORT / 10] {
        wait.set(event.clone(), limit).unwrap();
        assert_eq!(comes(&told), Waited::TimedOut);
    }
    event.set();
    assert!(event.wait_timeout(Duration::ZERO), "the signal is there for the next");
}

#[test]
fn an_unset_wait_does_not_call_back_and_takes_no_signal() {
    let pool = pool();
    let (wait, told) = waiting(&pool);
    let event = Event::auto();
    wait.set(event.clone(), SHORT / 10).unwrap();
    wait.unset();
    event.set();
    nothing_comes(&told);
    assert!(event.wait_timeout(Duration::ZERO));
}

#[test]
fn a_mutex_cannot_be_waited_for_without_a_thread() {
    let pool = pool();
    let (wait, _told) = waiting(&pool);
    assert_eq!(wait.set(Mutex::new(), None).unwrap_err().code(), Code::InvalidParameter);
}

#[test]
fn a_wait_for_an_operation_calls_back_when_it_is_complete() {
    let pool = pool();
    let (wait, told) = waiting(&pool);
    let socket = proactor::net::UdpSocket::bind(ANY).unwrap();
    let receive = socket.recv_from(vec![0; 16]).start().unwrap();
    wait.set(receive.event(), None).unwrap();
    nothing_comes(&told);
    std::net::UdpSocket::bind(ANY).unwrap().send_to(b"x", socket.local_addr().unwrap()).unwrap();
    assert_eq!(comes(&told), Waited::Signalled(0));
    assert_eq!(receive.wait().bytes, 1);
}

/// A buffer that tells on which thread it is freed.
struct Told(Vec<u8>, mpsc::Sender<ThreadId>);

// SAFETY: a vector's memory, which stays where it is until the vector is dropped.
unsafe impl IoBuf for Told {
    fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.1.send(thread::current().id());
    }
}

/// Who completes an operation holds the library's things while it tells of it: it drops nothing of a user's.
#[test]
fn an_operation_that_was_given_to_a_wait_is_dropped_by_the_pool() {
    let pool = Pool::new(0, 1).unwrap();
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let wait = pool.wait(move |_, _| tell.lock().unwrap().send(thread::current().id()).unwrap()).unwrap();
    let (freed, frees) = mpsc::channel();
    let (ours, peer) = homeless();
    // More than a connection holds, so it is pending.
    let send = ours.send(Told(vec![1; 16 << 20], freed)).start().map_err(|refused| refused.error).unwrap();
    wait.set(send, None).unwrap();
    let reads = worker(move || std::io::copy(&mut std::io::Read::take(peer, 16 << 20), &mut std::io::sink()).unwrap());
    let callback = comes(&told);
    assert_eq!(frees.recv_timeout(LONG).expect("it was due to be freed"), callback);
    assert_eq!(reads.join(), 16 << 20);
}

#[test]
fn a_closed_group_ends_its_timers_and_waits() {
    let pool = pool();
    let group = CleanupGroup::new();
    let environment = pool.environment().group(&group);
    let timer = environment.timer(|_| panic!("it was cancelled")).unwrap();
    let wait = environment.wait(|_, _| panic!("it was cancelled")).unwrap();
    let event = Event::auto();
    timer.set(SHORT / 3, None).unwrap();
    wait.set(event.clone(), None).unwrap();
    group.cancel_members().unwrap();
    event.set();
    std::thread::sleep(SHORT);
    assert!(event.wait_timeout(Duration::ZERO), "nobody waited for it any more");
    assert!(!timer.is_set());
    assert_eq!(timer.set(SHORT, None).unwrap_err().code(), Code::InvalidHandle);
    assert_eq!(wait.set(event, None).unwrap_err().code(), Code::InvalidHandle);
}

/// Signals from many threads, a wait set anew by each callback: every signal is told of once.
#[test]
fn no_signal_is_lost_and_none_is_told_of_twice() {
    const SIGNALS: usize = 2_000;
    let pool = pool();
    let semaphore = Semaphore::new(0, SIGNALS as u32).unwrap();
    let (wait, told) = waiting(&pool);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let semaphore = semaphore.clone();
            worker(move || (0..SIGNALS / 4).for_each(|_| _ = semaphore.release(1).unwrap()))
        })
        .collect();
    for turn in 0..SIGNALS {
        // Now and then it is set twice: the first must not take a signal, or tell of it.
        if turn % 7 == 0 {
            wait.set(semaphore.clone(), LONG).unwrap();
            wait.unset();
            if let Ok(waited) = told.try_recv() {
                assert_eq!(waited, Waited::Signalled(0));
                continue;
            }
        }
        wait.set(semaphore.clone(), LONG).unwrap();
        assert_eq!(comes(&told), Waited::Signalled(0), "signal {turn}");
    }
    for thread in threads {
        thread.join();
    }
}
