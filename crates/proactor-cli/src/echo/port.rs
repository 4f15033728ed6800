//! The port model: one completion port, N worker threads, and a block per connection that carries its buffer from
//! receive to send to receive. Steady traffic allocates nothing: a connection's block is the accept's own, and goes to
//! the worker's store when the connection ends.
//!
//! | mode | its packet means | next |
//! |---|---|---|
//! | Accept | a connection | Recv on it with this block; another block accepts |
//! | Recv, bytes | a message | Send |
//! | Recv, 0 bytes | the client sends no more, and has been sent everything | Shutdown |
//! | Send | the message went out whole | Recv |
//! | Shutdown | the client will read the end | the block is idle, the connection closed |
//! | any, failed | the connection is over | as above; a failed Accept is parked for a pause |

use std::net::Shutdown;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use proactor::net::{TcpListener, TcpStream};
use proactor::{Batch, Block, Code, CompletionPort, Concurrency, Error, Packet, Value, Wait, within, within_mut};

use super::{ACCEPT_PAUSE, Counts, STOP_LIMIT, is_the_clients_fault, tell_of_shortage};
use crate::args::EchoArgs;
use crate::failure::Failure;
use crate::socket::send_at_once;

/// Keys: what kind of object a packet is of.
const LISTENER: usize = 0;
const CONNECTION: usize = 1;

/// Packets fetched at once.
const BATCH: usize = 16;
/// Accepts in flight, so that a burst of clients does not wait for one worker's round trip each.
const ACCEPTS: usize = 16;
/// Idle blocks a worker keeps for connections to come.
const IDLE: usize = 1024;

#[derive(Clone, Copy)]
enum Mode {
    Accept,
    Recv,
    Send,
    Shutdown,
}

/// The block that travels with every operation.
struct PerIo {
    mode: Mode,
    /// The connection; none while accepting or idle. The block and the operation in flight keep it open, so dropping the
    /// block closes it.
    stream: Option<TcpStream>,
    buf: Box<[u8]>,
    filled: usize,
}

impl PerIo {
    fn room(&mut self) -> &mut [u8] {
        &mut self.buf
    }

    fn message(&mut self) -> &[u8] {
        &self.buf[..self.filled]
    }
}

struct Shared {
    port: CompletionPort<PerIo, usize>,
    listener: TcpListener,
    buf: usize,
}

/// The running server.
pub struct Server {
    shared: Arc<Shared>,
    workers: usize,
    ended: mpsc::Receiver<Counts>,
}

/// Starts the workers and the accepts.
pub fn start(listener: TcpListener, args: &EchoArgs) -> Result<Server, Failure> {
    let port = CompletionPort::new(Concurrency::Cores)?;
    port.associate(&listener, LISTENER)?;
    let shared = Arc::new(Shared { port, listener, buf: args.buf as usize });
    for _ in 0..ACCEPTS {
        shared.listener.accept().packet(shared.block()).map_err(Error::from)?;
    }
    let (tell, ended) = mpsc::channel();
    for n in 0..args.threads() {
        let (shared, tell) = (shared.clone(), tell.clone());
        // Whoever stops the server may have given up waiting.
        let worker = move || tell.send(Worker::new(&shared).work()).unwrap_or(());
        std::thread::Builder::new().name(format!("worker {n}")).spawn(worker)?;
    }
    Ok(Server { shared, workers: args.threads(), ended })
}

impl super::Server for Server {
    fn stop(self: Box<Self>) -> (Counts, bool) {
        // Every waiting worker gets Abandoned, every later call InvalidHandle. Operations in flight are cancelled and
        // dropped with their blocks, and so are the connections in these.
        self.shared.port.close();
        let deadline = Instant::now() + STOP_LIMIT;
        let mut sum = Counts::default();
        for _ in 0..self.workers {
            match self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(counts) => sum += counts,
                Err(_) => return (sum, false),
            }
        }
        (sum, true)
    }
}

impl Shared {
    fn block(&self) -> Block<PerIo> {
        Block::new(PerIo { mode: Mode::Accept, stream: None, buf: vec![0; self.buf].into(), filled: 0 })
    }
}

struct Worker<'s> {
    shared: &'s Shared,
    idle: Vec<Block<PerIo>>,
    /// Accepts that failed for want of descriptors or memory.
    parked: Vec<Block<PerIo>>,
    /// When the next of them is tried again.
    retry_at: Instant,
    counts: Counts,
}

