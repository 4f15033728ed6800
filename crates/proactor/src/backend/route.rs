//! Linux: a port is the shared one over epoll, or one thread's own over io_uring, and an object's home says which.
//!
//! Where io_uring is refused a thread's own port is a shared one that nobody else is let near: one mechanism, whose
//! atomics nobody contends for.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::alarm::{Alarm, Alert};
use super::{Contract, Got, epoll, local};
use crate::cancel::Tree;
use crate::error::Error;
use crate::handle::{Object, Which};
use crate::op::{Header, thread_number};
use crate::port::{Entry, Fetch};
use crate::time::{Place, Wait};

/// A way to a port.
#[derive(Clone)]
pub(crate) enum PortRef {
    Shared(Arc<epoll::Port>),
    Local(Rc<local::Port>),
}

impl From<Arc<epoll::Port>> for PortRef {
    fn from(port: Arc<epoll::Port>) -> PortRef {
        PortRef::Shared(port)
    }
}

impl PortRef {
    /// The calling thread's own port.
    pub fn new_local(contract: Contract) -> Result<PortRef, Error> {
        let port = PortRef::make_local(contract)?;
        let _ = OWN_PORTS.try_with(|ports| {
            let mut ports = ports.borrow_mut();
            ports.retain(|port| port.is_there());
            ports.push(port.downgrade());
        });
        Ok(port)
    }

    fn make_local(contract: Contract) -> Result<PortRef, Error> {
        if epoll::has_uring() {
            match local::Port::new(contract) {
                Ok(port) => return Ok(PortRef::Local(port)),
                Err(error) => log::warn!("proactor: no ring for this thread's own port, it goes over epoll: {error}"),
            }
        }
        epoll::Port::private(contract).map(PortRef::Shared)
    }

    pub fn contract(&self) -> &Contract {
        match self {
            PortRef::Shared(port) => port.contract(),
            PortRef::Local(port) => port.contract(),
        }
    }

    /// Whether only its own thread ever touches an object of it.
    pub fn is_one_threads(&self) -> bool {
        matches!(self, PortRef::Local(_))
    }

    pub fn is_closed(&self) -> bool {
        match self {
            PortRef::Shared(port) => port.is_closed(),
            PortRef::Local(port) => port.is_closed(),
        }
    }

    pub fn attach(&self, object: &Object) -> Result<(), Error> {
        match self {
            PortRef::Shared(port) => port.attach(object),
            PortRef::Local(port) => port.attach(object),
        }
    }

    pub fn attend(&self) {
        if let PortRef::Shared(port) = self {
            port.attend();
        }
    }

    pub fn attended(&self) {
        if let PortRef::Shared(port) = self {
            port.attended();
        }
    }

    pub fn post(&self, entry: Entry) -> Result<(), Entry> {
        match self {
            PortRef::Shared(port) => port.post(entry),
            PortRef::Local(port) => port.post(entry),
        }
    }

    #[inline]
    pub fn get(&self, out: &mut Fetch<'_>, wait: Wait) -> Result<Got, Error> {
        match self {
            PortRef::Shared(port) => port.get(out, wait),
            PortRef::Local(port) => port.get(out, wait),
        }
    }

    pub fn get_alertable(&self, out: &mut Fetch<'_>, wait: Wait, alert: &Alert<'_>) -> Result<Got, Error> {
        match self {
            PortRef::Shared(port) => port.get_alertable(out, wait, alert),
            PortRef::Local(port) => port.get_alertable(out, wait, alert),
        }
    }

    /// As `get`, of one entry.
    #[inline]
    pub fn get_one(&self, wait: Wait) -> Result<(Got, Option<Entry>), Error> {
        if let PortRef::Local(port) = self
            && let Some(entry) = port.next()?
        {
            return Ok((Got::Entries, Some(entry)));
        }
        let mut slots = [None];
        let got = self.get(&mut Fetch::new(&mut slots), wait)?;
        let [entry] = slots;
        Ok((got, entry))
    }

    pub fn give_back(&self, entries: impl DoubleEndedIterator<Item = Entry>) {
        match self {
            PortRef::Shared(port) => port.give_back(entries),
            PortRef::Local(port) => port.give_back(entries),
        }
    }

