//! The model of completion routines: threads that wait alertably, and do all their work inside that wait. A connection is
//! of the thread that accepted it.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use proactor::net::TcpListener;
use proactor::sync::{Event, Waited, alertable};
use proactor::{AsObject, Brings, Cargo, Completion, Error, Operation, Refused};

use super::callbacks::{Acceptor, Deliver};
use super::tally::Tally;
use super::{Counts, STOP_LIMIT, all_end};
use crate::args::EchoArgs;
use crate::failure::Failure;

/// Objects need no port: routines run on the thread that started their operations.
struct Routines;

impl Deliver for Routines {
    type Through = ();

    fn home(&self, _: &impl AsObject) -> Result<(), Error> {
        Ok(())
    }

    fn start<C: Cargo, T: Brings>(
        (): &(),
        operation: Operation<'_, C, T>,
        f: impl FnOnce(Completion<T, C::Back>) + Send + 'static,
    ) -> Result<(), Refused<C::Back>> {
        operation.routine(f).map(drop)
    }
}

/// The running server.
pub struct Server {
    stop: Event,
    threads: usize,
    ended: mpsc::Receiver<()>,
    tally: Arc<Tally>,
}

/// Starts the threads, each with an accept of its own.
pub fn start(listener: TcpListener, args: &EchoArgs) -> Result<Server, Failure> {
    let (stop, tally) = (Event::manual(), Arc::new(Tally::default()));
    let (tell, ended) = mpsc::channel();
    for n in 0..args.threads() {
        let (tell, stop) = (tell.clone(), stop.clone());
        let acceptor = Acceptor::new(Routines, listener.clone(), args.buf as usize, tally.clone())?;
        let work = move || {
            acceptor.accept();
            while matches!(alertable::wait_one(&stop, None), Ok(Waited::Apc)) {}
            // The thread's operations, and the connections in their routines, end with it.
            tell.send(()).unwrap_or(());
        };
        std::thread::Builder::new().name(format!("alertable {n}")).spawn(work)?;
    }
    Ok(Server { stop, threads: args.threads(), ended, tally })
}

impl super::Server for Server {
    fn stop(self: Box<Self>) -> (Counts, bool) {
        self.tally.stop();
        self.stop.set();
        let all = all_end(&self.ended, self.threads, Instant::now() + STOP_LIMIT);
        (self.tally.counts(), all)
    }
}
