//! SEMANTICS 5, 8, 16: completion routines.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proactor::net::UdpSocket;
use proactor::sync::{self, Event, Waited, alertable};
use proactor::{Code, NoBuffer};

use crate::common::*;

fn datagrams() -> (AtHome<UdpSocket>, std::net::UdpSocket) {
    let ours = UdpSocket::bind(ANY).unwrap();
    let at = ours.local_addr().unwrap();
    let peer = std::net::UdpSocket::bind(ANY).unwrap();
    peer.connect(at).unwrap();
    (somewhere(ours), peer)
}

/// Runs routines until so many have run.
#[track_caller]
fn run_until(holds: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert_ne!(alertable::sleep(end), Ok(Waited::TimedOut), "the routines did not run");
    }
}

#[test]
fn a_routine_runs_on_its_thread_inside_an_alertable_wait_alone() {
    let (ours, peer) = datagrams();
    let got = Rc::new(RefCell::new(Vec::new()));
    let theirs = got.clone();
    ours.recv_from(vec![0; 16]).routine(move |done| theirs.borrow_mut().extend_from_slice(&done.buffer[..done.bytes])).unwrap();
    peer.send(b"hello").unwrap();
    assert_eq!(sync::sleep(SHORT), Ok(Waited::TimedOut));
    assert!(got.borrow().is_empty(), "that wait is not alertable");
    run_until(|| !got.borrow().is_empty());
    assert_eq!(&**got.borrow(), b"hello");
}

#[test]
fn a_routine_runs_for_what_completed_at_once_too() {
    let (ours, peer) = datagrams();
    peer.send(b"early").unwrap();
    std::thread::sleep(SHORT);
    let bytes = Rc::new(Cell::new(0));
    let theirs = bytes.clone();
    ours.recv_from(vec![0; 16]).routine(move |done| theirs.set(done.bytes)).unwrap();
    assert_eq!(bytes.get(), 0, "never before the starting call returned");
    run_until(|| bytes.get() > 0);
    assert_eq!(bytes.get(), 5);
}

#[test]
fn routines_run_in_the_order_their_operations_completed() {
    let (ours, peer) = datagrams();
    let order = Rc::new(RefCell::new(Vec::new()));
    for _ in 0..8 {
        let order = order.clone();
        ours.recv_from(vec![0; 16]).routine(move |done| order.borrow_mut().push(done.buffer[0])).unwrap();
    }
    for number in 0..8_u8 {
        peer.send(&[number]).unwrap();
    }
    run_until(|| order.borrow().len() == 8);
    assert_eq!(*order.borrow(), (0..8).collect::<Vec<_>>());
}

#[test]
fn a_routine_starts_the_next_operation() {
    let (ours, peer) = datagrams();
    let ours = Rc::new(ours);
    let count = Rc::new(Cell::new(0));
    fn next(ours: Rc<AtHome<UdpSocket>>, count: Rc<Cell<usize>>, buffer: Vec<u8>) {
        let again = ours.clone();
        let started = ours.recv_from(buffer).routine(move |done| {
            assert_eq!((done.result.is_ok(), done.bytes), (true, 1));
            count.set(count.get() + 1);
            if count.get() < 100 {
                next(again, count, done.buffer);
            }
        });
        started.unwrap();
    }
    next(ours, count.clone(), vec![0; 16]);
    for sent in 0..100 {
        peer.send(&[1]).unwrap();
        run_until(|| count.get() > sent);
    }
}

#[test]
fn a_cancelled_operations_routine_runs_with_error_995() {
    let (ours, _peer) = datagrams();
    let code = Rc::new(Cell::new(None));
    let theirs = code.clone();
    let ticket =
        ours.recv_from(vec![0; 16]).routine(move |done| theirs.set(done.result.err().map(|error| error.code()))).unwrap();
    ours.cancel(ticket).unwrap();
    run_until(|| code.get().is_some());
    assert_eq!(code.get(), Some(Code::Cancelled));
}

#[test]
fn the_end_of_the_object_ends_its_operation_with_its_routine() {
    let (ours, _peer) = stream();
    let ended = Rc::new(Cell::new(false));
    let theirs = ended.clone();
    ours.recv(vec![0; 16]).routine(move |done| theirs.set(done.result.is_err())).unwrap();
    drop(ours);
    run_until(|| ended.get());
}

