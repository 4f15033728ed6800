//! The end of a port: waiters are told, and what the kernel still holds is waited for.

use std::time::{Duration, Instant};

use super::owner::Serves;
use super::port::Port;
use crate::error::Code;
use crate::handle::Which;
use crate::shim::Ordering;
use crate::time::Wait;

/// How long a close waits for the kernel before it leaves that to a thread of the library.
const CLOSE_WAIT: Duration = Duration::from_millis(100);
/// How long the close of a thread's own port waits, which has no other thread to leave it to.
const PATIENCE: Duration = Duration::from_secs(10);

impl Port {
    /// Closes the port: waiters are told, packets dropped, and operations that could only have become packets here are
    /// cancelled and waited for. Sockets and their overlapped operations go on.
    pub fn close(&self) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.members.wake();
        self.tell_waiters();
        self.after_stowing();
        self.reap();
    }

    /// Ends the packet operations of a closed port, and waits for the kernel to let go of them. Also called by who started
    /// one while the port was closed.
    pub(super) fn reap(&self) {
        for core in self.cores() {
            core.cancel(Which::Packets, Code::Cancelled);
        }
        for timing in self.timings() {
            timing.cancel(Which::Packets, self);
        }
        self.drain(Wait::Poll);
        let has_owner = matches!(self.owner.serves, Serves::Owner(_));
        let end = Instant::now() + if has_owner { PATIENCE } else { CLOSE_WAIT };
        while self.awaits_kernel() {
            if Instant::now() >= end {
                return if has_owner { self.give_up() } else { self.drain_later() };
            }
            self.drain(Wait::Until(Instant::now() + Duration::from_millis(1)));
        }
        self.drain(Wait::Poll);
    }

    /// Whether an operation is pending whose packet will come here.
    fn awaits_kernel(&self) -> bool {
        self.cores().iter().any(|core| core.has_packets()) || self.timings().iter().any(|timing| timing.is_delivering())
    }

    /// Some calls cannot be cancelled at once: a thread stays for them. Their objects keep the port until then.
    fn drain_later(&self) {
        let Some(port) = self.this.upgrade() else { return };
        let thread = std::thread::Builder::new().name("proactor-close".into()).spawn(move || {
            while port.awaits_kernel() {
                port.drain(Wait::Until(Instant::now() + CLOSE_WAIT));
            }
        });
        if let Err(error) = thread {
            log::error!("proactor: what a closed port still waits for is leaked: {error}");
        }
    }

    /// What a thread's own port carries may be dropped on that thread alone, which has waited long enough.
    fn give_up(&self) {
        log::warn!("proactor: operations of a closed per-thread port do not end; their memory is left to them");
    }
}
