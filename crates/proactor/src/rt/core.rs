//! One core of the per-core shape: a thread, its port, and its tasks, which stay there.
//!
//! | a task is woken | it goes |
//! |---|---|
//! | on its own thread | to the list of those that are ready |
//! | on another | through the port, as the key of a packet |
//!
//! A turn runs what was ready at its beginning, enters the kernel once, and takes everything that came.
//!
//! At the end the registry is closed, which wakes all tasks, and each is dropped as it comes out of the list or the port; the port
//! goes when none is left. So no task is ever dropped on another thread: a post that is refused has only what is dead.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_task::Runnable;

use super::cores::Cores;
use super::current::{self, Current};
use super::job::{Job, Nothing};
use super::join::JoinHandle;
use super::registry::Registry;
use super::task;
use crate::backend::{Alert, Got};
use crate::error::Error;
use crate::home::Local;
use crate::op::thread_number;
use crate::port::{Entry, Fetch, LocalPort, Packet, RemotePort};
use crate::time::{Timers, Wait};

/// Most packets of one turn.
const PACKETS: usize = 16;
/// How often the end of a core looks for what other threads are about to schedule.
const GLANCE: Duration = Duration::from_millis(1);

/// What other threads know of a core.
pub(super) struct Way {
    pub thread: u64,
    remote: RemotePort<Nothing, Job>,
    registry: Arc<Registry>,
}

pub(super) struct Core {
    port: LocalPort<Nothing, Job>,
    ready: RefCell<VecDeque<Runnable>>,
    timers: Timers<Local>,
    way: Arc<Way>,
    cores: Arc<Cores>,
}

thread_local! {
    /// The core whose turns this thread takes: a task's schedule looks here whether it is at home.
    static AT_HOME: Cell<*const Core> = const { Cell::new(ptr::null()) };
}

impl Way {
    fn schedule(self: &Arc<Way>, runnable: Runnable) {
        // A thread that is ending takes no turns any more.
        let core = AT_HOME.try_with(Cell::get).unwrap_or(ptr::null());
        // SAFETY: set while its core is borrowed by `Turns`, on this thread.
        if let Some(core) = unsafe { core.as_ref() }
            && Arc::ptr_eq(&core.way, self)
        {
            core.ready.borrow_mut().push_back(runnable);
        } else {
            // Refused after the core's end, when every task's future is gone.
            drop(self.remote.post(Job(Some(runnable)), 0, None));
        }
    }

    /// Has the core's thread look around.
    pub fn nudge(&self) {
        // Refused by a core that has ended.
        drop(self.remote.post(Job(None), 0, None));
    }

    pub fn is_here(&self) -> bool {
        self.thread == thread_number()
    }

    /// A task of this core, from any thread.
    pub fn spawn<F>(self: &Arc<Way>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: the future is Send.
        unsafe { self.spawn_here(future) }
    }

    /// # Safety
    /// Until its first poll the future may be moved to this core's thread, and dropped on any.
    pub unsafe fn spawn_here<F>(self: &Arc<Way>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let way = self.clone();
        // SAFETY: `schedule` takes a task to this core's thread, where alone it is run and dropped.
        unsafe { task::spawn(&self.registry, future, move |runnable| way.schedule(runnable)) }
    }
}

impl Core {
    pub fn new(cores: &Arc<Cores>) -> Result<Rc<Core>, Error> {
        let port = LocalPort::new()?;
        let timers = port.associate(Timers::new(), Job(None)).map_err(|refused| refused.error)?;
        let way = Way { thread: thread_number(), remote: port.remote(), registry: Registry::new() };
        let (ready, way) = (RefCell::default(), Arc::new(way));
        Ok(Rc::new(Core { port, ready, timers, way, cores: cores.clone() }))
    }

    pub fn port(&self) -> &LocalPort<Nothing, Job> {
        &self.port
    }

    pub fn timers(&self) -> &Timers<Local> {
        &self.timers
    }

    pub fn way(&self) -> &Arc<Way> {
        &self.way
    }

