//! A wait drives the port, and a drop cancels: both are for its thread.
use proactor::{Local, net::TcpStream};

fn elsewhere(stream: &TcpStream<Local>) {
    let receive = stream.recv(vec![0; 16]).start().unwrap();
    std::thread::spawn(move || receive.wait());
}

fn main() {}
