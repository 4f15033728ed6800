//! The port model with a port for each thread: N threads, N ports, a listener each on the same address. A connection stays
//! with the thread that accepted it.
//!
//! | packet | means | next |
//! |---|---|---|
//! | AcceptMulti | a connection; the last one: a failure | a receive on it; accept again, after a pause if resources are short |
//! | RecvMulti, a buffer | a message, in a leased buffer | Send it from there |
//! | Recv, bytes | a message, in the block | Send, and receive again when that is done |
//! | either, 0 bytes | the client sends no more | Shutdown, when everything has been sent back |
//! | Send | the message went out whole | the buffer goes back to the pool |
//! | Shutdown | the client will read the end | the connection is closed |
//! | a post | stop | |
//!
//! A client that does not read stops being received from at [`MOST_UNSENT`] messages, so it cannot hold all buffers.

use std::net::Shutdown;
use std::sync::mpsc;
use std::time::Instant;

use proactor::net::{TcpListener, TcpStream};
use proactor::{
    Block, BufferPool, Code, Error, Local, LocalPort, OpKind, Packet, PoolBuf, RemotePort, Ticket, Value, Wait, within,
    within_mut,
};

use super::{ACCEPT_PAUSE, Counts, STOP_LIMIT, is_the_clients_fault, tell_of_shortage};
use crate::args::{EchoArgs, Receive};
use crate::failure::Failure;
use crate::socket::send_at_once;

/// Leased buffers of one thread.
const BUFFERS: usize = 512;
/// Messages of one connection on their way back at once.
const MOST_UNSENT: usize = 16;
/// The key of the listener; connections have their index.
const LISTENER: usize = usize::MAX;

#[derive(Default)]
struct PerIo {
    lease: Option<PoolBuf>,
    buf: Box<[u8]>,
    filled: usize,
}

impl PerIo {
    fn message(&mut self) -> &[u8] {
        self.lease.as_deref().unwrap_or(&self.buf[..self.filled])
    }
}

/// One connection; its place is free again once nothing of it is under way.
struct Conn {
    stream: TcpStream<Local>,
    receiving: Option<Ticket>,
    unsent: usize,
    /// The receive was stopped until the client has read more.
    paused: bool,
    /// The client sends no more.
    ended: bool,
    /// Nothing more is to be started.
    closing: bool,
}

/// The running server.
pub struct Server {
    ports: Vec<RemotePort<PerIo, usize>>,
    ended: mpsc::Receiver<Counts>,
}

/// Starts a thread for each listener.
pub fn start(listeners: Vec<TcpListener>, args: &EchoArgs) -> Result<Server, Failure> {
    let (tell, ended) = mpsc::channel();
    let (ready, readied) = mpsc::channel();
    let (multi, buf) = (args.receive() == Receive::Multi, args.buf as usize);
    let threads = listeners.len();
    for (n, listener) in listeners.into_iter().enumerate() {
        let (tell, ready) = (tell.clone(), ready.clone());
        let serve = move || {
            let worker = Worker::new(listener, multi, buf);
            // Whoever starts or stops the server may have given up waiting.
            let _ = ready.send(worker.as_ref().map(|worker| worker.port.remote()).map_err(|error| *error));
            if let Ok(worker) = worker {
                tell.send(worker.work()).unwrap_or(());
            }
        };
        std::thread::Builder::new().name(format!("worker {n}")).spawn(serve)?;
    }
    let mut ports = Vec::new();
    for _ in 0..threads {
        ports.push(readied.recv().map_err(|_| Failure::Wrong("a worker ended at its start".to_owned()))??);
    }
    Ok(Server { ports, ended })
}

impl super::Server for Server {
    fn stop(self: Box<Self>) -> (Counts, bool) {
        let deadline = Instant::now() + STOP_LIMIT;
        let mut sum = Counts::default();
        for port in &self.ports {
            // Refused by a thread that has ended; it has told what it served.
            let _ = port.post(LISTENER, 0, None);
        }
        for _ in &self.ports {
            match self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(counts) => sum += counts,
                Err(_) => return (sum, false),
            }
        }
        (sum, true)
    }
}

