//! A handler may be called when the function that made it has returned.
use proactor::net::TcpStream;

fn borrows(stream: &TcpStream) -> usize {
    let mut bytes = 0;
    stream.recv(vec![0; 16]).then(|done| bytes = done.bytes).unwrap();
    bytes
}

fn main() {}
