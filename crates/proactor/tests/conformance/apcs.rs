//! SEMANTICS 16 and 9: user APCs, how they are drained, and cancelling a thread's blocking call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use proactor::sync::{self, Event, Semaphore, Thread, ThreadRef, Waited, alertable};
use proactor::{Code, NoBuffer, Overlapped};

use crate::common::*;

type Wait<'a> = &'a (dyn Fn() -> Result<Waited, proactor::Error> + Sync);

/// What ran, in order.
type Log = Arc<Mutex<Vec<u32>>>;

fn note(thread: &ThreadRef, log: &Log, number: u32) {
    let log = log.clone();
    thread.queue_apc(move || log.lock().unwrap().push(number)).unwrap();
}

fn noted(log: &Log) -> Vec<u32> {
    std::mem::take(&mut log.lock().unwrap())
}

#[test]
fn every_alertable_wait_runs_what_is_queued_in_order() {
    let (here, log) = (Thread::current(), Log::default());
    let (event, other) = (Event::auto(), Event::auto());
    let waits: [(&str, Wait<'_>); 5] = [
        ("sleep", &|| alertable::sleep(LONG)),
        ("one", &|| alertable::wait_one(&event, LONG)),
        ("any", &|| alertable::wait_any(&[&event, &other], LONG)),
        ("all", &|| alertable::wait_all(&[&event, &other], LONG)),
        ("signal and wait", &|| alertable::signal_and_wait(&event, &other, LONG)),
    ];
    for (name, wait) in waits {
        note(&here, &log, 1);
        note(&here, &log, 2);
        assert_eq!(wait(), Ok(Waited::Apc), "{name}");
        assert_eq!(noted(&log), [1, 2], "{name}");
        event.reset();
    }
}

#[test]
fn no_other_wait_runs_them() {
    let (here, log) = (Thread::current(), Log::default());
    note(&here, &log, 1);
    assert_eq!(sync::sleep(SHORT), Ok(Waited::TimedOut));
    assert_eq!(sync::wait_one(&Event::auto(), SHORT), Ok(Waited::TimedOut));
    assert!(noted(&log).is_empty());
    assert_eq!(alertable::sleep(Duration::ZERO), Ok(Waited::Apc));
    assert_eq!(noted(&log), [1]);
    assert_eq!(alertable::sleep(Duration::ZERO), Ok(Waited::TimedOut));
}

#[test]
fn a_signalled_object_beats_an_apc() {
    let (here, log, event) = (Thread::current(), Log::default(), Event::manual());
    event.set();
    note(&here, &log, 1);
    assert_eq!(alertable::wait_one(&event, LONG), Ok(Waited::Signalled(0)));
    assert_eq!(alertable::wait_all(&[&event], LONG), Ok(Waited::Signalled(0)));
    assert!(noted(&log).is_empty());
    event.reset();
    assert_eq!(alertable::wait_one(&event, LONG), Ok(Waited::Apc));
}

#[test]
fn an_apc_of_another_thread_ends_a_wait_of_each_kind() {
    let (event, other) = (Event::auto(), Event::auto());
    let waits: [Wait<'_>; 4] = [
        &|| alertable::sleep(LONG),
        &|| alertable::wait_one(&event, LONG),
        &|| alertable::wait_any(&[&event, &other], LONG),
        &|| alertable::wait_all(&[&event, &other], LONG),
    ];
    for wait in waits {
        for _ in 0..50 {
            let (here, ran) = (Thread::current(), Arc::new(AtomicUsize::new(0)));
            let theirs = ran.clone();
            let queues = std::thread::spawn(move || {
                here.queue_apc(move || {
                    theirs.fetch_add(1, Ordering::SeqCst);
                })
            });
            assert_eq!(wait(), Ok(Waited::Apc));
            assert_eq!(ran.load(Ordering::SeqCst), 1);
            queues.join().unwrap().unwrap();
        }
    }
}

#[test]
fn what_apcs_queue_runs_before_the_wait_returns() {
    let (here, log) = (Thread::current(), Log::default());
    let theirs = log.clone();
    let again = here.clone();
    here.queue_apc(move || {
        theirs.lock().unwrap().push(1);
        note(&again, &theirs, 3);
    })
    .unwrap();
    note(&here, &log, 2);
    assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
    assert_eq!(noted(&log), [1, 2, 3]);
}

#[test]
fn an_alertable_wait_inside_an_apc_runs_the_rest() {
    let (here, log) = (Thread::current(), Log::default());
    let theirs = log.clone();
    here.queue_apc(move || {
        assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
        theirs.lock().unwrap().push(1);
    })
    .unwrap();
    note(&here, &log, 2);
    note(&here, &log, 3);
    assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
    assert_eq!(noted(&log), [2, 3, 1]);
}

#[test]
fn a_panic_in_an_apc_leaves_the_wait_and_loses_none_of_the_rest() {
    let (here, log, event) = (Thread::current(), Log::default(), Event::auto());
    note(&here, &log, 1);
    here.queue_apc(|| std::panic::panic_any(7_u32)).unwrap();
    note(&here, &log, 2);
    let panic = catch_unwind(AssertUnwindSafe(|| alertable::wait_one(&event, LONG))).unwrap_err();
    assert_eq!(panic.downcast_ref::<u32>(), Some(&7));
    assert_eq!(noted(&log), [1]);
    event.set();
    assert_eq!(sync::wait_one(&event, LONG), Ok(Waited::Signalled(0)), "the wait it left takes nothing any more");
    assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
    assert_eq!(noted(&log), [2]);
}

#[test]
fn apcs_queued_before_a_thread_starts_run_before_its_entry_point() {
    let log = Log::default();
    let theirs = log.clone();
    let mut thread = Thread::suspended(move || theirs.lock().unwrap().push(3));
    note(thread.thread(), &log, 1);
    note(thread.thread(), &log, 2);
    thread.resume().unwrap();
    thread.join().unwrap();
    assert_eq!(noted(&log), [1, 2, 3]);
}

#[test]
fn queueing_to_a_thread_that_has_ended_is_error_31() {
    let thread = Thread::spawn(|| {}).unwrap();
    let reference = thread.thread().clone();
    thread.join().unwrap();
    let error = reference.queue_apc(|| unreachable!("it has ended")).unwrap_err();
    assert_eq!((error.code(), error.code().win32()), (Code::ThreadEnded, 31));
    let never = Thread::suspended(|| {});
    let reference = never.thread().clone();
    drop(never);
    assert_eq!(reference.queue_apc(|| {}).unwrap_err().code(), Code::ThreadEnded);
}

#[test]
fn what_is_queued_is_dropped_with_its_thread() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let counts = Counts(dropped.clone());
    let go = Event::manual();
    let theirs = go.clone();
    let thread = Thread::spawn(move || theirs.wait()).unwrap();
    // It may run before the entry point, or never: either way it goes.
    thread.thread().queue_apc(move || drop(counts)).unwrap();
    go.set();
    thread.join().unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn an_apc_between_a_waits_end_and_the_next_is_kept() {
    let (here, ran) = (Thread::current(), Arc::new(AtomicUsize::new(0)));
    let theirs = ran.clone();
    let queues = std::thread::spawn(move || {
        for _ in 0..2000 {
            let ran = theirs.clone();
            here.queue_apc(move || {
                ran.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        }
    });
    let permits = Semaphore::new(1, 1).unwrap();
    while ran.load(Ordering::SeqCst) < 2000 {
        match alertable::wait_one(&permits, LONG).unwrap() {
            Waited::Signalled(0) => drop(permits.release(1)),
            other => panic!("{other:?}"),
        }
        assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
    }
    queues.join().unwrap();
}

#[test]
fn a_blocking_wait_is_cancelled_from_another_thread() {
    let (send, receive) = mpsc::channel();
    let (go, asleep) = (Event::manual(), Event::manual());
    let (theirs, waits) = (go.clone(), asleep.clone());
    let blocked = worker(move || {
        let (ours, _peer) = stream();
        send.send(Thread::current()).unwrap();
        let bystander: Overlapped<NoBuffer, (), _> = ours.readable().start().unwrap();
        theirs.wait();
        waits.set();
        let code = start(ours.recv(vec![0; 4])).wait().result.unwrap_err().code();
        (code, bystander.is_complete())
    });
    let thread = receive.recv().unwrap();
    let error = thread.cancel_blocking().unwrap_err();
    assert_eq!((error.code(), error.code().win32()), (Code::NotFound, 1168), "it waits for no operation");
    go.set();
    assert!(asleep.wait_timeout(LONG));
    until("it blocks", || thread.cancel_blocking().is_ok());
    assert_eq!(blocked.join(), (Code::Cancelled, false), "and the operation nobody waited for is as it was");
    assert_eq!(thread.cancel_blocking().unwrap_err().code(), Code::NotFound, "it has ended");
}
