//! What every family uses: ports, pairs of sockets, threads that can be waited for, and ends to every wait.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use proactor::net::TcpStream;
use proactor::{
    Block, Brings, Cargo, Code, Completion, CompletionPort, Concurrency, Key, Operation, Outcome, Overlapped, Packet, Project,
    Settings, Ticket, within_mut,
};

use crate::threads;

/// The end of every wait: a test that reaches it fails.
pub const LONG: Duration = Duration::from_secs(30);
/// How long to look for what must not happen.
pub const SHORT: Duration = Duration::from_millis(30);
/// Any free port of this machine's loopback.
pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Prints that a test cannot show its promise here, and leaves it.
macro_rules! skip {
    ($test:literal, $reason:literal) => {{
        println!("SKIP {}: {}", $test, $reason);
        return;
    }};
}

/// Whether these are Wine's answers, not Windows's. The script that runs Wine says so: Wine hides well otherwise.
pub fn wine() -> bool {
    cfg!(windows) && std::env::var_os("PROACTOR_WINE").is_some()
}

// ---- ports and packets ----

/// What travels with each operation of these tests.
#[derive(Debug)]
pub struct Io {
    pub buf: Vec<u8>,
    pub tag: usize,
}

pub type Port = CompletionPort<Io, usize>;

#[track_caller]
pub fn port(limit: u32) -> Arc<Port> {
    Arc::new(Port::new(Concurrency::Threads(limit)).expect("a port"))
}

/// A port whose workers keep their places while they run, whatever puts them to sleep for a moment (a sanitizer's runtime
/// does, for its own locks); and where what a wait inside the library does cannot be the block monitor's doing.
#[track_caller]
pub fn unwatched_port(limit: u32) -> Arc<Port> {
    Arc::new(Port::new(Settings::new(limit).block_monitor(false)).expect("a port"))
}

/// A block with a buffer of `size` zeros.
pub fn block(tag: usize, size: usize) -> Block<Io> {
    Block::new(Io { buf: vec![0; size], tag })
}

/// Starts a receive of up to `size` bytes as a packet.
#[track_caller]
pub fn receive(stream: &TcpStream, tag: usize, size: usize) -> Ticket {
    packet(stream.recv(within_mut(|io: &mut Io| &mut io.buf[..])), block(tag, size))
}

/// Starts an operation that must be accepted, as a packet.
#[track_caller]
pub fn packet<C: Project<B>, T, B: Send + 'static>(operation: Operation<'_, C, T>, block: Block<B>) -> Ticket {
    operation.packet(block).expect("the operation is accepted")
}

/// The next packet, of a success or a failure.
#[track_caller]
pub fn take<B: Send + 'static, K: Key>(port: &CompletionPort<B, K>) -> Packet<B, K> {
    let outcome = port.get(LONG).expect("an open port");
    let shown = format!("{outcome:?}");
    outcome.packet().unwrap_or_else(|| panic!("a packet was due, got {shown}"))
}

/// The next packet, which must be a success.
#[track_caller]
pub fn success<B: Send + 'static, K: Key>(port: &CompletionPort<B, K>) -> Packet<B, K> {
    match port.get(LONG).expect("an open port") {
        Outcome::Packet(packet) => packet,
        other => panic!("a success was due, got {other:?}"),
    }
}

/// The next packet, which must be a failure, and its code.
#[track_caller]
pub fn failure<B: Send + 'static, K: Key>(port: &CompletionPort<B, K>) -> (Packet<B, K>, Code) {
    match port.get(LONG).expect("an open port") {
        Outcome::Failed(packet) => {
            let code = packet.error().expect("a failed packet has its error").code();
            (packet, code)
        }
        other => panic!("a failure was due, got {other:?}"),
    }
}

/// No packet comes for a while.
#[track_caller]
pub fn nothing<B: Send + 'static, K: Key>(port: &CompletionPort<B, K>) {
    let outcome = port.get(SHORT).expect("an open port");
    assert!(matches!(outcome, Outcome::TimedOut), "nothing was due, got {outcome:?}");
}

// ---- overlapped ----

/// Starts an operation that must be accepted.
#[track_caller]
pub fn start<C: Cargo, T: Brings>(operation: Operation<'_, C, T>) -> Overlapped<C, T> {
    operation.start().unwrap_or_else(|refused| panic!("refused: {}", refused.error))
}

