//! The echo server on a context with several threads: each connection has a strand, on which its handlers run one at a time, so
//! that what they share needs no lock. A connection receives while it sends: what came meanwhile goes out together.
//!
//!     cargo run --release --example strand_echo_server -- 127.0.0.1:7000
//!
//! Try it with the example `echo_client`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use proactor::context::{IoContext, IoExecutor, Strand, StrandCell};
use proactor::net::{TcpListener, TcpStream};

/// Bytes that wait to be sent before the connection reads on.
const MOST: usize = 1 << 20;

struct Connection {
    stream: TcpStream,
    strand: Strand<IoExecutor>,
    state: StrandCell<State, IoExecutor>,
}

/// What the handlers of a connection share.
#[derive(Default)]
struct State {
    /// What came while a send was under way.
    waiting: Vec<u8>,
    sending: bool,
    /// A receive is not started because too much waits.
    paused: Option<Vec<u8>>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let context = IoContext::new(0)?;
    let listener = TcpListener::bind(address)?;
    context.associate(&listener)?;
    println!("listening on {}", listener.local_addr()?);
    accept(Arc::new(listener), context.executor());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |count| count.get()) {
            scope.spawn(|| context.run());
        }
    });
    Ok(())
}

fn accept(listener: Arc<TcpListener>, executor: IoExecutor) {
    let again = listener.clone();
    let started = listener.accept().then(move |accepted| {
        if let Ok(accepted) = accepted.result
            && executor.associate(&accepted.stream).is_ok()
        {
            let strand = Strand::new(executor.clone());
            let state = strand.cell(State::default());
            Arc::new(Connection { stream: accepted.stream, strand, state }).receive(vec![0; 4096]);
        }
        accept(again, executor);
    });
    if let Err(refused) = started {
        eprintln!("no more connections: {}", refused.error);
    }
}

impl Connection {
    /// The connection lives as long as a handler of it is under way: a refused operation ends it.
    fn receive(self: Arc<Connection>, buffer: Vec<u8>) {
        let own = self.clone();
        let _ = self.stream.recv(buffer).on(&self.strand).then(move |done| {
            if done.result.is_err() || done.bytes == 0 {
                return;
            }
            let (send, go_on) = own.state.with(|state| {
                state.waiting.extend_from_slice(&done.buffer[..done.bytes]);
                let go_on = if state.waiting.len() < MOST { Some(done.buffer) } else { state.paused.replace(done.buffer) };
                (!std::mem::replace(&mut state.sending, true), go_on)
            });
            if send {
                own.clone().send();
            }
            if let Some(buffer) = go_on {
                own.receive(buffer);
            }
        });
    }

    fn send(self: Arc<Connection>) {
        let bytes = self.state.with(|state| std::mem::take(&mut state.waiting));
        let own = self.clone();
        let _ = self.stream.send(bytes).on(&self.strand).then(move |done| {
            if done.result.is_err() {
                return;
            }
            let (more, paused) = own.state.with(|state| {
                state.sending = !state.waiting.is_empty();
                (state.sending, state.paused.take())
            });
            if let Some(buffer) = paused {
                own.clone().receive(buffer);
            }
            if more {
                own.send();
            }
        });
    }
}
