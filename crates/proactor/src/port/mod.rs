//! The completion port: typed by the block and the key its packets carry.
//!
//! Contract: any thread may call anything. `get` binds the calling thread to the port, as SEMANTICS of completion ports
//! have it: a bound thread counts against the concurrency until it waits again, blocks, or ends.

mod batch;
mod block_on;
mod entry;
mod key;
mod local;
mod settings;

use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::sync::Arc;

pub use batch::Batch;
pub(crate) use entry::{Content, Entry, Fetch};
pub use entry::{Fetched, Outcome, Packet};
pub use key::Key;
pub use local::{LocalPort, RemotePort};
pub use settings::{Concurrency, Settings};

use crate::backend::{self, Alert, Contract, Got};
use crate::error::{Code, Error, Refused};
use crate::handle::AsObject;
use crate::op::{Block, Delivery, Op, begin};
use crate::sync::getting;
use crate::sync::object::Core;
use crate::sync::waitable::sealed::Sealed;
use crate::time::Wait;

/// What the untyped machinery is told of a port.
fn contract<K: Key>(block_type: Option<TypeId>) -> Contract {
    Contract {
        block_type,
        // SAFETY: whoever calls it passes a key in the raw form `K::into_raw` gave, once.
        drop_key: |raw| drop(unsafe { K::from_raw(raw) }),
        // SAFETY: whoever calls it has such a key, and keeps it.
        copy_key: |raw| K::into_raw(K::clone(&std::mem::ManuallyDrop::new(unsafe { K::from_raw(raw) }))),
    }
}

/// Takes and gives packets of a type, and holds none: the port is Send and Sync whatever they are.
type Carries<P> = fn(P) -> P;

/// The entry of a post, and its key in raw form.
fn entry_of<B: 'static, K: Key>(key: K, bytes: usize, block: Option<Block<B>>) -> (usize, Entry) {
    let raw = key.into_raw();
    let entry = match block {
        None => Entry::bare(raw, bytes),
        Some(mut block) => {
            let header = block.header();
            // SAFETY: no object is involved.
            unsafe { begin(header, Op::Post, None, Delivery::Packet) };
            header.key = raw;
            header.work.bytes = bytes;
            Entry::of_block(block.into_raw())
        }
    };
    (raw, entry)
}

/// Gives key and block of a refused post back.
///
/// # Safety
/// The entry is the one `entry_of` made with this raw key, and nobody else has either.
unsafe fn refused_post<B: 'static, K: Key>(raw: usize, entry: Entry) -> RefusedPost<B, K> {
    // SAFETY: the caller's promise.
    let back = unsafe {
        let block = match entry.content() {
            Content::Block(header) => Some(Block::from_raw(header)),
            Content::Bare { .. } => None,
        };
        (K::from_raw(raw), block)
    };
    let code = if backend::check_fork().is_err() { Code::Forked } else { Code::InvalidHandle };
    Refused { error: Error::new(code), back }
}

/// Runs the handlers that come and goes on until `get` gives a packet, or ends otherwise.
#[inline]
fn past_handlers(
    wait: Wait,
    mut get: impl FnMut(Wait) -> Result<(Got, Option<Entry>), Error>,
) -> Result<(Got, Option<Entry>), Error> {
    let (got, entry) = get(wait)?;
    match entry.map(Entry::unless_handler) {
        None => Ok((got, None)),
        Some(Some(packet)) => Ok((got, Some(packet))),
        Some(None) => after_a_handler(wait, get),
    }
}

/// One packet, by an alertable `get`.
fn one_alertably(
    wait: Wait,
    mut get: impl FnMut(&mut Fetch<'_>, Wait, &Alert<'_>) -> Result<Got, Error>,
) -> Result<(Got, Option<Entry>), Error> {
    past_handlers(wait, |wait| {
        let mut slots = [None];
        let got = getting::get(|alert| get(&mut Fetch::new(&mut slots), wait, alert))?;
        let [entry] = slots;
        Ok((got, entry))
    })
}

/// Once the wait is over, so many more handlers are run: those of a chain that goes on at once have no end.
const MORE_HANDLERS: u32 = 64;

