//! SEMANTICS.md 19: work objects, clean-up groups, how many threads there are.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use proactor::Code;
use proactor::pool::{CleanupGroup, Pool};
use proactor::sync::Event;

use crate::common::*;

fn pool(least: usize, most: usize) -> Pool {
    Pool::new(least, most).expect("a pool")
}

/// A count, and a callback's way to it.
fn counter() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    (count.clone(), count)
}

/// Waits for an event that must come.
#[track_caller]
fn comes(event: &Event) {
    assert!(event.wait_timeout(LONG), "an event was due");
}

#[test]
fn a_work_object_runs_once_for_each_submit() {
    let pool = pool(1, 4);
    let (count, counted) = counter();
    let work = pool.work(move |_| _ = counted.fetch_add(1, Ordering::SeqCst));
    for _ in 0..1000 {
        work.submit().unwrap();
    }
    work.wait_for_callbacks_timeout(LONG).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1000);
}

#[test]
fn a_callback_is_submitted_without_an_object() {
    let (sender, results) = mpsc::channel();
    pool(0, 1).submit(move |_| _ = sender.send(thread::current().id())).unwrap();
    assert_ne!(results.recv_timeout(LONG).unwrap(), thread::current().id());
}

#[test]
fn no_more_threads_than_the_maximum_run() {
    let pool = pool(0, 2);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let work = pool.work(move |_| {
        seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(SHORT / 10);
        running.fetch_sub(1, Ordering::SeqCst);
    });
    for _ in 0..20 {
        work.submit().unwrap();
    }
    work.wait_for_callbacks_timeout(LONG).unwrap();
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    assert!(pool.threads() <= 2);
}

#[test]
fn the_minimum_of_threads_is_there_from_the_start_and_can_be_raised() {
    let pool = pool(2, 8);
    assert_eq!(pool.threads(), 2);
    pool.set_threads(5, 8).unwrap();
    assert_eq!(pool.threads(), 5);
    for (least, most) in [(0, 0), (3, 2)] {
        assert_eq!(pool.set_threads(least, most).unwrap_err().code(), Code::InvalidParameter);
        assert_eq!(Pool::new(least, most).unwrap_err().code(), Code::InvalidParameter);
    }
}

/// Eight callbacks that meet: none ends before all have begun.
#[test]
fn threads_are_added_for_callbacks_that_block() {
    let pool = pool(0, 8);
    let all = Event::manual();
    let (count, begun) = (AtomicUsize::new(0), all.clone());
    let work = pool.work(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) + 1 == 8 {
            begun.set();
        }
        comes(&begun);
    });
    for _ in 0..8 {
        work.submit().unwrap();
    }
    work.wait_for_callbacks_timeout(LONG).unwrap();
    comes(&all);
}

/// As many that only compute as there are processors, and one more: it has no place until they let it in.
#[test]
fn a_callback_that_may_run_long_lets_another_run_beside_it() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let pool = pool(0, processors + 2);
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, begun) = mpsc::channel();
    let spin = stop.clone();
    let sender = Mutex::new(sender);
    let long = pool.work(move |instance| {
        instance.may_run_long();
        sender.lock().unwrap().send(()).unwrap();
        while !spin.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    });
    for _ in 0..processors {
        long.submit().unwrap();
    }
    for _ in 0..processors {
        begun.recv_timeout(LONG).unwrap();
    }
    let ran = Event::manual();
    let signal = ran.clone();
    pool.submit(move |_| signal.set()).unwrap();
    let came = ran.wait_timeout(LONG);
    stop.store(true, Ordering::SeqCst);
    assert!(came, "a callback behind those that run long did not run");
    long.wait_for_callbacks_timeout(LONG).unwrap();
}

#[test]
fn a_wait_that_cancels_drops_what_has_not_begun_and_waits_for_what_has() {
    let pool = pool(0, 1);
    let (begun, go) = (Event::auto(), Event::manual());
    let (count, counted) = counter();
    let (at, until) = (begun.clone(), go.clone());
    let work = pool.work(move |_| {
        at.set();
        comes(&until);
        counted.fetch_add(1, Ordering::SeqCst);
    });
    for _ in 0..5 {
        work.submit().unwrap();
    }
    comes(&begun);
    assert_eq!(work.wait_for_callbacks_timeout(SHORT).unwrap_err().code(), Code::WaitTimeout);
    let canceller = thread::spawn({
        let work = work.clone();
        move || work.cancel().unwrap()
    });
    // Time for it to begin, on a busy machine, too.
    thread::sleep(10 * SHORT);
    assert!(!canceller.is_finished(), "the callback that runs was not waited for");
    go.set();
    assert_eq!(canceller.join().unwrap(), 4);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    // The object is as good as before.
    work.submit().unwrap();
    work.wait_for_callbacks_timeout(LONG).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn a_callback_that_waits_for_itself_is_told_so() {
    let pool = pool(0, 2);
    let own = Arc::new(Mutex::new(None::<proactor::pool::Work>));
    let (sender, results) = mpsc::channel();
    let (mine, sender) = (own.clone(), Mutex::new(sender));
    let work = pool.work(move |_| {
        let work = mine.lock().unwrap().take().unwrap();
        sender.lock().unwrap().send(work.wait_for_callbacks().unwrap_err().code()).unwrap();
    });
    *own.lock().unwrap() = Some(work.clone());
    work.submit().unwrap();
    assert_eq!(results.recv_timeout(LONG).unwrap(), Code::InvalidParameter);
}

#[test]
fn what_was_submitted_runs_though_the_object_and_the_pool_are_dropped() {
    let pool = pool(0, 1);
    let (count, counted) = counter();
    let last = Event::manual();
    let signal = last.clone();
    let work = pool.work(move |_| {
        thread::sleep(SHORT / 30);
        if counted.fetch_add(1, Ordering::SeqCst) + 1 == 10 {
            signal.set();
        }
    });
    for _ in 0..10 {
        work.submit().unwrap();
    }
    drop(work);
    drop(pool);
    comes(&last);
    assert_eq!(count.load(Ordering::SeqCst), 10);
}

/// Its value is dropped when its thread ends.
struct Ends(Event);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.set();
    }
}

