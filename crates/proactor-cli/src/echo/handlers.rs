//! The handler model: workers inside one port's `get`, which runs the handlers of whatever completes.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use proactor::net::TcpListener;
use proactor::{AsObject, Brings, Cargo, Completion, CompletionPort, Concurrency, Error, Operation, Refused};

use super::callbacks::{Acceptor, Deliver};
use super::tally::Tally;
use super::{Counts, STOP_LIMIT, all_end};
use crate::args::EchoArgs;
use crate::failure::Failure;

/// Objects live on the port, handlers run on its workers.
struct Handlers(Arc<CompletionPort>);

impl Deliver for Handlers {
    type Through = ();

    fn home(&self, object: &impl AsObject) -> Result<(), Error> {
        self.0.associate(object, 0)
    }

    fn start<C: Cargo, T: Brings>(
        (): &(),
        operation: Operation<'_, C, T>,
        f: impl FnOnce(Completion<T, C::Back>) + Send + 'static,
    ) -> Result<(), Refused<C::Back>> {
        operation.then(f).map(drop)
    }
}

/// The running server.
pub struct Server {
    port: Arc<CompletionPort>,
    threads: usize,
    ended: mpsc::Receiver<()>,
    tally: Arc<Tally>,
}

/// Starts the workers and the first accept.
pub fn start(listener: TcpListener, args: &EchoArgs) -> Result<Server, Failure> {
    let port = Arc::new(CompletionPort::new(Concurrency::Cores)?);
    let tally = Arc::new(Tally::default());
    Acceptor::new(Handlers(port.clone()), listener, args.buf as usize, tally.clone())?.accept();
    let (tell, ended) = mpsc::channel();
    for n in 0..args.threads() {
        let (port, tell) = (port.clone(), tell.clone());
        let work = move || {
            // No packets come here: it returns when the port is closed.
            let _ = port.get(None);
            tell.send(()).unwrap_or(());
        };
        std::thread::Builder::new().name(format!("worker {n}")).spawn(work)?;
    }
    Ok(Server { port, threads: args.threads(), ended, tally })
}

impl super::Server for Server {
    fn stop(self: Box<Self>) -> (Counts, bool) {
        self.tally.stop();
        // Operations in flight are cancelled, and dropped with their handlers and the connections in those.
        self.port.close();
        let all = all_end(&self.ended, self.threads, Instant::now() + STOP_LIMIT);
        (self.tally.counts(), all)
    }
}