    pub fn cores(&self) -> &Arc<Cores> {
        &self.cores
    }

    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        // SAFETY: this is the core's thread, where a task that is refused is dropped.
        unsafe { self.way.spawn_here(future) }
    }

    /// Runs what is ready, then completes operations: waits for the first if nothing is ready then, and `is_up` does not say
    /// that there is something else to do. False: the port cannot go on.
    fn turn(&self, is_up: &dyn Fn() -> bool) -> bool {
        let ready = self.ready.borrow().len();
        for _ in 0..ready {
            let Some(runnable) = self.ready.borrow_mut().pop_front() else { break };
            runnable.run();
        }
        self.fetch(Wait::Forever, is_up)
    }

    fn fetch(&self, wait: Wait, is_up: &dyn Fn() -> bool) -> bool {
        let mut slots = [const { None }; PACKETS];
        let is_up = || !self.ready.borrow().is_empty() || is_up();
        let wait = if is_up() { Wait::Poll } else { wait };
        let alert = Alert { alarm: None, is_up: &is_up };
        let got = self.port.inner.get_alertable(&mut Fetch::new(&mut slots), wait, &alert);
        for entry in slots.into_iter().map_while(|entry| entry).filter_map(Entry::unless_handler) {
            // SAFETY: fetched from this port, and no handler's.
            let packet = unsafe { Packet::<Nothing, Job>::from_entry(entry) };
            if let Some(runnable) = packet.key.0 {
                self.ready.borrow_mut().push_back(runnable);
            }
        }
        matches!(got, Ok(Got::Entries | Got::TimedOut | Got::Alerted))
    }

    /// Runs tasks until `is_over`, which another thread makes so before it nudges.
    pub fn run(self: Rc<Core>, is_over: impl Fn() -> bool) {
        let _turns = Turns::begin(&self);
        while !is_over() && self.turn(&is_over) {}
    }

    /// Runs a future and the tasks, until the future is over.
    pub fn block_on<F: Future>(self: Rc<Core>, future: F) -> F::Output {
        let turns = Turns::begin(&self);
        let root = Arc::new(Root { woken: AtomicBool::new(true), way: self.way.clone() });
        let waker = Waker::from(root.clone());
        let mut context = Context::from_waker(&waker);
        let output = {
            let mut future = pin!(future);
            loop {
                if root.woken.swap(false, Ordering::AcqRel)
                    && let Poll::Ready(output) = future.as_mut().poll(&mut context)
                {
                    break output;
                }
                if !self.turn(&|| root.woken.load(Ordering::Acquire)) {
                    // A forked child: nothing it could wait for will happen there.
                    std::thread::sleep(GLANCE);
                    root.woken.store(true, Ordering::Release);
                }
            }
        };
        drop(turns);
        output
    }

    /// Drops every task.
    fn end(&self) {
        self.way.registry.close();
        loop {
            loop {
                let Some(runnable) = self.ready.borrow_mut().pop_front() else { break };
                drop(runnable);
            }
            if self.way.registry.is_empty() || !self.fetch(Wait::from(GLANCE), &|| false) {
                break;
            }
        }
        // What was scheduled before its task was over: it has nothing left.
        let left = self.ready.take();
        drop(left);
    }
}

/// This thread takes the core's turns, until this is dropped, which ends the core.
struct Turns<'a> {
    core: &'a Rc<Core>,
    before: *const Core,
    entered: Option<current::Entered>,
}

impl<'a> Turns<'a> {
    fn begin(core: &'a Rc<Core>) -> Turns<'a> {
        let entered = Some(current::enter(Current::Core(core.clone())));
        Turns { core, before: AT_HOME.replace(Rc::as_ptr(core)), entered }
    }
}

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        self.core.end();
        AT_HOME.set(self.before);
        drop(self.entered.take());
    }
}

/// Wakes the future of `block_on`.
struct Root {
    woken: AtomicBool,
    way: Arc<Way>,
}

impl Wake for Root {
    fn wake(self: Arc<Root>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Root>) {
        if !self.woken.swap(true, Ordering::AcqRel) && !self.way.is_here() {
            self.way.nudge();
        }
    }
}
