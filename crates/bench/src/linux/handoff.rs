//! `bench handoff`: how soon an idle worker has a completion whose operation was started by a thread that is busy since.
//!
//! The busy thread spins on the first core; the idle worker and the sender share the last, so that its waking costs the same
//! for everybody. A figure runs from before the send to the idle worker having the datagram.
//!
//! | contender | started by the busy thread | idle worker |
//! |---|---|---|
//! | epoll | nothing | `epoll_wait`, `recv` |
//! | shared | a receive, after a `get` that makes it a worker | `get` |

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proactor::{Block, CompletionPort, Concurrency, Outcome, within_mut};

use super::args::HandoffArgs;
use super::board::{Board, Ratio};
use super::sys::{self, Epoll, Moved};
use super::{cpu, wrong};

/// What the busy thread does before it spins.
type Begin = Box<dyn FnMut() -> io::Result<()> + Send>;

/// Between the spinning and the send: time for the idle worker to have gone to sleep.
const SETTLE: Duration = Duration::from_millis(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes turns between the contenders and prints the table.
pub fn run(args: &HandoffArgs) -> io::Result<()> {
    let busy = Duration::from_millis(args.busy_ms);
    println!("hand-off past a thread that is busy for {busy:?}: {} rounds of {} times", args.rounds, args.times);
    let contenders = [("epoll", plain(busy)?), ("shared", shared(busy)?)];
    let (_, last) = cpu::first_and_last();
    cpu::pin(&[last])?;
    let mut board = Board::new(&["median µs", "p99 µs"]);
    for _ in 0..args.rounds {
        let mut taken = [Vec::new(), Vec::new()];
        for _ in 0..args.times {
            for ((_, setup), taken) in contenders.iter().zip(&mut taken) {
                taken.push(setup.once()?);
            }
        }
        for ((name, _), taken) in contenders.iter().zip(&mut taken) {
            taken.sort();
            let at = |share: f64| taken[((taken.len() - 1) as f64 * share).round() as usize].as_nanos() as f64 / 1e3;
            board.add(name, &[at(0.5), at(0.99)]);
        }
    }
    println!("{}", board.table(&[Ratio { metric: 0, base: "epoll" }, Ratio { metric: 1, base: "epoll" }]));
    for (_, setup) in contenders {
        setup.end()?;
    }
    Ok(())
}

/// A contender, set up: its two threads wait.
struct Setup {
    addr: SocketAddr,
    sender: UdpSocket,
    /// Sets the busy thread going; dropped, it ends.
    go: Sender<()>,
    /// The busy thread spins now.
    spinning: Receiver<()>,
    /// It has stopped.
    calm: Receiver<()>,
    /// When the idle worker had the datagram.
    arrived: Receiver<Instant>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Setup {
    /// One hand-off.
    fn once(&self) -> io::Result<Duration> {
        let late = |what: &str| wrong(format!("{what} within {PATIENCE:?}"));
        self.go.send(()).map_err(|_| wrong("the busy thread has ended"))?;
        self.spinning.recv_timeout(PATIENCE).map_err(|_| late("the busy thread did not begin"))?;
        std::thread::sleep(SETTLE);
        let sent = Instant::now();
        self.sender.send_to(b"datagram", self.addr)?;
        let arrived = self.arrived.recv_timeout(PATIENCE).map_err(|_| late("the datagram did not arrive"))?;
        self.calm.recv_timeout(PATIENCE).map_err(|_| late("the busy thread did not stop"))?;
        Ok(arrived - sent)
    }

    fn end(self) -> io::Result<()> {
        drop(self.go);
        // One datagram more makes the idle worker notice that nobody listens to it.
        drop(self.arrived);
        self.sender.send_to(b"end", self.addr)?;
        self.threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| wrong("a thread panicked"))?)
    }

    fn new(
        addr: SocketAddr,
        busy: Duration,
        mut begin: Begin,
        mut idle: impl FnMut() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Setup> {
        let (first, last) = cpu::first_and_last();
        let (go, told) = channel();
        let (tell_spinning, spinning) = channel();
        let (tell_calm, calm) = channel();
        let (tell_arrived, arrived) = channel();
        let busy_thread = std::thread::spawn(move || {
            cpu::pin(&[first])?;
            while told.recv().is_ok() {
                begin()?;
                let until = Instant::now() + busy;
                // Whoever measures has gone only after an error of its own.
                let _ = tell_spinning.send(());
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                let _ = tell_calm.send(());
            }
            // For the datagram that ends the idle worker.
            begin()
        });
        let idle_thread = std::thread::spawn(move || {
            cpu::pin(&[last])?;
            loop {
                idle()?;
                if tell_arrived.send(Instant::now()).is_err() {
                    return Ok(());
                }
            }
        });
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        Ok(Setup { addr, sender, go, spinning, calm, arrived, threads: vec![busy_thread, idle_thread] })
    }
}

fn plain(busy: Duration) -> io::Result<Setup> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let addr = socket.local_addr()?;
    let epoll = Epoll::new()?;
    epoll.add(socket.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, 0)?;
    let mut room = sys::event_room(16);
    let mut buf = [0; 64];
    let idle = move || {
        loop {
            epoll.wait(&mut room, -1)?;
            match sys::recv(socket.as_raw_fd(), &mut buf) {
                Moved::Bytes(_) => return Ok(()),
                Moved::Later => {}
                Moved::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
            }
        }
    };
    Setup::new(addr, busy, Box::new(|| Ok(())), idle)
}

fn shared(busy: Duration) -> io::Result<Setup> {
    // Two may run: the busy one and the idle one.
    let port = std::sync::Arc::new(CompletionPort::<[u8; 64], usize>::new(Concurrency::Threads(2))?);
    let socket = proactor::net::UdpSocket::bind(([127, 0, 0, 1], 0).into())?;
    let addr = socket.local_addr()?;
    port.associate(&socket, 0)?;
    let worker = port.clone();
    let begin = move || {
        // A worker of the port, as a handler would be. It takes nothing: no operation is in flight.
        worker.get(Duration::ZERO)?;
        socket
            .recv_from(within_mut(|buf: &mut [u8; 64]| &mut buf[..]))
            .packet(Block::new([0; 64]))
            .map_err(|refused| refused.error)?;
        Ok(())
    };
    let idle = move || match port.get(None)? {
        Outcome::Packet(_) => Ok(()),
        other => Err(wrong(format!("the port brought {other:?}"))),
    };
    Setup::new(addr, busy, Box::new(begin), idle)
}
