//! What a server must do, asked with the standard library's blocking sockets. Every wait ends: reads and writes time
//! out, and each check has a deadline of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::pattern;

const ONE_WAIT: Duration = Duration::from_secs(5);
const ONE_CHECK: Duration = Duration::from_secs(20);

/// Threads of ping-pong, and how often each goes there and back.
const SMALL_CONNS: usize = 4;
const SMALL_ROUNDS: usize = 2_000;
const SMALL_BYTES: usize = 64;

const LARGE_BYTES: usize = 8 << 20;

/// The overlapped model has a thread for each; under Wine those are costly.
const MANY_CONNS: usize = if cfg!(windows) { 64 } else { 200 };
const MANY_ROUNDS: usize = 10;
const MANY_BYTES: usize = 1024;

/// Fits the buffers between the two ends, so that a client may write it all before it reads.
const HALF_BYTES: usize = 48 << 10;

const RESETS: usize = 50;

/// A client with a number, a place in its stream for each direction, and a deadline.
struct Client {
    stream: TcpStream,
    number: usize,
    sent: u64,
    received: u64,
    end: Instant,
}

impl Client {
    fn connect(addr: SocketAddr, number: usize, end: Instant) -> Result<Client, String> {
        let stream = TcpStream::connect_timeout(&addr, ONE_WAIT).map_err(told("connect"))?;
        stream.set_read_timeout(Some(ONE_WAIT)).map_err(told("set_read_timeout"))?;
        stream.set_write_timeout(Some(ONE_WAIT)).map_err(told("set_write_timeout"))?;
        stream.set_nodelay(true).map_err(told("set_nodelay"))?;
        Ok(Client { stream, number, sent: 0, received: 0, end })
    }

    fn twin(&self) -> Result<Client, String> {
        let stream = self.stream.try_clone().map_err(told("clone"))?;
        Ok(Client { stream, ..*self })
    }

    fn in_time(&self) -> Result<(), String> {
        if Instant::now() < self.end { Ok(()) } else { Err(format!("not done in {} s", ONE_CHECK.as_secs())) }
    }

    /// Writes the next `bytes` bytes of its stream.
    fn write(&mut self, bytes: usize) -> Result<(), String> {
        let mut left = bytes;
        while left > 0 {
            self.in_time()?;
            let piece = pattern::piece(self.number, self.sent, left.min(64 << 10));
            let n = self.stream.write(piece).map_err(told("write"))?;
            self.sent += n as u64;
            left -= n;
        }
        Ok(())
    }

    /// Reads `bytes` bytes, which must be the next of its stream.
    fn read(&mut self, bytes: usize) -> Result<(), String> {
        let mut buffer = [0; 16 << 10];
        let mut left = bytes;
        while left > 0 {
            self.in_time()?;
            let room = left.min(buffer.len());
            let n = self.stream.read(&mut buffer[..room]).map_err(told("read"))?;
            if n == 0 {
                return Err(format!("the stream ended {left} bytes early"));
            }
            match pattern::wrong(self.number, self.received, &buffer[..n]) {
                0 => self.received += n as u64,
                wrong => return Err(format!("{wrong} wrong bytes after {}", self.received)),
            }
            left -= n;
        }
        Ok(())
    }

    fn shut_down(&self) -> Result<(), String> {
        self.stream.shutdown(Shutdown::Write).map_err(told("shutdown"))
    }

    /// The stream must end here.
    fn read_end(&mut self) -> Result<(), String> {
        match self.stream.read(&mut [0; 1]).map_err(told("read at the end"))? {
            0 => Ok(()),
            _ => Err("more came back than was sent".to_owned()),
        }
    }
}

fn told(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

fn end_of_check() -> Instant {
    Instant::now() + ONE_CHECK
}

/// Runs `clients` threads, and gives the first fault.
fn threads(clients: impl IntoIterator<Item = impl FnOnce() -> Result<(), String> + Send>) -> Result<(), String> {
    std::thread::scope(|scope| {
        let running: Vec<_> = clients.into_iter().map(|client| scope.spawn(client)).collect();
        let ended = running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a client panicked".to_owned())));
        ended.fold(Ok(()), Result::and)
    })
}

/// Small messages there and back, several connections at once.
pub fn small(addr: SocketAddr) -> Result<(), String> {
    let end = end_of_check();
    threads((0..SMALL_CONNS).map(|n| {
        move || {
            let mut client = Client::connect(addr, n, end)?;
            for _ in 0..SMALL_ROUNDS {
                client.write(SMALL_BYTES)?;
                client.read(SMALL_BYTES)?;
            }
            client.shut_down()?;
            client.read_end()
        }
    }))
}

/// Several MiB through one connection, written and read at the same time.
pub fn large(addr: SocketAddr) -> Result<(), String> {
    let mut reader = Client::connect(addr, 1, end_of_check())?;
    let mut writer = reader.twin()?;
    let write = move || {
        writer.write(LARGE_BYTES)?;
        writer.shut_down()
    };
    let read = move || {
        reader.read(LARGE_BYTES)?;
        reader.read_end()
    };
    threads([Box::new(write) as Box<dyn FnOnce() -> Result<(), String> + Send>, Box::new(read)])
}

/// Many connections open at once, all of them with a message under way in every round.
pub fn many(addr: SocketAddr) -> Result<(), String> {
    let end = end_of_check();
    let mut clients = (0..MANY_CONNS).map(|n| Client::connect(addr, n, end)).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..MANY_ROUNDS {
        clients.iter_mut().try_for_each(|client| client.write(MANY_BYTES))?;
        clients.iter_mut().try_for_each(|client| client.read(MANY_BYTES))?;
    }
    clients.iter().try_for_each(Client::shut_down)?;
    clients.iter_mut().try_for_each(Client::read_end)
}

/// A client that closes its sending half gets everything all the same, and then the end; with nothing sent, with
/// everything sent before anything is read, and while much is under way.
pub fn half_close(addr: SocketAddr) -> Result<(), String> {
    let end = end_of_check();
    for bytes in [0, 1, HALF_BYTES] {
        let mut client = Client::connect(addr, bytes, end)?;
        client.write(bytes)?;
        client.shut_down()?;
        client.read(bytes).and_then(|()| client.read_end()).map_err(|why| format!("with {bytes} bytes sent: {why}"))?;
    }
    Ok(())
}

/// Clients that reset their connections in mid-stream; those beside them and after them must not notice.
pub fn reset(addr: SocketAddr) -> Result<(), String> {
    let end = end_of_check();
    let mut beside = Client::connect(addr, 0, end)?;
    for n in 1..=RESETS {
        let mut client = Client::connect(addr, n, end)?;
        client.write(HALF_BYTES)?;
        if n % 2 == 0 {
            client.read(HALF_BYTES / 2)?;
        }
        // A linger of no time makes the close a reset.
        socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).map_err(told("set_linger"))?;
        drop(client);
        beside.write(SMALL_BYTES)?;
        beside.read(SMALL_BYTES)?;
    }
    let mut after = Client::connect(addr, RESETS + 1, end)?;
    for client in [&mut beside, &mut after] {
        client.write(SMALL_BYTES)?;
        client.read(SMALL_BYTES)?;
        client.shut_down()?;
        client.read_end()?;
    }
    Ok(())
}
