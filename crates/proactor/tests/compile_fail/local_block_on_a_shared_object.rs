//! A shared object's packets go to any thread, so the block must be Send, whatever port it is of.
use std::rc::Rc;

use proactor::{Block, net::TcpStream, within_mut};

fn receive(stream: &TcpStream, block: Block<(Rc<u8>, [u8; 4])>) {
    stream.recv(within_mut(|io: &mut (Rc<u8>, [u8; 4])| &mut io.1[..])).packet(block).unwrap();
}

fn main() {}
