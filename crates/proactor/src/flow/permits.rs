//! Permits: so many, and who wants one waits for it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::backend;
use crate::buf::NoBuffer;
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{OpKind, Operation, Source, Value, Waiting, awaited};
use crate::shim::{Mutex, lock};

/// So many permits for what may be there at once: connections, requests, buffers.
///
/// An accept loop with a limit takes a permit before each accept, and leaves it with the connection: at the limit it stops
/// accepting, so that clients wait in the listener's backlog, and it goes on when a connection ends.
///
/// Permits go to waits in call order. Associate them with a port like a socket, or wait and await without. Cloning shares them;
/// dropping the last handle cancels the waits, and permits that are out stay good.
///
/// ```
/// use proactor::flow::Permits;
/// use proactor::net::{TcpListener, TcpStream};
/// # proactor::block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
/// let permits = Permits::new(2);
/// # let clients: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
/// let mut connections = Vec::new();
/// for _ in 0..2 {
///     let permit = permits.acquire().await.result?;
///     connections.push((listener.accept().await.result?.stream, permit));
/// }
/// assert!(permits.try_acquire().is_none());   // at the limit: the third client waits
/// connections.pop();                          // one ends
/// let permit = permits.acquire().await.result?;
/// connections.push((listener.accept().await.result?.stream, permit));
/// # Ok::<(), proactor::Error>(())
/// # })?;
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct Permits<H: Home = Shared> {
    inner: Opaque<H>,
    store: Arc<Store>,
}

object!(Permits, with store);

#[derive(Default)]
struct Store(Mutex<State>);

#[derive(Default)]
struct State {
    free: usize,
    waiting: VecDeque<Waiting>,
}

impl Permits {
    /// So many. None at all is fine, and others may be [added](Permits::add).
    pub fn new(count: usize) -> Permits {
        let handle = Handle::new(Kind::Awaited, backend::ObjectState::timers());
        let permits = Permits { inner: Opaque::new(handle), store: Arc::default() };
        lock(&permits.store.0).free = count;
        permits
    }
}

impl<H: Home> Permits<H> {
    /// Completes with a permit, once there is one. A packet has it as [`Value::Permit`](crate::Value::Permit).
    ///
    /// `Cancelled` by a cancel, or by the drop of the last handle. A permit that came to an operation nobody asks any more goes
    /// back: none is lost.
    pub fn acquire(&self) -> Operation<'_, NoBuffer, Permit, H> {
        Operation::new(self.handle(), awaited(OpKind::Acquire, self.store.clone()), NoBuffer)
    }

    /// A permit, if there is one now and nobody waits for it.
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut state = lock(&self.store.0);
        state.free = state.free.checked_sub(1)?;
        Some(Permit(Some(self.store.clone())))
    }

    /// How many there are now. Others may take them at once.
    pub fn available(&self) -> usize {
        lock(&self.store.0).free
    }

    /// Raises the limit by so many.
    pub fn add(&self, count: usize) {
        for _ in 0..count {
            self.store.clone().give();
        }
    }
}

impl Store {
    /// One more: for whoever waits first, or to be had.
    fn give(self: Arc<Self>) {
        loop {
            let first = {
                let mut state = lock(&self.0);
                match state.waiting.pop_front() {
                    None => {
                        state.free += 1;
                        return;
                    }
                    Some(first) => first,
                }
            };
            match first.complete(Ok(Value::Permit(Permit(Some(self.clone()))))) {
                Err(Ok(Value::Permit(mut back))) => drop(back.0.take()),
                _ => return,
            }
        }
    }
}

impl Source for Store {
    fn begin(self: Arc<Self>, arm: &mut dyn FnMut(u64) -> Option<Waiting>) {
        let waiting = {
            let mut state = lock(&self.0);
            let Some(waiting) = arm(crate::time::NEVER) else { return };
            // While any is free nobody waits.
            let Some(left) = state.free.checked_sub(1) else { return state.waiting.push_back(waiting) };
            state.free = left;
            waiting
        };
        // One that is cancelled just now gives it back.
        drop(waiting.complete(Ok(Value::Permit(Permit(Some(self))))));
    }

    fn over(&self, sequence: u64) {
        let mut state = lock(&self.0);
        if let Some(at) = state.waiting.iter().position(|waiting| waiting.sequence() == sequence) {
            state.waiting.remove(at);
        }
    }
}

/// One permit. Dropping it gives it back, to whoever waits first.
#[must_use = "dropping a permit gives it back"]
pub struct Permit(Option<Arc<Store>>);

impl Permit {
    /// Gives it up for good: there is one less from now on.
    pub fn forget(mut self) {
        self.0.take();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(store) = self.0.take().filter(|_| backend::check_fork().is_ok()) {
            store.give();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
