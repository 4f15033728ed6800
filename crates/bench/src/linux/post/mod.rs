//! `bench post`: packets from one thread to another, through a completion port that has a socket, too.
//!
//! | case | threads | a figure is | against |
//! |---|---|---|---|
//! | flood | a poster on the first core and a taker on the last; then a second pair, the other way round | ns per item, from the first post to the last taken | crossbeam-channel, unbounded |
//! | ping-pong | two on the first core | ns per round trip | an eventfd in an epoll instance, each way |
//! | strand | one, which posts functions to a context and runs them | ns per function | the same without a strand |

mod flood;
mod ping_pong;
mod strand;

use std::io;

use proactor::CompletionPort;
use proactor::net::UdpSocket;

use super::args::PostArgs;
use super::board::{self, Board, Ratio};

/// Measures one contender once: nanoseconds per item, or per round trip.
type Measure = fn(u64) -> io::Result<f64>;

/// Runs the cases and prints their tables.
pub fn run(args: &PostArgs) -> io::Result<()> {
    if args.runs("flood") {
        println!("flood, one thread to another: {} items, {} rounds", args.items, args.rounds);
        let bases = ["crossbeam"];
        case(args.rounds, args.items, &["ns per item"], flood::ONE_TO_ONE, &bases)?;
        println!("flood, two threads to two others: {} items, {} rounds", args.items, args.rounds);
        case(args.rounds, args.items, &["ns per item"], flood::TWO_TO_TWO, &bases)?;
    }
    if args.runs("ping-pong") {
        println!("ping-pong, two threads on one core: {} round trips, {} rounds", args.trips, args.rounds);
        let bases = ["eventfd+epoll", "eventfd+epoll, edge"];
        case(args.rounds, args.trips, &["ns per round trip"], ping_pong::CONTENDERS, &bases)?;
    }
    if args.runs("strand") {
        println!("functions of a context, 64 at a time, one thread: {} of them, {} rounds", args.items, args.rounds);
        case(args.rounds, args.items, &["ns per function"], strand::BURSTS, &["post"])?;
        println!("functions of a context, each posts the next, one thread: {} of them, {} rounds", args.items, args.rounds);
        case(args.rounds, args.items, &["ns per function"], strand::CHAINS, &["post"])?;
    }
    Ok(())
}

fn case(
    rounds: u32,
    count: u64,
    metrics: &'static [&'static str],
    contenders: &[(&str, Measure)],
    bases: &[&str],
) -> io::Result<()> {
    let mut board = Board::new(metrics);
    board::interleave(rounds, contenders, |(name, measure)| {
        board.add(name, &[measure(count)?]);
        Ok(())
    })?;
    let ratios: Vec<_> = bases.iter().map(|base| Ratio { metric: 0, base }).collect();
    println!("{}", board.table(&ratios));
    Ok(())
}

/// A port as servers have it: a socket is associated, so waiting for packets means waiting for sockets, too.
struct Port {
    port: CompletionPort<(), usize>,
    _socket: UdpSocket,
}

impl Port {
    fn new() -> io::Result<Port> {
        let port = CompletionPort::new(0)?;
        let socket = UdpSocket::bind(([127, 0, 0, 1], 0).into())?;
        port.associate(&socket, usize::MAX)?;
        Ok(Port { port, _socket: socket })
    }

    /// A post that is refused breaks the measurement.
    #[inline]
    fn post(&self, key: usize) {
        self.port.post(key, 0, None).expect("the port is open");
    }

    /// The key of the next packet.
    #[inline]
    fn get(&self) -> usize {
        let outcome = self.port.get(None).expect("the port is open");
        outcome.packet().expect("only packets end a wait without a limit").key
    }
}
