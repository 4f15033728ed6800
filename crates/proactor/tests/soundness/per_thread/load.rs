//! Random starts, drops and cancels on ports of one thread: one completion for each operation, and nothing left.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream as StdStream;
use std::time::{Duration, Instant};

use proactor::net::{TcpListener, TcpStream};
use proactor::{
    Batch, Block, BufferPool, Fill, Local, LocalPort, Outcome, Overlapped, Packet, Ticket, Value, within, within_mut,
};

use super::{descriptors, pair};
use crate::alone::alone_on_each_backend;
use crate::live::{Census, Dice, Live};

struct Io {
    buf: [u8; 512],
    number: usize,
    _stream: Option<TcpStream<Local>>,
    _live: Live,
}

type Port = LocalPort<Io, usize>;

/// What was started and has not ended.
#[derive(Default)]
struct Ledger {
    next: usize,
    open: HashMap<usize, ()>,
}

impl Ledger {
    fn block(&mut self, census: &Census, stream: Option<TcpStream<Local>>) -> Block<Io> {
        self.next += 1;
        self.open.insert(self.next, ());
        Block::new(Io { buf: [7; 512], number: self.next, _stream: stream, _live: census.one() })
    }

    fn ended(&mut self, packet: Packet<Io, usize>) {
        match packet.block {
            Some(block) => assert!(self.open.remove(&block.number).is_some(), "an operation ended twice"),
            None => assert!(packet.more && matches!(packet.done.result, Ok(Value::Buffer(_) | Value::Tcp(_)))),
        }
    }
}

struct Connection {
    ours: TcpStream<Local>,
    peer: StdStream,
    tickets: Vec<Ticket>,
    handles: Vec<Overlapped<Fill<Vec<u8>>, (), Local>>,
}

fn round(dice: &mut Dice, census: &Census, pool: &BufferPool) -> usize {
    let port = Port::new().unwrap();
    let mut ledger = Ledger::default();
    let mut connections: Vec<Connection> = Vec::new();
    let listener = port.associate(TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap(), 9).unwrap();
    let address = listener.local_addr().unwrap();
    let mut batch = Batch::with_capacity(8);
    let mut clients = Vec::new();
    for _ in 0..200 + dice.roll(200) {
        if connections.is_empty() || dice.roll(20) == 0 {
            let (ours, peer) = pair();
            peer.set_nonblocking(true).unwrap();
            let ours = port.associate(ours, 1).unwrap();
            connections.push(Connection { ours, peer, tickets: Vec::new(), handles: Vec::new() });
        }
        let at = dice.roll(connections.len() as u64) as usize;
        let Connection { ours, peer, tickets, handles } = &mut connections[at];
        match dice.roll(16) {
            0 | 1 => {
                let own = (dice.roll(4) == 0).then(|| ours.clone());
                tickets.push(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])).packet(ledger.block(census, own)).unwrap());
            }
            2 => tickets.push(ours.send(within(|io: &mut Io| &io.buf[..])).packet(ledger.block(census, None)).unwrap()),
            3 => tickets.push(ours.recv_multi(pool).packet(ledger.block(census, None)).unwrap()),
            4 => handles.push(ours.recv(vec![0; 200]).start().unwrap()),
            5 | 6 => drop(peer.write(&[1; 300])),
            7 => drop(tickets.last().map(|ticket| ours.cancel(*ticket))),
            8 => drop(ours.cancel_all()),
            9 => drop(handles.pop()),
            10 => {
                if let Some(handle) = handles.pop() {
                    let _ = handle.cancel();
                    // It may wait behind a receive that goes on.
                    drop(handle.wait_timeout(Duration::from_millis(1)));
                }
            }
            11 => drop(connections.swap_remove(at)),
            12 => {
                clients.push(StdStream::connect(address).unwrap());
                let block = ledger.block(census, None);
                match dice.roll(3) {
                    0 => listener.accept().packet(block).unwrap(),
                    1 => listener.accept_with(within_mut(|io: &mut Io| &mut io.buf[..])).packet(block).unwrap(),
                    _ => listener.accept_multi().packet(block).unwrap(),
                };
            }
            13 => drop(listener.cancel_all()),
            14 => {
                if port.get_many(&mut batch, Duration::ZERO).unwrap() {
                    // Sometimes a part of the batch is left in it: it goes back to the port.
                    let most = if dice.roll(4) == 0 { 1 } else { 8 };
                    batch.by_ref().take(most).filter_map(Outcome::packet).for_each(|packet| ledger.ended(packet));
                }
            }
            _ => {
                if let Some(packet) = port.get(Duration::ZERO).unwrap().packet() {
                    ledger.ended(packet);
                }
            }
        }
    }
    let started = ledger.next;
    match dice.roll(4) {
        // Everything is closed, so everything ends.
        0 | 1 => {
            for connection in connections {
                let _ = connection.ours.cancel_all();
            }
            let _ = listener.cancel_all();
            drop(listener);
            let end = Instant::now() + Duration::from_secs(30);
            drop(batch);
            while !ledger.open.is_empty() {
                assert!(Instant::now() < end, "{} operations never end", ledger.open.len());
                if let Some(packet) = port.get(Duration::from_millis(100)).unwrap().packet() {
                    ledger.ended(packet);
                }
            }
            drop(port);
        }
        2 => drop((port, connections, listener, batch)),
        _ => drop((batch, listener, connections, port)),
    }
    drop(clients);
    started
}

#[test]
fn random_drops_and_cancels_lose_no_completion_and_leave_nothing() {
    let seed = std::env::var("PROACTOR_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5EED_u64);
    println!("PROACTOR_SEED={seed}");
    alone_on_each_backend("per_thread::load::random_drops_and_cancels_lose_no_completion_and_leave_nothing", || {
        println!("PROACTOR_SEED={seed}");
        let mut dice = Dice::new(seed);
        let (census, pool) = (Census::default(), BufferPool::new(16, 64));
        let (mut rounds, mut started) = (0, 0);
        let mut before = None;
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            started += round(&mut dice, &census, &pool);
            rounds += 1;
            assert_eq!((census.count(), pool.available()), (0, 16), "round {rounds}: blocks left, buffers of the pool");
            let now = descriptors();
            assert_eq!(now, *before.get_or_insert(now), "round {rounds}: descriptors");
        }
        println!("{rounds} rounds, {started} operations");
        assert!(started > 100, "the load was real");
    });
}
