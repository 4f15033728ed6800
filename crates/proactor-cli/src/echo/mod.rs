//! The echo server: what the models share. A model starts its threads on a listener, and stops them.

mod blocking;
mod callbacks;
mod handlers;
mod local;
mod overlapped;
mod pool;
mod port;
mod routines;
mod tally;
mod tasks;
mod threads;

use std::fmt;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};

use proactor::net::TcpListener;
use proactor::{Code, Error};

use crate::args::{EchoArgs, Model, Sharing};
use crate::failure::Failure;
use crate::socket::{self, resolve};

/// How long a failed accept pauses: long enough not to spin while no descriptor is free, short enough for the clients
/// that wait in the backlog.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long stopping may take before the threads are left to the end of the process.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What was served. Each thread counts for itself.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    connections: u64,
    /// Receives that were sent back whole.
    messages: u64,
    bytes: u64,
    /// Connections that ended with an error, and accepts that failed.
    errors: u64,
}

impl Counts {
    /// A receive was sent back whole.
    fn message(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.connections += more.connections;
        self.messages += more.messages;
        self.bytes += more.bytes;
        self.errors += more.errors;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { connections, messages, bytes, errors } = self;
        write!(f, "served {connections} connections, {messages} messages, {bytes} bytes, {errors} errors")
    }
}

/// A running server.
trait Server {
    /// Drops all connections and ends the threads; what they served, and whether all of them ended in time.
    fn stop(self: Box<Self>) -> (Counts, bool);
}

/// `proactor echo`.
pub fn run(args: &EchoArgs) -> Result<(), Failure> {
    args.check()?;
    args.backend.choose()?;
    let listener = bind(args)?;
    let addr = listener.local_addr()?;

    // Before the line that says the server is ready: whoever reads it may send the signal at once.
    let (stop, stopped) = mpsc::channel();
    let on_signal = stop.clone();
    // After the first there is nobody to tell.
    let on_signal = move || on_signal.send(()).unwrap_or(());
    ctrlc::set_handler(on_signal).map_err(|error| Failure::Wrong(error.to_string()))?;
    if args.stop_on_eof {
        std::thread::spawn(move || {
            while matches!(std::io::stdin().read(&mut [0; 64]), Ok(1..)) {}
            stop.send(()).unwrap_or(());
        });
    }

    let server: Box<dyn Server> = match args.model {
        Model::Port if args.sharing == Sharing::PerThread => Box::new(local::start(one_each(listener, addr, args)?, args)?),
        Model::Port => Box::new(port::start(listener, args)?),
        Model::Blocking => Box::new(threads::start(blocking::serve, listener, args)?),
        Model::Overlapped => Box::new(threads::start(overlapped::serve, listener, args)?),
        Model::Routine => Box::new(routines::start(listener, args)?),
        Model::Pool => Box::new(pool::start(listener, args)?),
        Model::Handler => Box::new(handlers::start(listener, args)?),
        Model::Async => Box::new(tasks::start(one_each(listener, addr, args)?, args)?),
    };
    say(&format!("listening on {addr}"));
    // An error means that the signal handler is gone, which it never is; then there is no reason to serve on either.
    let _ = stopped.recv();
    let (counts, all_ended) = server.stop();
    say(&counts.to_string());
    if all_ended { Ok(()) } else { Err(Failure::Wrong("not every thread ended within five seconds".to_owned())) }
}

/// A listener for each thread, where each has its own.
fn one_each(listener: TcpListener, addr: SocketAddr, args: &EchoArgs) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = vec![listener];
    if args.sharing == Sharing::PerThread {
        for _ in 1..args.threads() {
            listeners.push(socket::listen_together(addr)?);
        }
    }
    Ok(listeners)
}

/// Waits until each of so many threads has said that it ends; whether all did in time.
fn all_end(ended: &mpsc::Receiver<()>, threads: usize, deadline: Instant) -> bool {
    (0..threads).all(|_| ended.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok())
}

/// Prints a line at once, also into a pipe. A reader that has gone is no reason to stop serving.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Listens on the first of the host's addresses that can be had.
fn bind(args: &EchoArgs) -> Result<TcpListener, Failure> {
    let mut refusal = None;
    for addr in resolve((args.host.as_str(), args.port), &args.host)? {
        match bind_one(addr, args.sharing) {
            Ok(listener) => return Ok(listener),
            Err(error) => refusal = refusal.or(Some((addr, error))),
        }
    }
    Err(match refusal {
        Some((addr, error)) => Failure::Usage(format!("cannot listen on {addr}: {error}")),
        None => Failure::Usage(format!("cannot listen on '{}': it has no address", args.host)),
    })
}

fn bind_one(addr: SocketAddr, sharing: Sharing) -> std::io::Result<TcpListener> {
    // Also where listeners share the address: one that shares with nobody is refused an address somebody else has.
    let alone = TcpListener::bind(addr)?;
    if sharing == Sharing::Shared {
        return Ok(alone);
    }
    let addr = alone.local_addr()?;
    drop(alone);
    socket::listen_together(addr)
}

/// Whether a failed accept is the client's doing, and the next may be tried at once. Anything else is a shortage here,
/// which trying at once would only turn into a spin.
fn is_the_clients_fault(error: &Error) -> bool {
    matches!(error.code(), Code::ConnectionAborted | Code::ConnectionReset | Code::IoTimeout | Code::HostUnreachable)
}

/// Says, once, why new connections have to wait.
fn tell_of_shortage(error: &Error) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| eprintln!("proactor: {error}; new connections wait until then"));
}
