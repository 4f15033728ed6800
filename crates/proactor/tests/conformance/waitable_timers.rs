//! SEMANTICS 18: waitable timers.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use proactor::Code;
use proactor::sync::{self, Event, Waited, alertable};
use proactor::time::{Reset, WaitableTimer};

use crate::common::*;

const FAR: Duration = Duration::from_secs(3600);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Waits for the timer's signal.
#[track_caller]
fn signalled(timer: &WaitableTimer) {
    assert_eq!(sync::wait_one(timer, LONG), Ok(Waited::Signalled(0)));
}

#[track_caller]
fn is_signalled(timer: &WaitableTimer) -> bool {
    sync::wait_one(timer, Duration::ZERO) == Ok(Waited::Signalled(0))
}

/// Counts how often it ran.
fn counter() -> (Arc<AtomicUsize>, impl Fn() + Send + Sync + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let own = count.clone();
    (count, move || {
        own.fetch_add(1, Ordering::SeqCst);
    })
}

#[test]
fn a_timer_is_signalled_at_its_time_and_never_before() {
    let timer = WaitableTimer::manual().unwrap();
    for delay in [0, 130, 1000, 2700, 11_000].map(Duration::from_micros) {
        let begin = Instant::now();
        timer.set(delay).unwrap();
        signalled(&timer);
        assert!(begin.elapsed() >= delay, "{delay:?}: after {:?}", begin.elapsed());
    }
}

#[test]
fn a_timer_that_was_never_set_is_not_signalled() {
    for reset in [Reset::Manual, Reset::Auto] {
        let timer = WaitableTimer::new(reset).unwrap();
        assert_eq!(sync::wait_one(&timer, SHORT), Ok(Waited::TimedOut));
    }
}

#[test]
fn a_synchronization_timer_releases_one_wait_and_a_manual_one_all() {
    let (auto, manual) = (WaitableTimer::auto().unwrap(), WaitableTimer::manual().unwrap());
    for timer in [&auto, &manual] {
        timer.set(ms(1)).unwrap();
        signalled(timer);
    }
    assert!(!is_signalled(&auto));
    assert!(is_signalled(&manual) && is_signalled(&manual));
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let manual = manual.clone();
            worker(move || signalled(&manual))
        })
        .collect();
    waiters.into_iter().for_each(Worker::join);
}

#[test]
fn a_time_of_day_is_waited_for_and_one_that_has_passed_is_signalled_at_once() {
    let timer = WaitableTimer::manual().unwrap();
    let due = SystemTime::now() + ms(20);
    timer.set(due).unwrap();
    signalled(&timer);
    assert!(SystemTime::now() >= due);
    timer.set(SystemTime::now() - ms(1)).unwrap();
    assert!(is_signalled(&timer));
    timer.set(SystemTime::UNIX_EPOCH).unwrap();
    assert!(is_signalled(&timer));
    timer.set(Duration::ZERO).unwrap();
    assert!(is_signalled(&timer));
    timer.set(Instant::now()).unwrap();
    assert!(is_signalled(&timer));
}

#[test]
fn a_period_signals_again_and_again_without_drift() {
    const PERIOD: Duration = Duration::from_millis(3);
    let timer = WaitableTimer::auto().unwrap();
    let begin = Instant::now();
    timer.set_periodic(ms(5), PERIOD).unwrap();
    for turn in 0..20 {
        signalled(&timer);
        // However late one was, the next is due by the first one's beat; a machine that was busy skips some.
        assert!(begin.elapsed() >= ms(5) + PERIOD * turn, "signal {turn} after {:?}", begin.elapsed());
    }
    timer.cancel();
}

#[test]
fn a_period_is_in_milliseconds_and_has_an_end() {
    let timer = WaitableTimer::auto().unwrap();
    let error = timer.set_periodic(ms(1), Duration::from_millis(1 << 31)).unwrap_err();
    assert_eq!((error.code(), error.code().win32()), (Code::InvalidParameter, 87));
    assert!(!is_signalled(&timer));
    // Rounded up.
    let begin = Instant::now();
    timer.set_periodic(Duration::ZERO, Duration::from_nanos(1)).unwrap();
    for _ in 0..5 {
        signalled(&timer);
    }
    assert!(begin.elapsed() >= ms(4));
}

#[test]
fn setting_again_clears_the_signal_and_moves_the_time() {
    let timer = WaitableTimer::manual().unwrap();
    timer.set(Duration::ZERO).unwrap();
    assert!(is_signalled(&timer));
    timer.set(FAR).unwrap();
    assert!(!is_signalled(&timer));
    let begin = Instant::now();
    timer.set(ms(10)).unwrap();
    signalled(&timer);
    assert!(begin.elapsed() >= ms(10));
}

