//! A part of a file on a stream, between two buffers (Linux): `send` with MSG_MORE, `sendfile`, `send`.
//!
//! `sendfile` lacks two flags that `send` has. Against waiting the socket itself is non-blocking for the length of the call: the
//! caller alone sends on it, and every other call of the library carries MSG_DONTWAIT or sets the mode for good. Against
//! SIGPIPE the signal is blocked in this thread meanwhile, and taken back if the call raised it.

use crate::backend::RawBuf;
use crate::op::{Op, Work};

/// The most bytes of one `sendfile`: the lane's owner gets on with other things in between.
const MOST: usize = 1 << 20;

/// Sends what is left, as far as the socket takes it. Whether that was all. Counts in `work.bytes`.
pub(super) fn step(socket: libc::c_int, work: &mut Work) -> Result<bool, i32> {
    let Op::Transmit(asked) = &mut work.op else { unreachable!("asked for a transmission alone") };
    let file = asked.file.as_ref().map_or(-1, |file| file.sys.raw());
    if file < 0 {
        return Err(libc::EBADF);
    }
    let (bufs, total) = (work.buffers.as_slice(), work.buffers.total());
    let head = bufs.first().map_or(0, RawBuf::len);
    if work.bytes == 0 && asked.at < asked.end {
        asked.end = asked.end.min(length(file)?);
    }
    loop {
        let sent = if asked.buffered < head {
            send(socket, &bufs[0].advance(asked.buffered), asked.at < asked.end || head < total).inspect(|n| asked.buffered += n)
        } else if asked.at < asked.end {
            send_file(socket, file, &mut asked.at, asked.end).inspect(|n| {
                if *n == 0 {
                    // It has become shorter meanwhile.
                    asked.end = asked.at;
                }
            })
        } else if asked.buffered < total {
            send(socket, &bufs[1].advance(asked.buffered - head), false).inspect(|n| asked.buffered += n)
        } else {
            return Ok(true);
        };
        match sent {
            Ok(n) => work.bytes += n,
            Err(libc::EINTR) => {}
            Err(libc::EAGAIN) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn count(n: isize) -> Result<usize, i32> {
    usize::try_from(n).map_err(|_| errno())
}

/// A regular file's length; of others the end shows when it is there.
fn length(file: libc::c_int) -> Result<u64, i32> {
    // SAFETY: all-zero is a valid stat, which is writable for the call.
    let (answer, stat) = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        (libc::fstat(file, &raw mut stat), stat)
    };
    match answer {
        0 if stat.st_mode & libc::S_IFMT == libc::S_IFREG => Ok(stat.st_size.cast_unsigned()),
        0 => Ok(u64::MAX),
        _ => Err(errno()),
    }
}

fn send(socket: libc::c_int, buf: &RawBuf, more: bool) -> Result<usize, i32> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: the block owns the buffer until its operation completes, which is after this call.
    count(unsafe { libc::send(socket, buf.ptr().cast(), buf.len(), flags) })
}

fn send_file(socket: libc::c_int, file: libc::c_int, at: &mut u64, end: u64) -> Result<usize, i32> {
    // `Op::check_numbers` saw that the offset fits.
    let mut offset = at.cast_signed();
    let most = usize::try_from(end - *at).unwrap_or(MOST).min(MOST);
    let _mode = NonBlocking::make(socket)?;
    let silence = Silence::make();
    // SAFETY: both descriptors are open while the operation holds their objects; the offset is writable for the call.
    let sent = count(unsafe { libc::sendfile(socket, file, &raw mut offset, most) });
    // It may have come behind some bytes that went.
    if sent != Ok(most) && sent != Err(libc::EAGAIN) {
        silence.take_back();
    }
    *at += *sent.as_ref().unwrap_or(&0) as u64;
    sent
}

/// A descriptor that does not block for a while.
struct NonBlocking(libc::c_int, Option<libc::c_int>);

impl NonBlocking {
    fn make(fd: libc::c_int) -> Result<NonBlocking, i32> {
        // SAFETY: plain calls on an open descriptor.
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFL);
            if flags < 0 {
                return Err(errno());
            }
            let blocks = flags & libc::O_NONBLOCK == 0;
            if blocks && libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) < 0 {
                return Err(errno());
            }
            Ok(NonBlocking(fd, blocks.then_some(flags)))
        }
    }
}

impl Drop for NonBlocking {
    fn drop(&mut self) {
        if let Some(flags) = self.1 {
            // SAFETY: a plain call on a descriptor that is open still.
            unsafe { libc::fcntl(self.0, libc::F_SETFL, flags) };
        }
    }
}

/// SIGPIPE blocked in this thread for a while.
struct Silence {
    pipe: libc::sigset_t,
    before: libc::sigset_t,
    /// One was waiting before: it is somebody else's.
    pending: bool,
}

impl Silence {
    fn make() -> Silence {
        // SAFETY: all-zero sets are valid storage, made proper by the calls, which write nothing else.
        unsafe {
            let (mut pipe, mut before, mut pending): (libc::sigset_t, libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
            libc::sigemptyset(&raw mut pipe);
            libc::sigaddset(&raw mut pipe, libc::SIGPIPE);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const pipe, &raw mut before);
            // Where it was not blocked, none can be waiting.
            let pending = libc::sigismember(&raw const before, libc::SIGPIPE) == 1
                && libc::sigpending(&raw mut pending) == 0
                && libc::sigismember(&raw const pending, libc::SIGPIPE) == 1;
            Silence { pipe, before, pending }
        }
    }

    fn take_back(&self) {
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        if !self.pending {
            // SAFETY: reads the set and the time; where the signal is ignored there is none to take.
            unsafe { libc::sigtimedwait(&raw const self.pipe, std::ptr::null_mut(), &raw const none) };
        }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // SAFETY: reads the set that was the thread's.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}
