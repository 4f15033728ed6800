//! Forks, threads that end, blocks that reach back into their port, panics.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::{Batch, Block, BufferPool, Code, Fill, Local, LocalPort, Outcome, Overlapped, RemotePort, within_mut};

use super::pair;
use crate::alone::alone_on_each_backend;
use crate::live::{Census, Live};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const LONG: Duration = Duration::from_secs(30);

#[test]
fn after_fork_the_child_gets_errors_and_may_drop_everything_and_the_parent_goes_on() {
    alone_on_each_backend(
        "per_thread::ends::after_fork_the_child_gets_errors_and_may_drop_everything_and_the_parent_goes_on",
        || {
            let port: LocalPort<Vec<u8>, usize> = LocalPort::new().unwrap();
            let filled = || within_mut(|buf: &mut Vec<u8>| &mut buf[..]);
            let (ours, mut peer) = pair();
            let ours = port.associate(ours, 5).unwrap();
            let (many, mut many_peer) = pair();
            let many = port.associate(many, 6).unwrap();
            let pool = BufferPool::new(4, 64);
            let listener = port.associate(TcpListener::bind(ANY).unwrap(), 7).unwrap();
            ours.recv(filled()).packet(Block::new(vec![0; 64])).unwrap();
            let pending = ours.recv(vec![0; 8]).start().unwrap();
            many.recv_multi(&pool).packet(Block::new(Vec::<u8>::new())).unwrap();
            listener.accept_multi().packet(Block::new(Vec::<u8>::new())).unwrap();
            let other: LocalPort<(), usize> = LocalPort::new().unwrap();
            let remote = port.remote();
            // Some of it is told to the kernel, some is not; a packet is queued and one is in a batch.
            assert!(matches!(port.get(Duration::from_millis(1)).unwrap(), Outcome::TimedOut));
            (0..3).for_each(|key| port.post(key, 0, None).unwrap());
            let mut batch = Batch::with_capacity(2);
            assert!(port.get_many(&mut batch, LONG).unwrap());
            ours.readable().packet(Block::new(Vec::<u8>::new())).unwrap();

            // SAFETY: the child only makes library calls that answer at once and leaves by _exit; there is no other thread.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let forked = |code: Code| code == Code::Forked;
                let checks = [
                    port.get(Duration::ZERO).is_err_and(|e| forked(e.code())),
                    port.post(1, 0, None).is_err_and(|e| forked(e.error.code())),
                    remote.post(1, 0, None).is_err_and(|e| forked(e.error.code())),
                    other.remote().post(1, 0, None).is_err_and(|e| forked(e.error.code())),
                    ours.send(b"x").start().is_err_and(|e| forked(e.error.code())),
                    ours.recv(filled()).packet(Block::new(vec![0; 8])).is_err_and(|e| forked(e.error.code())),
                    ours.cancel_all().is_err(),
                    port.associate(UdpSocket::bind(ANY).unwrap(), 1).is_err_and(|e| forked(e.error.code())),
                    LocalPort::<(), usize>::new().is_err_and(|e| forked(e.code())),
                    pending.wait().result.is_err_and(|e| forked(e.code())),
                ];
                let failed = checks.iter().position(|ok| !ok).map_or(0, |n| n as i32 + 1);
                drop((batch, ours, many, listener));
                drop((port, remote, pool));
                // SAFETY: ends the child without running the parent's exit handlers.
                unsafe { libc::_exit(failed) };
            }
            let mut status = 0;
            // SAFETY: waits for the child made above.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "check number {} failed in the child", status >> 8);

            drop(batch);
            for key in 0..3 {
                assert_eq!(port.get(LONG).unwrap().packet().unwrap().key, key);
            }
            peer.write_all(b"on").unwrap();
            let packet = port.get(LONG).unwrap().packet().unwrap();
            assert_eq!((packet.key, packet.done.bytes), (5, 2));
            peer.write_all(b"more").unwrap();
            assert_eq!(pending.wait().buffer, b"more");
            many_peer.write_all(b"piece").unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut keys: Vec<_> = (0..2)
                .map(|_| {
                    let packet = port.get(LONG).unwrap().packet().unwrap();
                    assert!(packet.more);
                    packet.key
                })
                .collect();
            keys.sort_unstable();
            assert_eq!(keys, [6, 7]);
            remote.post(9, 0, None).unwrap();
            assert_eq!(port.get(LONG).unwrap().packet().unwrap().key, 9);
            drop(client);
        },
    );
}

/// A block that has everything of its port, and uses it while it is dropped.
struct Tangled {
    buf: [u8; 16],
    stream: Option<TcpStream<Local>>,
    other: Option<Overlapped<Fill<Vec<u8>>, (), Local>>,
    port: std::rc::Weak<LocalPort<Tangled, usize>>,
    _live: Live,
}

impl Drop for Tangled {
    fn drop(&mut self) {
        drop(self.other.take());
        if let Some(stream) = self.stream.take() {
            let _ = stream.cancel_all();
            let _ = stream.recv(vec![0; 4]).start();
        }
        if let Some(port) = self.port.upgrade() {
            let _ = port.post(3, 0, None);
            let _ = port.get(Duration::ZERO).map(drop);
            let _ = port.associate(UdpSocket::bind(ANY).unwrap(), 1);
            port.close();
        }
    }
}

