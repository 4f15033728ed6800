//! The shared shape: workers in one port, and tasks that are packets of it.
//!
//! A task that is to run is posted as the key of a packet without a block. What a worker wakes while it reaps in the port's
//! `get` it takes from there itself; that costs no signal to another (`backend/epoll/port.rs`).
//!
//! At the end the port is closed, which drops the tasks in it; from then on who schedules a task drops it. The last worker to leave
//! closes the registry, which schedules all that are left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_task::Runnable;

use super::current::{self, Current};
use super::job::{Job, Nothing};
use super::join::JoinHandle;
use super::registry::Registry;
use super::{blocking, task};
use crate::error::Error;
use crate::port::{CompletionPort, Outcome};
use crate::sync::Event;
use crate::time::Timers;

/// What workers, tasks and handles share.
pub(super) struct Shared {
    port: CompletionPort<Nothing, Job>,
    registry: Arc<Registry>,
    timers: Timers,
    pub blocking: blocking::Lazy,
    /// Workers that have not left.
    workers: AtomicUsize,
    /// Every worker has left, and every task is dropped.
    pub ended: Event,
}

impl Shared {
    pub fn new(workers: u32, blocking: usize) -> Result<Arc<Shared>, Error> {
        let port = CompletionPort::for_workers(workers)?;
        let timers = Timers::new();
        // Takes their descriptor now, so that no sleep fails for want of one.
        port.associate(&timers, Job(None))?;
        let shared = Shared {
            port,
            registry: Registry::new(),
            timers,
            blocking: blocking::Lazy::new(blocking),
            workers: AtomicUsize::new(workers as usize),
            ended: Event::manual(),
        };
        Ok(Arc::new(shared))
    }

    pub fn port(&self) -> &CompletionPort<Nothing, Job> {
        &self.port
    }

    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    pub fn spawn<F>(self: &Arc<Shared>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let shared = self.clone();
        // A port that is closed gives it back, and it is dropped here.
        let schedule = move |runnable: Runnable| drop(shared.port.post(Job(Some(runnable)), 0, None));
        // SAFETY: the future is Send.
        unsafe { task::spawn(&self.registry, future, schedule) }
    }

    /// A worker's life.
    pub fn work(self: Arc<Shared>) {
        let leaving = Leaving(&self);
        let entered = current::enter(Current::Shared(self.clone()));
        loop {
            match self.port.get(None) {
                Ok(Outcome::Packet(packet) | Outcome::Failed(packet)) => {
                    if let Some(runnable) = packet.key.0 {
                        runnable.run();
                    }
                }
                Ok(Outcome::TimedOut | Outcome::Apc) => {}
                Ok(Outcome::Abandoned) | Err(_) => break,
            }
        }
        drop(entered);
        drop(leaving);
    }

    /// Ends it: workers leave at the end of the poll they are in.
    pub fn stop(&self) {
        self.port.close();
    }

    /// Some workers could not be started.
    pub fn never_began(&self, workers: usize) {
        self.left(workers);
    }

    fn left(&self, workers: usize) {
        if workers > 0 && self.workers.fetch_sub(workers, Ordering::AcqRel) == workers {
            self.registry.close();
            self.ended.set();
        }
    }
}

/// A worker leaves, whatever makes it.
struct Leaving<'a>(&'a Arc<Shared>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.left(1);
    }
}
