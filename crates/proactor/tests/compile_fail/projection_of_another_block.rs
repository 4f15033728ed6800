//! The projection's block is the packet's.
use proactor::{Block, within_mut};

struct One {
    buf: [u8; 16],
}

struct Other;

fn main() {
    let stream = proactor::net::TcpStream::unconnected_v4().unwrap();
    let _ = stream.recv(within_mut(|io: &mut One| &mut io.buf[..])).packet(Block::new(Other));
}
