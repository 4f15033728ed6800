//! Dropping and cancelling with operations in flight: every completion accounted for, every block freed once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::{Batch, Block, Code, CompletionPort, Concurrency, Fill, Outcome, Overlapped, Wait, within, within_mut};

use crate::live::{Census, Dice, Live};

struct Io {
    buf: [u8; 512],
    _stream: Option<TcpStream>,
    _live: Live,
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let accept = listener.accept().start().unwrap();
    // Connected elsewhere: an operation of its own would have given it its home.
    let client = TcpStream::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    (client, accept.wait().result.unwrap().stream)
}

fn io(census: &Census, stream: Option<TcpStream>) -> Block<Io> {
    Block::new(Io { buf: [7; 512], _stream: stream, _live: census.one() })
}

/// Takes packets until `expected` have come; fails if they stop coming.
fn drain(port: &CompletionPort<Io, usize>, expected: usize) {
    for n in 0..expected {
        match port.get(Duration::from_secs(10)).unwrap() {
            Outcome::Packet(_) | Outcome::Failed(_) => {}
            other => panic!("packet {n} of {expected}: {other:?}"),
        }
    }
    assert!(matches!(port.get(Duration::ZERO).unwrap(), Outcome::TimedOut), "more packets than operations");
}

#[test]
fn random_drops_and_cancels_under_load_lose_no_completion() {
    let seed = std::env::var("PROACTOR_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5EED_u64);
    println!("PROACTOR_SEED={seed}");
    let census = Census::default();
    let buffers = Census::default();
    let port: Arc<CompletionPort<Io, usize>> = Arc::new(CompletionPort::new(Concurrency::Threads(2)).unwrap());
    let (started, received) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let stop = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(4);
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let (port, received, stop) = (&port, &received, &stop);
            scope.spawn(move || {
                let mut batch = Batch::with_capacity(8);
                let mut dice = Dice::new(seed ^ (77 + worker));
                loop {
                    if !port.get_many(&mut batch, Duration::from_millis(20)).unwrap() {
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                        continue;
                    }
                    // Sometimes a part of the batch is left in it: it goes back to the port.
                    let most = if dice.roll(4) == 0 { 1 } else { 8 };
                    received.fetch_add(batch.by_ref().take(most).count(), Ordering::SeqCst);
                }
            });
        }
        let makers: Vec<_> = (0..2)
            .map(|n| {
                let (port, census, buffers, started) = (&port, &census, &buffers, &started);
                scope.spawn(move || {
                    let mut dice = Dice::new(seed ^ n);
                    while Instant::now() < end {
                        let (a, b) = pair();
                        if dice.roll(4) != 0 {
                            port.associate(&a, 1).unwrap();
                        }
                        let mut tickets = Vec::new();
                        let mut handles = Vec::new();
                        for _ in 0..dice.roll(12) {
                            match dice.roll(9) {
                                0 | 1 => {
                                    let block = io(census, None);
                                    if let Ok(ticket) = a.recv(within_mut(|io: &mut Io| &mut io.buf[..])).packet(block) {
                                        started.fetch_add(1, Ordering::SeqCst);
                                        tickets.push(ticket);
                                    }
                                }
                                2 => {
                                    let block = io(census, None);
                                    if let Ok(ticket) = a.send(within(|io: &mut Io| &io.buf[..])).packet(block) {
                                        started.fetch_add(1, Ordering::SeqCst);
                                        tickets.push(ticket);
                                    }
                                }
                                3 => {
                                    let _ = b.send(vec![1; 300]).start().map(drop);
                                }
                                4 => handles.push((a.recv(vec![0; 200]).start().unwrap(), buffers.one())),
                                5 => {
                                    let _ = tickets.last().map(|ticket| a.cancel(*ticket));
                                }
                                6 => {
                                    let _ = a.cancel_all();
                                }
                                7 => drop(handles.pop()),
                                _ => {
                                    if let Some((handle, _live)) = handles.pop() {
                                        let _ = handle.cancel();
                                        let done = handle.wait();
                                        assert!(done.result.is_ok() || done.buffer.capacity() == 200);
                                    }
                                }
                            }
                        }
                        match dice.roll(3) {
                            0 => drop((a, b)),
                            1 => drop((b, a)),
                            _ => {
                                // A thread ends that started operations, and the handles are dropped on another.
                                std::thread::spawn(move || drop((handles, a, b))).join().unwrap();
                            }
                        }
                    }
                })
            })
            .collect();
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        let limit = Instant::now() + Duration::from_secs(10);
        while received.load(Ordering::SeqCst) < started.load(Ordering::SeqCst) && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(received.load(Ordering::SeqCst), started.load(Ordering::SeqCst), "one completion for each started operation");
    assert!(started.load(Ordering::SeqCst) > 100, "the load was real");
    census.assert_empty("blocks");
    buffers.assert_empty("overlapped handles");
}

