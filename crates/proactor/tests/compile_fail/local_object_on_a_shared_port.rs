//! An object of one thread has its home for life.
use proactor::{CompletionPort, Local, net::TcpStream};

fn associate(port: &CompletionPort<(), usize>, stream: TcpStream<Local>) {
    port.associate(&stream, 1).unwrap();
}

fn main() {}
