//! The system calls of this backend, each in one line that says what it adds to libc's.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::RawBuf;
use crate::error::Error;
use crate::time::Wait;

/// Turns a −1 into the error.
pub(super) fn check(n: libc::c_int) -> Result<libc::c_int, Error> {
    if n < 0 { Err(Error::last_os_error()) } else { Ok(n) }
}

/// Turns a −1 into the errno.
#[inline]
pub(super) fn count(n: isize) -> Result<usize, i32> {
    if n < 0 { Err(errno()) } else { Ok(n.unsigned_abs()) }
}

pub(super) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the system call that returned it just made it, for us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

pub(super) fn epoll() -> Result<OwnedFd, Error> {
    // SAFETY: no pointers.
    check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(owned)
}

pub(in crate::backend) fn eventfd() -> Result<OwnedFd, Error> {
    // SAFETY: no pointers.
    check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(owned)
}

/// One whose reader waits for it.
pub(in crate::backend) fn eventfd_that_blocks() -> Result<OwnedFd, Error> {
    // SAFETY: no pointers.
    check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }).map(owned)
}

/// Adds one to an eventfd. At the counter's end the write fails, and the descriptor is readable all the same.
pub(in crate::backend) fn signal(event: &OwnedFd) {
    let one = 1_u64;
    // SAFETY: eight readable bytes.
    unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// A timer that an epoll instance can watch.
pub(super) fn timerfd() -> Result<OwnedFd, Error> {
    // SAFETY: no pointers.
    check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) }).map(owned)
}

/// Has it expire once, after this time; at once if that is none.
pub(super) fn set_timer(timer: &OwnedFd, after: std::time::Duration) {
    let after = after.max(std::time::Duration::from_nanos(1));
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let spec = libc::itimerspec { it_interval: zero, it_value: timespec(after) };
    // SAFETY: a readable timespec; nothing is written. It fails for no value that `timespec` makes.
    unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut()) };
}

/// Leaves the pages to the system, zeroed, until they are written again. An address that is no page's start keeps them.
///
/// # Safety
/// The caller has that memory to itself, with nothing in it to keep, and all zeroes is a value of what lies there.
pub(in crate::backend) unsafe fn give_pages_back(start: *mut u8, len: usize) {
    // SAFETY: as the caller promises.
    unsafe { libc::madvise(start.cast(), len, libc::MADV_DONTNEED) };
}

pub(super) fn epoll_ctl(epoll: &OwnedFd, op: libc::c_int, fd: libc::c_int, events: libc::c_int, data: u64) -> Result<(), Error> {
    let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: data };
    // SAFETY: the event is readable for the call; the kernel copies it.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), op, fd, &raw mut event) }).map(drop)
}

/// Waits for events, to the nanosecond where the kernel and its filters allow. EINTR counts as no event.
pub(super) fn epoll_wait<'e>(epoll: &OwnedFd, events: &'e mut [libc::epoll_event], wait: Wait) -> &'e [libc::epoll_event] {
    let (fd, room) = (epoll.as_raw_fd(), i32::try_from(events.len()).unwrap_or(i32::MAX));
    let n = match wait.left() {
        // SAFETY: `events` is writable for `room` entries.
        None => unsafe { libc::epoll_wait(fd, events.as_mut_ptr(), room, -1) },
        // SAFETY: as above.
        Some(left) if left.is_zero() => unsafe { libc::epoll_wait(fd, events.as_mut_ptr(), room, 0) },
        Some(left) => {
            let spec = timespec(left);
            // SAFETY: as above, and a readable timespec.
            let n = unsafe {
                libc::syscall(libc::SYS_epoll_pwait2, fd, events.as_mut_ptr(), room, &raw const spec, std::ptr::null::<u8>(), 0)
            };
            if n < 0 && matches!(errno(), libc::ENOSYS | libc::EPERM) {
                // Before Linux 5.11, or under a filter that does not know the call: milliseconds, rounded up.
                let ms = i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
                // SAFETY: as above.
                unsafe { libc::epoll_wait(fd, events.as_mut_ptr(), room, ms) }
            } else {
                n as i32
            }
        }
    };
    &events[..usize::try_from(n).unwrap_or(0)]
}

/// Whoever waits longer than this will not be there.
const LONGEST: u64 = 1 << 30;

pub(super) fn timespec(left: std::time::Duration) -> libc::timespec {
    libc::timespec { tv_sec: left.as_secs().min(LONGEST) as _, tv_nsec: left.subsec_nanos().into() }
}

/// Which of `events` hold now.
pub(super) fn poll(fd: libc::c_int, events: libc::c_short) -> libc::c_short {
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one writable entry.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents
}

/// Waits until one of two descriptors is readable; whether the second is.
pub(in crate::backend) fn poll_two(first: libc::c_int, second: libc::c_int, wait: Wait) -> bool {
    let mut polls = [first, second].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let left = wait.left().map(timespec);
    let timeout = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: two writable entries, and a readable timespec or none.
    let n = unsafe { libc::ppoll(polls.as_mut_ptr(), 2, timeout, std::ptr::null()) };
    n > 0 && polls[1].revents != 0
}

