//! Handlers: `.then(f)` calls a closure inside its port's `get`, in the packets' order.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proactor::fs::{File, OpenOptions};
use proactor::net::TcpStream;
use proactor::{Code, Outcome, within};

use crate::common::*;

/// What handlers noted, in their order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<usize>>>);

impl Notes {
    fn note(&self, what: usize) {
        self.0.lock().unwrap().push(what);
    }

    fn all(&self) -> Vec<usize> {
        self.0.lock().unwrap().clone()
    }
}

/// Takes from the port until handlers have noted so many things. No packet may come.
#[track_caller]
fn until_noted(port: &Port, notes: &Notes, count: usize) {
    let end = Instant::now() + LONG;
    while notes.all().len() < count {
        assert!(Instant::now() < end, "not within thirty seconds: {count} notes, there are {:?}", notes.all());
        let outcome = port.get(Duration::from_millis(5)).unwrap();
        assert!(matches!(outcome, Outcome::TimedOut), "no packet was due, got {outcome:?}");
    }
}

/// A stream on the port, and its peer.
fn on(port: &Port, key: usize) -> (AtHome<TcpStream>, std::net::TcpStream) {
    let (ours, peer) = homeless();
    (port.home(ours, key), peer)
}

fn send(stream: &AtHome<TcpStream>, tag: usize) {
    packet(stream.send(within(|io: &mut Io| &io.buf[..])), block(tag, 1));
}

#[test]
fn a_handler_is_called_with_the_completion_and_the_buffer() {
    let port = port(1);
    let (ours, mut peer) = on(&port, 1);
    let (notes, own) = (Notes::default(), Notes::default());
    let noted = (notes.clone(), own.clone());
    ours.recv(vec![0; 16])
        .then(move |done| {
            done.result.unwrap();
            noted.0.note(done.bytes);
            done.buffer.iter().for_each(|byte| noted.1.note(usize::from(*byte)));
        })
        .unwrap();
    peer.write_all(&[7, 8, 9]).unwrap();
    until_noted(&port, &notes, 1);
    assert_eq!(notes.all(), [3]);
    assert_eq!(own.all()[..3], [7, 8, 9]);
}

#[test]
fn handlers_and_packets_come_in_one_order() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let notes = Notes::default();
    for turn in 0..3 {
        send(&ours, turn);
        let noted = notes.clone();
        ours.send(vec![0]).then(move |_| noted.note(turn)).unwrap();
    }
    for turn in 0..3 {
        assert_eq!(success(&port).block.unwrap().tag, turn);
        assert_eq!(notes.all().len(), turn, "the handlers before this packet were run, and no other");
    }
    nothing(&port);
    assert_eq!(notes.all(), [0, 1, 2]);
}

#[test]
fn a_get_that_ran_handlers_waits_on_to_its_own_end() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let notes = Notes::default();
    let noted = notes.clone();
    ours.send(vec![1]).then(move |_| noted.note(1)).unwrap();
    let began = Instant::now();
    nothing(&port);
    assert!(began.elapsed() >= SHORT);
    assert_eq!(notes.all(), [1]);
}

#[test]
fn a_get_that_does_not_wait_runs_the_handlers_that_are_there() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let notes = Notes::default();
    let end = Instant::now() + LONG;
    for turn in 0..3 {
        let noted = notes.clone();
        ours.send(vec![1]).then(move |_| noted.note(turn)).unwrap();
    }
    while notes.all().len() < 3 {
        assert!(Instant::now() < end);
        assert!(matches!(port.get(Duration::ZERO).unwrap(), Outcome::TimedOut));
    }
    assert_eq!(notes.all(), [0, 1, 2]);
}

/// Echoes so many pieces, each from the handler of the one before.
fn echo(stream: AtHome<TcpStream>, buffer: Vec<u8>, left: usize, notes: Notes) {
    let next = stream.clone();
    let started = stream.recv(buffer).then(move |done| {
        assert!(done.bytes > 0, "the peer goes on: {:?}", done.result);
        let mut buffer = done.buffer;
        buffer.truncate(done.bytes);
        let again = next.clone();
        let sent = next.send(buffer).then(move |done| {
            done.result.unwrap();
            notes.note(left);
            if left > 1 {
                let mut buffer = done.buffer;
                buffer.resize(64, 0);
                echo(again, buffer, left - 1, notes);
            }
        });
        assert!(sent.is_ok());
    });
    assert!(started.is_ok());
}

