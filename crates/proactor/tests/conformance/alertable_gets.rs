//! SEMANTICS 2, 4, 16: a port's get, alertable.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proactor::sync::{Event, Thread, Waited, alertable};
use proactor::time::Timers;
use proactor::{Code, Fetched, Outcome};

use crate::common::*;

/// Queues an APC to this thread that counts.
fn queue(ran: &Arc<AtomicUsize>) {
    let ran = ran.clone();
    let call = move || {
        ran.fetch_add(1, Ordering::SeqCst);
    };
    Thread::current().queue_apc(call).unwrap();
}

#[test]
fn a_bound_thread_gets_entries_first_and_the_apc_stays_queued() {
    let (port, ran) = (port(1), Arc::new(AtomicUsize::new(0)));
    assert!(matches!(port.get(Duration::ZERO), Ok(Outcome::TimedOut)), "bound from here on");
    queue(&ran);
    port.post(7, 0, None).unwrap();
    assert_eq!(port.get_alertable(LONG).unwrap().packet().unwrap().key, 7);
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    port.post(8, 0, None).unwrap();
    let mut batch = Batch::with_capacity(4);
    assert_eq!(port.get_many_alertable(&mut batch, LONG), Ok(Fetched::Packets));
    assert_eq!((batch.len(), ran.load(Ordering::SeqCst)), (1, 0));
    drop(batch.next());
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[test]
fn an_empty_port_and_an_apc_are_outcome_192() {
    let (port, ran) = (port(1), Arc::new(AtomicUsize::new(0)));
    queue(&ran);
    queue(&ran);
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
    assert_eq!(ran.load(Ordering::SeqCst), 2, "all of them");
    queue(&ran);
    let mut batch = Batch::with_capacity(4);
    assert_eq!(port.get_many_alertable(&mut batch, LONG), Ok(Fetched::Apc));
    assert_eq!((batch.len(), ran.load(Ordering::SeqCst)), (0, 3));
    assert_eq!(port.get_many_alertable(&mut batch, SHORT), Ok(Fetched::TimedOut));
    assert!(matches!(port.get_alertable(SHORT), Ok(Outcome::TimedOut)));
}

#[test]
fn no_other_get_runs_apcs() {
    let (port, ran) = (port(1), Arc::new(AtomicUsize::new(0)));
    queue(&ran);
    assert!(matches!(port.get(SHORT), Ok(Outcome::TimedOut)));
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert!(matches!(port.get_alertable(Duration::ZERO), Ok(Outcome::Apc)));
}

#[test]
fn a_sleeping_get_is_woken_by_an_apc_of_another_thread() {
    let (port, ran) = (port(1), Arc::new(AtomicUsize::new(0)));
    for turn in 1..=50 {
        let (here, theirs) = (Thread::current(), ran.clone());
        let queues = std::thread::spawn(move || {
            if turn % 5 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            let call = move || {
                theirs.fetch_add(1, Ordering::SeqCst);
            };
            here.queue_apc(call)
        });
        assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
        assert_eq!(ran.load(Ordering::SeqCst), turn);
        queues.join().unwrap().unwrap();
    }
}

#[test]
fn an_alertable_get_gets_posts_and_operations_as_any() {
    let port = port(1);
    let poster = poster(&port);
    let posts = std::thread::spawn(move || {
        for key in 0..100 {
            assert!(poster.post(key, 0, None).is_ok());
        }
    });
    for key in 0..100 {
        assert_eq!(port.get_alertable(LONG).unwrap().packet().unwrap().key, key);
    }
    posts.join().unwrap();
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive(&ours, 0, 16);
    std::io::Write::write_all(&mut peer, b"data").unwrap();
    let packet = port.get_alertable(LONG).unwrap().packet().unwrap();
    assert_eq!((packet.key, packet.done.bytes), (7, 4));
}

#[test]
fn a_routine_runs_inside_an_alertable_get() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let bytes = std::rc::Rc::new(std::cell::Cell::new(0));
    let theirs = bytes.clone();
    ours.recv(vec![0; 16]).routine(move |done| theirs.set(done.bytes)).unwrap();
    std::io::Write::write_all(&mut peer, b"data").unwrap();
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
    assert_eq!(bytes.get(), 4);
}

