//! The ring's queues full and overflowing, its numbers going round.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use proactor::fs::{File, OpenOptions};
use proactor::net::{TcpListener, UdpSocket};
use proactor::{Block, BufferPool, Code, Local, LocalPort, OpKind, Outcome, Packet, Value, within_mut};

use super::{descriptors, pair};
use crate::alone::alone_on_each_backend;
use crate::live::{Census, Live};
use crate::teardown::Scratch;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const LONG: Duration = Duration::from_secs(30);

type Port<B> = LocalPort<B, usize>;

fn take<B: 'static>(port: &Port<B>) -> Packet<B, usize> {
    port.get(LONG).unwrap().packet().expect("a completion was lost")
}

fn nothing<B: 'static>(port: &Port<B>) {
    for _ in 0..3 {
        assert!(matches!(port.get(Duration::from_millis(1)).unwrap(), Outcome::TimedOut), "more completions than operations");
    }
}

/// More starts, and then more cancels, than the submission queue holds, with nothing fetched between.
#[test]
fn more_starts_and_cancels_than_the_queue_holds_each_end_once() {
    const SOCKETS: usize = 1000;
    alone_on_each_backend("per_thread::queues::more_starts_and_cancels_than_the_queue_holds_each_end_once", || {
        let census = Census::default();
        let port = Port::<([u8; 8], Live)>::new().unwrap();
        let filled = || within_mut(|io: &mut ([u8; 8], Live)| &mut io.0[..]);
        let sockets: Vec<UdpSocket<Local>> =
            (0..SOCKETS).map(|key| port.associate(UdpSocket::bind(ANY).unwrap(), key).unwrap()).collect();
        for round in 0..3 {
            let tickets: Vec<_> = sockets
                .iter()
                .map(|socket| {
                    let ticket = socket.recv_from(filled()).packet(Block::new(([0; 8], census.one()))).unwrap();
                    // One behind it, in no queue of the kernel's.
                    socket.recv_from(filled()).packet(Block::new(([0; 8], census.one()))).unwrap();
                    ticket
                })
                .collect();
            let sender = std::net::UdpSocket::bind(ANY).unwrap();
            for (socket, ticket) in sockets.iter().zip(&tickets) {
                if round == 2 {
                    sender.send_to(b"datagram", socket.local_addr().unwrap()).unwrap();
                }
                let _ = socket.cancel(*ticket);
                if round == 1 {
                    socket.cancel_all().unwrap();
                }
            }
            let mut ends = vec![0; SOCKETS];
            let of_this_round = if round == 1 { 2 * SOCKETS } else { SOCKETS };
            for _ in 0..of_this_round {
                let packet = take(&port);
                ends[packet.key] += 1;
                match packet.error().map(|error| error.code()) {
                    None if round == 2 => assert_eq!(&packet.block.unwrap().0, b"datagram"),
                    code => assert_eq!(code, Some(Code::Cancelled)),
                }
            }
            if round == 0 {
                nothing(&port);
            }
            // Those behind: of the last round some have the datagram.
            for socket in &sockets {
                let _ = socket.cancel_all();
            }
            for _ in of_this_round..2 * SOCKETS {
                ends[take(&port).key] += 1;
            }
            assert!(ends.iter().all(|n| *n == 2));
            nothing(&port);
            assert_eq!(census.count(), 0);
        }
    });
}

