//! The same bad days on ports of one thread, over io_uring and over the private epoll.

mod ends;
mod load;
mod queues;
mod teardown;

use std::net::TcpStream as StdStream;

use proactor::net::TcpStream;

/// A connected stream without a home, and its peer.
fn pair() -> (TcpStream, StdStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nodelay(true).unwrap();
    peer.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    (TcpStream::from(listener.accept().unwrap().0), peer)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
