//! Dropped elsewhere, a stream would be closed in another thread's ring.
use proactor::{Local, net::TcpStream};

fn elsewhere(stream: TcpStream<Local>) {
    std::thread::spawn(move || drop(stream));
}

fn main() {}
