//! The client: one thread, a closed loop on every connection. It has to be cheaper than any server, or it is what limits.
//!
//! Each connection keeps `depth` messages on their way: whatever comes back whole is sent again with one send. The bytes are
//! compared with the stream's ([`Pattern`]): all of them with `--check-all`, else those of one receive in eight, which finds
//! any loss, doubling or change of length since the last. A message's latency runs from before the call that sends it to
//! after the one that received it; one reading of the clock serves both ends.
//!
//! | driver | a batch costs |
//! |---|---|
//! | [`ring`], where io_uring is allowed | one system call; sends and receives are submissions and completions |
//! | [`epoll`] | one system call, and two per message |

mod epoll;
mod ring;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use hdrhistogram::Histogram;

use crate::linux::cpu::Clock;
use crate::linux::pattern::{Pattern, Place};
use crate::linux::wrong;

/// Bytes received at once, at most.
pub const RECEIVE: usize = 64 << 10;
/// One receive in so many is compared; a power of two.
const CHECKED: usize = 8;
/// How long a server may stay silent.
const SILENCE: Duration = Duration::from_secs(5);
/// The longest latency told apart.
const LONGEST: Duration = Duration::from_secs(60);

/// How the client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Driver {
    /// io_uring, multishot receives, sends in batches.
    Ring,
    /// Edge-triggered epoll, a send at once for each receive.
    Epoll,
}

/// What is asked of a server.
pub struct Load {
    /// The bytes.
    pub pattern: Pattern,
    /// How the client waits.
    pub driver: Driver,
    /// Connections.
    pub connections: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages in flight on each.
    pub depth: usize,
    /// Every byte is compared.
    pub check_all: bool,
    /// Before the window.
    pub warm_up: Duration,
    /// What is measured.
    pub window: Duration,
}

/// What a server did in the window.
pub struct Measured {
    /// Messages that came back whole.
    pub messages: u64,
    /// The window's true length.
    pub elapsed: Duration,
    /// CPU time of the server, all threads.
    pub server_cpu: Duration,
    /// CPU time of the client.
    pub client_cpu: Duration,
    /// In nanoseconds.
    pub latency: Histogram<u64>,
}

/// Connects, loads the server, and measures it; `clock` is the server's.
pub fn drive(load: &Load, addrs: &[SocketAddr], clock: Clock) -> io::Result<Measured> {
    let conns = connect(load, addrs)?;
    let watch = Watch::new(load, clock)?;
    match load.driver {
        Driver::Ring => ring::drive(load, conns, watch),
        Driver::Epoll => epoll::drive(load, conns, watch),
    }
}

/// Connects to the addresses in turn.
fn connect(load: &Load, addrs: &[SocketAddr]) -> io::Result<Vec<Conn>> {
    let each = (0..load.connections).zip(addrs.iter().cycle());
    each.map(|(n, addr)| {
        let stream = TcpStream::connect_timeout(addr, SILENCE)?;
        stream.set_nodelay(true)?;
        let start = load.pattern.start(n);
        Ok(Conn {
            stream,
            to_send: start,
            to_receive: start,
            unsent: load.depth * load.size,
            partial: 0,
            sent_at: vec![Instant::now(); load.depth].into(),
            oldest: 0,
            receives: n,
        })
    })
    .collect()
}

/// One connection's stream.
struct Conn {
    stream: TcpStream,
    /// Where the next byte to send stands, and the next to receive.
    to_send: Place,
    to_receive: Place,
    /// Bytes to send, from `to_send` on.
    unsent: usize,
    /// Bytes of the message that is coming back.
    partial: usize,
    /// When each message in flight was sent, a ring of `depth`; the oldest at `oldest`.
    sent_at: Box<[Instant]>,
    oldest: usize,
    /// Receives so far; each connection begins elsewhere, so that not all are compared at once.
    receives: usize,
}

impl Conn {
    /// Whether the next receive is to be compared.
    #[inline]
    fn compares(&mut self, load: &Load) -> bool {
        self.receives = self.receives.wrapping_add(1);
        load.check_all || self.receives & (CHECKED - 1) == 0
    }

    /// Received so many bytes, these if they are to be compared. What came back whole is to be sent again.
    #[inline]
    fn received(&mut self, load: &Load, got: usize, bytes: Option<&[u8]>, now: Instant, watch: &mut Watch) -> io::Result<()> {
        if bytes.is_some_and(|bytes| !load.pattern.matches(self.to_receive, bytes)) {
            return Err(wrong("the server gave back other bytes than it was sent"));
        }
        self.to_receive = self.to_receive.after(got);
        self.partial += got;
        while self.partial >= load.size {
            self.partial -= load.size;
            self.unsent += load.size;
            let sent = std::mem::replace(&mut self.sent_at[self.oldest], now);
            self.oldest = if self.oldest + 1 == load.depth { 0 } else { self.oldest + 1 };
            watch.message(now.duration_since(sent));
        }
        Ok(())
    }

    /// What is to be sent.
    #[inline]
    fn to_send<'l>(&self, load: &'l Load) -> &'l [u8] {
        load.pattern.piece(self.to_send, self.unsent)
    }

    /// So much of it was sent.
    #[inline]
    fn sent(&mut self, bytes: usize) {
        self.unsent -= bytes;
        self.to_send = self.to_send.after(bytes);
    }
}

fn closed() -> io::Error {
    wrong("the server closed a connection")
}

fn silent() -> io::Error {
    wrong(format!("the server has been silent for {SILENCE:?}"))
}

/// The stopwatch: warm-up, window, end; and what was counted in the window.
struct Watch {
    server: Clock,
    client: Clock,
    window: Duration,
    until: Instant,
    /// When the window began, and the two CPU clocks then; none during the warm-up.
    begun: Option<(Instant, Duration, Duration)>,
    messages: u64,
    latency: Histogram<u64>,
}

impl Watch {
    fn new(load: &Load, server: Clock) -> io::Result<Watch> {
        let latency = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3).map_err(|error| wrong(error.to_string()))?;
        Ok(Watch {
            server,
            client: Clock::of_this_process(),
            window: load.window,
            until: Instant::now() + load.warm_up,
            begun: None,
            messages: 0,
            latency,
        })
    }

    #[inline]
    fn message(&mut self, latency: Duration) {
        if self.begun.is_some() {
            self.messages += 1;
            self.latency.saturating_record(latency.as_nanos() as u64);
        }
    }

    /// Looks at the time, after a batch. True: the run is over.
    #[inline]
    fn is_over(&mut self, now: Instant) -> io::Result<bool> {
        if now < self.until {
            return Ok(false);
        }
        if self.begun.is_some() {
            return Ok(true);
        }
        let (server, client) = (self.server.now()?, self.client.now()?);
        let now = Instant::now();
        (self.begun, self.until) = (Some((now, server, client)), now + self.window);
        Ok(false)
    }

    fn end(self) -> io::Result<Measured> {
        let (begun, server, client) = self.begun.ok_or_else(|| wrong("the run ended before its time"))?;
        Ok(Measured {
            messages: self.messages,
            server_cpu: self.server.now()? - server,
            client_cpu: self.client.now()? - client,
            elapsed: begun.elapsed(),
            latency: self.latency,
        })
    }
}
