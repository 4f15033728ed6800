//! Who watches a port from outside its `get`: a foreign reactor, and those who wait for the port as an object.
//!
//! | atomic | partner |
//! |---|---|
//! | queue push, fence, `is_watched` look | `is_watched` store, fence, queue look: who watches sees the packet, or is told |

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::port::Port;
use super::sys;
use crate::error::{Code, Error};
use crate::sync::object::{Core, Kind};

impl Port {
    /// The instance's descriptor, for a foreign reactor: from now on it is readable while packets are queued, too.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.foreign.store(true, Ordering::SeqCst);
        self.is_watched.store(true, Ordering::SeqCst);
        if !self.queue.is_empty() {
            self.signal_foreign();
        }
        std::os::fd::AsFd::as_fd(&self.epoll)
    }

    /// After packets were queued that nobody may fetch: who watches the queue is told.
    #[inline]
    pub(super) fn tell_watchers(&self) {
        if self.is_watched.load(Ordering::Relaxed) {
            self.tell_them();
        }
    }

    #[cold]
    fn tell_them(&self) {
        if self.foreign.load(Ordering::Relaxed) {
            self.signal_foreign();
        }
        if let Some(core) = self.waitable.get() {
            self.look(core);
        }
    }

    /// Signals the port, as an object, while packets are queued. A closed one stays signalled: nobody waits for its packets.
    fn look(&self, core: &Core) {
        core.change(|kind| *kind = Kind::Manual(self.is_closed() || !self.queue.is_empty()));
    }

    /// The port as an object to wait for, up to date.
    pub fn core(&self) -> Result<&Arc<Core>, Error> {
        if self.is_closed() {
            return Err(Error::new(Code::InvalidHandle).hint("the completion port is closed"));
        }
        let core = self.waitable.get_or_init(|| Core::event(false));
        // Who pushes sees this after the push, or the look below sees the packet.
        self.is_watched.store(true, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        self.look(core);
        Ok(core)
    }

    /// Somebody waits for it: operations complete, though nobody is inside `get`.
    pub fn await_packets(self: &Arc<Self>) -> Option<Box<dyn Any + Send + Sync>> {
        struct Attended(Arc<Port>);
        impl Drop for Attended {
            fn drop(&mut self) {
                self.0.attended();
            }
        }
        self.attend();
        Some(Box::new(Attended(self.clone())))
    }

    /// Makes the descriptor readable, unless a signal is on its way.
    #[cold]
    fn signal_foreign(&self) {
        if self.wake.kick() {
            sys::signal(&self.kick);
        }
    }
}
