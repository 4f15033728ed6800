//! Which runtime the calling thread is in.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::core::Core;
use super::handle::Handle;
use super::job::Job;
use super::shared::Shared;
use crate::error::{Code, Error, Refused};
use crate::handle::AsObject;
use crate::newcomers;

/// The runtime a thread is in.
#[derive(Clone)]
pub(super) enum Current {
    Shared(Arc<Shared>),
    Core(Rc<Core>),
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// The calling thread's. None also while its thread-local storage is being destroyed.
pub(super) fn current() -> Option<Current> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// The core whose thread this is.
pub(super) fn current_core() -> Option<Rc<Core>> {
    match current() {
        Some(Current::Core(core)) => Some(core),
        _ => None,
    }
}

impl Current {
    pub fn handle(self) -> Handle {
        match self {
            Current::Shared(shared) => Handle::of_shared(shared),
            Current::Core(core) => Handle::of_cores(core.cores().clone()),
        }
    }
}

/// The thread is in a runtime while this lives; then it is where it was before.
pub(super) struct Entered {
    before: Option<Current>,
    /// Where its objects with no port of their own went before.
    port: Option<newcomers::Before>,
}

pub(super) fn enter(current: Current) -> Entered {
    let port = match &current {
        Current::Shared(shared) => Some(newcomers::go_to(shared.port().inner.clone())),
        Current::Core(_) => None,
    };
    Entered { before: CURRENT.with(|it| it.replace(Some(current))), port }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(self.port.take());
        let before = self.before.take();
        let left = CURRENT.try_with(|it| it.replace(before));
        drop(left);
    }
}

/// Makes the calling core's port the object's home, for life, and gives it back as one of this thread's. What has its home here
/// wakes its task without a word to another thread. It need not be told of its end: it goes when it is dropped.
///
/// Errors, with the object: [`Code::NotSupported`] outside a [per-core](super::Runtime::per_core) runtime;
/// [`Code::InvalidParameter`] (87) if it has a home already, or other handles, or operations in flight.
///
/// ```
/// use proactor::{net::{TcpListener, TcpStream}, rt};
/// let runtime = rt::Runtime::per_core().threads(1).build()?;
/// runtime.block_on(async {
///     let listener = rt::here(TcpListener::bind("127.0.0.1:0".parse().unwrap())?)?;
///     let client = rt::here(TcpStream::unconnected_v4()?)?;
///     client.connect(listener.local_addr()?).await.result?;
///     let server = rt::here(listener.accept().await.result?.stream)?;
///     let task = rt::spawn_local(async move { server.send(b"hello").await.result });
///     assert_eq!(&client.recv(Vec::with_capacity(64)).await.buffer[..], b"hello");
///     task.await.unwrap()
/// })?;
/// # Ok::<(), proactor::Error>(())
/// ```
pub fn here<O: AsObject>(object: O) -> Result<O::OnLocal, Refused<O>> {
    match current_core() {
        Some(core) => core.port().associate(object, Job(None)),
        None => {
            let hint = "the calling thread is no core of a per-core runtime; elsewhere objects need no home given to them";
            Err(Refused { error: Error::new(Code::NotSupported).hint(hint), back: object })
        }
    }
}