#[test]
fn a_handler_starts_the_next_operation_of_its_chain() {
    const TURNS: usize = 100;
    let port = port(1);
    let (ours, mut peer) = on(&port, 1);
    let notes = Notes::default();
    echo(ours, vec![0; 64], TURNS, notes.clone());
    let client = worker(move || {
        for turn in 0..TURNS {
            let (out, mut back) = (pattern(64, turn), [0; 64]);
            peer.write_all(&out).unwrap();
            peer.read_exact(&mut back).unwrap();
            assert_eq!(out, back);
        }
    });
    until_noted(&port, &notes, TURNS);
    client.join();
    assert_eq!(notes.all(), (1..=TURNS).rev().collect::<Vec<_>>());
}

/// Sends nothing again and again: each send is over as soon as it started.
fn for_ever(stream: AtHome<TcpStream>, turns: Arc<AtomicUsize>) {
    let next = stream.clone();
    // Refused once the port is closed.
    let _ = stream.send(Vec::new()).then(move |_| {
        turns.fetch_add(1, Ordering::SeqCst);
        for_ever(next, turns);
    });
}

#[test]
fn a_chain_without_an_end_does_not_hold_a_get_past_its_own() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let turns = Arc::new(AtomicUsize::new(0));
    for_ever(ours, turns.clone());
    let end = Instant::now() + LONG;
    while turns.load(Ordering::SeqCst) < 100 {
        assert!(Instant::now() < end);
        assert!(matches!(port.get(Duration::from_millis(1)).unwrap(), Outcome::TimedOut));
        assert!(matches!(port.get(Duration::ZERO).unwrap(), Outcome::TimedOut));
    }
}

#[test]
fn a_batch_runs_handlers_in_order_among_its_packets() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let notes = Notes::default();
    for turn in 0..4 {
        let noted = notes.clone();
        ours.send(vec![1]).then(move |_| noted.note(turn)).unwrap();
        send(&ours, turn);
    }
    let mut batch = Batch::<Io, usize>::with_capacity(16);
    let mut packets = 0;
    while packets < 4 {
        assert!(port.get_many(&mut batch, LONG).unwrap(), "the rest was due");
        for outcome in &mut batch {
            let tag = outcome.packet().unwrap().block.unwrap().tag;
            assert_eq!(notes.all(), (0..=tag).collect::<Vec<_>>());
            packets += 1;
        }
    }
}

#[test]
fn handlers_left_in_a_dropped_batch_are_run_by_the_next_get() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let notes = Notes::default();
    for turn in 0..3 {
        let noted = notes.clone();
        ours.send(vec![1]).then(move |_| noted.note(turn)).unwrap();
    }
    let mut batch = Batch::<Io, usize>::with_capacity(16);
    assert!(port.get_many(&mut batch, LONG).unwrap());
    assert!(!batch.is_empty());
    assert_eq!(notes.all(), [0; 0]);
    drop(batch);
    until_noted(&port, &notes, 3);
    assert_eq!(notes.all(), [0, 1, 2]);
}

#[test]
fn a_panic_in_a_handler_leaves_the_get_and_loses_nothing_else() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let notes = Notes::default();
    ours.send(vec![1]).then(|_| panic!("meant: a handler's")).unwrap();
    send(&ours, 5);
    let noted = notes.clone();
    ours.send(vec![1]).then(move |_| noted.note(1)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| port.get(LONG))).is_err());
    assert_eq!(success(&port).block.unwrap().tag, 5);
    until_noted(&port, &notes, 1);
}

#[test]
fn a_panic_in_a_batch_gives_the_rest_back() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    send(&ours, 4);
    ours.send(vec![1]).then(|_| panic!("meant: a batch's")).unwrap();
    send(&ours, 5);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let end = Instant::now() + LONG;
        let mut seen = 0;
        while Instant::now() < end {
            let mut batch = Batch::<Io, usize>::with_capacity(16);
            port.get_many(&mut batch, LONG).unwrap();
            seen += batch.by_ref().count();
            assert!(seen <= 1, "the panic stands before the second packet");
        }
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"meant: a batch's"));
    assert_eq!(success(&port).block.unwrap().tag, 5);
}