#[test]
fn blocks_that_use_their_port_while_it_drops_them_harm_nobody() {
    alone_on_each_backend("per_thread::ends::blocks_that_use_their_port_while_it_drops_them_harm_nobody", || {
        let census = Census::default();
        for round in 0..12 {
            let port: Rc<LocalPort<Tangled, usize>> = Rc::new(LocalPort::new().unwrap());
            let (ours, mut peer) = pair();
            let ours = port.associate(ours, 7).unwrap();
            let tangled = |with_other: bool| {
                let other = with_other.then(|| ours.recv(vec![0; 16]).start().unwrap());
                let live = census.one();
                Block::new(Tangled { buf: [0; 16], stream: Some(ours.clone()), other, port: Rc::downgrade(&port), _live: live })
            };
            for n in 0..4 {
                let block = tangled(n % 2 == 0);
                ours.recv(within_mut(|io: &mut Tangled| &mut io.buf[..])).packet(block).unwrap();
            }
            port.post(1, 0, Some(tangled(true))).unwrap();
            if round % 3 == 0 {
                peer.write_all(&[1; 100]).unwrap();
            }
            if round % 2 == 0 {
                // The post, dropped by the user.
                drop(port.get(LONG).unwrap());
            }
            match round % 4 {
                0 | 1 => port.close(),
                _ => {}
            }
            drop((port, ours));
            assert_eq!(census.count(), 0, "round {round}");
        }
    });
}

#[test]
fn a_panicking_drop_of_a_dead_block_harms_nobody() {
    struct Grenade([u8; 8], #[allow(dead_code, reason = "counted")] Live);
    impl Drop for Grenade {
        fn drop(&mut self) {
            // Without a message: this one is meant.
            std::panic::resume_unwind(Box::new(()));
        }
    }
    alone_on_each_backend("per_thread::ends::a_panicking_drop_of_a_dead_block_harms_nobody", || {
        let census = Census::default();
        let port: LocalPort<Grenade, usize> = LocalPort::new().unwrap();
        let (ours, _peer) = pair();
        let ours = port.associate(ours, 7).unwrap();
        for _ in 0..3 {
            ours.recv(within_mut(|io: &mut Grenade| &mut io.0[..])).packet(Block::new(Grenade([0; 8], census.one()))).unwrap();
            port.post(1, 0, Some(Block::new(Grenade([0; 8], census.one())))).unwrap();
        }
        port.close();
        assert_eq!(census.count(), 0);
        drop((port, ours));
        let port: LocalPort<(), usize> = LocalPort::new().unwrap();
        port.post(1, 0, None).unwrap();
        assert_eq!(port.get(LONG).unwrap().packet().unwrap().key, 1);
    });
}

/// Everything of a thread goes with it: its port, by its own storage, and what was kept beside it, in any order.
#[test]
fn a_thread_that_ends_takes_its_port_and_all_that_lives_on_it_along() {
    type Kept = (LocalPort<(Vec<u8>, Live), usize>, Vec<TcpStream<Local>>);
    type Handle = Overlapped<Fill<Vec<u8>>, (), Local>;
    thread_local! {
        static EARLY: RefCell<Option<Kept>> = const { RefCell::new(None) };
        static LATE: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
    }
    alone_on_each_backend("per_thread::ends::a_thread_that_ends_takes_its_port_and_all_that_lives_on_it_along", || {
        let census = Census::default();
        for round in 0..20 {
            let (done, is_done) = std::sync::mpsc::channel::<(RemotePort<(Vec<u8>, Live), usize>, std::net::TcpStream)>();
            let one = census.clone();
            let thread = std::thread::spawn(move || {
                // The storage touched first is dropped last.
                match round % 2 {
                    0 => LATE.with(|_| ()),
                    _ => EARLY.with(|_| ()),
                }
                let port = LocalPort::new().unwrap();
                let (ours, peer) = pair();
                let ours = port.associate(ours, 7).unwrap();
                let filled = || within_mut(|io: &mut (Vec<u8>, Live)| &mut io.0[..]);
                for _ in 0..4 {
                    ours.recv(filled()).packet(Block::new((vec![0; 16], one.one()))).unwrap();
                    LATE.with(|late| late.borrow_mut().push(ours.recv(vec![0; 16]).start().unwrap()));
                    port.post(1, 0, Some(Block::new((Vec::new(), one.one())))).unwrap();
                }
                let remote = port.remote();
                if round % 3 == 0 {
                    drop(port.get(Duration::ZERO).unwrap());
                }
                EARLY.with(|early| *early.borrow_mut() = Some((port, vec![ours])));
                done.send((remote, peer)).unwrap();
            });
            let (remote, mut peer) = is_done.recv().unwrap();
            // Posts race with the thread's end.
            while remote.post(2, 0, Some(Block::new((Vec::new(), census.one())))).is_ok() {}
            thread.join().unwrap();
            drop(remote);
            census.assert_empty("blocks");
            match peer.read(&mut [0; 4]) {
                Ok(n) => assert_eq!(n, 0, "the stream is closed"),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            }
        }
    });
}

/// The processor time of this thread.
fn busy() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a writable time.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn an_owner_that_waits_for_an_operation_sleeps_though_packets_are_queued() {
    alone_on_each_backend("per_thread::ends::an_owner_that_waits_for_an_operation_sleeps_though_packets_are_queued", || {
        const WAIT: Duration = Duration::from_millis(400);
        let port: LocalPort<(), usize> = LocalPort::new().unwrap();
        let (ours, _peer) = pair();
        let ours = port.associate(ours, 7).unwrap();
        let remote = port.remote();
        let never = ours.recv(vec![0; 4]).start().unwrap();
        port.post(1, 0, None).unwrap();
        std::thread::spawn(move || remote.post(2, 0, None).unwrap()).join().unwrap();
        let before = busy();
        let never = never.wait_timeout(WAIT).unwrap_err().back;
        let spent = busy() - before;
        assert!(spent < WAIT / 4, "{spent:?} of processor time in a wait of {WAIT:?}");
        for key in 1..3 {
            assert_eq!(port.get(LONG).unwrap().packet().unwrap().key, key);
        }
        drop(never);
    });
}
