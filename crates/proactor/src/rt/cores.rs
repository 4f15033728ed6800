//! The per-core shape: the cores of one runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use super::blocking;
use super::core::{Core, Way};
use super::current::current_core;
use super::join::JoinHandle;
use crate::error::{Code, Error};
use crate::shim::{Mutex, lock};

/// What the cores and handles share.
pub(super) struct Cores {
    /// By number. The first is the thread in `block_on`, while there is one.
    ways: Mutex<Vec<Option<Arc<Way>>>>,
    /// Who gets the next task from outside.
    next: AtomicUsize,
    stopping: AtomicBool,
    pub blocking: blocking::Lazy,
}

impl Cores {
    pub fn new(cores: usize, blocking: usize) -> Arc<Cores> {
        Arc::new(Cores {
            ways: Mutex::new(vec![None; cores]),
            next: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            blocking: blocking::Lazy::new(blocking),
        })
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Cores but the first end after the poll they are in.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        lock(&self.ways).iter().skip(1).flatten().for_each(|way| way.nudge());
    }

    /// A thread takes a core's place while this lives. None: somebody has it.
    pub fn seat<'a>(&'a self, number: usize, core: &Core) -> Option<Seat<'a>> {
        let mut ways = lock(&self.ways);
        if ways[number].is_some() {
            return None;
        }
        ways[number] = Some(core.way().clone());
        Some(Seat { cores: self, number })
    }

    /// The next core that is there, in turn.
    pub fn any(&self) -> Option<Arc<Way>> {
        let ways = lock(&self.ways);
        let from = self.next.fetch_add(1, Ordering::Relaxed) % ways.len();
        let (before, behind) = ways.split_at(from);
        behind.iter().chain(before).flatten().next().cloned()
    }

    pub fn each(&self) -> Vec<(usize, Arc<Way>)> {
        let ways = lock(&self.ways);
        ways.iter().enumerate().filter_map(|(number, way)| Some((number, way.clone()?))).collect()
    }
}

/// A core's place, until its thread leaves.
pub(super) struct Seat<'a> {
    cores: &'a Cores,
    number: usize,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let left = lock(&self.cores.ways)[self.number].take();
        drop(left);
    }
}

/// Spawns on each core of the [per-core](super::Runtime::per_core) runtime the calling thread is in, its own among them, the task
/// that `make` makes there from the core's number. The futures stay on their cores and need not be `Send`; `make` and the outputs
/// travel. The handles come in the order of the numbers.
///
/// So a server has a listener for each core: sockets bound to one address with `SO_REUSEPORT` (the crate `socket2` sets it, and
/// `TcpListener::from` takes the socket), over which the system spreads the connections.
///
/// Errors: [`Code::NotSupported`] outside a per-core runtime.
///
/// ```
/// use std::rc::Rc;
/// use proactor::rt;
/// let runtime = rt::Runtime::per_core().threads(2).build()?;
/// let sum: usize = runtime.block_on(async {
///     let tasks = rt::on_each_core(|core| async move {
///         let mine = Rc::new(core); // need not be Send
///         rt::yield_now().await;
///         *mine
///     })?;
///     let mut sum = 0;
///     for task in tasks {
///         sum += task.await.unwrap();
///     }
///     Ok::<usize, proactor::Error>(sum)
/// })?;
/// assert_eq!(sum, 0 + 1);
/// # Ok::<(), proactor::Error>(())
/// ```
pub fn on_each_core<M, F>(make: M) -> Result<Vec<JoinHandle<F::Output>>, Error>
where
    M: Fn(usize) -> F + Clone + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    let Some(core) = current_core() else {
        let hint = "the calling thread is no core of a per-core runtime; on a shared one `spawn` reaches every worker";
        return Err(Error::new(Code::NotSupported).hint(hint));
    };
    let spawn = |(number, way): (usize, Arc<Way>)| {
        let make = make.clone();
        start_on(&way, move || make(number))
    };
    Ok(core.cores().each().into_iter().map(spawn).collect())
}

/// Has a core make a future and run it.
pub(super) fn start_on<M, F>(way: &Arc<Way>, make: M) -> JoinHandle<F::Output>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    // SAFETY: until its first poll it is `make`, which is Send.
    unsafe { way.spawn_here(Seed::Make(Some(make))) }
}

/// A future that is made where it first runs.
enum Seed<M, F> {
    Make(Option<M>),
    Run(F),
}

impl<M: FnOnce() -> F, F: Future> Future for Seed<M, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `make` is never pinned, it is taken out and called; the future stays where `set` puts it.
        if let Seed::Make(make) = unsafe { self.as_mut().get_unchecked_mut() } {
            let Some(make) = make.take() else { unreachable!("a task that panicked is not polled again") };
            let future = make();
            self.as_mut().set(Seed::Run(future));
        }
        // SAFETY: pinned as this is.
        match unsafe { self.get_unchecked_mut() } {
            // SAFETY: as above.
            Seed::Run(future) => unsafe { Pin::new_unchecked(future) }.poll(cx),
            Seed::Make(_) => unreachable!("it was made above"),
        }
    }
}
