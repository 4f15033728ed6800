//! The kernel may write after this function returned: a borrowed buffer cannot be given.
fn main() {
    let stream = proactor::net::TcpStream::unconnected_v4().unwrap();
    let mut buffer = [0_u8; 16];
    let _ = stream.recv(&mut buffer[..]).start();
}