thread_local! {
    static ENDS: RefCell<Option<Ends>> = const { RefCell::new(None) };
}

#[test]
fn the_threads_end_with_the_pool() {
    let pool = pool(0, 1);
    let ended = Event::manual();
    let (signal, done) = (ended.clone(), Event::manual());
    let set = done.clone();
    pool.submit(move |instance| {
        ENDS.set(Some(Ends(signal)));
        instance.set_when_done(&set);
    })
    .unwrap();
    comes(&done);
    assert!(!ended.wait_timeout(SHORT));
    drop(pool);
    comes(&ended);
}

#[test]
fn an_event_is_set_when_the_callback_has_returned() {
    let pool = pool(0, 1);
    let done = Event::manual();
    let returned = Arc::new(AtomicBool::new(false));
    let (signal, flag) = (done.clone(), returned.clone());
    pool.submit(move |instance| {
        instance.set_when_done(&signal);
        assert!(!signal.wait_timeout(SHORT), "set while the callback still ran");
        flag.store(true, Ordering::SeqCst);
    })
    .unwrap();
    comes(&done);
    assert!(returned.load(Ordering::SeqCst));
}

#[test]
fn a_disassociated_callback_is_not_waited_for() {
    let pool = pool(0, 2);
    let (begun, go) = (Event::manual(), Event::manual());
    let (at, until) = (begun.clone(), go.clone());
    let work = pool.work(move |instance| {
        instance.disassociate();
        at.set();
        comes(&until);
    });
    work.submit().unwrap();
    comes(&begun);
    work.wait_for_callbacks_timeout(LONG).unwrap();
    go.set();
}

#[test]
fn a_panic_in_a_callback_loses_nothing_else() {
    let pool = pool(0, 1);
    let (count, counted) = counter();
    let work = pool.work(move |_| {
        let turn = counted.fetch_add(1, Ordering::SeqCst);
        assert!(!turn.is_multiple_of(3), "a panic that belongs to this test");
    });
    for _ in 0..9 {
        work.submit().unwrap();
    }
    work.wait_for_callbacks_timeout(LONG).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 9);
}

/// With its drop a callback panics.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        assert!(thread::panicking(), "a callback's drop");
    }
}

#[test]
fn a_panic_in_the_drop_of_a_callback_loses_no_thread() {
    let pool = pool(0, 1);
    let (begun, go_on) = (Flag::default(), Flag::default());
    let (tells, waits) = (begun.clone(), go_on.clone());
    pool.submit(move |_| {
        tells.set();
        waits.wait();
    })
    .unwrap();
    begun.wait();
    let grenade = Grenade;
    let work = pool.work(move |_| _ = &grenade);
    work.submit().unwrap();
    // What waits in the queue is the last of it.
    drop(work);
    go_on.set();
    let (sender, results) = mpsc::channel();
    pool.submit(move |_| _ = sender.send(1)).unwrap();
    assert_eq!(results.recv_timeout(LONG), Ok(1));
}

#[test]
fn closing_a_group_waits_for_the_callbacks_of_all_its_objects() {
    let pool = pool(0, 2);
    let group = CleanupGroup::new();
    let environment = pool.environment().group(&group).on_cancel(|| panic!("nothing is cancelled here"));
    let (count, counted) = counter();
    let objects: Vec<_> = (0..4)
        .map(|_| {
            let counted = counted.clone();
            environment.work(move |_| {
                thread::sleep(SHORT / 30);
                counted.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    for object in &objects {
        object.submit().unwrap();
        object.submit().unwrap();
    }
    group.close_members().unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 8);
    assert_eq!(objects[0].submit().unwrap_err().code(), Code::InvalidHandle);
    // The group itself goes on.
    let object = environment.work(|_| {});
    object.submit().unwrap();
    group.close_members().unwrap();
}

#[test]
fn cancelling_a_group_drops_what_waits_and_calls_back_once_for_each_object_on_this_thread() {
    let pool = pool(0, 1);
    let (begun, go) = (Event::manual(), Event::manual());
    let (at, until) = (begun.clone(), go.clone());
    pool.submit(move |_| {
        at.set();
        comes(&until);
    })
    .unwrap();
    comes(&begun);
    // The only thread is taken: nothing of the group's begins.
    let group = CleanupGroup::new();
    let (cancelled, here) = (Arc::new(Mutex::new(Vec::new())), thread::current().id());
    let told = cancelled.clone();
    let environment = pool.environment().group(&group).on_cancel(move || told.lock().unwrap().push(thread::current().id()));
    let objects: Vec<_> = (0..3).map(|_| environment.work(|_| panic!("it was cancelled"))).collect();
    for object in &objects {
        object.submit().unwrap();
        object.submit().unwrap();
    }
    group.cancel_members().unwrap();
    assert_eq!(*cancelled.lock().unwrap(), vec![here; 3]);
    go.set();
    // What was posted for them finds nothing to do.
    let last = Event::manual();
    let signal = last.clone();
    pool.submit(move |_| signal.set()).unwrap();
    comes(&last);
}
