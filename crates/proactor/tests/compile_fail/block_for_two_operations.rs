//! One block serves one operation at a time.
use proactor::{Block, within, within_mut};

fn main() {
    let stream = proactor::net::TcpStream::unconnected_v4().unwrap();
    let block = Block::new(vec![0_u8; 16]);
    let _ = stream.recv(within_mut(|io: &mut Vec<u8>| &mut io[..])).packet(block);
    let _ = stream.send(within(|io: &mut Vec<u8>| &io[..])).packet(block);
}
