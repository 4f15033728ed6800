//! An operation that is described borrows its socket until it starts.
fn main() {
    let stream = proactor::net::TcpStream::unconnected_v4().unwrap();
    let receive = stream.recv(vec![0; 16]);
    drop(stream);
    let _ = receive.start();
}
