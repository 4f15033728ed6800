//! Names and addresses, as operations.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the resolver |
//! | `query.rs` | one question: asked, answered, or given up |
//! | `crew.rs` | the threads that ask the system |

mod crew;
mod query;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::backend;
use crate::buf::NoBuffer;
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{OpKind, Operation, awaited};
use crew::Crew;
use query::{Query, Question};

/// Resolves names by the system's resolver (`getaddrinfo`, `getnameinfo`), on a few threads of its own.
///
/// Several questions are asked at once, as many as it may have threads; the others wait their turn. A cancel completes an operation at
/// once: a question that is being asked cannot be taken back from the system, so its thread stays busy until the late answer,
/// which is dropped. Dropping the resolver cancels what is asked and waits for nothing. Threads come when there is something to
/// ask and go after five idle seconds.
///
/// Associate it with a port like a socket, or wait and await it without. Cloning shares it. [`set_limits`](Resolver::set_limits)
/// bounds how many questions may wait.
///
/// ```
/// use proactor::dns::Resolver;
/// let resolver = Resolver::new();
/// let addresses = resolver.resolve("localhost", "80").wait().result?;
/// assert!(addresses.into_iter().all(|address| address.ip().is_loopback() && address.port() == 80));
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct Resolver<H: Home = Shared> {
    inner: Opaque<H>,
    crew: Arc<Crew>,
}

object!(Resolver, with crew);

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::new()
    }
}

impl Resolver {
    /// A resolver of at most four threads.
    pub fn new() -> Resolver {
        Resolver::with_threads(4)
    }

    /// A resolver of at most so many threads, at least one: so many questions are asked at once.
    pub fn with_threads(most: usize) -> Resolver {
        let handle = Handle::new(Kind::Awaited, backend::ObjectState::timers());
        Resolver { inner: Opaque::new(handle), crew: Arc::new(Crew::new(most.max(1))) }
    }
}

impl<H: Home> Resolver<H> {
    /// Completes with the addresses of a host, at least one, in the order to try them in (`getaddrinfo`, RFC 6724). The host is a
    /// name or an address; the service a name (`"https"`), a number, or nothing for 0. Numbers of both need no thread.
    ///
    /// A packet has them as [`Value::Resolved`](crate::Value::Resolved).
    ///
    /// Errors: `HostNotFound` if the host or its addresses are unknown; `ResolveAgain` if no name server answered;
    /// `InvalidParameter` for a service nobody knows, or a name that cannot be one (none at all, a NUL in it); `Cancelled`.
    pub fn resolve(&self, host: &str, service: &str) -> Operation<'_, NoBuffer, Resolved, H> {
        self.ask(Question::Host { host: host.into(), service: service.into() })
    }

    /// As [`resolve`](Resolver::resolve), with the service's number.
    pub fn resolve_port(&self, host: &str, port: u16) -> Operation<'_, NoBuffer, Resolved, H> {
        self.ask(Question::Port { host: host.into(), port })
    }

    /// Completes with the name of an address (`getnameinfo`). A packet has it as [`Value::Name`](crate::Value::Name).
    ///
    /// Errors: `HostNotFound` if it has none; `ResolveAgain`, `Cancelled` as above.
    pub fn reverse(&self, address: IpAddr) -> Operation<'_, NoBuffer, HostName, H> {
        self.ask(Question::Address(address))
    }

    fn ask<T>(&self, question: Question) -> Operation<'_, NoBuffer, T, H> {
        let query = Query::new(question, self.crew.clone());
        Operation::new(self.handle(), awaited(OpKind::Resolve, query), NoBuffer)
    }
}

/// The addresses of a name: at least one, the best first, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved(Vec<SocketAddr>);

impl Resolved {
    /// All of them.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }
}

impl IntoIterator for Resolved {
    type Item = SocketAddr;
    type IntoIter = std::vec::IntoIter<SocketAddr>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Resolved {
    type Item = &'a SocketAddr;
    type IntoIter = std::slice::Iter<'a, SocketAddr>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The name of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}
