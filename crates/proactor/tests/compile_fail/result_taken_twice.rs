//! An overlapped operation has one result.
fn main() {
    let stream = proactor::net::TcpStream::unconnected_v4().unwrap();
    let receive = stream.recv(vec![0; 16]).start().unwrap();
    let _ = receive.wait();
    let _ = receive.wait();
}
