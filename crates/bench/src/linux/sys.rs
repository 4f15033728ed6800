//! The system calls of the plain contenders and of the client, as thin as they can be while being safe to call.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The result of a call that says -1 and errno.
#[inline]
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// What a non-blocking transfer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// So many bytes; for a receive, 0 is the peer's end.
    Bytes(usize),
    /// It would have had to wait.
    Later,
    /// The connection is over; the errno.
    Failed(i32),
}

#[inline]
fn moved(result: isize) -> Moved {
    if result >= 0 {
        return Moved::Bytes(result as usize);
    }
    match io::Error::last_os_error().raw_os_error().unwrap_or(0) {
        libc::EAGAIN => Moved::Later,
        errno => Moved::Failed(errno),
    }
}

/// Receives what is there.
#[inline]
pub fn recv(fd: RawFd, buf: &mut [u8]) -> Moved {
    // SAFETY: the buffer is borrowed for the call.
    moved(unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), libc::MSG_DONTWAIT) })
}

/// Receives what is there, up to `len` bytes, without copying it anywhere: TCP's meaning of MSG_TRUNC.
#[inline]
pub fn discard(fd: RawFd, len: usize) -> Moved {
    // SAFETY: with MSG_TRUNC a TCP socket writes nothing.
    moved(unsafe { libc::recv(fd, std::ptr::null_mut(), len, libc::MSG_DONTWAIT | libc::MSG_TRUNC) })
}

/// Sends what fits.
#[inline]
pub fn send(fd: RawFd, bytes: &[u8]) -> Moved {
    // SAFETY: the bytes are borrowed for the call.
    moved(unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) })
}

/// Takes a connection off a listener; `None` when none waits any more. TCP_NODELAY is set.
pub fn accept(listener: RawFd) -> io::Result<Option<OwnedFd>> {
    // SAFETY: no address is asked for; a descriptor that comes back is nobody else's.
    unsafe {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        match check(libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags)) {
            Ok(fd) => {
                let stream = OwnedFd::from_raw_fd(fd);
                no_delay(&stream)?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Sends small messages at once.
pub fn no_delay(stream: &impl std::os::fd::AsFd) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_nodelay(true)
}

/// An epoll instance.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// An empty one.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: the descriptor that comes back is nobody else's.
        unsafe { Ok(Epoll(OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?))) }
    }

    /// Watches `fd` for these events; `data` comes back with each.
    pub fn add(&self, fd: RawFd, events: i32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: reads one event.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) })?;
        Ok(())
    }

    /// Waits for events; -1 for ever, else milliseconds. No event when the time is up.
    #[inline]
    pub fn wait<'e>(&self, events: &'e mut [libc::epoll_event], timeout: i32) -> io::Result<&'e [libc::epoll_event]> {
        // SAFETY: writes at most as many events as there is room for.
        let got = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, timeout) };
        match check(got) {
            Ok(n) => Ok(&events[..n as usize]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
            Err(error) => Err(error),
        }
    }
}

/// Room for this many events.
pub fn event_room(n: usize) -> Vec<libc::epoll_event> {
    vec![libc::epoll_event { events: 0, u64: 0 }; n]
}

/// A bare timer.
pub fn timerfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    match unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: just made, for us alone.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

fn timespec(left: std::time::Duration) -> libc::timespec {
    libc::timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() }
}

/// Sets it and reads it: returns when it has expired.
pub fn wait_timerfd(timer: &OwnedFd, due: std::time::Instant) -> io::Result<()> {
    let left = due.saturating_duration_since(std::time::Instant::now());
    let spec = libc::itimerspec { it_interval: timespec(std::time::Duration::ZERO), it_value: timespec(left) };
    let mut count = 0_u64;
    // SAFETY: a readable value, and eight writable bytes.
    unsafe {
        libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut());
        match libc::read(timer.as_raw_fd(), (&raw mut count).cast(), 8) {
            8 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Sleeps until then.
pub fn nanosleep(due: std::time::Instant) -> io::Result<()> {
    let left = timespec(due.saturating_duration_since(std::time::Instant::now()));
    // SAFETY: a readable value; nothing is written.
    match unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &raw const left, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}
