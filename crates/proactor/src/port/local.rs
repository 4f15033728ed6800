//! The per-thread port: the same packets for one thread alone, at the least cost the system allows.

use std::marker::PhantomData;

use super::entry::{Fetched, Outcome, Packet};
use super::key::Key;
use super::{Batch, RefusedPost, contract, entry_of, refused_post};
use crate::backend;
use crate::error::{Code, Error, Refused};
use crate::handle::AsObject;
use crate::home::Local;
use crate::op::Block;
use crate::sync::getting;
use crate::time::Wait;

/// A completion port of one thread: thread-per-core servers have one each.
///
/// On Linux it is an io_uring that this thread alone enters; where that is refused, a private epoll instance; on
/// Windows, a completion port nobody else is given. Operations and deliveries are those of
/// [`CompletionPort`](crate::CompletionPort); what it gives up for its speed is sharing:
///
/// - Objects come to live on it by [`associate`](LocalPort::associate), which takes them and gives them back as
///   `TcpStream<Local>` and so on: they, their operations and their handles stay on this thread, by type.
/// - Nothing moves but inside [`get`](LocalPort::get), [`get_many`](LocalPort::get_many) and
///   [`Overlapped::wait`](crate::Overlapped::wait) of this thread: a started operation, a cancel, the close of a dropped
///   object reach the kernel there, gathered.
/// - Other threads post through a [`RemotePort`].
///
/// Blocks need not be `Send`. Dropping the port closes it.
///
/// ```
/// use proactor::{Block, BufferPool, LocalPort, Outcome, Value, net::{TcpListener, TcpStream}};
/// let port: LocalPort<(), usize> = LocalPort::new()?;
/// let listener = port.associate(TcpListener::bind("127.0.0.1:0".parse().unwrap())?, 1)?;
/// listener.accept_multi().packet(Block::new(()))?;
/// # let addr = listener.local_addr()?;
/// # let client = std::thread::spawn(move || { use std::io::Write; std::net::TcpStream::connect(addr).unwrap().write_all(b"hello") });
/// let pool = BufferPool::new(16, 4096);
/// let mut connections = Vec::new();
/// loop {
///     let Outcome::Packet(packet) = port.get(None)? else { panic!() };
///     match packet.done.result? {
///         Value::Tcp(accepted) => {
///             let stream = port.associate(accepted.stream, 2)?;
///             stream.recv_multi(&pool).packet(Block::new(()))?;
///             connections.push(stream);
///         }
///         Value::Buffer(bytes) => {
///             assert!(packet.more && b"hello".starts_with(&bytes));
///             break;
///         }
///         other => panic!("{other:?}"),
///     }
/// }
/// # client.join().unwrap()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct LocalPort<B = (), K: Key = usize> {
    pub(crate) inner: backend::PortRef,
    carries: PhantomData<super::Carries<Packet<B, K>>>,
    home: PhantomData<Local>,
}