#[test]
fn cancelling_leaves_the_signal() {
    let timer = WaitableTimer::manual().unwrap();
    timer.cancel();
    timer.set(Duration::ZERO).unwrap();
    timer.cancel();
    assert!(is_signalled(&timer));
    timer.set(ms(2)).unwrap();
    timer.cancel();
    assert_eq!(sync::wait_one(&timer, SHORT), Ok(Waited::TimedOut));
}

#[test]
fn it_is_waited_for_with_other_objects() {
    let (timer, event) = (WaitableTimer::auto().unwrap(), Event::manual());
    timer.set(ms(5)).unwrap();
    assert_eq!(sync::wait_any(&[&event, &timer], LONG), Ok(Waited::Signalled(1)));
    timer.set(ms(5)).unwrap();
    assert_eq!(sync::wait_all(&[&timer, &event], ms(20)), Ok(Waited::TimedOut));
    event.set();
    assert_eq!(sync::wait_all(&[&timer, &event], LONG), Ok(Waited::Signalled(0)));
    assert!(!is_signalled(&timer), "the wait for all took it");
    assert_eq!(sync::signal_and_wait(&timer, &event, ms(1)).unwrap_err().code(), Code::InvalidHandle);
}

#[test]
fn a_routine_runs_on_the_thread_that_set_the_timer_in_its_alertable_wait() {
    let timer = WaitableTimer::manual().unwrap();
    let (count, call) = counter();
    let here = std::thread::current().id();
    timer
        .set_routine(ms(2), Duration::ZERO, move || {
            assert_eq!(std::thread::current().id(), here);
            call();
        })
        .unwrap();
    signalled(&timer);
    assert_eq!(count.load(Ordering::SeqCst), 0, "that wait was not alertable");
    assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(alertable::sleep(SHORT), Ok(Waited::TimedOut));
}

#[test]
fn at_most_one_apc_of_a_timer_is_queued() {
    let timer = WaitableTimer::manual().unwrap();
    let (count, call) = counter();
    timer.set_routine(Duration::ZERO, ms(1), call).unwrap();
    std::thread::sleep(ms(20));
    assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
    let ran = count.load(Ordering::SeqCst);
    // Another may have been queued while the first ran.
    assert!((1..=2).contains(&ran), "{ran}");
    timer.cancel();
}

#[test]
fn a_periodic_manual_timer_stays_signalled_and_queues_its_apc_again() {
    let timer = WaitableTimer::manual().unwrap();
    let (count, call) = counter();
    timer.set_routine(ms(1), ms(1), call).unwrap();
    while count.load(Ordering::SeqCst) < 3 {
        assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
        assert!(is_signalled(&timer));
    }
    timer.cancel();
}

