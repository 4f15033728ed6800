//! The models of a thread for each connection: blocking, and overlapped with waits. How one connection is served is
//! theirs; who accepts, and how all of it stops, is here.
//!
//! Threads wait in accept themselves. Whoever takes a connection sees to it that enough others still wait, up to
//! [`MOST_THREADS`]; clients past that wait in the backlog until a thread comes back.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use proactor::Error;
use proactor::net::{TcpListener, TcpStream};

use super::{ACCEPT_PAUSE, Counts, STOP_LIMIT, is_the_clients_fault, tell_of_shortage};
use crate::args::EchoArgs;
use crate::failure::Failure;
use crate::socket::send_at_once;

/// The most connections served at once.
const MOST_THREADS: usize = 512;

/// What a thread is doing, for whoever stops it.
enum Place {
    Free,
    Accepting,
    Serving(TcpStream),
}

struct State {
    places: Vec<Place>,
    accepting: usize,
    stopping: bool,
    counts: Counts,
}

/// Serves one connection: gives back what comes until the client closes its half, then closes ours.
pub type Serve = fn(&TcpStream, usize, &mut Counts) -> Result<(), Error>;

struct Shared {
    serve: Serve,
    listener: TcpListener,
    buf: usize,
    /// How many threads should wait for connections.
    ready: usize,
    state: Mutex<State>,
    ended: Condvar,
}

/// The running server.
pub struct Server(Arc<Shared>);

/// Starts the first threads.
pub fn start(serve: Serve, listener: TcpListener, args: &EchoArgs) -> Result<Server, Failure> {
    let state = State {
        places: (0..MOST_THREADS).map(|_| Place::Free).collect(),
        accepting: 0,
        stopping: false,
        counts: Counts::default(),
    };
    let shared = Arc::new(Shared {
        serve,
        listener,
        buf: args.buf as usize,
        ready: args.threads().min(MOST_THREADS),
        state: Mutex::new(state),
        ended: Condvar::new(),
    });
    let mut state = shared.state();
    while state.accepting < shared.ready {
        shared.hire(&mut state)?;
    }
    drop(state);
    Ok(Server(shared))
}

impl super::Server for Server {
    fn stop(self: Box<Self>) -> (Counts, bool) {
        let Server(shared) = *self;
        let deadline = Instant::now() + STOP_LIMIT;
        let mut state = shared.state();
        state.stopping = true;
        // Again and again, because an operation may have been started just after it was cancelled for.
        loop {
            // Nothing to cancel is as good as something cancelled.
            let _ = shared.listener.cancel_all();
            let mut all_ended = true;
            for place in &state.places {
                match place {
                    Place::Free => continue,
                    Place::Accepting => {}
                    Place::Serving(stream) => drop(stream.cancel_all()),
                }
                all_ended = false;
            }
            if all_ended || Instant::now() >= deadline {
                return (state.counts, all_ended);
            }
            state = match shared.ended.wait_timeout(state, Duration::from_millis(5)) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is done under the lock that could leave the state half changed.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Starts one more thread that accepts, if there is room for one.
    fn hire(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let Some(n) = state.places.iter().position(|place| matches!(place, Place::Free)) else { return Ok(()) };
        let shared = self.clone();
        std::thread::Builder::new().name(format!("connection {n}")).spawn(move || shared.thread(n))?;
        state.places[n] = Place::Accepting;
        state.accepting += 1;
        Ok(())
    }

    fn thread(self: Arc<Self>, n: usize) {
        while let Some(stream) = self.next_connection(n) {
            let mut counts = Counts { connections: 1, ..Counts::default() };
            send_at_once(&stream);
            let served = (self.serve)(&stream, self.buf, &mut counts);
            let mut state = self.state();
            counts.errors += u64::from(served.is_err() && !state.stopping);
            state.counts += counts;
            // Closes the connection, with the local handle.
            state.places[n] = Place::Accepting;
            drop(stream);
            state.accepting += 1;
        }
        let mut state = self.state();
        state.places[n] = Place::Free;
        state.accepting -= 1;
        self.ended.notify_all();
    }

    /// The next connection of thread number `n`; none if the server stops or enough others wait.
    fn next_connection(self: &Arc<Self>, n: usize) -> Option<TcpStream> {
        loop {
            {
                let state = self.state();
                if state.stopping || state.accepting > self.ready {
                    return None;
                }
            }
            let accepted = match self.listener.accept().start() {
                Ok(accept) => accept.wait().result,
                Err(refused) => Err(refused.error),
            };
            let mut state = self.state();
            match accepted {
                _ if state.stopping => return None,
                Ok(accepted) => {
                    state.accepting -= 1;
                    state.places[n] = Place::Serving(accepted.stream.clone());
                    if state.accepting < self.ready && self.hire(&mut state).is_err() {
                        // No thread to be had: this one accepts again when it is done.
                        state.counts.errors += 1;
                    }
                    return Some(accepted.stream);
                }
                Err(error) => {
                    state.counts.errors += 1;
                    drop(state);
                    if !is_the_clients_fault(&error) {
                        tell_of_shortage(&error);
                        std::thread::sleep(ACCEPT_PAUSE);
                    }
                }
            }
        }
    }
}
