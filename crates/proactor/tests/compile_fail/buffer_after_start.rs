//! A buffer in an operation is out of reach: it comes back with the result.
fn main() {
    let stream = proactor::net::TcpStream::unconnected_v4().unwrap();
    let buffer = vec![0_u8; 16];
    let _receive = stream.recv(buffer).start();
    println!("{}", buffer.len());
}
