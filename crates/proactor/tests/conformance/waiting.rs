//! SEMANTICS 17: waits for one object, for any, for all; semaphores, mutexes, threads, operations, signal-and-wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proactor::sync::{self, Event, Mutex, Semaphore, Thread, Waitable, Waited};
use proactor::{Code, NoBuffer, Overlapped};

use crate::common::*;

fn other_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(run).join().unwrap()
}

#[test]
fn a_wait_takes_1_to_64_objects() {
    let event = Event::manual();
    event.set();
    let many: Vec<&dyn Waitable> = std::iter::repeat_n(&event as &dyn Waitable, 65).collect();
    for objects in [&many[..0], &many[..]] {
        let error = sync::wait_any(objects, LONG).unwrap_err();
        assert_eq!((error.code(), error.code().win32()), (Code::InvalidParameter, 87));
        assert_eq!(sync::wait_all(objects, LONG).unwrap_err().code(), Code::InvalidParameter);
    }
    assert!(sync::wait_any(&many, LONG).unwrap_err().to_string().contains("64"));
    assert_eq!(sync::wait_any(&many[..64], LONG), Ok(Waited::Signalled(0)));
}

#[test]
fn the_lowest_signalled_index_wins_and_only_it_is_consumed() {
    let events = [Event::auto(), Event::auto(), Event::auto()];
    events[1].set();
    events[2].set();
    let all: [&dyn Waitable; 3] = [&events[0], &events[1], &events[2]];
    assert_eq!(sync::wait_any(&all, LONG), Ok(Waited::Signalled(1)));
    assert_eq!(sync::wait_any(&all, LONG), Ok(Waited::Signalled(2)));
    assert_eq!(sync::wait_any(&all, Duration::ZERO), Ok(Waited::TimedOut));
}

#[test]
fn a_wait_ends_at_its_timeout_and_not_before() {
    let event = Event::auto();
    let start = Instant::now();
    assert_eq!(sync::wait_one(&event, SHORT), Ok(Waited::TimedOut));
    assert_eq!(sync::sleep(SHORT), Ok(Waited::TimedOut));
    assert_eq!(sync::wait_one(&event, start + 3 * SHORT), Ok(Waited::TimedOut));
    assert!(start.elapsed() >= 3 * SHORT);
    event.set();
    assert_eq!(sync::wait_one(&event, Duration::ZERO), Ok(Waited::Signalled(0)), "a timed-out wait took nothing");
}

#[test]
fn wait_all_takes_all_or_nothing() {
    let (event, permits) = (Event::auto(), Semaphore::new(1, 1).unwrap());
    assert_eq!(sync::wait_all(&[&event, &permits], SHORT), Ok(Waited::TimedOut));
    assert_eq!(sync::wait_one(&permits, Duration::ZERO), Ok(Waited::Signalled(0)), "still there");
    permits.release(1).unwrap();
    let waiter = {
        let (event, permits) = (event.clone(), permits.clone());
        std::thread::spawn(move || sync::wait_all(&[&event, &permits], LONG))
    };
    event.set();
    assert_eq!(waiter.join().unwrap(), Ok(Waited::Signalled(0)));
    assert_eq!(sync::wait_any(&[&event, &permits], Duration::ZERO), Ok(Waited::TimedOut), "both are taken");
}

#[test]
fn wait_all_of_an_object_twice_is_refused() {
    let event = Event::manual();
    assert_eq!(sync::wait_all(&[&event, &event.clone()], LONG).unwrap_err().code(), Code::InvalidParameter);
}

#[test]
fn a_last_signal_that_is_taken_back_at_once_satisfies_a_wait_for_all() {
    for _ in 0..200 {
        let (first, last) = (Event::manual(), Event::manual());
        let waiter = {
            let (first, last) = (first.clone(), last.clone());
            std::thread::spawn(move || sync::wait_all(&[&first, &last], LONG))
        };
        first.set();
        while !waiter.is_finished() {
            last.set();
            last.reset();
        }
        assert_eq!(waiter.join().unwrap(), Ok(Waited::Signalled(0)));
    }
}

