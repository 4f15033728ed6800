//! I/O objects: a socket or file whose completions are callbacks of the pool.

use std::sync::Arc;

use super::instance::Instance;
use super::member::Member;
use crate::buf::Cargo;
use crate::error::{Code, Error, Refused};
use crate::handle::Handle;
use crate::op::{Brings, Completion, Operation, Ticket};
use crate::time::Wait;

/// A socket or file bound to a thread pool (`PTP_IO`).
///
/// What Win32 leaves to its user cannot go wrong here: [`start`](Io::start) is `StartThreadpoolIo` and the operation in
/// one, and undoes the first (`CancelThreadpoolIo`) when the second is refused. Dropping it lets the operations that were
/// started still complete and call back (`CloseThreadpoolIo`). It does not keep the socket open: that is its handle's doing.
///
/// ```
/// use std::sync::mpsc;
/// use proactor::{net::UdpSocket, pool::Pool};
/// let pool = Pool::process()?;
/// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// let io = pool.io(&socket)?;
/// let (tell, told) = mpsc::channel();
/// io.start(socket.recv_from(vec![0; 64]), move |_, received| tell.send(received.bytes).unwrap())?;
/// std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"datagram", socket.local_addr()?)?;
/// assert_eq!(told.recv().unwrap(), 8);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Io {
    pub(super) member: Arc<Member>,
}

/// A callback that was counted and has not come. Dropped uncalled, it is no longer waited for.
struct Expected {
    member: Arc<Member>,
    epoch: usize,
    due: bool,
}

impl Expected {
    /// Runs the callback, on a thread inside the crew's port.
    fn run(mut self, callback: impl FnOnce(&Instance<'_>)) {
        self.due = false;
        self.member.crew().leave();
        self.member.run_with(self.epoch, callback);
        self.member.crew().re_enter();
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        if self.due {
            self.member.forget(self.epoch);
        }
    }
}

impl Io {
    /// Starts an operation of this object; `f` runs on a thread of the pool when it is complete, whatever its result.
    ///
    /// # Errors
    /// A refused operation never started; its buffer comes back and `f` is dropped: [`Code::InvalidParameter`] for an
    /// operation of another object, [`Code::InvalidHandle`] if the clean-up group was closed, and what
    /// [`Operation::then`] says.
    pub fn start<C: Cargo, T: Brings>(
        &self,
        operation: Operation<'_, C, T>,
        f: impl FnOnce(&Instance<'_>, Completion<T, C::Back>) + Send + 'static,
    ) -> Result<Ticket, Refused<C::Back>> {
        let expected = if self.is_home_of(operation.handle) {
            self.member.expect()
        } else {
            Err(Error::new(Code::InvalidParameter).hint("the operation is of another object than this I/O object's"))
        };
        match expected {
            Ok(epoch) => {
                let expected = Expected { member: self.member.clone(), epoch, due: true };
                operation.then(move |done| expected.run(|instance| f(instance, done)))
            }
            Err(error) => {
                let error = error.of(operation.op.kind());
                Err(Refused { error, back: operation.cargo.give_back() })
            }
        }
    }

    /// Whether this is the binding of an object: its key is the member.
    fn is_home_of(&self, handle: &Handle) -> bool {
        handle.home().is_some_and(|home| {
            home.key == Arc::as_ptr(&self.member).addr() && home.port.downgrade().is(&self.member.crew().port.inner)
        })
    }

    /// Waits until every operation started through it has called back (`WaitForThreadpoolIoCallbacks`). Operations that
    /// pend are waited for, too: cancel them first if they may pend for long.
    ///
    /// Errors: [`Code::InvalidParameter`] from its own callback.
    pub fn wait_for_callbacks(&self) -> Result<(), Error> {
        self.member.settle(Wait::Forever).map(drop)
    }

    /// Drops the callbacks that have not begun, and waits for those that have; how many were dropped. The operations go on
    /// all the same: what they bring is dropped with their buffers when they complete.
    pub fn cancel_callbacks(&self) -> Result<usize, Error> {
        let dropped = self.member.cancel();
        self.wait_for_callbacks()?;
        Ok(dropped)
    }
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}