#[test]
fn dropping_a_stream_completes_what_is_pending_on_it() {
    let census = Census::default();
    let port = CompletionPort::<Io, usize>::new(1).unwrap();
    let (a, _b) = pair();
    port.associate(&a, 1).unwrap();
    for _ in 0..5 {
        a.recv(within_mut(|io: &mut Io| &mut io.buf[..])).packet(io(&census, None)).unwrap();
    }
    drop(a);
    drain(&port, 5);
    census.assert_empty("blocks");
}

#[test]
fn dropping_a_port_frees_blocks_that_hold_their_own_stream() {
    let census = Census::default();
    let port = CompletionPort::<Io, usize>::new(1).unwrap();
    let (a, _b) = pair();
    port.associate(&a, 1).unwrap();
    for _ in 0..3 {
        // The block keeps the stream, the pending operation keeps the block: only the port's end breaks the ring.
        a.recv(within_mut(|io: &mut Io| &mut io.buf[..])).packet(io(&census, Some(a.clone()))).unwrap();
    }
    port.post(9, 0, Some(io(&census, None))).unwrap();
    drop(a);
    assert_eq!(census.count(), 4);
    drop(port);
    census.assert_empty("blocks");
}

#[test]
fn dropping_an_overlapped_handle_cancels_and_frees_its_buffer_later() {
    let (a, b) = pair();
    for _ in 0..100 {
        drop(a.recv(vec![0; 4096]).start().unwrap());
    }
    // None of the dropped receives may eat this.
    b.send(b"kept").start().unwrap().wait().result.unwrap();
    assert_eq!(a.recv(vec![0; 16]).start().unwrap().wait().buffer, b"kept");
}

#[test]
fn a_thread_that_exits_leaves_its_operations_running() {
    let port = CompletionPort::<Io, usize>::new(1).unwrap();
    let census = Census::default();
    let (a, b) = pair();
    port.associate(&a, 1).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| a.recv(within_mut(|io: &mut Io| &mut io.buf[..])).packet(io(&census, None)).unwrap());
    });
    b.send(b"late").start().unwrap().wait().result.unwrap();
    let Outcome::Packet(packet) = port.get(Duration::from_secs(10)).unwrap() else { panic!("no packet") };
    assert_eq!(packet.done.bytes, 4);
}

