//! Disconnecting a TCP socket so that it may connect again (Linux): `shutdown`, then `connect` to no address once nothing of
//! the connection is left in it. Sooner that call would reset the connection, or drop what the peer has not acknowledged.

/// What is left of a connection that is being taken down.
pub(super) enum Connection {
    /// The peer may still send. It ends with a hang-up of the socket.
    Open,
    /// Both sides have closed, and the peer's last acknowledgement is due.
    Ending,
    /// Nothing: the socket may connect.
    Gone,
}

/// As `tcp_info` reports it.
const TCP_CLOSE: u8 = 7;

/// Closes the sending half if it is not, which `shut` tells (each call of shutdown makes an edge), and takes the connection out of the socket if both are closed.
pub(super) fn take_down(fd: libc::c_int, shut: bool) -> Result<Connection, i32> {
    if !shut && state(fd)? != TCP_CLOSE {
        // What it may fail with shows in the state.
        let _ = socket2::SockRef::from(&super::epoll::borrow(&fd)).shutdown(std::net::Shutdown::Write);
    }
    if state(fd)? == TCP_CLOSE {
        // SAFETY: all-zero is a valid address, of the family AF_UNSPEC.
        let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
        // SAFETY: the address is readable for its length.
        return match unsafe { libc::connect(fd, &raw const nowhere, size_of::<libc::sockaddr>() as u32) } {
            0 => Ok(Connection::Gone),
            _ => Err(errno()),
        };
    }
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: one writable entry.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    Ok(if poll.revents & libc::POLLHUP != 0 { Connection::Ending } else { Connection::Open })
}

fn state(fd: libc::c_int) -> Result<u8, i32> {
    let (mut state, mut len) = (0_u8, 1);
    // SAFETY: the first byte of the answer is asked for, and there is room for it.
    match unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, (&raw mut state).cast(), &raw mut len) } {
        0 => Ok(state),
        _ => Err(errno()),
    }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
