//! Timers: a wheel each, whose earliest deadline is registered with the library's thread for moments. That delivers what is due;
//! packets are posted to the port.

use std::ptr::NonNull;
use std::sync::{OnceLock, Weak};

use super::port::Port;
use crate::cancel::Tree;
use crate::deliver::{self, After, Packets};
use crate::error::Error;
use crate::handle::{Object, Which};
use crate::op::{Header, Op, Ticket, Value, begin_awaited};
use crate::port::{Content, Entry};
use crate::shim::{Arc, Mutex, lock};
use crate::time::{Armed, Moment, Place, Sleeper, Wait, service};

/// What timers are on Windows.
pub(crate) struct Timing {
    armed: Armed,
    port: OnceLock<Weak<Port>>,
    /// What the library's thread has these registered for.
    registered: Mutex<Option<Moment>>,
    this: Weak<Timing>,
}

/// Packets go to the port's end.
struct ToPort<'a>(&'a Port);

impl Packets for ToPort<'_> {
    fn packet(&mut self, entry: Entry) {
        self.0.put_entry(entry);
    }

    fn after(&mut self, after: After) {
        // No lock is held.
        after.run();
    }
}

impl Timing {
    pub fn new() -> Arc<Timing> {
        Arc::new_cyclic(|this| Timing {
            armed: Armed::new(),
            port: OnceLock::new(),
            registered: Mutex::new(None),
            this: this.clone(),
        })
    }

    /// They have their home. Called once.
    pub(super) fn settle(&self, port: &Port) -> Result<(), Error> {
        service()?;
        let _ = self.port.set(port.downgrade());
        Ok(())
    }

    /// Arms an operation: takes over a begun block.
    #[inline]
    pub(super) fn arm(&self, header: NonNull<Header>) -> Option<Place> {
        let arm = |at| self.armed.arm(header, at, |nanos| self.register(Some(nanos)));
        // SAFETY: begun, and the caller's alone, until it is armed.
        unsafe {
            match &(*header.as_ptr()).work.op {
                Op::Timer { at } => arm(*at),
                Op::Awaited { .. } => match self.this.upgrade() {
                    Some(this) => begin_awaited(header, &this, arm),
                    None => unreachable!("its object keeps it"),
                },
                _ => unreachable!("timers have no other operations"),
            }
        }
    }

    /// Completes an operation that is armed. The result comes back if it is not.
    pub fn fulfil(&self, ticket: Ticket, result: Result<Value, Error>) -> Result<(), Result<Value, Error>> {
        // A port that is gone had nothing armed on it.
        match self.port.get().and_then(Weak::upgrade) {
            Some(port) => self.armed.fulfil(ticket, result, Some(&mut ToPort(&port))),
            None => Err(result),
        }
    }

    /// Guards an operation, as `Armed::guard`.
    pub fn guard(&self, header: NonNull<Header>, at: u64) {
        self.armed.guard(header, at, |nanos| self.register(Some(nanos)));
    }

    /// As `Armed::release`.
    pub fn release(&self, header: NonNull<Header>) -> u32 {
        self.armed.release(header)
    }

    /// Arms a bare packet, as `Armed::post`.
    #[inline]
    pub fn post(&self, object: NonNull<Object>, token: usize, at: u64) -> Option<Ticket> {
        self.armed.post(object, token, at, |nanos| self.register(Some(nanos)))
    }

    /// Ends an operation that is not to be armed.
    ///
    /// # Safety
    /// The begun block is the caller's, who gives it up.
    #[cold]
    pub(super) unsafe fn refuse(&self, header: NonNull<Header>, port: &Port, error: Error) {
        // SAFETY: the caller's promise.
        unsafe {
            (*header.as_ptr()).work.settle(0, Err(error));
            deliver::complete(header, &mut ToPort(port));
        }
    }

    pub(super) fn cancel(&self, which: Which, port: &Port) -> usize {
        self.armed.cancel(which, &mut ToPort(port))
    }

    /// Whether packets may be on their way to the port.
    pub(super) fn is_delivering(&self) -> bool {
        self.armed.is_expiring()
    }

    fn register(&self, nanos: Option<u64>) {
        let Ok(service) = service() else { unreachable!("timers at home have found it there") };
        let mut registered = lock(&self.registered);
        let next = nanos.map(Moment::Steady);
        let sleeper = self.this.clone() as Weak<dyn Sleeper>;
        service.set(std::ptr::from_ref(self).addr(), *registered, next.map(|next| (next, sleeper)));
        *registered = next;
    }
}

impl Port {
    /// Queues what timers bring. Of a closed port it is dropped, where that may be.
    fn put_entry(&self, entry: Entry) {
        match entry.content() {
            Content::Block(header) => self.put(header),
            Content::Bare { key, bytes } => {
                if let Err(entry) = self.post(Entry::bare(key, bytes)) {
                    if self.is_closed() {
                        return entry.discard(self.contract());
                    }
                    // The kernel is out of memory for it.
                    self.push_front(std::iter::once(entry));
                }
            }
        }
        if self.is_closed() {
            self.drain(Wait::Poll);
        }
    }

    /// The wheel of its operations' deadlines, with them, if any had one.
    pub fn deadlines(&self, with: impl FnOnce(&Timing)) {
        self.deadlines.get().map(|timing| with(timing));
    }

    /// Makes that wheel.
    pub fn make_deadlines(&self) -> Result<(), Error> {
        if self.deadlines.get().is_none() {
            let timing = Timing::new();
            timing.settle(self)?;
            // Another thread may be faster.
            let _ = self.deadlines.set(timing);
        }
        Ok(())
    }

    /// Who alone may touch its objects.
    pub fn own_thread(&self) -> Option<OwnThread> {
        None
    }

    pub(super) fn enroll_timers(&self, timing: &Arc<Timing>) {
        let mut timings = lock(&self.timings);
        timings.retain(|timing| timing.strong_count() > 0);
        timings.push(Arc::downgrade(timing));
    }

    pub(super) fn timings(&self) -> Vec<Arc<Timing>> {
        lock(&self.timings).iter().filter_map(Weak::upgrade).collect()
    }
}

/// Every port's objects may be touched by any thread: there is none of these.
#[derive(Clone)]
#[allow(dead_code, reason = "other systems have them")]
pub(crate) struct OwnThread(());

impl OwnThread {
    pub fn is_here(&self) -> bool {
        true
    }

    pub fn is(&self, _: &OwnThread) -> bool {
        true
    }

    pub fn call(&self, tree: Arc<Tree>) {
        tree.cancel_own();
    }
}

impl Sleeper for Timing {
    fn wake(self: std::sync::Arc<Self>, moment: Moment) {
        {
            let mut registered = lock(&self.registered);
            if *registered == Some(moment) {
                *registered = None;
            }
        }
        // A port that is gone had nothing armed on it: what is armed keeps it.
        if let Some(port) = self.port.get().and_then(Weak::upgrade) {
            self.armed.expire(&mut ToPort(&port), |nanos| self.register(Some(nanos)));
        }
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        if self.port.get().is_some() {
            self.register(None);
        }
    }
}
