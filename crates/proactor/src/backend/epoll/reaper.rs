//! The library's own thread: it serves the process's port, and users' ports while nobody is inside their `get` though
//! somebody may wait for a result.
//!
//! A user's port is nested in the process's epoll instance with EPOLLONESHOT and armed only then, so a port whose
//! threads sit in `get` never wakes this one.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use super::port::{NESTED, Port, Serves};
use super::sys;
use crate::backend::{Contract, Plan};
use crate::error::Error;
use crate::time::Wait;

static PROCESS: OnceLock<Result<Arc<Port>, Error>> = OnceLock::new();
static NESTS: Mutex<Option<HashMap<u64, Weak<Port>>>> = Mutex::new(None);

fn nests() -> MutexGuard<'static, Option<HashMap<u64, Weak<Port>>>> {
    NESTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The port of objects that are on no user's port.
pub(crate) fn process_port() -> Result<Arc<Port>, Error> {
    PROCESS
        .get_or_init(|| {
            let port = Port::make(Plan::ALONE, Contract::NO_PACKETS, Serves::Process)?;
            let served = port.clone();
            std::thread::Builder::new()
                .name("proactor-io".into())
                .spawn(move || {
                    loop {
                        served.reap(Wait::Forever);
                    }
                })
                .map_err(|e| Error::from_io(&e))?;
            Ok(port)
        })
        .clone()
}

/// Has the library's thread watch a port that nobody sits in, until its next event.
pub(super) fn arm(port: &Port) {
    if !port.is_unattended() || port.armed.load(Ordering::SeqCst) || port.armed.swap(true, Ordering::SeqCst) {
        return;
    }
    let watched = process_port().and_then(|process| {
        let mut op = libc::EPOLL_CTL_MOD;
        let id = *port.nested.get_or_init(|| {
            static IDS: AtomicU64 = AtomicU64::new(1);
            let id = IDS.fetch_add(1, Ordering::Relaxed);
            nests().get_or_insert_default().insert(id, port.this.clone());
            op = libc::EPOLL_CTL_ADD;
            id
        });
        sys::epoll_ctl(&process.epoll, op, port.epoll.as_raw_fd(), libc::EPOLLIN | libc::EPOLLONESHOT, NESTED | id)
    });
    if let Err(error) = watched {
        port.armed.store(false, Ordering::SeqCst);
        log::error!("proactor: a port with overlapped operations cannot be watched, they progress only inside get: {error}");
    }
}

/// A nested port has an event.
pub(super) fn nested(id: u64) {
    let port = nests().as_ref().and_then(|nests| nests.get(&id)?.upgrade());
    let Some(port) = port else { return };
    port.armed.store(false, Ordering::SeqCst);
    // A thread inside `get` takes it; when it leaves, it arms this again.
    if port.is_unattended() {
        port.reap(Wait::Poll);
        arm(&port);
    }
}

/// A port is dropped.
pub(super) fn forget(port: &Port) {
    if let Some(id) = port.nested.get()
        && let Some(nests) = nests().as_mut()
    {
        nests.remove(id);
    }
}
