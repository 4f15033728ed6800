//! An operation that is only described never starts.
#![deny(unused_must_use)]

fn main() {
    let stream = proactor::net::TcpStream::unconnected_v4().unwrap();
    stream.recv(vec![0; 16]);
}
