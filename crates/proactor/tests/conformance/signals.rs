//! Signals. They are the process's, so these tests take turns.

use std::sync::{Mutex, MutexGuard};

use proactor::signal::{Signal, SignalSet};
use proactor::{Code, OpKind, Value};

use crate::common::*;
use crate::deliveries::{DELIVERIES, by};

static TURNS: Mutex<()> = Mutex::new(());

fn turns() -> MutexGuard<'static, ()> {
    TURNS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What every system catches. Only some can be sent to oneself without hitting others.
fn catchable() -> [Signal; 2] {
    if cfg!(windows) { [Signal::Interrupt, Signal::Break] } else { [Signal::User1, Signal::User2] }
}

#[test]
fn a_signal_is_brought_by_every_delivery() {
    if cfg!(windows) {
        skip!("signals::a_signal_is_brought_by_every_delivery", "a console event would reach the programs that run this one");
    }
    let _turn = turns();
    let port = port(1);
    let signals = port.home(SignalSet::new([Signal::User1]).unwrap(), 7);
    for delivery in DELIVERIES {
        // Before the wait, and during it.
        Signal::User1.raise().unwrap();
        assert_eq!(by(delivery, &port, signals.wait()).unwrap(), Signal::User1, "{delivery}");
        let sender = worker(|| {
            std::thread::sleep(SHORT);
            Signal::User1.raise().unwrap();
        });
        assert_eq!(by(delivery, &port, signals.wait()).unwrap(), Signal::User1, "{delivery}");
        sender.join();
    }
    nothing(&port);
}

#[test]
fn every_set_that_has_a_signal_gets_it() {
    if cfg!(windows) {
        skip!("signals::every_set_that_has_a_signal_gets_it", "a console event would reach the programs that run this one");
    }
    let _turn = turns();
    let sets = [[Signal::User1, Signal::User2], [Signal::User1, Signal::Window], [Signal::User2, Signal::Window]];
    let sets = sets.map(|signals| somewhere(SignalSet::new(signals).unwrap()));
    Signal::User1.raise().unwrap();
    let third = start(sets[2].wait());
    for set in &sets[..2] {
        assert_eq!(run(set.wait()).result.unwrap(), Signal::User1);
    }
    let third = pending(third);
    Signal::User2.raise().unwrap();
    assert_eq!(finish(third).result.unwrap(), Signal::User2);
    assert_eq!(run(sets[0].wait()).result.unwrap(), Signal::User2);
    let second = pending(start(sets[1].wait()));
    second.cancel().unwrap();
    assert_eq!(code(&finish(second)), Some(Code::Cancelled));
}

#[test]
fn each_wait_has_a_signal_of_its_own_in_call_order() {
    if cfg!(windows) {
        skip!(
            "signals::each_wait_has_a_signal_of_its_own_in_call_order",
            "a console event would reach the programs that run this one"
        );
    }
    let _turn = turns();
    let port = port(1);
    let signals = port.home(SignalSet::new([Signal::User1, Signal::User2]).unwrap(), 7);
    packet(signals.wait(), block(1, 0));
    packet(signals.wait(), block(2, 0));
    packet(signals.wait(), block(3, 0));
    for (tag, signal) in [(1, Signal::User2), (2, Signal::User1)] {
        signal.raise().unwrap();
        let packet = success(&port);
        let Value::Signal(came) = packet.done.result.unwrap() else { panic!("a signal was due") };
        assert_eq!((packet.key, packet.block.unwrap().tag, came), (7, tag, signal));
    }
    nothing(&port);
    signals.cancel_all().unwrap();
    assert_eq!(failure(&port).1, Code::Cancelled);
}

#[test]
fn a_signal_that_is_removed_comes_no_more_and_is_forgotten() {
    if cfg!(windows) {
        skip!(
            "signals::a_signal_that_is_removed_comes_no_more_and_is_forgotten",
            "a console event would reach the programs that run this one"
        );
    }
    let _turn = turns();
    // This one keeps the process alive.
    let other = somewhere(SignalSet::new([Signal::User1]).unwrap());
    let signals = somewhere(SignalSet::new([Signal::User1]).unwrap());
    Signal::User1.raise().unwrap();
    assert_eq!(run(other.wait()).result.unwrap(), Signal::User1);
    signals.remove(Signal::User1);
    let wait = pending(start(signals.wait()));
    Signal::User1.raise().unwrap();
    assert_eq!(run(other.wait()).result.unwrap(), Signal::User1);
    let wait = pending(wait);
    signals.add(Signal::User1).unwrap();
    signals.add(Signal::User1).unwrap();
    Signal::User1.raise().unwrap();
    assert_eq!(finish(wait).result.unwrap(), Signal::User1);
    signals.clear();
}

#[test]
fn waits_for_signals_are_cancelled_and_end_with_their_set() {
    let _turn = turns();
    let port = port(1);
    let signals = port.home(SignalSet::new(catchable()).unwrap(), 7);
    let ticket = packet(signals.wait(), block(1, 0));
    signals.cancel(ticket).unwrap();
    let (packet_of_it, code_of_it) = failure(&port);
    assert_eq!((packet_of_it.error().unwrap().operation(), code_of_it), (Some(OpKind::Signal), Code::Cancelled));
    assert_eq!(signals.cancel(ticket).unwrap_err().code(), Code::NotFound);
    packet(signals.wait(), block(2, 0));
    let wait = start(signals.wait());
    drop(signals);
    assert_eq!(failure(&port).0.block.unwrap().tag, 2);
    assert_eq!(code(&finish(wait)), Some(Code::Cancelled));
}

#[test]
fn what_cannot_be_caught_is_refused_with_the_reason() {
    let _turn = turns();
    let signals = SignalSet::new([]).unwrap();
    let refused = |signal| signals.add(signal).unwrap_err().code();
    if cfg!(windows) {
        for signal in [Signal::Terminate, Signal::User1, Signal::Child, Signal::Other(2)] {
            assert_eq!(refused(signal), Code::NotSupported, "{signal}");
        }
        assert_eq!(Signal::Hangup.raise().unwrap_err().code(), Code::NotSupported);
    } else {
        for signal in [Signal::Break, Signal::Shutdown] {
            assert_eq!(refused(signal), Code::NotSupported, "{signal}");
            assert_eq!(signal.raise().unwrap_err().code(), Code::NotSupported);
        }
        // KILL, STOP, SEGV, and none.
        for number in [9, 19, 11, 0, -1, 65, i32::MAX] {
            assert_eq!(refused(Signal::Other(number)), Code::InvalidParameter, "{number}");
        }
    }
    let error = signals.add(if cfg!(windows) { Signal::User1 } else { Signal::Other(9) }).unwrap_err();
    assert_eq!(error.operation(), Some(OpKind::Signal));
    // What is refused is not in the set, and removing it is fine.
    signals.remove(Signal::Other(9));
    signals.remove(Signal::Break);
}