/// The same, of a wait that ran a handler already.
fn after_a_handler(
    wait: Wait,
    mut get: impl FnMut(Wait) -> Result<(Got, Option<Entry>), Error>,
) -> Result<(Got, Option<Entry>), Error> {
    let mut past_the_end = 0;
    while past_the_end < MORE_HANDLERS {
        let entry = match get(wait) {
            Ok((_, Some(entry))) => entry,
            Ok(ended) => return Ok(ended),
            // A handler closed the port, which is during the wait.
            Err(error) if error.code() == Code::InvalidHandle => return Ok((Got::Abandoned, None)),
            Err(error) => return Err(error),
        };
        if let Some(packet) = entry.unless_handler() {
            return Ok((Got::Entries, Some(packet)));
        }
        past_the_end += u32::from(wait.is_over());
    }
    Ok((Got::TimedOut, None))
}

/// A post that was refused, with its key and block.
pub type RefusedPost<B, K> = Refused<(K, Option<Block<B>>)>;

/// A completion port (`CreateIoCompletionPort`): packets from any number of sockets and files, for any number of
/// workers, of which at most `concurrency` run at once.
///
/// `B` is the struct that travels with each operation ([`Block`]), `K` the completion key ([`Key`]). Packets are FIFO;
/// the worker that began to wait last gets the next one. Dropping the port closes it.
///
/// ```
/// use proactor::{Block, CompletionPort, Concurrency, Outcome};
/// let port: CompletionPort<String, usize> = CompletionPort::new(Concurrency::Cores)?;
/// port.post(7, 3, Some(Block::new("posted".to_string())))?;
/// match port.get(None)? {
///     Outcome::Packet(packet) => {
///         assert_eq!((packet.key, packet.done.bytes), (7, 3));
///         assert_eq!(packet.block.as_deref().map(String::as_str), Some("posted"));
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct CompletionPort<B = (), K: Key = usize> {
    pub(crate) inner: Arc<backend::Port>,
    carries: PhantomData<Carries<Packet<B, K>>>,
}