    /// On a thread's own port: completes operations until `done` or the end of `wait`; whether it is done. Who makes it done on
    /// another thread rings the alarm.
    fn drive(&self, done: &dyn Fn() -> bool, wait: Wait, alarm: Option<&Arc<Alarm>>) -> bool {
        match self {
            PortRef::Shared(port) => port.drive(done, wait, alarm.map(Arc::as_ref)),
            PortRef::Local(port) => port.drive(done, wait, alarm),
        }
    }

    pub fn close(&self) {
        match self {
            PortRef::Shared(port) => port.close_private(),
            PortRef::Local(port) => port.close(),
        }
    }

    /// Makes the wheel of the port's deadlines, if it has none yet.
    pub fn make_deadlines(&self) -> Result<(), Error> {
        match self {
            PortRef::Shared(port) => port.make_deadlines(),
            PortRef::Local(port) => {
                port.make_deadlines();
                Ok(())
            }
        }
    }

    /// Works with that wheel, if there is one.
    pub fn deadlines(&self, with: impl FnOnce(&epoll::Timing)) {
        let timing = match self {
            PortRef::Shared(port) => port.deadlines(),
            PortRef::Local(port) => port.deadlines(),
        };
        if let Some(timing) = timing {
            with(timing);
        }
    }

    /// Who alone may touch the port's objects.
    pub fn own_thread(&self) -> Option<OwnThread> {
        match self {
            PortRef::Shared(_) => None,
            PortRef::Local(port) => Some(OwnThread { thread: thread_number(), remote: port.remote() }),
        }
    }

    /// The way in for other threads.
    pub fn remote(&self) -> Remote {
        match self {
            PortRef::Shared(port) => Remote::Shared(port.clone()),
            PortRef::Local(port) => Remote::Local(port.remote()),
        }
    }
}

/// The thread that alone may touch a port's objects, and a way to have it do something.
#[derive(Clone)]
pub(crate) struct OwnThread {
    thread: u64,
    remote: Arc<local::Remote>,
}

impl OwnThread {
    pub fn is_here(&self) -> bool {
        self.thread == thread_number()
    }

    pub fn is(&self, other: &OwnThread) -> bool {
        Arc::ptr_eq(&self.remote, &other.remote)
    }

    /// Has the thread cancel its own operations of a token.
    pub fn call(&self, tree: Arc<Tree>) {
        self.remote.call(tree);
    }
}

/// A port, if it is still there.
#[derive(Clone)]
pub(crate) enum WeakRef {
    Shared(Weak<epoll::Port>),
    Local(std::rc::Weak<local::Port>),
}

impl PortRef {
    pub fn downgrade(&self) -> WeakRef {
        match self {
            PortRef::Shared(port) => WeakRef::Shared(Arc::downgrade(port)),
            PortRef::Local(port) => WeakRef::Local(Rc::downgrade(port)),
        }
    }
}

thread_local! {
    /// The calling thread's own ports.
    static OWN_PORTS: RefCell<Vec<WeakRef>> = const { RefCell::new(Vec::new()) };
}

/// How long a thread with several ports of its own, or without an alarm, waits in one before it looks at the others.
const TURN: Duration = Duration::from_millis(1);

/// Whether the calling thread has ports that nobody but it drives, so that it must not merely sleep.
pub(crate) fn drives() -> bool {
    let any = OWN_PORTS.try_with(|ports| ports.try_borrow().is_ok_and(|ports| ports.iter().any(WeakRef::is_there)));
    any == Ok(true) && !epoll::is_forked()
}

/// Completes operations of the calling thread's own ports, and only queues packets, until `done` or the end of `wait`. Who
/// makes it done on another thread rings the alarm.
pub(crate) fn drive(done: &dyn Fn() -> bool, wait: Wait, alarm: Option<&Arc<Alarm>>) {
    let own = OWN_PORTS.try_with(|ports| {
        // Nearly every such thread has one, for which nothing is allocated.
        let ports = ports.borrow();
        let mut there = ports.iter().filter_map(WeakRef::upgrade);
        (there.next(), there.collect::<Vec<_>>())
    });
    let (first, others) = own.unwrap_or_default();
    let Some(first) = first else { return };
    let last = others.len();
    while !done() {
        for (index, port) in std::iter::once(&first).chain(&others).enumerate() {
            let turn = match wait.left() {
                _ if last == 0 && alarm.is_some() => wait,
                _ if index < last => Wait::Poll,
                Some(left) => Wait::from(left.min(TURN)),
                None => Wait::from(TURN),
            };
            if port.drive(done, turn, alarm) {
                return;
            }
        }
        if wait.is_over() {
            return;
        }
    }
}

