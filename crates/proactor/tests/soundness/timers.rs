//! Many timers armed, and everything dropped, cancelled and closed under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proactor::sync::alertable;
use proactor::time::{Timers, WaitableTimer};
use proactor::{Block, CompletionPort, Concurrency, LocalPort, Outcome};

use crate::live::{Census, Dice, Live};

type Port = CompletionPort<Live, usize>;

fn seed() -> u64 {
    let seed = std::env::var("PROACTOR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x7173_u64);
    println!("PROACTOR_SEED={seed}");
    seed
}

#[test]
fn random_arms_cancels_and_drops_over_threads_lose_no_completion() {
    const EACH: usize = 20_000;
    let seed = seed();
    let census = Census::default();
    let port: Arc<Port> = Arc::new(Port::new(Concurrency::Threads(2)).unwrap());
    let timers = Timers::new();
    port.associate(&timers, 1).unwrap();
    let (armed, came, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    match port.get(Duration::from_millis(20)).unwrap() {
                        Outcome::Packet(_) | Outcome::Failed(_) => drop(came.fetch_add(1, Ordering::SeqCst)),
                        _ if stop.load(Ordering::SeqCst) => return,
                        _ => {}
                    }
                }
            });
        }
        let makers: Vec<_> = (0..3)
            .map(|maker| {
                let (timers, census, armed) = (&timers, &census, &armed);
                scope.spawn(move || {
                    let mut dice = Dice::new(seed ^ (maker + 1));
                    let (mut tickets, mut handles) = (Vec::new(), Vec::new());
                    for _ in 0..EACH {
                        let delay = Duration::from_micros(dice.roll(30_000));
                        match dice.roll(8) {
                            0..4 => {
                                tickets.push(timers.after(delay).packet(Block::new(census.one())).unwrap());
                                armed.fetch_add(1, Ordering::SeqCst);
                            }
                            4 => handles.push(timers.after(delay).start().unwrap()),
                            5 => drop(handles.pop()),
                            6 => {
                                // Cancelled, or it has fired: the one packet comes either way.
                                if let Some(ticket) = tickets.pop() {
                                    let _ = timers.cancel(ticket);
                                }
                            }
                            _ => {
                                let post = timers.post_after(delay, 7).unwrap();
                                armed.fetch_add(1, Ordering::SeqCst);
                                if dice.roll(2) == 0 && timers.cancel(post).is_ok() {
                                    armed.fetch_sub(1, Ordering::SeqCst);
                                }
                            }
                        }
                    }
                    for timer in handles {
                        timer.wait().result.unwrap();
                    }
                })
            })
            .collect();
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        let end = Instant::now() + Duration::from_secs(20);
        while came.load(Ordering::SeqCst) < armed.load(Ordering::SeqCst) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(50));
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(came.load(Ordering::SeqCst), armed.load(Ordering::SeqCst));
    census.assert_empty("blocks of timers");
}

#[test]
fn dropping_the_port_and_the_timers_in_any_order_frees_every_block() {
    for order in 0..4 {
        let census = Census::default();
        let port = Port::new(Concurrency::Threads(1)).unwrap();
        let timers = Timers::new();
        port.associate(&timers, 1).unwrap();
        for n in 0..5000_u64 {
            let delay = if n % 2 == 0 { Duration::from_micros(n * 10) } else { Duration::from_secs(100) };
            timers.after(delay).packet(Block::new(census.one())).unwrap();
            timers.post_after(delay, 0).unwrap();
        }
        let handle = timers.after(Duration::from_secs(100)).start().unwrap();
        match order {
            0 => drop((port, timers)),
            1 => drop((timers, port)),
            2 => {
                port.close();
                drop((timers, port));
            }
            _ => {
                // While some of them fire.
                std::thread::sleep(Duration::from_millis(10));
                drop(timers);
                drop(port);
            }
        }
        census.assert_empty("blocks of timers");
        assert!(order == 2 || handle.wait().result.is_err(), "its object went");
    }
}

#[test]
fn a_port_is_closed_while_its_timers_fire() {
    for round in 0..20 {
        let census = Census::default();
        let port = Arc::new(Port::new(Concurrency::Threads(2)).unwrap());
        let timers = Timers::new();
        port.associate(&timers, 1).unwrap();
        let due = Instant::now() + Duration::from_millis(3);
        for n in 0..2000 {
            timers.at(due + Duration::from_micros(n)).packet(Block::new(census.one())).unwrap();
        }
        let worker = std::thread::spawn({
            let port = port.clone();
            move || while let Ok(Outcome::Packet(_) | Outcome::Failed(_)) = port.get(Duration::from_secs(5)) {}
        });
        std::thread::sleep(Duration::from_micros(2500 + round * 100));
        port.close();
        worker.join().unwrap();
        drop((timers, port));
        census.assert_empty("blocks of timers");
    }
}

#[test]
fn a_per_thread_port_goes_with_timers_armed() {
    for close_first in [true, false] {
        let census = Census::default();
        let port = LocalPort::<(Live, std::rc::Rc<()>), usize>::new().unwrap();
        let timers = port.associate(Timers::new(), 1).unwrap_or_else(|_| panic!("it has a home"));
        let one_threads = std::rc::Rc::new(());
        for n in 0..3000_u64 {
            let block = Block::new((census.one(), one_threads.clone()));
            timers.after(Duration::from_micros(n * 3)).packet(block).unwrap();
        }
        if close_first {
            drop((port, timers));
        } else {
            drop((timers, port));
        }
        census.assert_empty("blocks of timers");
        assert_eq!(std::rc::Rc::strong_count(&one_threads), 1);
    }
}

#[test]
fn waitable_timers_are_set_cancelled_and_dropped_while_they_ring() {
    let seed = seed();
    let rang = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let rang = rang.clone();
            scope.spawn(move || {
                let mut dice = Dice::new(seed ^ (100 + thread));
                let mut timers: Vec<_> = (0..8).map(|_| WaitableTimer::auto().unwrap()).collect();
                for _ in 0..3000 {
                    let at = dice.roll(8) as usize;
                    let delay = Duration::from_micros(dice.roll(300));
                    match dice.roll(5) {
                        0 => timers[at].set(delay).unwrap(),
                        1 => timers[at].cancel(),
                        2 => timers[at] = WaitableTimer::manual().unwrap(),
                        3 => {
                            let rang = rang.clone();
                            let routine = move || {
                                rang.fetch_add(1, Ordering::Relaxed);
                            };
                            timers[at].set_routine(delay, Duration::from_millis(1), routine).unwrap();
                        }
                        _ => drop(alertable::sleep(Duration::from_micros(50))),
                    }
                }
            });
        }
    });
    assert!(rang.load(Ordering::Relaxed) > 0);
    // A thread's end, and the library's thread, drop theirs a moment later.
    let end = Instant::now() + Duration::from_secs(10);
    while Arc::strong_count(&rang) > 1 {
        assert!(Instant::now() < end, "{} routines were not dropped", Arc::strong_count(&rang) - 1);
        std::thread::sleep(Duration::from_millis(1));
    }
}
