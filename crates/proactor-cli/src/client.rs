//! The load client: many connections on one completion port and one thread. Every byte that comes back is checked.
//!
//! Three phases, each with an end: connect; send, keeping the pipeline of each connection full; drain, in which what is
//! in flight comes back, the client closes its half, and the server must close its own with nothing more to say.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use proactor::net::TcpStream;
use proactor::{Batch, Block, CompletionPort, Error, Packet, Wait, within, within_mut};

use crate::args::ClientArgs;
use crate::failure::Failure;
use crate::pattern;
use crate::report::Report;
use crate::socket::{resolve, send_at_once};

/// All connections must stand by then.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What was in flight must have come back by then.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Connects in flight at once: fewer than a common backlog, or the system drops some and repeats them a second later.
const CONNECTING: usize = 100;
/// Receive buffers hold a message, within these bounds.
const RECV_BYTES: (usize, usize) = (4096, 64 << 10);
const BATCH: usize = 64;
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What load to put on whom.
pub struct Load {
    /// The server's addresses, tried in order.
    pub addrs: Vec<SocketAddr>,
    /// Connections.
    pub conns: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages in flight on each connection.
    pub pipeline: usize,
    /// How long to send.
    pub time: Duration,
}

/// `proactor client`.
pub fn command(args: &ClientArgs) -> Result<(), Failure> {
    let load = Load {
        addrs: resolve(args.addr.as_str(), &args.addr)?,
        conns: args.conns as usize,
        size: args.size as usize,
        pipeline: args.pipeline as usize,
        time: Duration::from_secs(args.secs.into()),
    };
    let length = load.time.as_millis() as u64;
    let progress = if std::io::stderr().is_terminal() { ProgressBar::new(length) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
        progress.set_style(style);
    }
    let report = drive(&load, &progress)?;
    progress.finish_and_clear();
    for reason in &report.reasons {
        eprintln!("proactor: {reason}");
    }
    println!("{}", report.json());
    if report.is_good() { Ok(()) } else { Err(Failure::Reported) }
}

/// Runs the load.
pub fn drive(load: &Load, progress: &ProgressBar) -> Result<Report, Error> {
    let mut client = Client::new(load)?;

    progress.set_message(format!("connecting {} times", load.conns));
    let limit = Instant::now() + CONNECT_LIMIT;
    client.connect_more();
    client.pump(limit, progress, |client| client.connecting == 0)?;
    client.fail_all(|conn| matches!(conn.state, State::Idle | State::Connecting), "a connection did not stand in time");

    let start = Instant::now();
    client.begun = start;
    client.last_byte = start;
    client.phase = Phase::Sending;
    (0..load.conns).for_each(|n| client.begin(n));
    client.pump(start + load.time, progress, |client| client.open == 0)?;

    client.phase = Phase::Draining;
    (0..load.conns).for_each(|n| client.close_if_drained(n));
    client.pump(Instant::now() + DRAIN_LIMIT, progress, |client| client.open == 0)?;
    client.fail_all(|conn| conn.state == State::Open, "the server did not give everything back in time");
    client.fail_all(|conn| conn.state == State::Closing, "the server did not end the stream after the client had");

    client.report.elapsed = client.last_byte - client.begun;
    Ok(client.report)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Sending,
    Draining,
}

#[derive(Clone, Copy)]
enum Role {
    Connect,
    Send,
    Recv,
    Shutdown,
}

/// The block of every operation. A connection's one receive has a buffer; its sends take the pattern where it lies.
struct Io {
    role: Role,
    buf: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Connecting,
    Open,
    /// Our half is closed; the server's end of stream is awaited.
    Closing,
    /// The stream ended as it should.
    Closed,
    Failed,
}

struct Conn {
    state: State,
    stream: Option<TcpStream>,
    /// Which of the server's addresses is being tried.
    attempt: usize,
    /// Messages given to sends.
    sent: u64,
    /// Bytes received.
    received: u64,
    /// When each message in flight was sent.
    in_flight: VecDeque<Instant>,
}

