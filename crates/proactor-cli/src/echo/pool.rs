//! The thread-pool model: each socket is an I/O object of a thread pool, whose threads call back.

use std::sync::Arc;

use proactor::net::TcpListener;
use proactor::pool::{CleanupGroup, Environment, Io, Pool};
use proactor::{AsObject, Brings, Cargo, Completion, Error, Operation, Refused};

use super::Counts;
use super::callbacks::{Acceptor, Deliver};
use super::tally::Tally;
use crate::args::EchoArgs;
use crate::failure::Failure;

/// Objects are bound to the pool, all in one clean-up group.
struct Pooled(Environment);

impl Deliver for Pooled {
    type Through = Io;

    fn home(&self, object: &impl AsObject) -> Result<Io, Error> {
        self.0.io(object)
    }

    fn start<C: Cargo, T: Brings>(
        io: &Io,
        operation: Operation<'_, C, T>,
        f: impl FnOnce(Completion<T, C::Back>) + Send + 'static,
    ) -> Result<(), Refused<C::Back>> {
        io.start(operation, move |_, done| f(done)).map(drop)
    }
}

/// The running server.
pub struct Server {
    group: CleanupGroup,
    listener: TcpListener,
    tally: Arc<Tally>,
    _pool: Pool,
}

/// Starts the pool and the first accept.
pub fn start(listener: TcpListener, args: &EchoArgs) -> Result<Server, Failure> {
    let (pool, group) = (Pool::new(1, args.threads())?, CleanupGroup::new());
    let tally = Arc::new(Tally::default());
    let deliver = Pooled(pool.environment().group(&group));
    Acceptor::new(deliver, listener.clone(), args.buf as usize, tally.clone())?.accept();
    Ok(Server { group, listener, tally, _pool: pool })
}

impl super::Server for Server {
    fn stop(self: Box<Self>) -> (Counts, bool) {
        self.tally.stop();
        // No callback begins any more, and those that run are waited for. The connections go with the process.
        let _ = self.listener.cancel_all();
        let all = self.group.cancel_members().is_ok();
        (self.tally.counts(), all)
    }
}
