//! An operation described here may not be started there.
use proactor::{Block, Local, net::TcpStream, within_mut};

fn elsewhere(stream: &TcpStream<Local>) {
    let operation = stream.recv(within_mut(|buf: &mut Vec<u8>| &mut buf[..]));
    std::thread::scope(|scope| {
        scope.spawn(move || operation.packet(Block::new(vec![0; 16])).unwrap());
    });
}

fn main() {}