impl WeakRef {
    fn is_there(&self) -> bool {
        match self {
            WeakRef::Shared(port) => port.strong_count() > 0,
            WeakRef::Local(port) => port.strong_count() > 0,
        }
    }

    /// Whether it means this shared port.
    pub fn is(&self, port: &Arc<epoll::Port>) -> bool {
        matches!(self, WeakRef::Shared(weak) if std::ptr::eq(weak.as_ptr(), Arc::as_ptr(port)))
    }

    pub fn upgrade(&self) -> Option<PortRef> {
        match self {
            WeakRef::Shared(port) => port.upgrade().map(PortRef::Shared),
            WeakRef::Local(port) => port.upgrade().map(PortRef::Local),
        }
    }
}

/// Posts to a thread's own port from any thread.
#[derive(Clone)]
pub(crate) enum Remote {
    Shared(Arc<epoll::Port>),
    Local(Arc<local::Remote>),
}

impl Remote {
    pub fn post(&self, entry: Entry) -> Result<(), Entry> {
        match self {
            Remote::Shared(port) => port.post_remote(entry),
            Remote::Local(remote) if epoll::is_forked() || remote.is_closed() => Err(entry),
            Remote::Local(remote) => remote.post(entry),
        }
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Remote::Shared(port) => port.is_closed(),
            Remote::Local(remote) => remote.is_closed(),
        }
    }
}

/// Takes over a begun block. Where it is, if it is a timer.
///
/// # Safety
/// The block was begun with an operation count of its object, its home is set, its buffers are lowered.
#[inline]
pub(crate) unsafe fn start(header: NonNull<Header>) -> Place {
    // SAFETY: the caller hands over the block; its operation count keeps the object through this function at least as
    // long as the user's handle that started it.
    let object = match unsafe { (*header.as_ptr()).object } {
        // SAFETY: as above.
        Some(object) => unsafe { &*object.as_ptr() },
        None => unreachable!("an operation without an object was started"),
    };
    match object.home().map(|home| &home.port) {
        Some(PortRef::Shared(port)) => port.start(object, header),
        Some(PortRef::Local(port)) => port.start(header),
        None => unreachable!("an operation was started on an object without a home"),
    }
}

/// Ends a begun operation that is not to be started.
///
/// # Safety
/// As `start`.
pub(crate) unsafe fn end(header: NonNull<Header>, error: Error) {
    // SAFETY: as in `start`.
    let object = match unsafe { (*header.as_ptr()).object } {
        // SAFETY: as there.
        Some(object) => unsafe { &*object.as_ptr() },
        None => unreachable!("an operation without an object was begun"),
    };
    match object.home().map(|home| &home.port) {
        Some(PortRef::Shared(port)) => epoll::settle(header, 0, Err(error), port),
        Some(PortRef::Local(port)) => port.end(header, error),
        None => unreachable!("an operation was begun on an object without a home"),
    }
}

/// Cancels operations of an object; how many were meant.
pub(crate) fn cancel(object: &Object, which: Which) -> usize {
    if epoll::is_forked() {
        return 0;
    }
    match object.home().map(|home| &home.port) {
        Some(PortRef::Shared(port)) => port.cancel(object, which),
        Some(PortRef::Local(port)) => local::cancel(port, object, which),
        None => 0,
    }
}

/// The last user's handle went.
pub(crate) fn close(object: &Object) {
    if epoll::is_forked() {
        // The parent's port is shared with this child: leave it alone, close only this process's descriptor.
        drop(object.sys.take_fd());
        return;
    }
    match object.home().map(|home| &home.port) {
        Some(PortRef::Shared(port)) => port.close_object(object),
        Some(PortRef::Local(port)) => local::close(port, object),
        None => {}
    }
}

/// Gives the descriptor up. The caller saw that nothing is in flight and that it holds the only handle.
pub(crate) fn take_descriptor(object: &Object) -> Option<OwnedFd> {
    let fd = object.sys.take_fd()?;
    match object.home().map(|home| &home.port) {
        Some(PortRef::Shared(port)) => port.release(object, &fd),
        Some(PortRef::Local(port)) => local::take_descriptor(port, object),
        None => {}
    }
    object.sys.restore(&fd);
    Some(fd)
}