#[test]
fn a_refused_operation_gives_the_buffer_back_and_drops_the_routine() {
    let (ours, _peer) = stream();
    let held = Rc::new(());
    let theirs = held.clone();
    let refused = ours.send_vectored(Vec::<Vec<u8>>::new()).routine(move |_| drop(theirs)).unwrap_err();
    assert_eq!((refused.error.code(), refused.back.len()), (Code::InvalidParameter, 0));
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn an_object_of_a_port_takes_routines_beside_packets() {
    let port = port(1);
    let ours = UdpSocket::bind(ANY).unwrap();
    let at = ours.local_addr().unwrap();
    let ours = port.home(ours, 7);
    let peer = std::net::UdpSocket::bind(ANY).unwrap();
    let ran = Rc::new(Cell::new(0));
    let theirs = ran.clone();
    ours.recv_from(vec![0; 16]).routine(move |done| theirs.set(done.bytes)).unwrap();
    peer.send_to(b"routine", at).unwrap();
    run_until(|| ran.get() > 0);
    assert_eq!(ran.get(), 7);
    assert!(matches!(port.get(SHORT).unwrap(), proactor::Outcome::TimedOut), "it is no packet");
}

#[test]
fn a_panic_in_a_routine_loses_none_of_the_rest() {
    let (ours, peer) = datagrams();
    let ran = Rc::new(Cell::new(0));
    for turn in 0..3 {
        let ran = ran.clone();
        let routine = move |_| {
            ran.set(ran.get() + 1);
            if turn == 1 {
                std::panic::panic_any(7_u32);
            }
        };
        ours.recv_from(vec![0; 16]).routine(routine).unwrap();
        peer.send(&[1]).unwrap();
    }
    let mut panics = 0;
    let end = Instant::now() + LONG;
    while ran.get() < 3 {
        let wait = std::panic::AssertUnwindSafe(|| alertable::sleep(end));
        panics += usize::from(std::panic::catch_unwind(wait).is_err());
        assert!(Instant::now() < end);
    }
    assert_eq!(panics, 1);
}

#[test]
fn an_alertable_wait_for_an_object_runs_routines_and_gets_it() {
    let (ours, peer) = datagrams();
    let event = Event::auto();
    let signal = event.clone();
    ours.readable().routine(move |_: proactor::Completion<(), _>| signal.set()).unwrap();
    peer.send(b"now").unwrap();
    assert_eq!(alertable::wait_one(&event, LONG), Ok(Waited::Apc));
    assert_eq!(alertable::wait_one(&event, LONG), Ok(Waited::Signalled(0)));
}

#[test]
fn routines_end_with_their_thread() {
    struct Drops(Rc<()>, Arc<AtomicUsize>, std::thread::ThreadId);
    impl Drop for Drops {
        fn drop(&mut self) {
            assert_eq!(std::thread::current().id(), self.2, "a closure that is not Send was dropped elsewhere");
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let theirs = dropped.clone();
    worker(move || {
        let (ours, peer) = datagrams();
        let drops = || Drops(Rc::new(()), theirs.clone(), std::thread::current().id());
        for _ in 0..3 {
            let held = drops();
            ours.recv_from(vec![0; 16]).routine(move |_| unreachable!("{:?}", Rc::strong_count(&held.0))).unwrap();
        }
        // One completes, and nobody waits alertably.
        peer.send(b"late").unwrap();
        std::thread::sleep(Duration::from_millis(5));
    })
    .join();
    assert_eq!(dropped.load(Ordering::SeqCst), 3, "at the thread's end, all of them");
}

#[test]
fn a_thread_that_ends_cancels_what_it_started_with_routines() {
    let (ours, _peer) = homeless();
    let theirs = ours.clone();
    worker(move || {
        let receive = theirs.recv(vec![0; 16]);
        receive.routine(|_| unreachable!("its thread ends")).unwrap();
    })
    .join();
    until("nothing is pending", || ours.cancel_all().is_err());
    let pending: proactor::Overlapped<NoBuffer, ()> = ours.readable().start().unwrap();
    assert!(!pending.is_complete(), "others' operations go on");
}
