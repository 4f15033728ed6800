//! Ten thousand connections at once, the clients in a process of their own (descriptors count per process).

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use proactor::net::{TcpListener, TcpStream};
use proactor::{Block, BufferPool, CompletionPort, Outcome, PoolBuf, Value, within, within_mut};

const CONNECTIONS: usize = 10_000;
const CLIENT: &str = "PROACTOR_TEN_THOUSAND";

enum Io {
    Accepting,
    /// No buffer while idle.
    Waiting(TcpStream),
    Receiving(TcpStream, PoolBuf),
    Sending(TcpStream, PoolBuf),
}

impl Io {
    fn buf(&mut self) -> &mut [u8] {
        match self {
            Io::Receiving(_, buf) | Io::Sending(_, buf) => buf.whole(),
            Io::Accepting | Io::Waiting(_) => &mut [],
        }
    }
}

/// Raises the soft limit to the hard one; whether that is enough.
fn room() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a writable, then readable limit.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_max > CONNECTIONS as u64 + 200
}

/// Ten thousand connections, each with one message out and back, while all others stay open.
#[test]
fn ten_thousand_clients() {
    let Ok(addr) = std::env::var(CLIENT) else { return };
    assert!(room());
    let mut clients: Vec<_> =
        (0..CONNECTIONS).map(|n| StdStream::connect(&addr).unwrap_or_else(|error| panic!("connection {n}: {error}"))).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(&(n as u64).to_le_bytes()).unwrap();
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut back = [0; 8];
        client.read_exact(&mut back).unwrap();
        assert_eq!(u64::from_le_bytes(back), n as u64);
    }
}

#[test]
fn ten_thousand_connections_are_served_with_a_pool_of_sixteen_buffers() {
    if std::env::var(CLIENT).is_ok() {
        return;
    }
    if !room() {
        println!("SKIP ten_thousand_connections: the limit of open files is under {CONNECTIONS}");
        return;
    }
    let port = CompletionPort::<Io, usize>::new(1).unwrap();
    let pool = BufferPool::new(16, 64);
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    port.associate(&listener, 0).unwrap();
    listener.accept().packet(Block::new(Io::Accepting)).unwrap();
    let mut client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ten_thousand::ten_thousand_clients", "--nocapture"])
        .env(CLIENT, listener.local_addr().unwrap().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();

    let (mut open, mut most, mut echoed) = (0, 0, 0);
    let mut readable = std::collections::VecDeque::new();
    while open > 0 || echoed < CONNECTIONS {
        let packet = match port.get(Duration::from_secs(60)).unwrap() {
            Outcome::Packet(packet) | Outcome::Failed(packet) => packet,
            other => panic!("{other:?} with {open} open and {echoed} echoed"),
        };
        let mut block = packet.block.unwrap();
        match std::mem::replace(&mut *block, Io::Accepting) {
            Io::Accepting => {
                let Value::Tcp(accepted) = packet.done.result.unwrap() else { panic!("not a connection") };
                port.associate(&accepted.stream, 1).unwrap();
                open += 1;
                most = most.max(open);
                let stream = accepted.stream.clone();
                stream.readable().packet(Block::new(Io::Waiting(accepted.stream))).unwrap();
                listener.accept().packet(block).unwrap();
            }
            Io::Waiting(stream) => {
                *block = Io::Waiting(stream);
                readable.push_back(block);
            }
            Io::Receiving(stream, buf) if packet.done.bytes > 0 => {
                let (handle, bytes) = (stream.clone(), packet.done.bytes);
                *block = Io::Sending(stream, buf);
                handle.send(within(move |io: &mut Io| &io.buf()[..bytes])).packet(block).unwrap();
            }
            Io::Receiving(..) => open -= 1,
            Io::Sending(stream, buf) => {
                echoed += 1;
                drop(buf);
                let handle = stream.clone();
                *block = Io::Waiting(stream);
                handle.readable().packet(block).unwrap();
            }
        }
        // As many receives as there are buffers; the others wait their turn without one.
        while let Some(mut block) = readable.pop_front() {
            match (std::mem::replace(&mut *block, Io::Accepting), pool.take()) {
                (Io::Waiting(stream), Ok(buf)) => {
                    let handle = stream.clone();
                    *block = Io::Receiving(stream, buf);
                    handle.recv(within_mut(Io::buf)).packet(block).unwrap();
                }
                (waiting, _) => {
                    *block = waiting;
                    readable.push_front(block);
                    break;
                }
            }
        }
    }
    assert_eq!(pool.available(), 16, "idle connections pin no buffer");
    assert!(client.wait().unwrap().success());
    assert_eq!(most, CONNECTIONS);
}
