//! On a shared port any worker may run the handler.
use std::rc::Rc;

use proactor::net::TcpStream;

fn hops(stream: &TcpStream, count: Rc<u32>) {
    stream.recv(vec![0; 16]).then(move |_| drop(count)).unwrap();
}

fn main() {}
