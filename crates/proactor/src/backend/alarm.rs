//! What wakes one thread where it sleeps in the kernel on more than a word: in its own port, or in an alertable get.
//!
//! An eventfd of the thread's. Who rings has first written what the thread will look at; the thread looks after each time
//! it was woken.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use super::epoll::{self, eventfd, signal};
use super::gate::Permit;
use crate::error::Error;
use crate::shim;
use crate::time::Wait;

pub(crate) struct Alarm {
    fd: OwnedFd,
    /// Where the thread waits for a slot of a port.
    permit: OnceLock<shim::Arc<Permit>>,
}

impl Alarm {
    pub fn new() -> Result<Alarm, Error> {
        Ok(Alarm { fd: eventfd()?, permit: OnceLock::new() })
    }

    /// From any thread.
    pub fn ring(&self) {
        signal(&self.fd);
        if let Some(permit) = self.permit.get() {
            permit.alert();
        }
    }

    /// From now on it reaches the thread in the gate, too. A thread has one permit for life.
    pub fn reaches(&self, permit: &shim::Arc<Permit>) {
        self.permit.get_or_init(|| permit.clone());
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

/// An alertable get of the thread whose alarm it is.
pub(crate) struct Alert<'a> {
    /// None: nothing but the port's own entries and completions makes it so that the thread has something else to do.
    pub alarm: Option<&'a Arc<Alarm>>,
    /// Whether the thread has something else to do. Set before the alarm rings.
    pub is_up: &'a dyn Fn() -> bool,
}

impl Alert<'_> {
    pub fn is_up(&self) -> bool {
        (self.is_up)()
    }

    /// Sleeps until `other` is readable, the alert is up, or `wait` ends. How long to wait for `other` alone after that.
    pub fn sleep_with(&self, other: &OwnedFd, wait: Wait) -> Wait {
        if wait.is_poll() || self.is_up() {
            return Wait::Poll;
        }
        let Some(alarm) = self.alarm else { return wait };
        alarm.sleep_with(other, wait);
        Wait::Poll
    }
}
