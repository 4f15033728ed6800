//! Waitable timers on a clock that the test sets.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::sync;
use crate::sync::Waited;

const MS: u64 = 1_000_000;

/// Both clocks, in nanoseconds, and what the service asked to be woken at.
#[derive(Default)]
struct Hands {
    steady: AtomicU64,
    wall: AtomicU64,
    set: Mutex<(Option<u64>, Option<u64>)>,
}

struct Fake(Arc<Hands>);

impl Clock for Fake {
    fn steady(&self) -> u64 {
        self.0.steady.load(Ordering::SeqCst)
    }

    fn wall(&self) -> u64 {
        self.0.wall.load(Ordering::SeqCst)
    }

    fn set(&self, steady: Option<u64>, wall: Option<u64>) {
        *lock(&self.0.set) = (steady, wall);
    }
}

struct World {
    hands: Arc<Hands>,
    service: Arc<Service>,
}

impl World {
    fn new() -> World {
        let hands = Arc::new(Hands::default());
        hands.wall.store(1_000_000 * MS, Ordering::SeqCst);
        World { service: Arc::new(Service::new(Box::new(Fake(hands.clone())))), hands }
    }

    fn timer(&self, reset: Reset) -> WaitableTimer {
        WaitableTimer::on(self.service.clone(), reset, None)
    }

    /// Time passes on both clocks.
    fn pass(&self, nanos: u64) {
        self.hands.steady.fetch_add(nanos, Ordering::SeqCst);
        self.hands.wall.fetch_add(nanos, Ordering::SeqCst);
        self.service.turn();
    }

    /// Somebody sets the time of day.
    fn set_wall(&self, nanos: u64) {
        self.hands.wall.store(nanos, Ordering::SeqCst);
        self.service.turn();
    }

    fn alarms(&self) -> (Option<u64>, Option<u64>) {
        *lock(&self.hands.set)
    }
}

fn wall(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn is_signalled(timer: &WaitableTimer) -> bool {
    sync::wait_one(timer, Duration::ZERO) == Ok(Waited::Signalled(0))
}

#[test]
fn a_relative_timer_does_not_heed_the_time_of_day() {
    let world = World::new();
    let timer = world.timer(Reset::Manual);
    timer.set(Duration::from_millis(10)).expect("it is set");
    world.set_wall(5_000_000 * MS);
    assert!(!is_signalled(&timer));
    world.set_wall(0);
    world.pass(10 * MS - 1);
    assert!(!is_signalled(&timer), "a nanosecond early");
    world.pass(1);
    assert!(is_signalled(&timer));
}

#[test]
fn setting_the_time_of_day_moves_an_absolute_timer() {
    let world = World::new();
    let timer = world.timer(Reset::Auto);
    timer.set(wall(1_000_010 * MS)).expect("it is set");
    assert_eq!(world.alarms(), (None, Some(1_000_010 * MS)));
    // Back: it is due later.
    world.set_wall(999_000 * MS);
    world.pass(10 * MS);
    assert!(!is_signalled(&timer));
    // Forward past it: it is due at once.
    world.set_wall(2_000_000 * MS);
    assert!(is_signalled(&timer));
    assert!(!is_signalled(&timer), "one wait took it");
    assert_eq!(world.alarms(), (None, None));
}

#[test]
fn periods_do_not_drift_and_missed_ones_are_one_signal() {
    let world = World::new();
    let timer = world.timer(Reset::Auto);
    timer.set_periodic(Duration::from_millis(10), Duration::from_millis(4)).expect("it is set");
    // Served late by one and two milliseconds.
    world.pass(11 * MS);
    assert!(is_signalled(&timer));
    assert_eq!(world.alarms().0, Some(14 * MS));
    world.pass(5 * MS);
    assert!(is_signalled(&timer));
    assert_eq!(world.alarms().0, Some(18 * MS));
    world.pass(40 * MS);
    assert!(is_signalled(&timer));
    assert!(!is_signalled(&timer), "those it missed are not made up for");
    assert_eq!(world.alarms().0, Some(58 * MS), "and the beat is the old one");
}

#[test]
fn the_periods_of_an_absolute_timer_go_on_by_the_steady_clock() {
    let world = World::new();
    let timer = world.timer(Reset::Auto);
    timer.set_periodic(wall(1_000_010 * MS), Duration::from_millis(4)).expect("it is set");
    world.pass(11 * MS);
    assert!(is_signalled(&timer));
    assert_eq!(world.alarms(), (Some(14 * MS), None), "counted from when it was due, a millisecond ago");
    world.set_wall(0);
    world.pass(3 * MS);
    assert!(is_signalled(&timer));
}

#[test]
fn a_jump_of_the_clock_is_not_taken_for_lateness() {
    let world = World::new();
    let timer = world.timer(Reset::Auto);
    timer.set_periodic(wall(1_000_010 * MS), Duration::from_millis(4)).expect("it is set");
    world.pass(MS);
    world.set_wall(9_000_000 * MS);
    assert!(is_signalled(&timer));
    assert_eq!(world.alarms(), (Some(5 * MS), None));
}

#[test]
fn what_was_dropped_or_cancelled_is_not_waited_for() {
    let world = World::new();
    let (one, two) = (world.timer(Reset::Manual), world.timer(Reset::Manual));
    one.set(Duration::from_millis(1)).expect("it is set");
    two.set(Duration::from_millis(2)).expect("it is set");
    drop(one);
    assert_eq!(world.alarms().0, Some(2 * MS));
    two.cancel();
    assert_eq!(world.alarms(), (None, None));
    world.pass(10 * MS);
    assert!(!is_signalled(&two));
}
