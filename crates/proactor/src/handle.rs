//! Objects and the two counts that keep them: users' handles and operations in flight.
//!
//! Contract: an [`Object`] is a socket or file. Users hold [`Handle`]s; all users together hold one operation count,
//! each operation from start to consumption holds one more. When the last user's handle goes the backend closes the
//! object, which completes whatever is pending; when the operation count reaches zero the memory goes.
//!
//! | count | +1 | −1 | at zero |
//! |---|---|---|---|
//! | `users` | a handle is made or cloned | a handle is dropped | `backend::close`, then the users' one operation count goes |
//! | `operations` | an operation is admitted | its completion is consumed (packet dequeued, handle taken, block freed) | the object is freed |

use std::net::SocketAddr;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::backend;
use crate::error::{Code, Error};
use crate::op::{Op, Ticket, thread_number};

/// What kind of thing an object is; decides how its promises are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    TcpListener,
    TcpStream,
    Udp,
    UnixListener,
    UnixStream,
    UnixDatagram,
    File,
    Timers,
    /// What its operations wait for comes from elsewhere than the kernel: names, signals, permits.
    Awaited,
    /// Something whose readiness is watched, and nothing else: a pollable descriptor, a process.
    Watched,
    /// The way to calls of the user's own.
    Raw,
    /// An instance of a named pipe's server, of bytes.
    PipeServer,
    /// The same, of messages.
    MessagePipeServer,
    /// Another end of a pipe, of bytes.
    Pipe,
    /// The same, of messages.
    MessagePipe,
}

impl Kind {
    pub fn is_listener(self) -> bool {
        matches!(self, Kind::TcpListener | Kind::UnixListener)
    }

    pub fn is_stream(self) -> bool {
        matches!(self, Kind::TcpStream | Kind::UnixStream)
    }

    pub fn is_pipe_server(self) -> bool {
        matches!(self, Kind::PipeServer | Kind::MessagePipeServer)
    }

    pub fn is_pipe(self) -> bool {
        self.is_pipe_server() || matches!(self, Kind::Pipe | Kind::MessagePipe)
    }

    /// Whether it is a pipe that keeps messages apart.
    pub fn is_message(self) -> bool {
        matches!(self, Kind::MessagePipeServer | Kind::MessagePipe)
    }

    /// What an operation says that was pending when the last handle went.
    pub fn code_of_close(self) -> Code {
        match self {
            Kind::TcpStream | Kind::UnixStream => Code::ConnectionAborted,
            _ if self.is_pipe() => Code::BrokenPipe,
            _ => Code::Cancelled,
        }
    }
}

/// Where an object's completions go, for life.
pub(crate) struct Home {
    pub port: backend::PortRef,
    pub key: usize,
}

impl Drop for Home {
    fn drop(&mut self) {
        // SAFETY: the key came in raw form from the port's own key type, and this home held it alone.
        unsafe { (self.port.contract().drop_key)(self.key) }
    }
}

/// Limits of one object; an operation past them is refused with an error that says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operations in flight, those completed but not yet fetched included. [`Code::TooManyOperations`] past it.
    pub operations: u32,
    /// Bytes of sends that have not completed. One send larger than this is accepted when nothing is queued.
    /// [`Code::TooManyBytesQueued`] past it.
    pub send_bytes: usize,
}

impl Default for Limits {
    /// 65,536 operations, any number of bytes.
    fn default() -> Limits {
        Limits { operations: 1 << 16, send_bytes: usize::MAX }
    }
}

/// A socket, a file or timers, shared by handles and operations.
pub(crate) struct Object {
    users: AtomicU32,
    operations: Count,
    pub kind: Kind,
    home: OnceLock<Home>,
    homing: Mutex<()>,
    most_operations: AtomicU32,
    most_send_bytes: AtomicUsize,
    send_bytes: AtomicUsize,
    pub sys: backend::ObjectState,
}

/// The operation count. Where one thread does all the counting it need not pay for atomic changes.
struct Count {
    value: AtomicU32,
    /// Set before the object's first operation.
    of_one_thread: AtomicBool,
}

impl Count {
    /// One more; how many there were.
    #[inline]
    fn add(&self) -> u32 {
        if !self.of_one_thread.load(Ordering::Relaxed) {
            return self.value.fetch_add(1, Ordering::Relaxed);
        }
        let old = self.value.load(Ordering::Relaxed);
        self.value.store(old + 1, Ordering::Relaxed);
        old
    }

