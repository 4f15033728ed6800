//! What wakes one thread where it sleeps in the kernel on more than a word: in its own port, or in an alertable get.
//!
//! An eventfd of the thread's. Who rings has first written what the thread will look at; the thread looks after each time
//! it was woken.

use std::os::fd::{AsRawFd, OwnedFd};

use super::epoll::{self, eventfd, signal};
use crate::error::Error;
use crate::time::Wait;

pub(crate) struct Alarm {
    fd: OwnedFd,
}

impl Alarm {
    pub fn new() -> Result<Alarm, Error> {
        Ok(Alarm { fd: eventfd()? })
    }

    /// From any thread.
    pub fn ring(&self) {
        signal(&self.fd);
    }

    pub fn fd(&self) -> libc::c_int {
        self.fd.as_raw_fd()
    }

    /// Sleeps until `other` is readable, the alarm rings, or `wait` ends. An earlier ring that nobody waited for counts.
    pub fn sleep_with(&self, other: &OwnedFd, wait: Wait) {
        if epoll::poll_two(other.as_raw_fd(), self.fd(), wait) {
            let mut count = 0_u64;
            // SAFETY: eight writable bytes; the descriptor does not block.
            unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
        }
    }
}
