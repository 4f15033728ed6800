//! Where objects live in this run of the suite: on ports that any thread may use, or in the process's own.
//!
//! `tests/per_thread/home.rs` has the same names, for ports of one thread.

use std::sync::Arc;
use std::time::Duration;

use proactor::sync::Event;
use proactor::{AsObject, CompletionPort, Concurrency, Key, Refused, Settings};

use crate::common::Io;

pub type PortOf<B, K> = CompletionPort<B, K>;
pub type Port = PortOf<Io, usize>;
pub type Batch<B = Io, K = usize> = proactor::Batch<B, K>;
/// The home of what is at home.
pub type Here = proactor::Shared;
/// What an object is once it has its home.
pub type AtHome<O> = O;

/// A port for so many workers, where the kind of port has a say in that.
#[track_caller]
pub fn port(limit: u32) -> Arc<Port> {
    Arc::new(Port::new(Concurrency::Threads(limit)).expect("a port"))
}

/// A port whose workers keep their places while they run, whatever puts them to sleep for a moment (a sanitizer's runtime
/// does, for its own locks); and where what a wait inside the library does cannot be the block monitor's doing.
#[track_caller]
pub fn unwatched_port(limit: u32) -> Arc<Port> {
    Arc::new(Port::new(Settings::new(limit).block_monitor(false)).expect("a port"))
}

#[track_caller]
pub fn port_of<B: Send + 'static, K: Key>() -> PortOf<B, K> {
    PortOf::new(Concurrency::Threads(1)).expect("a port")
}

pub trait Homes<K> {
    /// Makes the port the object's home.
    #[track_caller]
    fn home<O: AsObject>(&self, object: O, key: K) -> AtHome<O> {
        self.try_home(object, key).unwrap_or_else(|refused| panic!("no home: {}", refused.error))
    }

    fn try_home<O: AsObject>(&self, object: O, key: K) -> Result<AtHome<O>, Refused<O>>;
}

impl<B: Send + 'static, K: Key> Homes<K> for PortOf<B, K> {
    fn try_home<O: AsObject>(&self, object: O, key: K) -> Result<AtHome<O>, Refused<O>> {
        match self.associate(&object, key) {
            Ok(()) => Ok(object),
            Err(error) => Err(Refused { error, back: object }),
        }
    }
}

/// For objects whose operations are overlapped: these need no port, the process has one.
pub fn somewhere<O: AsObject>(object: O) -> AtHome<O> {
    object
}

/// A way to post to the port from other threads.
pub fn poster(port: &Arc<Port>) -> Arc<Port> {
    port.clone()
}

/// Runs a future of operations whose objects live `somewhere`.
pub fn block_on<F: Future>(future: F) -> F::Output {
    proactor::block_on(future)
}

/// Runs a future of operations on this port.
pub fn block_on_port<F: Future>(_: &Port, future: F) -> F::Output {
    proactor::block_on(future)
}

/// Lets the port's operations go on for a moment. On a shared port they do by themselves.
pub fn turn() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Lets the operations of a port's object go on for a moment, without taking packets.
pub fn turn_on<B, K: Key>(_: &PortOf<B, K>) {
    turn();
}

/// Whether the event is signalled within this time.
pub fn event_within(event: &Event, time: Duration) -> bool {
    event.wait_timeout(time)
}
