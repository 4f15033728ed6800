//! Where objects live in this run of the suite: on ports of the test's own thread.
//!
//! `tests/conformance/home.rs` has the same names, for shared ports.

use std::rc::Rc;
use std::time::{Duration, Instant};

use proactor::net::UdpSocket;
use proactor::sync::Event;
use proactor::{AsObject, Key, Local, LocalPort, NoBuffer, Outcome, Overlapped, Refused, RemotePort};

use crate::common::{ANY, Io};

pub type PortOf<B, K> = LocalPort<B, K>;
pub type Port = PortOf<Io, usize>;
pub type Batch<B = Io, K = usize> = proactor::Batch<B, K, Local>;
/// The home of what is at home.
pub type Here = Local;
/// What an object is once it has its home.
pub type AtHome<O> = <O as AsObject>::OnLocal;

/// A port of this thread. Workers it has one.
#[track_caller]
pub fn port(_: u32) -> Rc<Port> {
    Rc::new(port_of())
}

#[track_caller]
pub fn port_of<B: Send + 'static, K: Key>() -> PortOf<B, K> {
    PortOf::new().expect("a port")
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
        self.associate(object, key)
    }
}

thread_local! {
    /// For objects whose operations are overlapped: packets never come to this one.
    static HERE: Port = port_of();
}

/// For objects whose operations are overlapped: they live on a port of this thread that no test sees.
pub fn somewhere<O: AsObject>(object: O) -> AtHome<O> {
    HERE.with(|here| here.home(object, 0))
}

/// Runs a future of operations whose objects live `somewhere`.
pub fn block_on<F: Future>(future: F) -> F::Output {
    HERE.with(|here| here.block_on(future))
}

/// Runs a future of operations on this port.
pub fn block_on_port<F: Future>(port: &Port, future: F) -> F::Output {
    port.block_on(future)
}

/// A way to post to the port from other threads.
pub fn poster(port: &Rc<Port>) -> RemotePort<Io, usize> {
    port.remote()
}

/// Lets the operations of objects that live `somewhere` go on for a moment.
pub fn turn() {
    let outcome = HERE.with(|here| here.get(Duration::from_millis(1)).expect("it is never closed"));
    assert!(matches!(outcome, Outcome::TimedOut), "nothing was due there, got {outcome:?}");
}

/// Lets the operations of a port's object go on for a moment, without taking packets.
pub fn turn_on<B: Send + 'static, K: Key + Default>(port: &PortOf<B, K>) {
    // A wait for what never comes drives the port.
    let silent = port.home(UdpSocket::bind(ANY).expect("a socket"), K::default());
    let never: Overlapped<NoBuffer, (), Local> = silent.readable().start().expect("accepted");
    assert!(never.wait_timeout(Duration::from_millis(1)).is_err(), "nobody knows that address");
}

/// Whether the event is signalled within this time, while this thread lets its operations go on.
pub fn event_within(event: &Event, time: Duration) -> bool {
    let end = Instant::now() + time;
    while !event.wait_timeout(Duration::ZERO) {
        if Instant::now() >= end {
            return false;
        }
        turn();
    }
    true
}