#[test]
fn two_waits_for_all_in_opposite_orders_do_not_lock_each_other_out() {
    let (left, right) = (Semaphore::new(1, 1).unwrap(), Semaphore::new(1, 1).unwrap());
    let threads = [[left.clone(), right.clone()], [right, left]].map(|[a, b]| {
        std::thread::spawn(move || {
            for _ in 0..2000 {
                assert_eq!(sync::wait_all(&[&a, &b], LONG), Ok(Waited::Signalled(0)));
                a.release(1).unwrap();
                b.release(1).unwrap();
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_semaphore_counts() {
    let semaphore = Semaphore::new(0, 5).unwrap();
    assert_eq!(semaphore.release(2), Ok(0));
    assert_eq!(semaphore.release(3), Ok(2));
    let error = semaphore.release(1).unwrap_err();
    assert_eq!((error.code(), error.code().win32()), (Code::TooManyPosts, 298));
    for _ in 0..5 {
        assert_eq!(sync::wait_one(&semaphore, Duration::ZERO), Ok(Waited::Signalled(0)));
    }
    assert_eq!(sync::wait_one(&semaphore, Duration::ZERO), Ok(Waited::TimedOut));
    assert_eq!(semaphore.release(0).unwrap_err().code(), Code::InvalidParameter);
    assert_eq!(Semaphore::new(2, 1).unwrap_err().code(), Code::InvalidParameter);
    assert_eq!(Semaphore::new(0, 0).unwrap_err().code(), Code::InvalidParameter);
}

#[test]
fn a_release_by_n_releases_n_waiters() {
    let semaphore = Semaphore::new(0, 8).unwrap();
    let through = Arc::new(AtomicUsize::new(0));
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let (semaphore, through) = (semaphore.clone(), through.clone());
            std::thread::spawn(move || {
                let waited = sync::wait_one(&semaphore, LONG).unwrap();
                through.fetch_add(1, Ordering::SeqCst);
                waited
            })
        })
        .collect();
    semaphore.release(3).unwrap();
    until("as many are through", || through.load(Ordering::SeqCst) == 3);
    std::thread::sleep(SHORT);
    assert_eq!(through.load(Ordering::SeqCst), 3);
    semaphore.release(1).unwrap();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), Waited::Signalled(0));
    }
}

#[test]
fn a_mutex_is_its_owners_as_often_as_it_was_taken() {
    let mutex = Mutex::new();
    assert_eq!(sync::wait_one(&mutex, LONG), Ok(Waited::Signalled(0)));
    assert_eq!(sync::wait_one(&mutex, LONG), Ok(Waited::Signalled(0)), "its owner has it again");
    let theirs = mutex.clone();
    other_thread(move || {
        assert_eq!(sync::wait_one(&theirs, SHORT), Ok(Waited::TimedOut));
        let error = theirs.release().unwrap_err();
        assert_eq!((error.code(), error.code().win32()), (Code::NotOwner, 288));
    });
    mutex.release().unwrap();
    let theirs = mutex.clone();
    other_thread(move || assert_eq!(sync::wait_one(&theirs, SHORT), Ok(Waited::TimedOut), "released once of twice"));
    let theirs = mutex.clone();
    let waiter = std::thread::spawn(move || {
        assert_eq!(sync::wait_one(&theirs, LONG), Ok(Waited::Signalled(0)));
        theirs.release().unwrap();
    });
    mutex.release().unwrap();
    waiter.join().unwrap();
    assert_eq!(mutex.release().unwrap_err().code(), Code::NotOwner);
}

#[test]
fn a_mutex_whose_owner_ended_is_reported_once() {
    let (event, mutex) = (Event::manual(), Mutex::new());
    let waiting = {
        let (theirs, taken) = (mutex.clone(), event.clone());
        let owner = std::thread::spawn(move || {
            sync::wait_one(&theirs, LONG).unwrap();
            taken.set();
            std::thread::sleep(SHORT);
        });
        event.wait();
        event.reset();
        let waited = sync::wait_any(&[&event, &mutex], LONG);
        owner.join().unwrap();
        waited
    };
    assert_eq!(waiting, Ok(Waited::Abandoned(1)));
    mutex.release().unwrap();
    assert_eq!(sync::wait_one(&mutex, LONG), Ok(Waited::Signalled(0)), "it was told already");
    mutex.release().unwrap();
    // Nobody waits when it is abandoned; and a wait for all tells it too.
    let theirs = mutex.clone();
    other_thread(move || {
        sync::wait_one(&theirs, LONG).unwrap();
    });
    event.set();
    assert_eq!(sync::wait_all(&[&event, &mutex], LONG), Ok(Waited::Abandoned(1)));
    mutex.release().unwrap();
}

#[test]
fn signal_and_wait_signals_first() {
    let (go, done, mutex) = (Event::auto(), Event::auto(), Mutex::new());
    let worker = {
        let (go, done) = (go.clone(), done.clone());
        std::thread::spawn(move || {
            assert_eq!(sync::wait_one(&go, LONG), Ok(Waited::Signalled(0)));
            done.set();
        })
    };
    assert_eq!(sync::signal_and_wait(&go, &done, LONG), Ok(Waited::Signalled(0)));
    worker.join().unwrap();
    done.set();
    assert_eq!(sync::signal_and_wait(&mutex, &done, LONG).unwrap_err().code(), Code::NotOwner);
    let thread = Thread::current();
    assert_eq!(sync::signal_and_wait(&thread, &done, LONG).unwrap_err().code(), Code::InvalidHandle);
    let full = Semaphore::new(1, 1).unwrap();
    assert_eq!(sync::signal_and_wait(&full, &done, LONG).unwrap_err().code(), Code::TooManyPosts);
    assert_eq!(sync::wait_one(&done, Duration::ZERO), Ok(Waited::Signalled(0)), "nothing waited after an error");
}

#[test]
fn a_thread_is_signalled_at_its_end() {
    let event = Event::manual();
    let theirs = event.clone();
    let thread = Thread::spawn(move || {
        theirs.wait();
        "its result"
    })
    .unwrap();
    assert_eq!(sync::wait_one(&thread, SHORT), Ok(Waited::TimedOut));
    event.set();
    assert_eq!(sync::wait_all(&[&thread, &event], LONG), Ok(Waited::Signalled(0)));
    assert_eq!(sync::wait_one(thread.thread(), LONG), Ok(Waited::Signalled(0)), "for good");
    assert_eq!(thread.join().unwrap(), "its result");
}

#[test]
fn a_thread_of_somebody_elses_is_signalled_at_its_end_too() {
    let (send, receive) = std::sync::mpsc::channel();
    let go = Event::manual();
    let theirs = go.clone();
    let thread = std::thread::spawn(move || {
        send.send(Thread::current()).unwrap();
        theirs.wait();
    });
    let reference = receive.recv().unwrap();
    assert!(!reference.is_current());
    assert_eq!(sync::wait_one(&reference, SHORT), Ok(Waited::TimedOut));
    go.set();
    assert_eq!(sync::wait_one(&reference, LONG), Ok(Waited::Signalled(0)));
    thread.join().unwrap();
}

#[test]
fn a_panic_of_a_thread_comes_out_of_join() {
    let thread: Thread<()> = Thread::spawn(|| std::panic::panic_any(7_u32)).unwrap();
    let panic = thread.join().unwrap_err();
    assert_eq!(panic.downcast_ref::<u32>(), Some(&7));
}

#[test]
fn a_suspended_thread_runs_when_it_is_resumed_or_never() {
    let ran = Arc::new(AtomicUsize::new(0));
    let theirs = ran.clone();
    let mut thread = Thread::suspended(move || theirs.fetch_add(1, Ordering::SeqCst));
    assert_eq!(sync::wait_one(&thread, SHORT), Ok(Waited::TimedOut));
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    thread.resume().unwrap();
    thread.resume().unwrap();
    assert_eq!(sync::wait_one(&thread, LONG), Ok(Waited::Signalled(0)));
    assert_eq!((thread.join().unwrap(), ran.load(Ordering::SeqCst)), (0, 1));
    let never = Thread::suspended(|| unreachable!("it is never resumed"));
    let reference = never.thread().clone();
    drop(never);
    assert_eq!(sync::wait_one(&reference, LONG), Ok(Waited::Signalled(0)));
}

#[test]
fn an_operation_is_signalled_once_it_is_complete() {
    let (ours, mut peer) = stream();
    let never = Event::manual();
    let ready: Overlapped<NoBuffer, (), _> = ours.readable().start().unwrap();
    assert_eq!(sync::wait_any(&[&never, &ready], SHORT), Ok(Waited::TimedOut));
    std::io::Write::write_all(&mut peer, b"data").unwrap();
    assert_eq!(sync::wait_any(&[&never, &ready], LONG), Ok(Waited::Signalled(1)));
    assert_eq!(sync::wait_all(&[&ready], Duration::ZERO), Ok(Waited::Signalled(0)), "for good");
    assert!(ready.is_complete());
    finish(ready).result.unwrap();
}

#[test]
fn a_signal_from_another_thread_ends_a_wait_beside_an_operation() {
    let (ours, _peer) = stream();
    let ready: Overlapped<NoBuffer, (), _> = ours.readable().start().unwrap();
    let event = Event::auto();
    for _ in 0..50 {
        let theirs = event.clone();
        let setter = std::thread::spawn(move || theirs.set());
        assert_eq!(sync::wait_any(&[&ready, &event], LONG), Ok(Waited::Signalled(1)));
        setter.join().unwrap();
    }
}
