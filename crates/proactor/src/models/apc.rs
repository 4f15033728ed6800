//! A thread's APCs: what is queued runs in its alertable wait or is dropped at its end, and never sleeps beside it.
//!
//! Meant to fail here:
//!
//! | change | fails |
//! |---|---|
//! | `push` does not claim the wait | the thread sleeps on |
//! | `alertable` does not look at the queue | the thread sleeps on |
//! | `push` claims after it has let go of the lock | a later wait, which is not alertable, ends by a call |
//! | `push` does not look whether the queue is closed | a call is neither run, nor dropped, nor refused |

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use loom::thread;

use crate::sync::apc::{Apc, Queue};
use crate::sync::object::Core;
use crate::sync::record::{Claim, Record};

fn call(ran: &Arc<AtomicU32>) -> Apc {
    let ran = ran.clone();
    let run = Box::new(move || {
        ran.fetch_add(1, Ordering::Relaxed);
    });
    Apc::Call { run, name: 0 }
}

fn drain(queue: &Queue) {
    while let Some(apc) = queue.pop() {
        let Apc::Call { run, .. } = apc else { panic!() };
        run();
    }
}

/// Two threads queue; the owner waits alertably until both have run.
#[test]
fn an_alertable_wait_ends_for_each_call() {
    loom::model(|| {
        let (queue, ran) = (Arc::new(Queue::default()), Arc::new(AtomicU32::new(0)));
        let others = [(); 2].map(|()| {
            let (queue, ran) = (queue.clone(), ran.clone());
            thread::spawn(move || assert!(queue.push(call(&ran)).is_ok()))
        });
        while ran.load(Ordering::Relaxed) < 2 {
            let record = Record::new(1);
            record.begin(None);
            let before = queue.alertable(&record);
            record.sleep(crate::Wait::Forever);
            queue.not_alertable(before);
            assert_eq!(record.end(), Claim::Apc);
            drain(&queue);
        }
        for other in others {
            other.join().unwrap();
        }
    });
}

/// A call and a signal come at once: the wait ends by one, and the other is still there.
#[test]
fn a_call_and_a_signal_are_both_had() {
    loom::model(|| {
        let (queue, ran, core) = (Arc::new(Queue::default()), Arc::new(AtomicU32::new(0)), Core::event(true));
        let other = {
            let (queue, ran) = (queue.clone(), ran.clone());
            thread::spawn(move || assert!(queue.push(call(&ran)).is_ok()))
        };
        let setter = {
            let core = core.clone();
            thread::spawn(move || core.signal())
        };
        let record = Record::new(1);
        record.begin(None);
        core.enlist(&record, 0);
        let before = queue.alertable(&record);
        record.sleep(crate::Wait::Forever);
        queue.not_alertable(before);
        core.forget(&record);
        let claim = record.end();
        other.join().unwrap();
        setter.join().unwrap();
        assert_eq!(core.take(2).is_some(), claim == Claim::Apc);
        drain(&queue);
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}

/// A call comes while its thread ends: it is refused, or dropped with the thread.
#[test]
fn a_closed_queue_keeps_nothing() {
    loom::model(|| {
        let (queue, ran) = (Arc::new(Queue::default()), Arc::new(AtomicU32::new(0)));
        let other = {
            let (queue, ran) = (queue.clone(), ran.clone());
            thread::spawn(move || queue.push(call(&ran)).is_ok())
        };
        let dropped = queue.close().len();
        let accepted = other.join().unwrap();
        assert_eq!(dropped, usize::from(accepted));
        assert!(queue.pop().is_none());
    });
}

/// A call comes as an alertable wait gives up, and the thread waits again, by the same record, not alertably.
#[test]
fn a_call_does_not_end_a_wait_that_is_not_alertable() {
    loom::model(|| {
        let (queue, ran) = (Arc::new(Queue::default()), Arc::new(AtomicU32::new(0)));
        let record = Record::new(1);
        record.begin(None);
        let before = queue.alertable(&record);
        let other = {
            let (queue, ran) = (queue.clone(), ran.clone());
            thread::spawn(move || assert!(queue.push(call(&ran)).is_ok()))
        };
        record.claim(Claim::TimedOut);
        queue.not_alertable(before);
        record.end();
        record.begin(None);
        other.join().unwrap();
        assert!(record.claim(Claim::TimedOut), "nothing ended it");
        record.end();
        drain(&queue);
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}

/// Something else ends a wait inside another as the call is queued: then the call ends the outer one.
#[test]
fn a_call_that_the_inner_wait_did_not_take_ends_the_outer_one() {
    loom::model(|| {
        let (queue, ran) = (Arc::new(Queue::default()), Arc::new(AtomicU32::new(0)));
        let (outer, inner) = (Record::new(1), Record::new(1));
        outer.begin(None);
        let none = queue.alertable(&outer);
        inner.begin(None);
        let before = queue.alertable(&inner);
        let caller = {
            let (queue, call) = (queue.clone(), call(&ran));
            thread::spawn(move || assert!(queue.push(call).is_ok()))
        };
        inner.claim(Claim::TimedOut);
        queue.not_alertable(before);
        if inner.end() == Claim::Apc {
            outer.claim(Claim::TimedOut);
        }
        outer.sleep(crate::Wait::Forever);
        queue.not_alertable(none);
        outer.end();
        drain(&queue);
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        caller.join().unwrap();
    });
}