/// Receives into one buffer. Not through libc, which makes every such call a point of thread cancellation; and inlined:
/// after a system call the processor guesses returns wrongly, so the fewer lie above it the better.
#[inline(always)]
pub(super) fn recv_one(fd: libc::c_int, into: RawBuf) -> Result<usize, i32> {
    // SAFETY: the block owns the buffer until its operation completes, which is after this call.
    let bytes = unsafe { std::slice::from_raw_parts_mut(into.ptr().cast::<std::mem::MaybeUninit<u8>>(), into.len()) };
    rustix::net::recv(borrow(&fd), bytes, rustix::net::RecvFlags::DONTWAIT).map(|(_, n)| n).map_err(|errno| errno.raw_os_error())
}

/// Sends one buffer, as `recv_one` receives.
#[inline(always)]
pub(super) fn send_one(fd: libc::c_int, from: RawBuf) -> Result<usize, i32> {
    use rustix::net::SendFlags;
    // SAFETY: as in `recv_one`.
    let bytes = unsafe { std::slice::from_raw_parts(from.ptr().cast::<u8>(), from.len()) };
    rustix::net::send(borrow(&fd), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map_err(|errno| errno.raw_os_error())
}

#[inline]
pub(super) fn recv(fd: libc::c_int, bufs: &[RawBuf]) -> Result<usize, i32> {
    if let [one] = bufs {
        return recv_one(fd, *one);
    }
    message(bufs, |msg| {
        // SAFETY: as above, for each buffer of the list.
        count(unsafe { libc::recvmsg(fd, msg, libc::MSG_DONTWAIT) })
    })
}

#[inline]
pub(in crate::backend) fn send(fd: libc::c_int, bufs: &[RawBuf], to: Option<&socket2::SockAddr>) -> Result<usize, i32> {
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    if let ([one], None) = (bufs, to) {
        return send_one(fd, *one);
    }
    message(bufs, |msg| {
        if let Some(to) = to {
            msg.msg_name = to.as_ptr().cast_mut().cast();
            msg.msg_namelen = to.len();
        }
        // SAFETY: as above; the name lives through the call and is only read.
        count(unsafe { libc::sendmsg(fd, msg, FLAGS) })
    })
}

/// Receives a datagram: its length as far as it fitted, its sender, and whether it was cut.
pub(super) fn recv_from(fd: libc::c_int, bufs: &[RawBuf]) -> Result<(usize, socket2::SockAddr, bool), i32> {
    // SAFETY: zeroed storage is a valid unnamed address.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    message(bufs, |msg| {
        msg.msg_name = (&raw mut storage).cast();
        msg.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
        // SAFETY: the buffers are the block's own, the name is writable for its length.
        let n = count(unsafe { libc::recvmsg(fd, msg, libc::MSG_DONTWAIT) })?;
        Ok((n, msg.msg_namelen, msg.msg_flags & libc::MSG_TRUNC != 0))
    })
    .map(|(n, len, cut)| {
        // SAFETY: `sockaddr_storage` is libc's own under both names, and the kernel wrote `len` bytes of address.
        let from = unsafe {
            socket2::SockAddr::new(std::mem::transmute::<libc::sockaddr_storage, socket2::SockAddrStorage>(storage), len)
        };
        (n, from, cut)
    })
}

/// Looks at the next message from where the last look at it ended: how much of it fitted, and whether more is left.
pub(super) fn peek(fd: libc::c_int, bufs: &[RawBuf]) -> Result<(usize, bool), i32> {
    message(bufs, |msg| {
        // SAFETY: the block owns the buffers until its operation completes, which is after this call.
        let n = count(unsafe { libc::recvmsg(fd, msg, libc::MSG_DONTWAIT | libc::MSG_PEEK) })?;
        Ok((n, msg.msg_flags & libc::MSG_TRUNC != 0))
    })
}

#[inline]
fn message<T>(bufs: &[RawBuf], call: impl FnOnce(&mut libc::msghdr) -> T) -> T {
    // SAFETY: all-zero is a valid empty message header.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = RawBuf::iovecs(bufs);
    // Its type differs from one C library to the next; a list has at most 1024 parts.
    msg.msg_iovlen = bufs.len() as _;
    call(&mut msg)
}

/// Accepts one connection; the peer's address comes with it.
pub(super) fn accept(fd: libc::c_int) -> Result<(OwnedFd, socket2::SockAddr), i32> {
    // SAFETY: zeroed storage is a valid unnamed address.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::sockaddr_storage>() as u32;
    // SAFETY: the storage is writable for `len` bytes.
    let fd = unsafe { libc::accept4(fd, (&raw mut storage).cast(), &raw mut len, libc::SOCK_CLOEXEC) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: as in `recv_from`.
    let peer =
        unsafe { socket2::SockAddr::new(std::mem::transmute::<libc::sockaddr_storage, socket2::SockAddrStorage>(storage), len) };
    Ok((owned(fd), peer))
}

/// Borrows a descriptor that the caller knows to be open.
#[inline]
pub(in crate::backend) fn borrow(fd: &libc::c_int) -> BorrowedFd<'_> {
    // SAFETY: the slot or object the number came from keeps it open for as long as it is borrowed.
    unsafe { BorrowedFd::borrow_raw(*fd) }
}