#[test]
fn a_cancelled_operation_calls_its_handler() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let notes = Notes::default();
    let noted = notes.clone();
    let ticket = ours
        .recv(vec![0; 8])
        .then(move |done| {
            assert_eq!(code(&done), Some(Code::Cancelled));
            noted.note(usize::from(done.buffer.capacity() >= 8));
        })
        .unwrap();
    ours.cancel(ticket).unwrap();
    until_noted(&port, &notes, 1);
    assert_eq!(notes.all(), [1], "the buffer is back");
    assert_eq!(ours.cancel(ticket).map_err(|error| error.code()), Err(Code::NotFound));
}

#[test]
fn a_failure_calls_the_handler_with_its_error() {
    let port = port(1);
    let (ours, peer) = on(&port, 1);
    let notes = Notes::default();
    let noted = notes.clone();
    ours.recv(vec![0; 8])
        .then(move |done| {
            assert_eq!(code(&done), Some(Code::ConnectionReset));
            noted.note(1);
        })
        .unwrap();
    reset(peer);
    until_noted(&port, &notes, 1);
}

/// Counts the closures that are still there.
fn held(held: &Arc<()>) -> usize {
    Arc::strong_count(held) - 1
}

#[test]
fn closing_the_port_drops_handlers_uncalled() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let token = Arc::new(());
    for operation in 0..4 {
        let own = token.clone();
        let handler = move |_: proactor::Completion<(), Vec<u8>>| {
            let _own = own;
            panic!("a handler was called after its port was closed");
        };
        // Some are over, some are not.
        let started = if operation % 2 == 0 { ours.send(vec![1]).then(handler) } else { ours.recv(vec![0; 8]).then(handler) };
        started.unwrap();
    }
    turn_on(&*port);
    assert_eq!(held(&token), 4);
    port.close();
    until("the closures are dropped", || held(&token) == 0);
}

#[test]
fn dropping_the_last_handle_calls_the_handlers_of_what_was_pending() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let notes = Notes::default();
    let noted = notes.clone();
    ours.recv(vec![0; 8]).then(move |done| noted.note(usize::from(code(&done) == Some(Code::ConnectionAborted)))).unwrap();
    drop(ours);
    until_noted(&port, &notes, 1);
    if wine() {
        skip!("dropping_the_last_handle_calls_the_handlers_of_what_was_pending", "Wine ends it with another code");
    }
    assert_eq!(notes.all(), [1]);
}

#[test]
fn a_handler_that_closes_its_port_ends_the_get() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    let own = port.clone();
    ours.send(vec![1]).then(move |_| own.close()).unwrap();
    let outcome = port.get(LONG).unwrap();
    assert!(matches!(outcome, Outcome::Abandoned), "got {outcome:?}");
}

#[test]
fn without_a_port_a_handler_is_refused_and_its_closure_dropped() {
    let (ours, _peer) = homeless();
    let token = Arc::new(());
    let own = token.clone();
    let refused = ours.recv(pattern(8, 1)).then(move |_| drop(own)).unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    assert_eq!(refused.back, pattern(8, 1));
    assert_eq!(held(&token), 0);
    let text = refused.error.to_string();
    assert!(text.contains("receive") && text.contains("associate"), "{text}");
    // Nothing was decided by that.
    let port = port(1);
    let ours = port.home(ours, 1);
    let notes = Notes::default();
    let noted = notes.clone();
    ours.send(vec![1]).then(move |_| noted.note(1)).unwrap();
    until_noted(&port, &notes, 1);
}

#[test]
fn a_closed_port_refuses_a_handler() {
    let port = port(1);
    let (ours, _peer) = on(&port, 1);
    port.close();
    let refused = ours.recv(vec![0; 8]).then(|_| ()).unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidHandle);
    assert_eq!(refused.back, [0; 8]);
}

#[test]
fn a_file_calls_its_handlers() {
    let path = Scratch::new("handlers");
    let port = port(1);
    let file = port.home(File::open_now(&path.0, &OpenOptions::new().read(true).write(true).create(true)).unwrap(), 1);
    let notes = Notes::default();
    let noted = notes.clone();
    let again = file.clone();
    file.write_at(pattern(5000, 1), 0)
        .then(move |done| {
            done.result.unwrap();
            assert_eq!(done.bytes, 5000);
            let after = noted.clone();
            let read = again.read_at(vec![0; 5000], 0).then(move |done| {
                assert_eq!(done.buffer, pattern(5000, 1));
                after.note(2);
            });
            assert!(read.is_ok());
            noted.note(1);
        })
        .unwrap();
    until_noted(&port, &notes, 2);
    assert_eq!(notes.all(), [1, 2]);
}
