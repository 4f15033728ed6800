//! A block in flight is out of reach: it comes back with its packet.
use proactor::{Block, within_mut};

fn main() {
    let stream = proactor::net::TcpStream::unconnected_v4().unwrap();
    let block = Block::new(vec![0_u8; 16]);
    let _ = stream.recv(within_mut(|io: &mut Vec<u8>| &mut io[..])).packet(block);
    println!("{}", block.len());
}