#[test]
fn file_operations_survive_the_thread_that_started_them() {
    use proactor::fs::{File, OpenOptions};
    let path = std::env::temp_dir().join(format!("proactor-exit-{}", std::process::id()));
    let file = File::open_now(&path, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    file.write_at(vec![3; 1 << 20], 0).start().unwrap().wait().result.unwrap();
    for _ in 0..50 {
        let handles = std::thread::scope(|scope| {
            scope
                .spawn(|| (0..8).map(|n| file.read_at(vec![0; 65536], n * 65536).start().unwrap()).collect::<Vec<_>>())
                .join()
                .unwrap()
        });
        for handle in handles {
            let done = handle.wait();
            done.result.unwrap();
            assert!(done.buffer.len() == 65536 && done.buffer.iter().all(|byte| *byte == 3));
        }
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_panic_in_the_middle_of_a_batch_loses_nothing() {
    let port = CompletionPort::<(), usize>::new(1).unwrap();
    (0..10).for_each(|key| port.post(key, 0, None).unwrap());
    let mut seen = Vec::new();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut batch = Batch::with_capacity(10);
        assert!(port.get_many(&mut batch, Wait::Poll).unwrap());
        for outcome in batch {
            let packet = outcome.packet().unwrap();
            seen.push(packet.key);
            assert!(packet.key != 3, "the handler of packet 3 fails");
        }
    }));
    assert!(panicked.is_err());
    while let Outcome::Packet(packet) = port.get(Duration::ZERO).unwrap() {
        seen.push(packet.key);
    }
    assert_eq!(seen, (0..10).collect::<Vec<_>>(), "the rest came back, in order");
}

#[test]
fn a_panicking_drop_of_a_dead_buffer_harms_nobody() {
    struct Grenade(Vec<u8>);
    // SAFETY: the bytes are the Vec's own.
    unsafe impl proactor::IoBuf for Grenade {
        fn as_slice(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("a buffer that cannot be dropped quietly");
        }
    }
    let (a, b) = pair();
    // Fill the way, so that the next send stays pending.
    let flood = a.send(vec![0; 64 << 20]).start().unwrap();
    let grenade = a.send(Grenade(vec![1; 100])).start().unwrap();
    // It goes off where it is dropped: here, or in the library's thread, which lives on.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(grenade)));
    drop(flood);
    drop((a, b));
    let (a, b) = pair();
    a.send(b"alive").start().unwrap().wait().result.unwrap();
    assert_eq!(b.recv(vec![0; 8]).start().unwrap().wait().buffer, b"alive");
}

#[test]
fn a_port_closed_under_its_workers_and_its_load_ends_quietly() {
    for round in 0..50 {
        let census = Census::default();
        let port = Arc::new(CompletionPort::<Io, usize>::new(2).unwrap());
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let to = socket.local_addr().unwrap();
        port.associate(&socket, round).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        match port.get(None) {
                            Ok(Outcome::Packet(_) | Outcome::Failed(_)) => {}
                            Ok(Outcome::Abandoned) => return,
                            Err(error) if error.code() == Code::InvalidHandle => return,
                            other => panic!("{other:?}"),
                        }
                    }
                });
            }
            scope.spawn(|| {
                while !port.is_closed() {
                    let _ = socket.recv_from(within_mut(|io: &mut Io| &mut io.buf[..])).packet(io(&census, None));
                    let _ = socket.send_to(within(|io: &mut Io| &io.buf[..10]), to).packet(io(&census, None));
                }
            });
            std::thread::sleep(Duration::from_millis(2));
            port.close();
        });
        drop(socket);
        census.assert_empty("blocks");
    }
}

#[test]
fn a_port_closes_though_its_blocks_cancel_on_their_own_lane_when_dropped() {
    struct Nested {
        buf: Vec<u8>,
        _other: Overlapped<Fill<Vec<u8>>, ()>,
    }
    let (_client, server) = pair();
    let port = Arc::new(CompletionPort::<Nested, usize>::new(1).unwrap());
    port.associate(&server, 7).unwrap();
    let block = Block::new(Nested { buf: vec![0; 16], _other: server.recv(vec![0; 16]).start().unwrap() });
    server.recv(within_mut(|io: &mut Nested| &mut io.buf[..])).packet(block).unwrap();
    let (closed, is_closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        port.close();
        closed.send(()).unwrap();
    });
    is_closed.recv_timeout(Duration::from_secs(10)).expect("the close hangs");
}
