//! What every family uses: ports, pairs of sockets, threads that can be waited for, and ends to every wait.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use proactor::net::TcpStream;
use proactor::{
    Block, Brings, Cargo, Carries, Code, Completion, Home, Key, Operation, Outcome, Overlapped, Packet, Project, Ticket,
    within_mut,
};

use crate::threads;

pub use crate::home::*;

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

/// A block with a buffer of `size` zeros.
pub fn block(tag: usize, size: usize) -> Block<Io> {
    Block::new(Io { buf: vec![0; size], tag })
}

/// Starts a receive of up to `size` bytes as a packet.
#[track_caller]
pub fn receive<H: Home + Carries<Io>>(stream: &TcpStream<H>, tag: usize, size: usize) -> Ticket {
    packet(stream.recv(within_mut(|io: &mut Io| &mut io.buf[..])), block(tag, size))
}

/// Starts an operation that must be accepted, as a packet.
#[track_caller]
pub fn packet<C: Project<B>, T, B: 'static, H: Home + Carries<B>>(operation: Operation<'_, C, T, H>, block: Block<B>) -> Ticket {
    operation.packet(block).expect("the operation is accepted")
}

/// The next packet, of a success or a failure.
#[track_caller]
pub fn take<B: Send + 'static, K: Key>(port: &PortOf<B, K>) -> Packet<B, K> {
    let outcome = port.get(LONG).expect("an open port");
    let shown = format!("{outcome:?}");
    outcome.packet().unwrap_or_else(|| panic!("a packet was due, got {shown}"))
}

/// The next packet, which must be a success.
#[track_caller]
pub fn success<B: Send + 'static, K: Key>(port: &PortOf<B, K>) -> Packet<B, K> {
    match port.get(LONG).expect("an open port") {
        Outcome::Packet(packet) => packet,
        other => panic!("a success was due, got {other:?}"),
    }
}

/// The next packet, which must be a failure, and its code.
#[track_caller]
pub fn failure<B: Send + 'static, K: Key>(port: &PortOf<B, K>) -> (Packet<B, K>, Code) {
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
pub fn nothing<B: Send + 'static, K: Key>(port: &PortOf<B, K>) {
    let outcome = port.get(SHORT).expect("an open port");
    assert!(matches!(outcome, Outcome::TimedOut), "nothing was due, got {outcome:?}");
}

// ---- overlapped ----

/// Starts an operation that must be accepted.
#[track_caller]
pub fn start<C: Cargo, T: Brings, H: Home>(operation: Operation<'_, C, T, H>) -> Overlapped<C, T, H> {
    operation.start().unwrap_or_else(|refused| panic!("refused: {}", refused.error))
}

/// Waits for the result.
#[track_caller]
pub fn finish<C: Cargo, T: Brings, H: Home>(overlapped: Overlapped<C, T, H>) -> Completion<T, C::Back> {
    overlapped.wait_timeout(LONG).unwrap_or_else(|refused| panic!("not complete after thirty seconds: {}", refused.error))
}

/// Starts an operation and waits for its result.
#[track_caller]
pub fn run<C: Cargo, T: Brings, H: Home>(operation: Operation<'_, C, T, H>) -> Completion<T, C::Back> {
    finish(start(operation))
}

/// An operation that is not over after a while.
#[track_caller]
pub fn pending<C: Cargo, T: Brings, H: Home>(overlapped: Overlapped<C, T, H>) -> Overlapped<C, T, H> {
    match overlapped.wait_timeout(SHORT) {
        Ok(_) => panic!("it was not to be over"),
        Err(refused) => refused.back,
    }
}

/// The code a completion failed with.
pub fn code<T, B>(completion: &Completion<T, B>) -> Option<Code> {
    completion.result.as_ref().err().map(proactor::Error::code)
}

// ---- sockets and files ----

/// A connected stream of the library, for overlapped operations, and its peer, the standard library's.
pub fn stream() -> (AtHome<TcpStream>, std::net::TcpStream) {
    let (ours, peer) = homeless();
    (somewhere(ours), peer)
}

/// The same without a home.
pub fn homeless() -> (TcpStream, std::net::TcpStream) {
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

/// Reads all that comes, to the end, on a thread of its own.
pub fn reader(mut peer: std::net::TcpStream) -> Worker<Vec<u8>> {
    worker(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("an orderly end");
        all
    })
}

/// Reads so many bytes, on a thread of its own, and gives the connection back.
pub fn reader_of(bytes: usize, mut peer: std::net::TcpStream) -> Worker<std::net::TcpStream> {
    worker(move || {
        peer.read_exact(&mut vec![0; bytes]).expect("so many bytes");
        peer
    })
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
        turn();
    }
}

/// The same, while operations of this port's objects go on.
#[track_caller]
pub fn until_on<B: Send + 'static>(port: &PortOf<B, usize>, what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "not within thirty seconds: {what}");
        turn_on(port);
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
