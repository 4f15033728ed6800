//! The client: one thread, edge-triggered epoll, a closed loop on every connection. It has to be cheaper than any server.
//!
//! Registered once, each connection keeps `depth` messages on their way: whatever comes back whole is sent again with one
//! call. Every byte is compared with the stream's ([`Pattern`]). A message's latency runs from before the call that sent its
//! last byte to after the one that received it; one reading of the clock serves both ends.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::linux::cpu::Clock;
use crate::linux::pattern::{Pattern, Place};
use crate::linux::sys::{self, Epoll, Moved};
use crate::linux::wrong;

/// Bytes received at once.
pub const RECEIVE: usize = 64 << 10;
/// How long a server may stay silent, in milliseconds.
const SILENCE: i32 = 5000;
/// The longest latency told apart.
const LONGEST: Duration = Duration::from_secs(60);

/// What is asked of a server.
pub struct Load {
    /// The bytes.
    pub pattern: Pattern,
    /// Connections.
    pub connections: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages in flight on each.
    pub depth: usize,
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

struct Conn {
    stream: TcpStream,
    /// Where the next byte to send stands, and the next to receive.
    to_send: Place,
    to_receive: Place,
    /// Bytes that did not fit the socket.
    unsent: usize,
    /// Bytes of the message that is coming back.
    partial: usize,
    /// When each message in flight was sent, a ring of `depth`; the oldest at `oldest`.
    sent_at: Box<[Instant]>,
    oldest: usize,
}

/// Messages and times since the window began.
struct Tally {
    measuring: bool,
    messages: u64,
    latency: Histogram<u64>,
}

/// Connects, loads the server, and measures it; `clock` is the server's.
pub fn drive(load: &Load, addrs: &[SocketAddr], clock: Clock) -> io::Result<Measured> {
    let epoll = Epoll::new()?;
    let mut conns = connect(load, addrs)?;
    for (n, conn) in conns.iter_mut().enumerate() {
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        epoll.add(conn.stream.as_raw_fd(), events, n as u64)?;
        conn.sent_at.fill(Instant::now());
        conn.send(load, load.depth * load.size)?;
    }
    let latency = Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3).map_err(|error| wrong(error.to_string()))?;
    let mut tally = Tally { measuring: false, messages: 0, latency };
    let mut buf = vec![0; RECEIVE];
    let mut room = sys::event_room(256);
    let own = Clock::of_this_process();
    let mut begun = Instant::now();
    let (mut server_cpu, mut client_cpu) = (Duration::ZERO, Duration::ZERO);
    let mut until = begun + load.warm_up;
    loop {
        let events = epoll.wait(&mut room, SILENCE)?;
        if events.is_empty() {
            return Err(wrong(format!("the server has been silent for {SILENCE} ms")));
        }
        let mut now = begun;
        for event in events {
            now = conns[event.u64 as usize].turn(load, &mut buf, &mut tally)?;
        }
        if now < until {
            continue;
        }
        if tally.measuring {
            return Ok(Measured {
                messages: tally.messages,
                server_cpu: clock.now()? - server_cpu,
                client_cpu: own.now()? - client_cpu,
                elapsed: begun.elapsed(),
                latency: tally.latency,
            });
        }
        tally.measuring = true;
        (server_cpu, client_cpu) = (clock.now()?, own.now()?);
        begun = Instant::now();
        until = begun + load.window;
    }
}

/// Connects to the addresses in turn.
fn connect(load: &Load, addrs: &[SocketAddr]) -> io::Result<Vec<Conn>> {
    let each = (0..load.connections).zip(addrs.iter().cycle());
    each.map(|(n, addr)| {
        let stream = TcpStream::connect_timeout(addr, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        let start = load.pattern.start(n);
        Ok(Conn {
            stream,
            to_send: start,
            to_receive: start,
            unsent: 0,
            partial: 0,
            sent_at: vec![Instant::now(); load.depth].into(),
            oldest: 0,
        })
    })
    .collect()
}

impl Conn {
    /// Receives what there is and sends as much again; the time it was when it had received.
    #[inline]
    fn turn(&mut self, load: &Load, buf: &mut [u8], tally: &mut Tally) -> io::Result<Instant> {
        let fd = self.stream.as_raw_fd();
        if self.unsent > 0 {
            self.send(load, 0)?;
        }
        loop {
            let got = match sys::recv(fd, buf) {
                Moved::Bytes(0) => return Err(wrong("the server closed a connection")),
                Moved::Bytes(got) => got,
                Moved::Later => return Ok(Instant::now()),
                Moved::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
            };
            if !load.pattern.matches(self.to_receive, &buf[..got]) {
                return Err(wrong("the server gave back other bytes than it was sent"));
            }
            self.to_receive = self.to_receive.after(got);
            let now = Instant::now();
            let mut whole = 0;
            self.partial += got;
            while self.partial >= load.size {
                self.partial -= load.size;
                whole += load.size;
                let sent = std::mem::replace(&mut self.sent_at[self.oldest], now);
                self.oldest = if self.oldest + 1 == load.depth { 0 } else { self.oldest + 1 };
                tally.message(now.duration_since(sent));
            }
            if whole > 0 {
                self.send(load, whole)?;
            }
            if got < buf.len() {
                return Ok(now);
            }
        }
    }

    /// Sends so many bytes more of the stream; what does not fit waits for an edge.
    #[inline]
    fn send(&mut self, load: &Load, more: usize) -> io::Result<()> {
        self.unsent += more;
        match sys::send(self.stream.as_raw_fd(), load.pattern.piece(self.to_send, self.unsent)) {
            Moved::Bytes(sent) => {
                self.unsent -= sent;
                self.to_send = self.to_send.after(sent);
                Ok(())
            }
            Moved::Later => Ok(()),
            Moved::Failed(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl Tally {
    #[inline]
    fn message(&mut self, latency: Duration) {
        if self.measuring {
            self.messages += 1;
            self.latency.saturating_record(latency.as_nanos() as u64);
        }
    }
}
