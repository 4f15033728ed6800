//! The ways to a port: an object's home, a weak one, and the one that other threads have to a thread's own port.
//!
//! A thread's own port is a port like any other, but nobody else takes packets from it: what its blocks carry need not be
//! `Send`. Operations on its objects complete as everywhere here: packets by the kernel, which queues them without looking
//! inside, overlapped ones by the threads of `events.rs`, whose cargo is `Send`.

use std::sync::Weak;

use super::super::{Contract, Got};
use super::alarm::Alert;
use super::port::Port;
use crate::error::Error;
use crate::port::{Entry, Fetch};
use crate::shim::Arc;
use crate::time::Wait;

/// A way to a port.
#[derive(Clone)]
pub(crate) struct PortRef(Arc<Port>);

impl From<Arc<Port>> for PortRef {
    fn from(port: Arc<Port>) -> PortRef {
        PortRef(port)
    }
}

impl std::ops::Deref for PortRef {
    type Target = Port;
    fn deref(&self) -> &Port {
        &self.0
    }
}

impl PortRef {
    /// The calling thread's own port.
    pub fn new_local(contract: Contract) -> Result<PortRef, Error> {
        Port::private(contract).map(PortRef)
    }

    pub fn get(&self, out: &mut Fetch<'_>, wait: Wait) -> Result<Got, Error> {
        self.0.get(out, wait)
    }

    pub fn get_alertable(&self, out: &mut Fetch<'_>, wait: Wait, alert: &Alert<'_>) -> Result<Got, Error> {
        self.0.get_alertable(out, wait, alert)
    }

    /// As `get`, of one entry.
    pub fn get_one(&self, wait: Wait) -> Result<(Got, Option<Entry>), Error> {
        let mut slots = [None];
        let got = self.get(&mut Fetch::new(&mut slots), wait)?;
        let [entry] = slots;
        Ok((got, entry))
    }

    /// The way in for other threads.
    pub fn remote(&self) -> Remote {
        self.0.open_to_others();
        Remote(self.0.clone())
    }

    /// Whether only its own thread ever touches an object of it: the kernel's other threads deliver here, too.
    pub fn is_one_threads(&self) -> bool {
        false
    }

    pub fn downgrade(&self) -> WeakRef {
        WeakRef(Arc::downgrade(&self.0))
    }
}

/// A port, if it is still there.
#[derive(Clone)]
pub(crate) struct WeakRef(Weak<Port>);

impl WeakRef {
    /// Whether it means this port.
    pub fn is(&self, port: &Arc<Port>) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(port))
    }

    pub fn upgrade(&self) -> Option<PortRef> {
        self.0.upgrade().map(PortRef)
    }
}

/// Posts to a thread's own port from any thread.
#[derive(Clone)]
pub(crate) struct Remote(Arc<Port>);

impl Remote {
    pub fn post(&self, entry: Entry) -> Result<(), Entry> {
        self.0.post(entry)
    }

    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