struct Worker {
    port: LocalPort<PerIo, usize>,
    listener: TcpListener<Local>,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    pool: Option<BufferPool>,
    buf: usize,
    spare: Vec<Block<PerIo>>,
    /// Connections that found no free buffer.
    hungry: Vec<usize>,
    /// When accepting goes on after a shortage.
    accept_at: Option<Instant>,
    counts: Counts,
}

impl Worker {
    fn new(listener: TcpListener, multi: bool, buf: usize) -> Result<Worker, Error> {
        let port = LocalPort::new()?;
        let listener = port.associate(listener, LISTENER)?;
        let worker = Worker {
            port,
            listener,
            conns: Vec::new(),
            free: Vec::new(),
            pool: multi.then(|| BufferPool::new(BUFFERS, buf)),
            buf,
            spare: Vec::new(),
            hungry: Vec::new(),
            accept_at: None,
            counts: Counts::default(),
        };
        worker.listener.accept_multi().packet(Block::<PerIo>::default())?;
        Ok(worker)
    }

    fn work(mut self) -> Counts {
        loop {
            let wait = self.accept_at.map_or(Wait::Forever, Wait::Until);
            match self.port.get(wait).map(|outcome| outcome.packet()) {
                Ok(Some(Packet { op: OpKind::Post, .. })) => return self.counts,
                Ok(Some(packet)) => self.packet(packet),
                Ok(None) => {}
                Err(error) => {
                    eprintln!("proactor: a worker stops: {error}");
                    return self.counts;
                }
            }
            if self.accept_at.is_some_and(|at| Instant::now() >= at) {
                self.accept_at = None;
                self.accept();
            }
        }
    }

    fn packet(&mut self, packet: Packet<PerIo, usize>) {
        let Packet { key, block, done, op, .. } = packet;
        match (op, done.result, block) {
            (OpKind::AcceptMulti, Ok(Value::Tcp(accepted)), _) => self.accepted(accepted.stream),
            (OpKind::AcceptMulti, Err(error), _) => self.accept_failed(&error),
            (OpKind::RecvMulti, Ok(Value::Buffer(lease)), _) => {
                let mut io = self.spare.pop().unwrap_or_default();
                io.lease = Some(lease);
                self.send(key, io);
            }
            (OpKind::Recv, Ok(_), Some(mut io)) if done.bytes > 0 => {
                self.conn(key).receiving = None;
                io.filled = done.bytes;
                self.send(key, io);
            }
            (OpKind::Recv | OpKind::RecvMulti, result, _) => self.receive_ended(key, result.err()),
            (OpKind::Send, result, Some(io)) => self.sent(key, io, done.bytes, result.is_ok()),
            // A failed shutdown is a client that went away without waiting for the end; all bytes were sent.
            _ => {
                self.conn(key).unsent -= 1;
                self.close(key);
            }
        }
    }

    fn conn(&mut self, key: usize) -> &mut Conn {
        self.conns[key].as_mut().unwrap_or_else(|| unreachable!("a connection's place stays while it has operations"))
    }

    fn accept(&mut self) {
        if let Err(refused) = self.listener.accept_multi().packet(Block::<PerIo>::default()) {
            self.accept_failed(&refused.error);
        }
    }

    fn accept_failed(&mut self, error: &Error) {
        self.counts.errors += 1;
        if is_the_clients_fault(error) {
            return self.accept();
        }
        tell_of_shortage(error);
        self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
    }

    fn accepted(&mut self, stream: TcpStream) {
        self.counts.connections += 1;
        send_at_once(&stream);
        let key = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        match self.port.associate(stream, key) {
            Ok(stream) => {
                let conn = Conn { stream, receiving: None, unsent: 0, paused: false, ended: false, closing: false };
                self.conns[key] = Some(conn);
                self.receive(key, None);
            }
            Err(_) => {
                self.counts.errors += 1;
                self.free.push(key);
            }
        }
    }