impl<'s> Worker<'s> {
    fn new(shared: &'s Shared) -> Worker<'s> {
        Worker { shared, idle: Vec::new(), parked: Vec::new(), retry_at: Instant::now(), counts: Counts::default() }
    }

    fn work(mut self) -> Counts {
        let mut batch = Batch::with_capacity(BATCH);
        loop {
            let wait = if self.parked.is_empty() { Wait::Forever } else { Wait::Until(self.retry_at) };
            match self.shared.port.get_many(&mut batch, wait) {
                Ok(_) => batch.by_ref().filter_map(|outcome| outcome.packet()).for_each(|packet| self.packet(packet)),
                Err(error) => {
                    if !matches!(error.code(), Code::Abandoned | Code::InvalidHandle) {
                        eprintln!("proactor: a worker stops: {error}");
                    }
                    return self.counts;
                }
            }
            // One at a time: while the shortage lasts, more attempts would only fail more often.
            if !self.parked.is_empty()
                && Instant::now() >= self.retry_at
                && let Some(block) = self.parked.pop()
            {
                self.retry_at = Instant::now() + ACCEPT_PAUSE;
                self.accept(block);
            }
        }
    }

    fn packet(&mut self, packet: Packet<PerIo, usize>) {
        let Some(mut io) = packet.block else { return };
        let bytes = packet.done.bytes;
        match (io.mode, packet.done.result) {
            (Mode::Accept, Ok(Value::Tcp(accepted))) => self.accepted(io, accepted.stream),
            (Mode::Accept, Ok(_)) => unreachable!("an accept on a TCP listener brings a TCP connection"),
            (Mode::Accept, Err(error)) => self.accept_failed(io, error),
            (Mode::Recv, Ok(_)) if bytes == 0 => self.shut_down(io),
            (Mode::Recv, Ok(_)) => {
                io.filled = bytes;
                self.send(io);
            }
            (Mode::Send, Ok(_)) => {
                self.counts.messages += 1;
                self.counts.bytes += bytes as u64;
                self.recv(io);
            }
            // A failure here is a client that went away without waiting for the end; all bytes were sent.
            (Mode::Shutdown, _) => self.ended(io),
            (Mode::Recv | Mode::Send, Err(_)) => self.failed(io),
        }
    }

    fn accept(&mut self, mut io: Block<PerIo>) {
        io.mode = Mode::Accept;
        if let Err(refused) = self.shared.listener.accept().packet(io) {
            self.accept_failed(refused.back, refused.error);
        }
    }

    fn accepted(&mut self, mut io: Block<PerIo>, stream: TcpStream) {
        let next = self.idle.pop().unwrap_or_else(|| self.shared.block());
        self.accept(next);
        self.counts.connections += 1;
        send_at_once(&stream);
        if self.shared.port.associate(&stream, CONNECTION).is_err() {
            return self.failed(io);
        }
        io.stream = Some(stream);
        self.recv(io);
    }

    fn accept_failed(&mut self, io: Block<PerIo>, error: Error) {
        if self.shared.port.is_closed() {
            return;
        }
        self.counts.errors += 1;
        if is_the_clients_fault(&error) {
            return self.accept(io);
        }
        tell_of_shortage(&error);
        self.retry_at = Instant::now() + ACCEPT_PAUSE;
        self.parked.push(io);
    }

    fn recv(&mut self, mut io: Block<PerIo>) {
        io.mode = Mode::Recv;
        // The operation borrows a handle while the block, and the handle in it, is on its way.
        let Some(stream) = io.stream.clone() else { return };
        if let Err(refused) = stream.recv(within_mut(PerIo::room)).packet(io) {
            self.failed(refused.back);
        }
    }

    fn send(&mut self, mut io: Block<PerIo>) {
        io.mode = Mode::Send;
        let Some(stream) = io.stream.clone() else { return };
        if let Err(refused) = stream.send(within(PerIo::message)).packet(io) {
            self.failed(refused.back);
        }
    }

    /// The client's half is closed; closing ours tells it that it has everything.
    fn shut_down(&mut self, mut io: Block<PerIo>) {
        io.mode = Mode::Shutdown;
        let Some(stream) = io.stream.clone() else { return };
        if let Err(refused) = stream.shutdown(Shutdown::Write).packet(io) {
            self.ended(refused.back);
        }
    }

    fn failed(&mut self, io: Block<PerIo>) {
        if !self.shared.port.is_closed() {
            self.counts.errors += 1;
        }
        self.ended(io);
    }

    fn ended(&mut self, mut io: Block<PerIo>) {
        io.stream = None;
        if self.idle.len() < IDLE {
            self.idle.push(io);
        }
        // A descriptor came free: no need to wait for the pause to end.
        if let Some(block) = self.parked.pop() {
            self.accept(block);
        }
    }
}
