//! A hundred thousand waits, signals, APCs, timers set and set again, operations started and cancelled, at random over eight
//! threads: no wake-up is lost and none is delivered twice.
//!
//! Every step is counted, and each family says at its end that its counts agree: what was signalled was taken so often, or
//! is left; each operation completed once; each APC that was accepted ran once. `PROACTOR_SEED` repeats a run; the seed is
//! printed.

mod operations;
mod pooled;
mod timers;
mod waits;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proactor::sync::{Event, Thread, ThreadRef, Waited, alertable};

use crate::live::Dice;

const THREADS: usize = 8;
const STEPS: usize = 100_000;
const MOST: Duration = Duration::from_secs(120);
/// What must come comes within this time.
const LONG: Duration = Duration::from_secs(20);
/// What must not come has not come after this time.
const SHORT: Duration = Duration::from_millis(20);
/// No wait of a step is longer: one that loses its wake-up is seen by a count, not by a hang.
const LONGEST: Duration = Duration::from_micros(300);

struct World {
    waits: Arc<waits::Waits>,
    operations: operations::Operations,
    pooled: pooled::Pooled,
    steps: AtomicUsize,
    /// Threads through with their steps: from then on they queue and cancel nothing of each other's.
    through: AtomicUsize,
}

/// How long a step waits.
fn a_while(dice: &mut Dice) -> Duration {
    match dice.roll(4) {
        0 => Duration::ZERO,
        _ => Duration::from_nanos(dice.roll(LONGEST.as_nanos() as u64)),
    }
}

/// Looks again and again until it holds.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "lost: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn one_thread(world: &World, seed: u64, peers: &[ThreadRef]) {
    let end = Instant::now() + MOST;
    let mut dice = Dice::new(seed);
    let mut timers = timers::Own::new();
    let mut operations = operations::Own::default();
    while world.steps.fetch_add(1, Ordering::SeqCst) < STEPS && Instant::now() < end {
        match dice.roll(20) {
            0..10 => world.waits.step(&mut dice, peers),
            10..12 => timers.step(&mut dice),
            12..19 => world.operations.step(&mut operations, &mut dice, peers),
            _ => world.pooled.step(&mut dice, &world.waits),
        }
    }
    world.through.fetch_add(1, Ordering::SeqCst);
    until("another thread", || world.through.load(Ordering::SeqCst) == THREADS || Instant::now() > end + LONG);
    world.operations.settle(operations);
    timers.settle();
    // What others queued here runs now.
    while alertable::sleep(Duration::ZERO) == Ok(Waited::Apc) {}
}

#[test]
fn no_wake_up_is_lost_and_none_is_delivered_twice() {
    let from_clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(7, |since| since.as_nanos() as u64);
    let seed = std::env::var("PROACTOR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(from_clock);
    println!("seed {seed}: repeat with PROACTOR_SEED={seed}");
    let waits = Arc::new(waits::Waits::new());
    let world = Arc::new(World {
        pooled: pooled::Pooled::new(&waits),
        waits,
        operations: operations::Operations::new(),
        steps: AtomicUsize::new(0),
        through: AtomicUsize::new(0),
    });
    let peers = Arc::new(std::sync::OnceLock::<Vec<ThreadRef>>::new());
    let go = Event::manual();
    let threads: Vec<_> = (0..THREADS as u64)
        .map(|number| {
            let (world, peers, go) = (world.clone(), peers.clone(), go.clone());
            let run = move || {
                go.wait();
                one_thread(&world, seed ^ (number + 1) << 40, peers.get().expect("they are all there"));
            };
            Thread::spawn(run).expect("a thread")
        })
        .collect();
    assert!(peers.set(threads.iter().map(|thread| thread.thread().clone()).collect()).is_ok());
    go.set();
    for thread in threads {
        thread.join().expect("no step fails");
    }
    let World { waits, operations, pooled, steps, .. } = Arc::into_inner(world).expect("the threads have ended");
    let steps = steps.into_inner();
    assert!(steps >= STEPS, "too slow: {steps} steps");
    pooled.settle();
    operations.finish();
    waits.finish();
    assert_eq!(Arc::strong_count(&waits), 1, "a call is left over");
}
