//! Addresses and socket options.

use std::io::ErrorKind;
use std::net::{SocketAddr, ToSocketAddrs};

use proactor::net::{TcpListener, TcpStream};
use socket2::{Domain, SockRef, Socket, Type};

use crate::failure::Failure;

/// Every address a name stands for; at least one.
pub fn resolve(name: impl ToSocketAddrs, written: &str) -> Result<Vec<SocketAddr>, Failure> {
    let found = name.to_socket_addrs().map_err(|error| {
        Failure::Usage(match error.kind() {
            // The standard library's word for text that is no address at all.
            ErrorKind::InvalidInput => format!("'{written}' is not an address; give HOST:PORT"),
            _ => format!("cannot resolve '{written}': {error}"),
        })
    })?;
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(Failure::Usage(format!("cannot resolve '{written}': the name has no address")));
    }
    Ok(found)
}

/// Whether several listeners may have one address, and share its clients.
pub const CAN_SHARE_ADDRESS: bool = cfg!(unix);

/// Listens where other listeners of this process may, too.
pub fn listen_together(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    #[cfg(unix)]
    {
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Sends small messages at once instead of waiting for more. Best effort: without it a connection is slow, not wrong.
pub fn send_at_once(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_tcp_nodelay(true);
}