    /// One less; whether it was the last, and the caller sees all that the others did.
    #[inline]
    fn take(&self) -> bool {
        if self.of_one_thread.load(Ordering::Relaxed) {
            let left = self.value.load(Ordering::Relaxed) - 1;
            self.value.store(left, Ordering::Relaxed);
            return left == 0;
        }
        let last = self.value.fetch_sub(1, Ordering::Release) == 1;
        if last {
            // As a fence, and the thread sanitizer understands it.
            self.value.load(Ordering::Acquire);
        }
        last
    }
}

/// Which of an object's operations a cancel means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    One(Ticket),
    All,
    Thread(u64),
    /// Those that can never be delivered, because their port closed.
    Packets,
}

impl Which {
    pub fn means(self, header: &crate::op::Header) -> bool {
        match self {
            Which::One(ticket) => header.is(ticket),
            Which::All => true,
            Which::Thread(number) => header.started_by(number),
            Which::Packets => header.delivery.is_queued(),
        }
    }
}

impl Object {
    /// One operation's hold on the object goes.
    ///
    /// # Safety
    /// The caller owned one operation count of this live object and gives it up.
    #[inline]
    pub unsafe fn operation_ended(object: NonNull<Object>) {
        // SAFETY: alive, as the caller's count says. After the subtraction it is touched only by whoever reached zero.
        unsafe {
            if object.as_ref().operations.take() {
                drop(Box::from_raw(object.as_ptr()));
            }
        }
    }

    pub fn home(&self) -> Option<&Home> {
        self.home.get()
    }

    fn find_home(&self, port: impl FnOnce() -> Result<backend::PortRef, Error>, key: usize) -> Result<bool, Error> {
        let _one_at_a_time = self.homing.lock().unwrap_or_else(|p| p.into_inner());
        if self.home.get().is_some() {
            return Ok(false);
        }
        let port = port()?;
        port.attach(self)?;
        self.operations.of_one_thread.store(port.is_one_threads(), Ordering::Relaxed);
        Ok(self.home.set(Home { port, key }).is_ok())
    }

    /// Gives the object its home. `Err` gives the reason; the key then still belongs to the caller.
    pub fn associate(&self, port: &backend::PortRef, key: usize) -> Result<(), Error> {
        match self.find_home(|| Ok(port.clone()), key)? {
            true => Ok(()),
            false => Err(Error::new(Code::InvalidParameter)
                .hint("the object has a home already (a port, or the process's own since its first operation); associate it before any operation, once")),
        }
    }

    /// The object's home, which becomes the process's own port if it has none yet.
    pub fn home_or_process(&self) -> Result<&Home, Error> {
        if self.home.get().is_none() {
            self.find_home(|| backend::process_port().map(Into::into), 0)?;
        }
        self.home.get().ok_or(Error::new(Code::InvalidHandle))
    }

    /// Admits one operation: takes an operation count and the send budget, or refuses. Returns the budget taken.
    #[inline(always)]
    pub fn admit(&self, op: &Op, bytes: impl FnOnce() -> usize) -> Result<usize, Error> {
        if matches!(op, Op::Close) {
            self.may_close()?;
        }
        // One count is the users' own.
        if self.operations.add() > self.most_operations.load(Ordering::Relaxed) {
            self.operations.take();
            return Err(Error::new(Code::TooManyOperations).of(op.kind()));
        }
        let most = self.most_send_bytes.load(Ordering::Relaxed);
        if most == usize::MAX || !op.sends() {
            return Ok(0);
        }
        let bytes = bytes();
        if bytes == 0 {
            return Ok(0);
        }
        let queued = self.send_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued > 0 && queued.saturating_add(bytes) > most {
            self.send_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.operations.take();
            return Err(Error::new(Code::TooManyBytesQueued).of(op.kind()));
        }
        Ok(bytes)
    }

    /// A completion of an operation that goes on has its own hold on the object.
    pub fn operation_added(&self) {
        self.operations.add();
    }

    /// Whether the descriptor may go while its object stays. The caller borrows the only handle exclusively, so neither
    /// number can grow until the backend has taken the descriptor out, and no borrowed descriptor outlives it.
    fn may_close(&self) -> Result<(), Error> {
        let refused = |hint| Err(Error::new(Code::InvalidParameter).hint(hint).of(crate::op::OpKind::Close));
        if self.users.load(Ordering::Acquire) != 1 {
            return refused("other handles of this file exist; drop them before closing it");
        }
        if self.in_flight() != 0 {
            return refused("operations are in flight on this file; take their completions first, or cancel them and take those");
        }
        Ok(())
    }

    /// Returns what `admit` took of the send budget.
    pub fn sent(&self, budget: usize) {
        self.send_bytes.fetch_sub(budget, Ordering::Relaxed);
    }

