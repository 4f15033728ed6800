//! SEMANTICS 4: many packets at once, each with its own status.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use proactor::{Code, Outcome, within};

use crate::common::*;

fn posted(keys: std::ops::Range<usize>, port: &Port) {
    keys.for_each(|key| port.post(key, 0, None).unwrap());
}

fn key(outcome: Outcome<Io, usize>) -> usize {
    outcome.packet().unwrap().key
}

#[test]
fn a_batch_without_room_is_error_87() {
    let port = port(1);
    posted(0..1, &port);
    let error = port.get_many(&mut Batch::with_capacity(0), LONG).unwrap_err();
    assert_eq!((error.code(), error.code().win32()), (Code::InvalidParameter, 87));
    assert_eq!(success(&port).key, 0, "nothing was taken");
}

#[test]
fn as_many_as_are_there_come_in_order() {
    let port = port(1);
    let mut batch = Batch::with_capacity(16);
    assert_eq!(batch.capacity(), 16);
    posted(0..5, &port);
    assert!(port.get_many(&mut batch, LONG).unwrap());
    assert_eq!(batch.len(), 5);
    assert_eq!(batch.by_ref().map(key).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(batch.is_empty());
}

#[test]
fn no_more_than_fit_come_and_the_rest_stays_in_order() {
    let port = port(1);
    let mut batch = Batch::with_capacity(4);
    posted(0..10, &port);
    let mut sizes = Vec::new();
    let mut keys = Vec::new();
    while port.get_many(&mut batch, Duration::ZERO).unwrap() {
        sizes.push(batch.len());
        keys.extend(batch.by_ref().map(key));
    }
    assert_eq!((sizes, keys), (vec![4, 4, 2], (0..10).collect()));
}

#[test]
fn each_entry_carries_its_own_status() {
    let port = port(1);
    let (ours, peer) = homeless();
    let ours = port.home(ours, 7);
    // Data of the first receive's size, then a cancelled one, then a send: failures and successes side by side.
    std::io::Write::write_all(&mut &peer, b"data").unwrap();
    run(ours.readable()).result.unwrap();
    receive(&ours, 1, 4);
    let ticket = receive(&ours, 2, 4);
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(3, 4));
    ours.cancel(ticket).unwrap();
    let mut batch = Batch::with_capacity(8);
    let mut came = Vec::new();
    while came.len() < 3 {
        assert!(port.get_many(&mut batch, LONG).unwrap());
        came.extend(batch.by_ref().map(|outcome| {
            let failed = matches!(outcome, Outcome::Failed(_));
            let packet = outcome.packet().unwrap();
            assert_eq!(failed, packet.error().is_some());
            (packet.block.as_ref().unwrap().tag, packet.done.bytes, packet.error().map(|error| error.code()))
        }));
    }
    came.sort_unstable_by_key(|(tag, ..)| *tag);
    assert_eq!(came, [(1, 4, None), (2, 0, Some(Code::Cancelled)), (3, 4, None)]);
}

#[test]
fn a_batch_of_failures_is_a_success_of_the_call() {
    let port = port(1);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 7);
    for tag in 0..4 {
        receive(&ours, tag, 4);
    }
    ours.cancel_all().unwrap();
    let mut batch = Batch::with_capacity(8);
    let mut failures = 0;
    while failures < 4 {
        assert!(port.get_many(&mut batch, LONG).unwrap());
        failures += batch.by_ref().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count();
    }
}

#[test]
fn a_wait_that_ends_first_leaves_the_batch_empty() {
    let port = port(1);
    let mut batch = Batch::<Io, usize>::with_capacity(4);
    for wait in [Duration::ZERO, Duration::from_millis(5)] {
        assert!(!port.get_many(&mut batch, wait).unwrap());
        assert!(batch.is_empty() && batch.next().is_none());
    }
}

#[test]
fn what_is_left_in_a_dropped_batch_goes_back_before_all_others() {
    let port = port(1);
    posted(0..4, &port);
    let mut batch = Batch::with_capacity(3);
    assert!(port.get_many(&mut batch, LONG).unwrap());
    assert_eq!(batch.next().map(key), Some(0));
    posted(4..6, &port);
    drop(batch);
    for expected in 1..6 {
        assert_eq!(success(&port).key, expected);
    }
    nothing(&port);
}

#[test]
fn what_is_left_goes_back_when_the_batch_is_filled_again() {
    let port = port(1);
    posted(0..5, &port);
    let mut batch = Batch::with_capacity(3);
    assert!(port.get_many(&mut batch, LONG).unwrap());
    assert_eq!(batch.next().map(key), Some(0));
    assert!(port.get_many(&mut batch, LONG).unwrap());
    assert_eq!(batch.by_ref().map(key).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(port.get_many(&mut batch, LONG).unwrap());
    assert_eq!(batch.by_ref().map(key).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_batch_moves_to_another_port_and_gives_back_to_the_one_before() {
    let (first, second) = (port(1), port(1));
    posted(0..2, &first);
    posted(10..12, &second);
    let mut batch = Batch::with_capacity(4);
    assert!(first.get_many(&mut batch, LONG).unwrap());
    assert_eq!(batch.next().map(key), Some(0));
    assert!(second.get_many(&mut batch, LONG).unwrap());
    assert_eq!(batch.by_ref().map(key).collect::<Vec<_>>(), [10, 11]);
    assert_eq!(success(&first).key, 1);
}

#[test]
fn a_panic_in_one_handler_does_not_lose_the_rest() {
    let port = port(1);
    posted(0..4, &port);
    let handled = catch_unwind(AssertUnwindSafe(|| {
        let mut batch = Batch::with_capacity(8);
        assert!(port.get_many(&mut batch, LONG).unwrap());
        for outcome in &mut batch {
            // Without a message: this one is meant.
            if key(outcome) == 1 {
                std::panic::resume_unwind(Box::new(()));
            }
        }
    }));
    assert!(handled.is_err());
    assert_eq!(success(&port).key, 2);
    assert_eq!(success(&port).key, 3);
}
