//! Timeouts and tokens over operations of every kind, with everything dropped, cancelled and closed under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proactor::net::UdpSocket;
use proactor::{Block, CancelToken, CompletionPort, Concurrency, LocalPort, Outcome, within_mut};

use crate::live::{Census, Dice, Live};

/// Room for a datagram, and its mark in the census.
struct Parcel {
    room: [u8; 16],
    _live: Live,
}

fn seed() -> u64 {
    let seed = std::env::var("PROACTOR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x6c61_u64);
    println!("PROACTOR_SEED={seed}");
    seed
}

fn any() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// One of several times, some of them none at all.
fn time(dice: &mut Dice) -> Duration {
    match dice.roll(8) {
        0 => Duration::ZERO,
        1 => Duration::from_secs(3600),
        _ => Duration::from_micros(dice.roll(3000)),
    }
}

#[test]
fn operations_with_random_timeouts_and_cancels_complete_once_each_and_free_every_buffer() {
    const EACH: usize = 6_000;
    let seed = seed();
    let census = Census::default();
    let port: Arc<CompletionPort<Parcel, usize>> = Arc::new(CompletionPort::new(Concurrency::Threads(2)).unwrap());
    let (begun, ended, stop) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    match port.get(Duration::from_millis(5)).unwrap() {
                        Outcome::Packet(_) | Outcome::Failed(_) => drop(ended.fetch_add(1, Ordering::SeqCst)),
                        _ if stop.load(Ordering::SeqCst) => return,
                        _ => {}
                    }
                }
            });
        }
        let makers: Vec<_> = (1..=3)
            .map(|maker| {
                let (port, census, begun, ended) = (&port, &census, &begun, &ended);
                scope.spawn(move || {
                    let mut dice = Dice::new(seed ^ maker);
                    let (mut sockets, mut tokens, mut handles) = (Vec::new(), vec![CancelToken::new()], Vec::new());
                    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                    for _ in 0..EACH {
                        if sockets.len() < 4 {
                            let socket = any();
                            port.associate(&socket, 1).unwrap();
                            let address = socket.local_addr().unwrap();
                            sockets.push((socket, address));
                        }
                        let (socket, address) = &sockets[dice.roll(sockets.len() as u64) as usize];
                        let token = tokens[dice.roll(tokens.len() as u64) as usize].clone();
                        let time = time(&mut dice);
                        match dice.roll(12) {
                            0..4 => {
                                let op = socket.recv_from(within_mut(|parcel: &mut Parcel| &mut parcel.room[..]));
                                let block = Block::new(Parcel { room: [0; 16], _live: census.one() });
                                begun.fetch_add(1, Ordering::SeqCst);
                                op.timeout(time).cancel_on(&token).packet(block).unwrap();
                            }
                            4 | 5 => {
                                let (live, ended) = (census.one(), ended.clone());
                                begun.fetch_add(1, Ordering::SeqCst);
                                let handler = move |_| {
                                    drop(live);
                                    ended.fetch_add(1, Ordering::SeqCst);
                                };
                                socket.recv_from(vec![0; 16]).timeout(time).cancel_on(&token).then(handler).unwrap();
                            }
                            6 => handles.push(socket.recv_from(vec![0; 16]).timeout(time).cancel_on(&token).start().unwrap()),
                            7 => drop(handles.pop()),
                            8 => drop(sender.send_to(b"datagram", address)),
                            9 => tokens[dice.roll(tokens.len() as u64) as usize].cancel(),
                            10 => {
                                let child = token.child();
                                tokens.push(if child.is_cancelled() { CancelToken::new() } else { child });
                                if tokens.len() > 6 {
                                    tokens.swap_remove(0);
                                }
                            }
                            _ if dice.roll(8) == 0 => drop(sockets.swap_remove(0)),
                            _ => {}
                        }
                    }
                    tokens.iter().for_each(CancelToken::cancel);
                    for (socket, _) in &sockets {
                        // Nothing may be left to cancel.
                        let _ = socket.cancel_all();
                    }
                    handles.into_iter().for_each(|handle| drop(handle.wait()));
                })
            })
            .collect();
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        let end = Instant::now() + Duration::from_secs(20);
        while ended.load(Ordering::SeqCst) < begun.load(Ordering::SeqCst) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(20));
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(ended.load(Ordering::SeqCst), begun.load(Ordering::SeqCst));
    census.assert_empty("buffers of operations with timeouts and tokens");
}

#[test]
fn a_per_thread_ports_operations_are_cancelled_by_tokens_of_other_threads() {
    let mut dice = Dice::new(seed());
    let census = Census::default();
    for round in 0..20 {
        let port: LocalPort<Parcel, usize> = LocalPort::new().unwrap();
        let socket = port.associate(any(), 1).map_err(|refused| refused.error).unwrap();
        let tokens: Vec<_> = (0..4).map(|_| CancelToken::new()).collect();
        let theirs = tokens.clone();
        let canceller = std::thread::spawn(move || {
            for token in theirs {
                std::thread::sleep(Duration::from_micros(200));
                token.cancel();
            }
        });
        let (mut begun, mut ended) = (0, 0);
        for turn in 0..100 {
            let op = socket.recv_from(within_mut(|parcel: &mut Parcel| &mut parcel.room[..])).cancel_on(&tokens[turn % 4]);
            let op = if dice.roll(2) == 0 { op.timeout(time(&mut dice)) } else { op };
            op.packet(Block::new(Parcel { room: [0; 16], _live: census.one() })).unwrap();
            begun += 1;
            if dice.roll(4) == 0 && port.get(Duration::ZERO).unwrap().packet().is_some() {
                ended += 1;
            }
        }
        if round % 4 == 0 {
            // With all of them still there.
            drop((socket, port));
        } else {
            while ended < begun {
                let outcome = port.get(Duration::from_secs(20)).unwrap();
                assert!(outcome.packet().is_some(), "{ended} of {begun} were over");
                ended += 1;
            }
        }
        canceller.join().unwrap();
    }
    census.assert_empty("buffers of a per-thread port's operations");
}
