//! The models that are called back: handlers, completion routines, thread-pool I/O. They differ in their last word, which
//! is what [`Deliver`] says; what happens to a connection is written once.
//!
//! | callback of | means | next |
//! |---|---|---|
//! | accept | a connection | receive on it, and accept again |
//! | receive, bytes | a message | send |
//! | receive, 0 bytes | the client sends no more, and has been sent everything | shut down |
//! | send | the message went out whole | receive |
//! | any, failed | the connection is over; a failed accept waits for a pause | |

use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use proactor::net::{TcpListener, TcpStream};
use proactor::time::Timers;
use proactor::{AsObject, Brings, Cargo, Completion, Error, Operation, Refused};

use super::tally::Tally;
use super::{ACCEPT_PAUSE, is_the_clients_fault, tell_of_shortage};
use crate::socket::send_at_once;

/// Has the timers take what they need of the system now: later, when they are wanted most, there may be no descriptor left.
pub fn ready(timers: &Timers) -> Result<(), Error> {
    Ok(timers.after(Duration::ZERO).start().map(drop)?)
}

/// How completions become calls.
pub trait Deliver: Send + Sync + Sized + 'static {
    /// What an object's operations are started through.
    type Through: Send + Sync + 'static;

    /// Gives an object its place.
    fn home(&self, object: &impl AsObject) -> Result<Self::Through, Error>;

    /// Starts an operation, and has `f` called with its completion.
    fn start<C: Cargo, T: Brings>(
        through: &Self::Through,
        operation: Operation<'_, C, T>,
        f: impl FnOnce(Completion<T, C::Back>) + Send + 'static,
    ) -> Result<(), Refused<C::Back>>;
}

/// The listener's side.
pub struct Acceptor<D: Deliver> {
    deliver: D,
    listener: TcpListener,
    through: D::Through,
    timers: Timers,
    timing: D::Through,
    buf: usize,
    tally: Arc<Tally>,
}

/// One connection. Its operations in flight hold it.
struct Connection<D: Deliver> {
    stream: TcpStream,
    through: D::Through,
    tally: Arc<Tally>,
}

impl<D: Deliver> Acceptor<D> {
    pub fn new(deliver: D, listener: TcpListener, buf: usize, tally: Arc<Tally>) -> Result<Arc<Acceptor<D>>, Error> {
        let timers = Timers::new();
        let (through, timing) = (deliver.home(&listener)?, deliver.home(&timers)?);
        ready(&timers)?;
        Ok(Arc::new(Acceptor { deliver, listener, through, timers, timing, buf, tally }))
    }

    /// Accepts, until the server stops.
    pub fn accept(self: &Arc<Self>) {
        let own = self.clone();
        let started = D::start(&self.through, self.listener.accept(), move |accepted| match accepted.result {
            Ok(accepted) => {
                own.accept();
                own.serve(accepted.stream);
            }
            Err(error) => own.failed(error),
        });
        if let Err(refused) = started {
            self.failed(refused.error);
        }
    }

    fn failed(self: &Arc<Self>, error: Error) {
        if self.tally.is_stopping() {
            return;
        }
        self.tally.error();
        if is_the_clients_fault(&error) {
            return self.accept();
        }
        tell_of_shortage(&error);
        let own = self.clone();
        // Refused only when the server stops.
        let _ = D::start(&self.timing, self.timers.after(ACCEPT_PAUSE), move |_| own.accept());
    }

    fn serve(&self, stream: TcpStream) {
        self.tally.connection();
        send_at_once(&stream);
        match self.deliver.home(&stream) {
            Ok(through) => {
                Arc::new(Connection::<D> { stream, through, tally: self.tally.clone() }).receive(Vec::with_capacity(self.buf));
            }
            Err(_) => self.tally.error(),
        }
    }
}

impl<D: Deliver> Connection<D> {
    fn receive(self: Arc<Self>, buffer: Vec<u8>) {
        let own = self.clone();
        let started = D::start(&self.through, self.stream.recv(buffer), move |received| match received.result {
            Ok(()) if received.bytes == 0 => own.shut_down(),
            Ok(()) => own.send(received.buffer),
            Err(_) => own.tally.error(),
        });
        if started.is_err() {
            self.tally.error();
        }
    }

    fn send(self: Arc<Self>, message: Vec<u8>) {
        let own = self.clone();
        let started = D::start(&self.through, self.stream.send(message), move |sent| match sent.result {
            Ok(()) => {
                own.tally.message(sent.bytes);
                own.receive(sent.buffer);
            }
            Err(_) => own.tally.error(),
        });
        if started.is_err() {
            self.tally.error();
        }
    }

    /// The client's half is closed; closing ours tells it that it has everything. That it may have gone already is no fault.
    fn shut_down(self: Arc<Self>) {
        let own = self.clone();
        let _ = D::start(&self.through, self.stream.shutdown(Shutdown::Write), move |_| drop(own));
    }
}