/// Waits for the result.
#[track_caller]
pub fn finish<C: Cargo, T: Brings>(overlapped: Overlapped<C, T>) -> Completion<T, C::Back> {
    overlapped.wait_timeout(LONG).unwrap_or_else(|refused| panic!("not complete after thirty seconds: {}", refused.error))
}

/// Starts an operation and waits for its result.
#[track_caller]
pub fn run<C: Cargo, T: Brings>(operation: Operation<'_, C, T>) -> Completion<T, C::Back> {
    finish(start(operation))
}

/// The code a completion failed with.
pub fn code<T, B>(completion: &Completion<T, B>) -> Option<Code> {
    completion.result.as_ref().err().map(proactor::Error::code)
}

// ---- sockets and files ----

/// A connected stream of the library that has no home yet, and its peer, the standard library's.
pub fn stream() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(ANY).expect("a listener");
    let peer = peer_of(listener.local_addr().expect("its address"));
    let (ours, _) = listener.accept().expect("a connection");
    ours.set_nodelay(true).expect("a socket option");
    (TcpStream::from(ours), peer)
}

/// A stream of the standard library's, connected, with an end to each of its calls.
pub fn peer_of(address: SocketAddr) -> std::net::TcpStream {
    let peer = std::net::TcpStream::connect(address).expect("a connection");
    peer.set_nodelay(true).expect("a socket option");
    peer.set_read_timeout(Some(LONG)).expect("a socket option");
    peer.set_write_timeout(Some(LONG)).expect("a socket option");
    peer
}

/// Ends a connection with a reset.
pub fn reset(peer: std::net::TcpStream) {
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("a socket option");
    drop(peer);
}

/// An address of the loopback where nobody listens, and the socket that keeps others from it.
pub fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&ANY.into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("its address");
    (socket, address)
}

/// Bytes that differ from their neighbours and from those of another seed.
pub fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 31) ^ (at >> 8) ^ (seed * 101)) as u8).collect()
}

/// A path for a file, removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("proactor-conformance-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

// ---- threads ----

/// Looks again and again until it holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "not within thirty seconds: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The same without ever sleeping, for a worker that must keep its place in the port.
#[track_caller]
pub fn spin_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "not within thirty seconds: {what}");
        thread::yield_now();
    }
}

/// Stays busy for a while, without sleeping.
pub fn spin_for(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        thread::yield_now();
    }
}

/// One thread tells others to go on.
#[derive(Clone, Default)]
pub struct Flag(Arc<AtomicBool>);

impl Flag {
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub fn wait(&self) {
        until("a flag", || self.is_set());
    }

    pub fn spin(&self) {
        spin_until("a flag", || self.is_set());
    }
}

/// A thread whose end is waited for with an end.
pub struct Worker<T> {
    result: mpsc::Receiver<T>,
    number: Arc<OnceLock<u32>>,
    handle: JoinHandle<()>,
}

pub fn worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Worker<T> {
    let (send, result) = mpsc::channel();
    let number = Arc::new(OnceLock::new());
    let own = number.clone();
    let handle = thread::spawn(move || {
        let _ = own.set(threads::own_number());
        let _ = send.send(work());
    });
    Worker { result, number, handle }
}

impl<T> Worker<T> {
    /// What the thread returned; the thread has ended then, its thread-local storage too.
    #[track_caller]
    pub fn join(self) -> T {
        match self.result.recv_timeout(LONG) {
            Ok(value) => {
                self.handle.join().expect("a thread that has its result ends well");
                value
            }
            Err(RecvTimeoutError::Timeout) => panic!("a worker did not end within thirty seconds"),
            Err(RecvTimeoutError::Disconnected) => panic!("a worker panicked"),
        }
    }

    /// What the thread returned, waited for without sleeping, for a worker that must keep its place in the port.
    #[track_caller]
    pub fn spin_join(self) -> T {
        let mut value = None;
        spin_until("a worker's end", || match self.result.try_recv() {
            Ok(result) => {
                value = Some(result);
                true
            }
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => panic!("a worker panicked"),
        });
        value.expect("spin_until returns when there is one")
    }

    /// Whether the thread is done.
    pub fn is_done(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits, without sleeping, until the thread waits in the library, with an end to its wait or in a port.
    #[track_caller]
    pub fn asleep(&self) {
        spin_until("a worker's beginning", || self.number.get().is_some());
        let number = *self.number.get().expect("it is there");
        if threads::waits(number).is_none() {
            // Nothing to see: some time must do.
            spin_for(Duration::from_millis(50));
            return;
        }
        spin_until("a worker's wait", || threads::waits(number) == Some(true));
    }
}
