//! A pool's threads: how many there are, when one is added, when one goes.
//!
//! While there is room for another, one thread waits in the port, so that completions are noticed: a thread that leaves
//! the port with a callback, and finds nobody left behind it, adds one. How many *run* is the port's gate's business.
//!
//! | atomic | partner |
//! |---|---|
//! | a post, then `waiting` look | `waiting` −1 with what was fetched, then `waiting` look: the last of both to look adds a thread |

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::member::Member;
use crate::deliver::unharmed;
use crate::error::Error;
use crate::port::{CompletionPort, Concurrency, Outcome};
use crate::shim::{Mutex, lock};
use crate::time::Timers;

/// How long a thread above the minimum stays without work.
const LINGER: Duration = Duration::from_secs(10);

pub(super) struct Crew {
    pub port: CompletionPort<(), Option<Arc<Member>>>,
    /// What timers and timed waits are armed in, once there are any.
    timers: OnceLock<Timers>,
    name: String,
    /// Threads inside the port's `get`.
    waiting: AtomicUsize,
    size: Mutex<Size>,
}

struct Size {
    threads: usize,
    least: usize,
    most: usize,
}

impl Crew {
    pub fn new(name: String, least: usize, most: usize) -> Result<Arc<Crew>, Error> {
        let port = CompletionPort::new(Concurrency::Cores)?;
        let size = Mutex::new(Size { threads: 0, least, most });
        let crew = Arc::new(Crew { port, timers: OnceLock::new(), name, waiting: AtomicUsize::new(0), size });
        crew.fill()?;
        Ok(crew)
    }

    /// Brings the crew up to its minimum.
    fn fill(self: &Arc<Crew>) -> Result<(), Error> {
        loop {
            let mut size = lock(&self.size);
            if size.threads >= size.least {
                return Ok(());
            }
            size.threads += 1;
            drop(size);
            self.spawn()?;
        }
    }

    pub fn resize(self: &Arc<Crew>, change: impl FnOnce(&mut usize, &mut usize)) -> Result<(), Error> {
        let mut size = lock(&self.size);
        let Size { least, most, .. } = &mut *size;
        change(least, most);
        drop(size);
        self.fill()
    }

    pub fn threads(&self) -> usize {
        lock(&self.size).threads
    }

    /// The crew's timers.
    pub fn timers(self: &Arc<Crew>) -> Result<Timers, Error> {
        if let Some(timers) = self.timers.get() {
            return Ok(timers.clone());
        }
        let timers = Timers::new();
        self.port.associate(&timers, None)?;
        self.keep_one_waiting();
        Ok(self.timers.get_or_init(|| timers).clone())
    }

    /// After a post, or before a callback runs: somebody must be left to wait in the port, if the maximum allows.
    pub fn keep_one_waiting(self: &Arc<Crew>) -> bool {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return true;
        }
        let mut size = lock(&self.size);
        if size.threads >= size.most {
            return false;
        }
        size.threads += 1;
        drop(size);
        match self.spawn() {
            Ok(()) => true,
            Err(error) => {
                log::warn!("proactor: the thread pool goes on with the threads it has: {error}");
                false
            }
        }
    }

    /// Adds a thread that is counted already.
    fn spawn(self: &Arc<Crew>) -> Result<(), Error> {
        let crew = self.clone();
        let spawned = std::thread::Builder::new().name(self.name.clone()).spawn(move || crew.serve());
        match spawned {
            Ok(_) => Ok(()),
            Err(error) => {
                lock(&self.size).threads -= 1;
                Err(Error::from_io(&error))
            }
        }
    }

    /// A callback begins on a thread that was waiting in the port.
    pub fn leave(self: &Arc<Crew>) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.keep_one_waiting();
    }

    /// It is over, and the thread still inside the port.
    pub fn re_enter(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
    }

    fn serve(self: Arc<Crew>) {
        loop {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let outcome = self.port.get(LINGER);
            match outcome {
                Ok(Outcome::Packet(packet) | Outcome::Failed(packet)) => {
                    self.leave();
                    if let Some(member) = packet.key {
                        member.run(packet.done.bytes);
                        // The object may have gone before: its callback is dropped here.
                        unharmed(|| drop(member));
                    }
                }
                Ok(Outcome::TimedOut | Outcome::Apc) => {
                    self.waiting.fetch_sub(1, Ordering::SeqCst);
                    if self.may_go() {
                        return;
                    }
                }
                Ok(Outcome::Abandoned) | Err(_) => {
                    self.waiting.fetch_sub(1, Ordering::SeqCst);
                    lock(&self.size).threads -= 1;
                    return;
                }
            }
        }
    }

    /// A thread found nothing to do for a while: whether it goes. One stays, so that completions are noticed.
    fn may_go(&self) -> bool {
        let mut size = lock(&self.size);
        let goes = size.threads > size.least.max(1);
        if goes {
            size.threads -= 1;
        }
        goes
    }
}
