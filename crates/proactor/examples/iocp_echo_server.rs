//! The echo server on a completion port: one port, several workers, per-handle data as the completion key and per-I/O data
//! as the block that travels with each operation.
//!
//!     cargo run --release --example iocp_echo_server -- 127.0.0.1:7000
//!
//! Try it with the example `echo_client`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use proactor::net::{TcpListener, TcpStream};
use proactor::{Block, CompletionPort, Concurrency, Error, Outcome, Packet, within, within_mut};

/// PER_HANDLE_DATA: what belongs to a connection; its packets come with it.
struct PerHandle {
    peer: SocketAddr,
}

/// PER_IO_DATA: what belongs to one operation. The OVERLAPPED that C programs put first is the library's, around this.
struct PerIo {
    stream: TcpStream,
    mode: Mode,
    buffer: Vec<u8>,
    /// How much of the buffer came in, and goes back out.
    filled: usize,
}

enum Mode {
    Read,
    Write,
}

type Port = CompletionPort<PerIo, Arc<PerHandle>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0").parse()?;

    // CreateIoCompletionPort(INVALID_HANDLE_VALUE, …), and as many workers as there are processors.
    let port = Arc::new(Port::new(Concurrency::Cores)?);
    for _ in 0..thread::available_parallelism()?.get() {
        let port = port.clone();
        thread::spawn(move || work(&port));
    }

    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let accepted = listener.accept().start()?.wait().result?;
        let peer = accepted.stream.peer_addr()?;
        println!("{peer} connected");
        // CreateIoCompletionPort(client, port, key, …), and the first receive.
        port.associate(&accepted.stream, Arc::new(PerHandle { peer }))?;
        let io = Block::new(PerIo { stream: accepted.stream, mode: Mode::Read, buffer: vec![0; 4096], filled: 0 });
        if let Err(refused) = receive(io) {
            eprintln!("{peer}: {refused}");
        }
    }
}

/// A worker: GetQueuedCompletionStatus for ever.
fn work(port: &Port) {
    while let Ok(outcome) = port.get(None) {
        match outcome {
            Outcome::Packet(packet) => {
                let peer = packet.key.peer;
                if let Err(error) = go_on(packet) {
                    eprintln!("{peer}: {error}");
                }
            }
            // The operation failed: the block is dropped here, the connection in it closed.
            Outcome::Failed(packet) => eprintln!("{}: {:?}", packet.key.peer, packet.error()),
            Outcome::TimedOut | Outcome::Apc => {}
            Outcome::Abandoned => return,
        }
    }
}

/// What comes after an operation that succeeded. One operation of a connection is in flight at a time, so the messages
/// stay in order, whichever worker has them.
fn go_on(packet: Packet<PerIo, Arc<PerHandle>>) -> Result<(), Error> {
    let Some(mut io) = packet.block else { return Ok(()) };
    match io.mode {
        Mode::Read if packet.done.bytes == 0 => {
            println!("{} disconnected", packet.key.peer);
            Ok(())
        }
        Mode::Read => {
            io.filled = packet.done.bytes;
            io.mode = Mode::Write;
            // WSASend of what came, from the same buffer.
            io.packet(|io| io.stream.send(within(|io: &mut PerIo| &io.buffer[..io.filled])))?;
            Ok(())
        }
        Mode::Write => {
            io.mode = Mode::Read;
            receive(io)
        }
    }
}

fn receive(io: Block<PerIo>) -> Result<(), Error> {
    io.packet(|io| io.stream.recv(within_mut(|io: &mut PerIo| &mut io.buffer[..])))?;
    Ok(())
}