    /// Operations started and not yet consumed.
    pub fn in_flight(&self) -> u32 {
        self.operations.value.load(Ordering::Acquire) - 1
    }
}

/// A user's handle: cloning shares the object, dropping the last one closes it and completes what is pending.
pub(crate) struct Handle(NonNull<Object>);

// SAFETY: an Object is shared by design; its parts are atomics, locks, or owned by the backend's lane protocol.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    pub fn new(kind: Kind, sys: backend::ObjectState) -> Handle {
        let limits = Limits::default();
        Handle(NonNull::from(Box::leak(Box::new(Object {
            users: AtomicU32::new(1),
            operations: Count { value: AtomicU32::new(1), of_one_thread: AtomicBool::new(false) },
            kind,
            home: OnceLock::new(),
            homing: Mutex::new(()),
            most_operations: AtomicU32::new(limits.operations),
            most_send_bytes: AtomicUsize::new(limits.send_bytes),
            send_bytes: AtomicUsize::new(0),
            sys,
        }))))
    }

    pub fn object(&self) -> NonNull<Object> {
        self.0
    }

    pub fn set_limits(&self, limits: Limits) {
        self.most_operations.store(limits.operations, Ordering::Relaxed);
        self.most_send_bytes.store(limits.send_bytes, Ordering::Relaxed);
    }

    /// Whether this is the object's only handle, and nothing is in flight on it.
    pub fn is_alone(&self) -> bool {
        self.users.load(Ordering::Acquire) == 1 && self.in_flight() == 0
    }

    pub fn cancel(&self, ticket: Ticket) -> Result<(), Error> {
        found(backend::cancel(self, Which::One(ticket)))
    }

    pub fn cancel_all(&self) -> Result<(), Error> {
        found(backend::cancel(self, Which::All))
    }

    pub fn cancel_thread(&self) {
        backend::cancel(self, Which::Thread(thread_number()));
    }

    /// Hands the descriptor out, with nothing of the library left on it. Refused while operations are in flight or
    /// other handles exist.
    pub fn into_descriptor(self) -> Result<backend::Descriptor, (Handle, Error)> {
        if self.users.load(Ordering::Acquire) != 1 {
            let hint = "other handles of this object exist; drop them before taking the descriptor out";
            return Err((self, Error::new(Code::InvalidParameter).hint(hint)));
        }
        if self.in_flight() != 0 {
            let hint = "operations are in flight on this object; cancel them and take their completions first";
            return Err((self, Error::new(Code::InvalidParameter).hint(hint)));
        }
        backend::take_descriptor(&self).ok_or(()).map_err(|()| (self, Error::new(Code::InvalidHandle)))
    }
}

fn found(count: usize) -> Result<(), Error> {
    if count > 0 { Ok(()) } else { Err(Error::new(Code::NotFound)) }
}

impl std::ops::Deref for Handle {
    type Target = Object;
    fn deref(&self) -> &Object {
        // SAFETY: this handle is one of the users, who together hold an operation count.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        self.users.fetch_add(1, Ordering::Relaxed);
        Handle(self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            backend::close(self);
            // SAFETY: the last user gives up the users' own operation count.
            unsafe { Object::operation_ended(self.0) }
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}({:?})", self.kind, self.sys)
    }
}

/// The IP address of an address, for objects that only have such.
pub(crate) fn expect_ip(address: crate::op::Address) -> Result<SocketAddr, Error> {
    address.ip().ok_or(Error::new(Code::InvalidParameter))
}

/// What a port can be told to take in: every socket and file of the library.
///
/// Sealed: implemented by the library's objects.
pub trait AsObject: sealed::Sealed {
    /// The same kind of object, on a per-thread port.
    type OnLocal;
}

pub(crate) mod sealed {
    use std::marker::PhantomData;

    use crate::home::Shared;

    /// Access to the handle inside.
    pub trait Sealed: Sized {
        #[doc(hidden)]
        fn opaque(&self) -> &Opaque;

        /// # Safety
        /// This handle is its object's only one, and the object's home is a port of the calling thread.
        #[doc(hidden)]
        unsafe fn into_local(self) -> <Self as super::AsObject>::OnLocal
        where
            Self: super::AsObject;
    }

    /// The library's own handle, unnameable outside; Send and Sync as its home is.
    pub struct Opaque<H = Shared>(pub(crate) super::Handle, PhantomData<H>);

    impl<H> Opaque<H> {
        pub(crate) fn new(handle: super::Handle) -> Opaque<H> {
            Opaque(handle, PhantomData)
        }
    }
}