impl<B: Send + 'static, K: Key> CompletionPort<B, K> {
    /// A new port: for so many workers at once, or with [`Settings`].
    ///
    /// Errors: [`Code::TooManyDescriptors`], [`Code::InsufficientResources`] from the system, [`Code::Forked`] in a
    /// forked child.
    pub fn new(settings: impl Into<Settings>) -> Result<CompletionPort<B, K>, Error> {
        let contract = contract::<K>(Some(Block::<B>::block_type()));
        Ok(CompletionPort { inner: backend::Port::new(settings.into().plan(), contract)?, carries: PhantomData })
    }

    /// A port for so many threads of the library's, which always come back to `get`.
    pub(crate) fn for_workers(workers: u32) -> Result<CompletionPort<B, K>, Error> {
        let plan = backend::Plan { concurrency: workers, block_monitor: false, crew: true };
        let inner = backend::Port::new(plan, contract::<K>(Some(Block::<B>::block_type())))?;
        Ok(CompletionPort { inner, carries: PhantomData })
    }

    /// Makes this port the object's home, for life: completions of its operations come here, with `key`.
    ///
    /// Errors: [`Code::InvalidParameter`] (87) if the object has a home already, be it the process's own since its
    /// first operation; [`Code::InvalidHandle`] (6) if the port is closed, or the object cannot be waited for.
    pub fn associate(&self, object: &impl AsObject, key: K) -> Result<(), Error> {
        let raw = key.into_raw();
        object.opaque().0.associate(&self.inner.clone().into(), raw).inspect_err(|_| {
            // SAFETY: `associate` failed, so the key is still ours.
            drop(unsafe { K::from_raw(raw) });
        })
    }

    /// Queues a packet (`PostQueuedCompletionStatus`): a success with these bytes and, if given, this block. Never
    /// waits, and is never lost while the port is open.
    ///
    /// Errors: [`Code::InvalidHandle`] (6) if the port is closed, [`Code::Forked`] in a forked child; key and block come
    /// back.
    pub fn post(&self, key: K, bytes: usize, block: Option<Block<B>>) -> Result<(), RefusedPost<B, K>> {
        let (raw, entry) = entry_of(key, bytes, block);
        // SAFETY: the entry is the one made above, refused whole.
        self.inner.post(entry).map_err(|entry| unsafe { refused_post(raw, entry) })
    }

    /// Takes one packet, waiting for it until `wait` ends (`GetQueuedCompletionStatus`): `None` for ever, a `Duration`,
    /// or an `Instant`.
    ///
    /// Handlers ([`then`](crate::Operation::then)) whose turn comes first are run, and the wait goes on. The five ends of
    /// the wait are the variants of [`Outcome`]. Errors: [`Code::InvalidHandle`] (6) if the port was
    /// closed before the call, [`Code::Forked`] in a forked child.
    #[inline]
    pub fn get(&self, wait: impl Into<Wait>) -> Result<Outcome<B, K>, Error> {
        let (got, entry) = past_handlers(wait.into(), |wait| {
            let mut slots = [None];
            let got = self.inner.get(&mut Fetch::new(&mut slots), wait)?;
            let [entry] = slots;
            Ok((got, entry))
        })?;
        // SAFETY: the entry came from this port, whose blocks and keys are B and K.
        Ok(unsafe { Outcome::fetched(got, entry) })
    }

    /// Takes as many packets as are there and fit `batch`, waiting for the first (`GetQueuedCompletionStatusEx`).
    /// Returns `true` if there are any, or handlers, which the batch runs; `false` when `wait` ended. What an earlier call left
    /// in the batch goes back to the port first.
    ///
    /// Errors: [`Code::InvalidParameter`] (87) for a batch of no room, [`Code::Abandoned`] (735) if the port was closed
    /// during the wait, [`Code::InvalidHandle`] (6) if it was before.
    pub fn get_many(&self, batch: &mut Batch<B, K>, wait: impl Into<Wait>) -> Result<bool, Error> {
        let got = self.inner.get(&mut batch.fetch()?, wait.into())?;
        batch.fetched(got, || self.inner.clone().into(), |port| port.is(&self.inner))
    }

    /// As [`get`](CompletionPort::get), alertable (`GetQueuedCompletionStatusEx` with `fAlertable`): if there is no packet
    /// and APCs or completion routines of this thread are queued, or come while it waits, they run, and the outcome is
    /// [`Outcome::Apc`]. So they do, packets or not, in a thread's first call on this port.
    ///
    /// ```
    /// use proactor::{CompletionPort, Outcome, sync::Thread};
    /// let port: CompletionPort = CompletionPort::new(1)?;
    /// port.post(7, 0, None)?;
    /// assert!(port.get(None)?.packet().is_some());
    /// Thread::current().queue_apc(|| println!("in the next alertable wait"))?;
    /// assert!(matches!(port.get_alertable(None)?, Outcome::Apc));
    /// # Ok::<(), proactor::Error>(())
    /// ```
    ///
    /// Errors: as `get`, and the system's if it has no descriptor to wake this thread by.
    pub fn get_alertable(&self, wait: impl Into<Wait>) -> Result<Outcome<B, K>, Error> {
        let (got, entry) = one_alertably(wait.into(), |fetch, wait, alert| self.inner.get_alertable(fetch, wait, alert))?;
        // SAFETY: the entry came from this port, whose blocks and keys are B and K.
        Ok(unsafe { Outcome::fetched(got, entry) })
    }

    /// As [`get_many`](CompletionPort::get_many), alertable as [`get_alertable`](CompletionPort::get_alertable) is.
    pub fn get_many_alertable(&self, batch: &mut Batch<B, K>, wait: impl Into<Wait>) -> Result<Fetched, Error> {
        let wait = wait.into();
        let got = getting::get(|alert| self.inner.get_alertable(&mut batch.fetch()?, wait, alert))?;
        batch.fetched_alertably(got, || self.inner.clone().into(), |port| port.is(&self.inner))
    }

    /// Closes the port: every waiting worker gets [`Outcome::Abandoned`], packets nobody fetched are dropped with their
    /// blocks, operations whose packets could only have come here are cancelled and dropped. Sockets and files go on
    /// working, with deliveries that need no port. Closing twice is fine.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Whether the port is closed.
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
}

impl<B, K: Key> Drop for CompletionPort<B, K> {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl<B, K: Key> Sealed for CompletionPort<B, K> {
    fn core(&self) -> Result<&Arc<Core>, Error> {
        self.inner.core()
    }

    fn attend(&self) -> Option<Box<dyn Any + Send + Sync>> {
        self.inner.await_packets()
    }
}

impl<B, K: Key> std::fmt::Debug for CompletionPort<B, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompletionPort").field("closed", &self.inner.is_closed()).finish_non_exhaustive()
    }
}