struct Client<'l> {
    load: &'l Load,
    port: CompletionPort<Io, usize>,
    conns: Vec<Conn>,
    /// The next connection to connect.
    next: usize,
    connecting: usize,
    /// Connections Open or Closing.
    open: usize,
    phase: Phase,
    spare: Vec<Block<Io>>,
    /// When sending began.
    begun: Instant,
    last_byte: Instant,
    report: Report,
}

impl<'l> Client<'l> {
    fn new(load: &'l Load) -> Result<Client<'l>, Error> {
        let conn = |_| Conn {
            state: State::Idle,
            stream: None,
            attempt: 0,
            sent: 0,
            received: 0,
            in_flight: VecDeque::with_capacity(load.pipeline),
        };
        Ok(Client {
            load,
            port: CompletionPort::new(1)?,
            conns: (0..load.conns).map(conn).collect(),
            next: 0,
            connecting: 0,
            open: 0,
            phase: Phase::Connecting,
            spare: Vec::new(),
            begun: Instant::now(),
            last_byte: Instant::now(),
            report: Report::new(),
        })
    }

    /// Handles packets until `end`, or until there is nothing to wait for.
    fn pump(&mut self, end: Instant, progress: &ProgressBar, is_done: impl Fn(&Self) -> bool) -> Result<(), Error> {
        let mut batch = Batch::with_capacity(BATCH);
        let mut tell_at = Instant::now() + PROGRESS_EVERY;
        while !is_done(self) {
            let now = Instant::now();
            if now >= end {
                break;
            }
            if now >= tell_at && self.phase != Phase::Connecting {
                let Report { messages, errors, wrong_bytes, .. } = &self.report;
                progress.set_position((now - self.begun).as_millis() as u64);
                progress.set_message(format!("{messages} messages, {errors} errors, {wrong_bytes} wrong bytes"));
                tell_at = now + PROGRESS_EVERY;
            }
            self.port.get_many(&mut batch, Wait::Until(end.min(now + PROGRESS_EVERY)))?;
            batch.by_ref().filter_map(|outcome| outcome.packet()).for_each(|packet| self.packet(packet));
        }
        Ok(())
    }

    fn packet(&mut self, packet: Packet<Io, usize>) {
        let (n, bytes) = (packet.key, packet.done.bytes);
        let Some(io) = packet.block else { return };
        if matches!(io.role, Role::Connect) {
            return self.connect_ended(n, io, packet.done.result.err());
        }
        if matches!(self.conns[n].state, State::Closed | State::Failed) {
            // What was still under way when the connection ended.
            return self.spare.push(io);
        }
        match (io.role, packet.done.result) {
            (_, Err(error)) => self.fail(n, &error.to_string()),
            (Role::Recv, Ok(_)) if bytes == 0 => self.stream_ended(n),
            (Role::Recv, Ok(_)) => self.received(n, io, bytes),
            (Role::Connect | Role::Send | Role::Shutdown, Ok(_)) => self.spare.push(io),
        }
    }

    fn block(&mut self, role: Role) -> Block<Io> {
        let mut io = self.spare.pop().unwrap_or_else(|| Block::new(Io { role, buf: Vec::new() }));
        io.role = role;
        io
    }

    /// Keeps as many connects in flight as may be.
    fn connect_more(&mut self) {
        while self.connecting < CONNECTING && self.next < self.conns.len() {
            let n = self.next;
            self.next += 1;
            self.connecting += 1;
            self.conns[n].state = State::Connecting;
            let io = self.block(Role::Connect);
            self.connect(n, io);
        }
    }

    fn connect(&mut self, n: usize, io: Block<Io>) {
        let addr = self.load.addrs[self.conns[n].attempt];
        let started = TcpStream::unconnected_for(addr).and_then(|stream| {
            self.port.associate(&stream, n)?;
            stream.connect(addr).packet(io)?;
            Ok(stream)
        });
        match started {
            Ok(stream) => self.conns[n].stream = Some(stream),
            Err(error) => {
                self.connecting -= 1;
                self.fail(n, &error.to_string());
            }
        }
    }

    fn connect_ended(&mut self, n: usize, io: Block<Io>, error: Option<Error>) {
        let conn = &mut self.conns[n];
        if conn.state != State::Connecting {
            return self.spare.push(io);
        }
        match (error, &conn.stream) {
            (None, Some(stream)) => {
                send_at_once(stream);
                conn.state = State::Open;
                self.open += 1;
                self.spare.push(io);
            }
            (Some(_), _) if conn.attempt + 1 < self.load.addrs.len() => {
                conn.attempt += 1;
                self.connecting += 1;
                self.connect(n, io);
            }
            (Some(error), _) => self.fail(n, &error.to_string()),
            (None, None) => unreachable!("a connecting connection has a stream"),
        }
        self.connecting -= 1;
        self.connect_more();
    }

    /// Fills the pipeline of an open connection and starts to receive.
    fn begin(&mut self, n: usize) {
        if self.conns[n].state != State::Open {
            return;
        }
        let room = self.load.size.clamp(RECV_BYTES.0, RECV_BYTES.1);
        self.recv(n, Block::new(Io { role: Role::Recv, buf: vec![0; room] }));
        for _ in 0..self.load.pipeline {
            self.send(n, Instant::now());
        }
    }

    fn recv(&mut self, n: usize, io: Block<Io>) {
        let Some(stream) = &self.conns[n].stream else { return };
        if let Err(refused) = stream.recv(within_mut(|io: &mut Io| &mut io.buf[..])).packet(io) {
            self.fail(n, &refused.error.to_string());
        }
    }

    fn send(&mut self, n: usize, now: Instant) {
        let io = self.block(Role::Send);
        let size = self.load.size;
        let conn = &mut self.conns[n];
        let Some(stream) = &conn.stream else { return };
        let message = pattern::piece(n, conn.sent * size as u64, size);
        match stream.send(within(move |_: &mut Io| message)).packet(io) {
            Ok(_) => {
                conn.sent += 1;
                conn.in_flight.push_back(now);
            }
            Err(refused) => self.fail(n, &refused.error.to_string()),
        }
    }

    fn received(&mut self, n: usize, io: Block<Io>, bytes: usize) {
        let now = Instant::now();
        let size = self.load.size as u64;
        let conn = &mut self.conns[n];
        self.report.bytes += bytes as u64;
        self.report.wrong_bytes += pattern::wrong(n, conn.received, &io.buf[..bytes]);
        let whole = conn.received / size;
        conn.received += bytes as u64;
        let came_back = (conn.received / size - whole) as usize;
        if conn.received > conn.sent * size {
            return self.fail(n, "the server gave back more than it was sent");
        }
        for sent in conn.in_flight.drain(..came_back) {
            self.report.message(now.saturating_duration_since(sent));
        }
        self.last_byte = now;
        if self.phase == Phase::Sending {
            for _ in 0..came_back {
                self.send(n, now);
            }
        }
        self.recv(n, io);
        self.close_if_drained(n);
    }

    /// While draining: closes this side's half of a connection that got everything back.
    fn close_if_drained(&mut self, n: usize) {
        let conn = &self.conns[n];
        if self.phase != Phase::Draining || conn.state != State::Open || !conn.in_flight.is_empty() {
            return;
        }
        self.conns[n].state = State::Closing;
        let io = self.block(Role::Shutdown);
        let Some(stream) = &self.conns[n].stream else { return };
        if let Err(refused) = stream.shutdown(Shutdown::Write).packet(io) {
            self.fail(n, &refused.error.to_string());
        }
    }

    fn stream_ended(&mut self, n: usize) {
        let conn = &mut self.conns[n];
        if conn.state != State::Closing {
            return self.fail(n, "the server closed a connection before everything had come back");
        }
        conn.state = State::Closed;
        conn.stream = None;
        self.open -= 1;
    }

    fn fail(&mut self, n: usize, why: &str) {
        let conn = &mut self.conns[n];
        match conn.state {
            State::Closed | State::Failed => return,
            State::Open | State::Closing => self.open -= 1,
            State::Idle | State::Connecting => {}
        }
        conn.state = State::Failed;
        // Cancels what is in flight on it; those packets find the connection failed.
        conn.stream = None;
        self.report.failed(why);
    }

    fn fail_all(&mut self, which: impl Fn(&Conn) -> bool, why: &str) {
        for n in 0..self.conns.len() {
            if which(&self.conns[n]) {
                self.fail(n, why);
            }
        }
    }
}