#[test]
fn a_closed_port_and_a_batch_without_room_are_errors_as_ever() {
    let (port, ran) = (port(1), Arc::new(AtomicUsize::new(0)));
    queue(&ran);
    let mut none = Batch::with_capacity(0);
    assert_eq!(port.get_many_alertable(&mut none, LONG).unwrap_err().code(), Code::InvalidParameter);
    port.close();
    assert_eq!(port.get_alertable(LONG).unwrap_err().code(), Code::InvalidHandle);
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[test]
fn an_alertable_get_runs_handlers_and_gives_packets_alone() {
    let (port, ran) = (port(1), Arc::new(AtomicUsize::new(0)));
    let timers = port.home(Timers::new(), 1);
    for _ in 0..10 {
        let (first, second) = (ran.clone(), ran.clone());
        timers.after(Duration::ZERO).then(move |_| _ = first.fetch_add(1, Ordering::SeqCst)).unwrap();
        timers.after(Duration::ZERO).packet(block(7, 16)).unwrap();
        timers.after(Duration::ZERO).then(move |_| _ = second.fetch_add(1, Ordering::SeqCst)).unwrap();
        let packet = port.get_alertable(LONG).unwrap().packet().unwrap();
        assert_eq!((packet.key, packet.block.unwrap().tag), (1, 7));
        assert!(matches!(port.get_alertable(SHORT), Ok(Outcome::TimedOut)));
    }
    assert_eq!(ran.load(Ordering::SeqCst), 20);
    // The thread's APC waits for a get that has nothing else.
    let own = ran.clone();
    timers.after(Duration::ZERO).then(move |_| queue(&own)).unwrap();
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
    assert_eq!(ran.load(Ordering::SeqCst), 21);
}

#[test]
fn handlers_run_in_an_alertable_get_and_none_is_shown() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 1);
    let ran = Arc::new(AtomicUsize::new(0));
    let here = Thread::current();
    for turn in 1..=3 {
        let (counts, called) = (ran.clone(), here.clone());
        let handler = move |_| called.queue_apc(move || _ = counts.fetch_add(1, Ordering::SeqCst)).unwrap();
        ours.send(vec![1]).then(handler).unwrap();
        let outcome = port.get_alertable(LONG);
        assert!(matches!(outcome, Ok(Outcome::Apc)), "{outcome:?}");
        assert_eq!(ran.load(Ordering::SeqCst), turn);
    }
    ours.send(vec![1]).then(|_| {}).unwrap();
    port.post(7, 0, None).unwrap();
    assert_eq!(port.get_alertable(LONG).unwrap().packet().unwrap().key, 7);
}

#[test]
fn an_apc_that_comes_as_a_wait_inside_the_get_ends_is_the_gets() {
    let (port, ran) = (port(1), Arc::new(AtomicUsize::new(0)));
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 1);
    for turn in 1..=50 {
        let (begun, event) = (Flag::default(), Event::auto());
        let (theirs, signal, counts, here) = (begun.clone(), event.clone(), ran.clone(), Thread::current());
        let other = worker(move || {
            theirs.wait();
            spin_for(Duration::from_micros(200));
            signal.set();
            // The wait is over, and its thread not yet awake.
            here.queue_apc(move || _ = counts.fetch_add(1, Ordering::SeqCst)).unwrap();
        });
        let handler = move |_| {
            begun.set();
            assert_eq!(alertable::wait_one(&event, LONG), Ok(Waited::Signalled(0)));
        };
        ours.send(vec![1]).then(handler).unwrap();
        let got = port.get_alertable(LONG);
        assert!(matches!(got, Ok(Outcome::Apc)), "{got:?}");
        assert_eq!(ran.load(Ordering::SeqCst), turn);
        other.join();
    }
}
