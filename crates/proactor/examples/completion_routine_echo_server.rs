//! The echo server with completion routines: one thread, whose routines run whenever it sleeps alertably.
//!
//!     cargo run --release --example completion_routine_echo_server -- 127.0.0.1:7000
//!
//! Try it with the example `echo_client`. Nothing here is shared between threads, so nothing needs a lock: the routines
//! run on the thread that started their operations, and only while it waits.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use proactor::net::{TcpListener, TcpStream};
use proactor::sync::alertable;

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    open: Rc<Cell<usize>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
        println!("{} disconnected, {} open", self.peer, self.open.get());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let listener = Rc::new(TcpListener::bind(address)?);
    println!("listening on {}", listener.local_addr()?);

    accept(listener, Rc::new(Cell::new(0)));
    loop {
        // SleepEx(INFINITE, TRUE): returns after routines have run.
        alertable::sleep(None)?;
    }
}

/// Takes the next connection, and the one after it when this has come.
fn accept(listener: Rc<TcpListener>, open: Rc<Cell<usize>>) {
    let again = listener.clone();
    let started = listener.accept().routine(move |accepted| {
        match accepted.result {
            Ok(accepted) => {
                open.set(open.get() + 1);
                if let Ok(peer) = accepted.stream.peer_addr() {
                    println!("{peer} connected, {} open", open.get());
                    receive(Rc::new(Connection { stream: accepted.stream, peer, open: open.clone() }), Vec::with_capacity(4096));
                }
            }
            Err(error) => eprintln!("accept: {error}"),
        }
        accept(again, open);
    });
    if let Err(refused) = started {
        eprintln!("no more connections: {}", refused.error);
    }
}

/// WSARecv with a completion routine, which sends what came. The buffer comes back with its length set to that.
fn receive(connection: Rc<Connection>, buffer: Vec<u8>) {
    let own = connection.clone();
    let started = connection.stream.recv(buffer).routine(move |received| match received.result {
        Ok(()) if received.bytes > 0 => send(own, received.buffer),
        Ok(()) => {}
        Err(error) => eprintln!("{}: {error}", own.peer),
    });
    if let Err(refused) = started {
        eprintln!("{}: {}", connection.peer, refused.error);
    }
}

/// WSASend with a completion routine, which receives again into the same buffer.
fn send(connection: Rc<Connection>, message: Vec<u8>) {
    let own = connection.clone();
    let started = connection.stream.send(message).routine(move |sent| match sent.result {
        Ok(()) => receive(own, sent.buffer),
        Err(error) => eprintln!("{}: {error}", own.peer),
    });
    if let Err(refused) = started {
        eprintln!("{}: {}", connection.peer, refused.error);
    }
}