#[test]
fn setting_again_and_cancelling_take_a_queued_apc_back() {
    let timer = WaitableTimer::manual().unwrap();
    let (count, call) = counter();
    timer.set_routine(Duration::ZERO, Duration::ZERO, call).unwrap();
    signalled(&timer);
    timer.cancel();
    assert!(is_signalled(&timer), "the signal stays");
    assert_eq!(alertable::sleep(Duration::ZERO), Ok(Waited::TimedOut));
    let (_, call) = counter();
    timer.set_routine(Duration::ZERO, Duration::ZERO, call).unwrap();
    timer.set(FAR).unwrap();
    assert_eq!(alertable::sleep(Duration::ZERO), Ok(Waited::TimedOut));
    let (_, call) = counter();
    timer.set_routine(Duration::ZERO, Duration::ZERO, call).unwrap();
    drop(timer);
    assert_eq!(alertable::sleep(Duration::ZERO), Ok(Waited::TimedOut), "its last handle takes it along");
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[test]
fn a_routine_may_set_its_own_timer() {
    let timer = WaitableTimer::auto().unwrap();
    let (count, call) = counter();
    let (call, own) = (Arc::new(call), timer.clone());
    let again = call.clone();
    timer
        .set_routine(ms(1), Duration::ZERO, move || {
            call();
            let again = again.clone();
            own.set_routine(ms(1), Duration::ZERO, move || again()).unwrap();
        })
        .unwrap();
    // One wait runs both if the second comes before it is over.
    while count.load(Ordering::SeqCst) < 2 {
        assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
    }
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn a_routine_stays_with_its_thread_and_is_dropped_there() {
    /// Tells where it is dropped.
    struct Dropped(Rc<Cell<u32>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let timer = WaitableTimer::auto().unwrap();
    let (dropped, ran) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let routine = || {
        let (kept, ran, mut times) = (Dropped(dropped.clone()), ran.clone(), 0);
        move || {
            let _kept = &kept;
            times += 1;
            ran.set(times);
        }
    };
    timer.set_routine(Duration::ZERO, ms(1), routine()).unwrap();
    while ran.get() < 3 {
        assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
    }
    timer.set_routine(FAR, Duration::ZERO, routine()).unwrap();
    assert_eq!(dropped.get(), 1, "set again, the one before goes");
    timer.cancel();
    assert_eq!(dropped.get(), 2);
    timer.set_routine(FAR, Duration::ZERO, routine()).unwrap();
    let theirs = timer.clone();
    worker(move || theirs.cancel()).join();
    assert_eq!(dropped.get(), 2, "not on another thread");
    timer.set(FAR).unwrap();
    assert_eq!(dropped.get(), 3);
    timer.set_routine(FAR, Duration::ZERO, routine()).unwrap();
    drop(timer);
    // The library's thread may have it in its hands for a moment: then the closure goes with this thread's next routine.
    let (other, begin) = (WaitableTimer::auto().unwrap(), Instant::now());
    while dropped.get() < 4 && begin.elapsed() < LONG {
        other.set_routine(FAR, Duration::ZERO, || ()).unwrap();
        std::thread::yield_now();
    }
    assert_eq!(dropped.get(), 4, "with the last handle");
}

#[test]
fn a_routine_is_not_called_inside_itself() {
    let timer = WaitableTimer::auto().unwrap();
    let (inside, ran) = (Cell::new(false), Rc::new(Cell::new(0)));
    let own = ran.clone();
    let routine = move || {
        assert!(!inside.replace(true), "it runs already");
        assert_ne!(alertable::sleep(ms(20)), Ok(Waited::Signalled(0)));
        inside.set(false);
        own.set(own.get() + 1);
    };
    timer.set_routine(Duration::ZERO, ms(1), routine).unwrap();
    while ran.get() < 3 {
        assert_eq!(alertable::sleep(LONG), Ok(Waited::Apc));
    }
    timer.cancel();
}

#[test]
fn a_timer_with_a_routine_ends_with_the_thread_that_set_it() {
    let timer = WaitableTimer::manual().unwrap();
    let own = timer.clone();
    let (count, call) = counter();
    worker(move || own.set_routine(ms(20), ms(1), call).unwrap()).join();
    assert_eq!(sync::wait_one(&timer, ms(60)), Ok(Waited::TimedOut));
    assert_eq!(count.load(Ordering::SeqCst), 0);
    // One without goes on.
    let own = timer.clone();
    worker(move || own.set(ms(1)).unwrap()).join();
    signalled(&timer);
}

#[test]
fn a_named_timer_is_opened_by_its_name_while_somebody_has_it() {
    let name = "proactor conformance: a timer";
    assert_eq!(WaitableTimer::open(name).unwrap_err().code(), Code::NotFound);
    let timer = WaitableTimer::named(name, Reset::Manual).unwrap();
    assert_eq!(WaitableTimer::open("Proactor Conformance: a timer").unwrap_err().code(), Code::NotFound, "cases differ");
    let opened = WaitableTimer::open(name).unwrap();
    opened.set(Duration::ZERO).unwrap();
    assert!(is_signalled(&timer) && is_signalled(&timer));
    // Made by name a second time it is the same, of the first one's kind.
    let second = WaitableTimer::named(name, Reset::Auto).unwrap();
    assert!(is_signalled(&second) && is_signalled(&second));
    drop((timer, opened));
    assert!(WaitableTimer::open(name).is_ok());
    drop(second);
    assert_eq!(WaitableTimer::open(name).unwrap_err().code(), Code::NotFound);
}

#[test]
fn many_timers_are_each_signalled_in_their_time() {
    let begin = Instant::now();
    let timers: Vec<_> = (0..60_u64)
        .map(|at| {
            let timer = WaitableTimer::auto().unwrap();
            timer.set(begin + ms(10 + at * 37 % 60)).unwrap();
            timer
        })
        .collect();
    let objects: Vec<&dyn sync::Waitable> = timers.iter().map(|timer| timer as &dyn sync::Waitable).collect();
    let mut seen = [false; 60];
    for _ in 0..60 {
        let Ok(Waited::Signalled(at)) = sync::wait_any(&objects, LONG) else { panic!("not signalled") };
        assert!(begin.elapsed() >= ms(10 + at as u64 * 37 % 60), "{at} came early");
        assert!(!std::mem::replace(&mut seen[at], true), "{at} came twice");
    }
}