    /// Receives on; `io` is the connection's block, if it has it back.
    fn receive(&mut self, key: usize, io: Option<Block<PerIo>>) {
        let (pool, buf) = (self.pool.clone(), self.buf);
        let conn = self.conn(key);
        if conn.closing || conn.ended || conn.receiving.is_some() {
            return;
        }
        let started = match &pool {
            Some(pool) => conn.stream.recv_multi(pool).packet(io.unwrap_or_default()),
            None => {
                let io = io.unwrap_or_else(|| Block::new(PerIo { buf: vec![0; buf].into(), ..PerIo::default() }));
                conn.stream.recv(within_mut(|io: &mut PerIo| &mut io.buf[..])).packet(io)
            }
        };
        match started {
            Ok(ticket) => conn.receiving = Some(ticket),
            Err(_) => self.fail(key),
        }
    }

    fn receive_ended(&mut self, key: usize, error: Option<Error>) {
        let conn = self.conn(key);
        conn.receiving = None;
        match error.map(|error| error.code()) {
            None => {
                conn.ended = true;
                self.go_on(key);
            }
            Some(_) if conn.closing => self.close(key),
            Some(Code::InsufficientResources) => {
                self.hungry.push(key);
                self.feed();
            }
            Some(Code::Cancelled) if conn.paused => self.go_on(key),
            Some(_) => self.fail(key),
        }
    }

    fn send(&mut self, key: usize, io: Block<PerIo>) {
        let conn = self.conn(key);
        if conn.closing {
            return;
        }
        conn.unsent += 1;
        if conn.stream.send(within(PerIo::message)).packet(io).is_err() {
            conn.unsent -= 1;
            return self.fail(key);
        }
        if let Some(ticket) = conn.receiving
            && conn.unsent >= MOST_UNSENT
            && !conn.paused
        {
            conn.paused = true;
            // Over already: then its last packet is on its way.
            let _ = conn.stream.cancel(ticket);
        }
    }

    fn sent(&mut self, key: usize, mut io: Block<PerIo>, bytes: usize, whole: bool) {
        let conn = self.conn(key);
        conn.unsent -= 1;
        if !whole {
            return self.fail(key);
        }
        self.counts.messages += 1;
        self.counts.bytes += bytes as u64;
        if io.lease.take().is_some() {
            self.spare.push(io);
            self.feed();
        } else {
            self.receive(key, Some(io));
        }
        self.go_on(key);
    }

    /// What waited for the sends: the end, or the next receive.
    fn go_on(&mut self, key: usize) {
        let conn = self.conn(key);
        if conn.closing {
            return self.close(key);
        }
        if conn.unsent > 0 || conn.receiving.is_some() {
            return;
        }
        if conn.ended {
            conn.closing = true;
            conn.unsent = 1;
            if conn.stream.shutdown(Shutdown::Write).packet(Block::<PerIo>::default()).is_err() {
                conn.unsent = 0;
                self.close(key);
            }
        } else if std::mem::take(&mut conn.paused) {
            self.receive(key, None);
        }
    }

    /// A buffer may have come back: somebody who waited for one receives on.
    fn feed(&mut self) {
        while let Some(key) = self.hungry.pop() {
            if self.conns[key].is_none() {
                continue;
            }
            self.receive(key, None);
            // One at a time, unless nobody else would return a buffer.
            if self.conns.iter().flatten().any(|conn| conn.unsent > 0) {
                return;
            }
        }
    }

    fn fail(&mut self, key: usize) {
        let conn = self.conn(key);
        if !std::mem::replace(&mut conn.closing, true) {
            if conn.receiving.is_some() || conn.unsent > 0 {
                // Nothing to cancel is as good as something cancelled.
                let _ = conn.stream.cancel_all();
            }
            self.counts.errors += 1;
        }
        self.close(key);
    }

    /// Closes a connection with nothing left under way.
    fn close(&mut self, key: usize) {
        let conn = self.conn(key);
        if conn.unsent == 0 && conn.receiving.is_none() {
            self.conns[key] = None;
            self.free.push(key);
            // A descriptor came free.
            if self.accept_at.take().is_some() {
                self.accept();
            }
        }
    }
}
