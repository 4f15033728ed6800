//! Operations that are completed from elsewhere, under everything: cancels, drops, ports that close, threads that come late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use proactor::dns::Resolver;
use proactor::flow::{Permit, Permits};
use proactor::time::{SteadyTimer, SystemTimer, Timers};
use proactor::{Block, CompletionPort, Concurrency, LocalPort, Outcome};

use crate::live::{Census, Dice, Live};

type Port = CompletionPort<Live, usize>;

/// A permit handed to and fro without timeouts: a wake-up that is lost would be a hang.
#[test]
fn a_thread_in_its_own_port_hears_of_every_permit_that_others_give_back() {
    const TURNS: usize = 10_000;
    let port = LocalPort::<(), usize>::new().unwrap();
    let permits = port.associate(Permits::new(1), 1).unwrap();
    let timers = port.associate(Timers::new(), 1).unwrap();
    let system = SystemTimer::new(&timers).unwrap();
    let (lend, lent) = mpsc::channel::<Permit>();
    let other = std::thread::spawn(move || {
        for (turn, permit) in lent.into_iter().enumerate() {
            // Now while the owner goes to sleep, now once it sleeps.
            for _ in 0..turn % 64 * 50 {
                std::hint::spin_loop();
            }
            drop(permit);
        }
    });
    for turn in 0..TURNS {
        lend.send(permits.acquire().wait().result.unwrap()).unwrap();
        if turn.is_multiple_of(1000) {
            // Completed by the library's thread for moments.
            system.expires_after(Duration::from_millis(2));
            system.wait().wait().result.unwrap();
        }
    }
    drop(lend);
    other.join().unwrap();
}

/// The library's thread completes what one thread's own port waits for.
#[test]
fn a_thread_in_its_own_port_hears_of_every_answer() {
    let port = LocalPort::<usize, usize>::new().unwrap();
    let resolver = port.associate(Resolver::with_threads(2), 1).unwrap();
    for turn in 0..2000 {
        match turn % 3 {
            0 => drop(resolver.resolve("localhost", "80").wait().result.unwrap()),
            1 => drop(port.block_on(async { resolver.resolve("localhost", "80").await }).result.unwrap()),
            _ => {
                resolver.resolve("localhost", "80").packet(Block::new(turn)).unwrap();
                assert_eq!(*port.get(None).unwrap().packet().unwrap().block.unwrap(), turn);
            }
        }
    }
}

#[test]
fn permits_at_random_over_threads_are_neither_lost_nor_doubled() {
    const COUNT: usize = 5;
    const EACH: usize = 20_000;
    let census = Census::default();
    let port: Arc<Port> = Arc::new(Port::new(Concurrency::Threads(2)).unwrap());
    let permits = Permits::new(COUNT);
    port.associate(&permits, 1).unwrap();
    let (started, came, out, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    match port.get(Duration::from_millis(20)).unwrap() {
                        Outcome::Packet(packet) => {
                            assert!(out.fetch_add(1, Ordering::SeqCst) < COUNT, "more permits than there are");
                            // Before the permit goes back with its packet.
                            out.fetch_sub(1, Ordering::SeqCst);
                            drop(packet);
                            came.fetch_add(1, Ordering::SeqCst);
                        }
                        Outcome::Failed(_) => drop(came.fetch_add(1, Ordering::SeqCst)),
                        _ if stop.load(Ordering::SeqCst) => return,
                        _ => {}
                    }
                }
            });
        }
        let makers: Vec<_> = (0..3)
            .map(|maker| {
                let (permits, census, started) = (&permits, &census, &started);
                scope.spawn(move || {
                    let mut dice = Dice::new(maker + 1);
                    let (mut tickets, mut handles) = (Vec::new(), Vec::new());
                    for _ in 0..EACH {
                        match dice.roll(6) {
                            0 | 1 => {
                                tickets.push(permits.acquire().packet(Block::new(census.one())).unwrap());
                                started.fetch_add(1, Ordering::SeqCst);
                            }
                            2 => handles.push(permits.acquire().start().unwrap()),
                            3 => drop(handles.pop()),
                            4 => {
                                if let Some(ticket) = tickets.pop() {
                                    let _ = permits.cancel(ticket);
                                }
                            }
                            _ => drop(permits.try_acquire()),
                        }
                    }
                    drop(handles);
                    tickets.iter().for_each(|ticket| {
                        let _ = permits.cancel(*ticket);
                    });
                })
            })
            .collect();
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        while came.load(Ordering::SeqCst) < started.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(came.load(Ordering::SeqCst), started.load(Ordering::SeqCst));
    while permits.available() < COUNT {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(permits.available(), COUNT);
    census.assert_empty("blocks");
}

#[test]
fn dropping_ports_timers_and_resolvers_in_any_order_under_their_waits_frees_everything() {
    let census = Census::default();
    let mut dice = Dice::new(7);
    for turn in 0..300 {
        let port: Port = Port::new(1).unwrap();
        let (timers, resolver, permits) = (Timers::new(), Resolver::new(), Permits::new(1));
        port.associate(&timers, 1).unwrap();
        port.associate(&resolver, 2).unwrap();
        port.associate(&permits, 3).unwrap();
        let (steady, system) = (SteadyTimer::new(&timers), SystemTimer::new(&timers).unwrap());
        steady.expires_after(Duration::from_millis(dice.roll(3)));
        system.expires_after(Duration::from_millis(dice.roll(3)));
        for _ in 0..4 {
            steady.wait().packet(Block::new(census.one())).unwrap();
            system.wait().packet(Block::new(census.one())).unwrap();
            resolver.resolve("localhost", "80").packet(Block::new(census.one())).unwrap();
            permits.acquire().packet(Block::new(census.one())).unwrap();
        }
        let live = census.one();
        steady.wait().then(move |_| drop(live)).unwrap();
        let (answer, moment) = (resolver.resolve("localhost", "80").start().unwrap(), system.wait().start().unwrap());
        if turn % 2 == 0 {
            let _ = port.get(Duration::from_millis(dice.roll(3)));
        }
        match turn % 4 {
            0 => drop((port, steady, system, timers, resolver, permits)),
            1 => drop((permits, resolver, timers, system, steady, port)),
            2 => {
                port.close();
                let _ = answer.wait();
                let _ = moment.wait();
            }
            _ => drop((answer, timers, port, moment, steady, permits)),
        }
    }
    census.assert_empty("blocks");
}
