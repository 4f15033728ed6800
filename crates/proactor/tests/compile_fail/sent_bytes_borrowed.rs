//! The kernel may read after this function returned: bytes that are only borrowed cannot be given, in any form.
fn main() {
    let stream = proactor::net::TcpStream::unconnected_v4().unwrap();
    let text = String::from("text");
    let _ = stream.send(text.as_bytes()).start();
    let _ = stream.send_vectored([text.as_str()]).start();
    let _ = proactor::compose::write_all(&stream, text.as_str()).wait();
}