impl<B: 'static, K: Key> LocalPort<B, K> {
    /// A port of the calling thread.
    ///
    /// Errors: [`Code::TooManyDescriptors`], [`Code::InsufficientResources`] from the system, [`Code::Forked`] in a
    /// forked child.
    pub fn new() -> Result<LocalPort<B, K>, Error> {
        let inner = backend::PortRef::new_local(contract::<K>(Some(Block::<B>::block_type())))?;
        Ok(LocalPort { inner, carries: PhantomData, home: PhantomData })
    }

    /// Makes this port the object's home, for life, and gives it back as one of this thread's.
    ///
    /// Errors, with the object: [`Code::InvalidParameter`] (87) if it has a home already, or other handles, or operations
    /// in flight; [`Code::InvalidHandle`] (6) if the port is closed.
    pub fn associate<O: AsObject>(&self, object: O, key: K) -> Result<O::OnLocal, Refused<O>> {
        let handle = &object.opaque().0;
        if !handle.is_alone() {
            let hint = "other handles of this object exist, or operations are in flight on it; associate it before its first use";
            return Err(Refused { error: Error::new(Code::InvalidParameter).hint(hint), back: object });
        }
        let raw = key.into_raw();
        if let Err(error) = handle.associate(&self.inner, raw) {
            // SAFETY: `associate` failed, so the key is still ours.
            drop(unsafe { K::from_raw(raw) });
            return Err(Refused { error, back: object });
        }
        // SAFETY: this handle is the only one, and its home is this thread's port.
        Ok(unsafe { object.into_local() })
    }

    /// As [`CompletionPort::post`](crate::CompletionPort::post), from this thread.
    pub fn post(&self, key: K, bytes: usize, block: Option<Block<B>>) -> Result<(), RefusedPost<B, K>> {
        let (raw, entry) = entry_of(key, bytes, block);
        // SAFETY: the entry is the one made above, refused whole.
        self.inner.post(entry).map_err(|entry| unsafe { refused_post(raw, entry) })
    }

    /// As [`CompletionPort::get`](crate::CompletionPort::get). Enters the kernel only when nothing is there: to submit
    /// what gathered, and to wait.
    #[inline]
    pub fn get(&self, wait: impl Into<Wait>) -> Result<Outcome<B, K>, Error> {
        let (got, entry) = super::past_handlers(wait.into(), |wait| self.inner.get_one(wait))?;
        // SAFETY: the entry came from this port, whose blocks and keys are B and K.
        Ok(unsafe { Outcome::fetched(got, entry) })
    }

    /// As [`CompletionPort::get_many`](crate::CompletionPort::get_many).
    pub fn get_many(&self, batch: &mut Batch<B, K, Local>, wait: impl Into<Wait>) -> Result<bool, Error> {
        let got = self.inner.get(&mut batch.fetch()?, wait.into())?;
        batch.fetched(got, || self.inner.clone(), |_| false)
    }

    /// As [`CompletionPort::get_alertable`](crate::CompletionPort::get_alertable); packets come first from the first call on,
    /// for the port is this thread's.
    pub fn get_alertable(&self, wait: impl Into<Wait>) -> Result<Outcome<B, K>, Error> {
        let (got, entry) = super::one_alertably(wait.into(), |fetch, wait, alert| self.inner.get_alertable(fetch, wait, alert))?;
        // SAFETY: the entry came from this port, whose blocks and keys are B and K.
        Ok(unsafe { Outcome::fetched(got, entry) })
    }

    /// As [`CompletionPort::get_many_alertable`](crate::CompletionPort::get_many_alertable), of this port.
    pub fn get_many_alertable(&self, batch: &mut Batch<B, K, Local>, wait: impl Into<Wait>) -> Result<Fetched, Error> {
        let wait = wait.into();
        let got = getting::get(|alert| self.inner.get_alertable(&mut batch.fetch()?, wait, alert))?;
        batch.fetched_alertably(got, || self.inner.clone(), |_| false)
    }

    /// Closes the port: packets nobody fetched are dropped with their blocks, operations whose packets could only have
    /// come here are cancelled and dropped, and this returns when they are over.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Whether the port is closed.
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// A way in for other threads.
    pub fn remote(&self) -> RemotePort<B, K>
    where
        B: Send,
    {
        RemotePort { inner: self.inner.remote(), carries: PhantomData }
    }
}

impl<B, K: Key> Drop for LocalPort<B, K> {
    fn drop(&mut self) {
        self.inner.close();
    }
}

impl<B, K: Key> std::fmt::Debug for LocalPort<B, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalPort").field("closed", &self.inner.is_closed()).finish_non_exhaustive()
    }
}

/// Posts to another thread's [`LocalPort`]; the packet wakes that thread if it waits.
///
/// ```
/// use proactor::LocalPort;
/// let port: LocalPort<(), usize> = LocalPort::new()?;
/// let remote = port.remote();
/// let other = std::thread::spawn(move || remote.post(7, 3, None).unwrap());
/// assert_eq!(port.get(None)?.packet().unwrap().key, 7);
/// # other.join().unwrap();
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct RemotePort<B = (), K: Key = usize> {
    inner: backend::Remote,
    carries: PhantomData<super::Carries<Packet<B, K>>>,
}

impl<B: Send + 'static, K: Key> RemotePort<B, K> {
    /// As [`CompletionPort::post`](crate::CompletionPort::post): never waits, never lost while the port is open.
    pub fn post(&self, key: K, bytes: usize, block: Option<Block<B>>) -> Result<(), RefusedPost<B, K>> {
        let (raw, entry) = entry_of(key, bytes, block);
        // SAFETY: the entry is the one made above, refused whole.
        self.inner.post(entry).map_err(|entry| unsafe { refused_post(raw, entry) })
    }

    /// Whether the port is closed.
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
}

impl<B, K: Key> Clone for RemotePort<B, K> {
    fn clone(&self) -> RemotePort<B, K> {
        RemotePort { inner: self.inner.clone(), carries: PhantomData }
    }
}

impl<B, K: Key> std::fmt::Debug for RemotePort<B, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemotePort").field("closed", &self.inner.is_closed()).finish_non_exhaustive()
    }
}