/// Completions of twenty thousand operations and as many cancels, with nothing fetched: several times what the completion
/// queue holds.
#[test]
fn more_completions_than_the_queue_holds_all_come() {
    const OPERATIONS: usize = 20_000;
    alone_on_each_backend("per_thread::queues::more_completions_than_the_queue_holds_all_come", || {
        let scratch = Scratch(std::env::temp_dir().join(format!("proactor-overflow-{}", std::process::id())));
        let census = Census::default();
        let port = Port::<Live>::new().unwrap();
        let file = File::open_now(&scratch.0, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
        let file = port.associate(file, 7).unwrap();
        let (ours, mut peer) = pair();
        let ours = port.associate(ours, 8).unwrap();
        ours.readable().packet(Block::new(census.one())).unwrap();
        for n in 0..OPERATIONS {
            match n % 2 {
                0 => file.sync_data().packet(Block::new(census.one())).unwrap(),
                _ => file.metadata().packet(Block::new(census.one())).unwrap(),
            };
        }
        // Over already some of them may be, but not all were fetched.
        let _ = file.cancel_all();
        peer.write_all(b"x").unwrap();
        let (mut files, mut ready) = (0, 0);
        for _ in 0..=OPERATIONS {
            let packet = take(&port);
            assert!(matches!(packet.error().map(|error| error.code()), None | Some(Code::Cancelled)));
            match packet.op {
                OpKind::Ready => ready += 1,
                _ => files += 1,
            }
        }
        assert_eq!((files, ready, census.count()), (OPERATIONS, 1, 0));
        nothing(&port);
        // And once more, closed over: the close must be through with them in its time, under a sanitizer too.
        for _ in 0..OPERATIONS / 4 {
            file.sync_data().packet(Block::new(census.one())).unwrap();
        }
        drop(port);
        assert_eq!(census.count(), 0);
    });
}

#[test]
fn a_hundred_thousand_pieces_go_through_one_pool_in_order() {
    const PIECES: u32 = 100_000;
    alone_on_each_backend("per_thread::queues::a_hundred_thousand_pieces_go_through_one_pool_in_order", || {
        let port = Port::<()>::new().unwrap();
        let pool = BufferPool::new(64, 4);
        let (ours, mut peer) = pair();
        let ours = port.associate(ours, 7).unwrap();
        let writer = std::thread::spawn(move || {
            for part in (0..PIECES).collect::<Vec<_>>().chunks(100) {
                peer.write_all(&part.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>()).unwrap();
            }
        });
        ours.recv_multi(&pool).packet(Block::new(())).unwrap();
        let (mut pieces, mut all) = (0, Vec::new());
        loop {
            let packet = take(&port);
            match packet.done.result {
                Ok(Value::Buffer(piece)) => {
                    pieces += 1;
                    all.extend_from_slice(&piece);
                }
                Ok(_) => break,
                Err(error) => {
                    assert_eq!(error.code(), Code::InsufficientResources);
                    ours.recv_multi(&pool).packet(Block::new(())).unwrap();
                }
            }
        }
        writer.join().unwrap();
        assert!(all == (0..PIECES).flat_map(u32::to_le_bytes).collect::<Vec<_>>(), "{} bytes", all.len());
        assert!(pieces >= PIECES, "{pieces} pieces: the ring of buffers went round more than 65,536 of them");
        drop((ours, port));
        assert_eq!(pool.available(), 64);
    });
}

/// Connections that are the port's, taken out of the listener's queue and not fetched, or fetched and not taken out.
#[test]
fn accepted_connections_nobody_claims_leave_no_descriptor() {
    alone_on_each_backend("per_thread::queues::accepted_connections_nobody_claims_leave_no_descriptor", || {
        let mut before = None;
        for round in 0..40 {
            {
                let port = Port::<()>::new().unwrap();
                let listeners = [(); 2].map(|()| port.associate(TcpListener::bind(ANY).unwrap(), 7).unwrap());
                listeners[0].accept_multi().packet(Block::new(())).unwrap();
                let handle = listeners[1].accept().start().unwrap();
                listeners[1].accept().packet(Block::new(())).unwrap();
                let clients: Vec<_> = listeners
                    .iter()
                    .flat_map(|listener| (0..4).map(|_| std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()))
                    .collect();
                for _ in 0..round % 5 {
                    drop(port.get(Duration::from_millis(1)).unwrap());
                }
                match round % 4 {
                    0 => drop((port, listeners, handle)),
                    1 => drop((listeners, port, handle)),
                    2 => drop((handle, listeners, port)),
                    _ => drop((handle, port, listeners)),
                }
                drop(clients);
            }
            let now = descriptors();
            assert_eq!(now, *before.get_or_insert(now), "round {round}");
        }
    });
}

#[test]
fn accepting_many_without_a_free_descriptor_ends_clearly_and_goes_on_when_started_again() {
    alone_on_each_backend(
        "per_thread::queues::accepting_many_without_a_free_descriptor_ends_clearly_and_goes_on_when_started_again",
        || {
            let port = Port::<()>::new().unwrap();
            let listener = port.associate(TcpListener::bind(ANY).unwrap(), 7).unwrap();
            let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
            // SAFETY: a readable limit; this process is a child of the test's own.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            let mut hoard = Vec::new();
            while let Ok(file) = std::fs::File::open("/dev/null") {
                hoard.push(file);
            }
            listener.accept_multi().packet(Block::new(())).unwrap();
            let packet = take(&port);
            assert_eq!(packet.error().map(|error| error.code()), Some(Code::TooManyDescriptors));
            assert!(!packet.more && packet.block.is_some());
            hoard.truncate(hoard.len() - 4);
            listener.accept_multi().packet(Block::new(())).unwrap();
            let packet = take(&port);
            assert!(packet.more && matches!(packet.done.result, Ok(Value::Tcp(_))), "the waiting client is accepted now");
        },
    );
}
