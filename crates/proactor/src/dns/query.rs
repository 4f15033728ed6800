//! One question. It is the source of its operation: begun, it goes to the crew; over, it is taken from there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType};

use super::crew::Crew;
use super::{HostName, Resolved};
use crate::error::{Code, Error};
use crate::op::{Source, Value, Waiting};
use crate::shim::{Mutex, lock};

pub(super) enum Question {
    Host { host: Box<str>, service: Box<str> },
    Port { host: Box<str>, port: u16 },
    Address(IpAddr),
}

pub(super) struct Query {
    question: Question,
    crew: Arc<Crew>,
    waiting: Mutex<Option<Waiting>>,
    over: AtomicBool,
}

impl Query {
    pub fn new(question: Question, crew: Arc<Crew>) -> Arc<Query> {
        Arc::new(Query { question, crew, waiting: Mutex::new(None), over: AtomicBool::new(false) })
    }

    /// Asks the system, which may take long, and completes the operation. Nobody is asked for one that is over.
    pub fn answer(&self) {
        if !self.over.load(Ordering::Acquire) {
            self.complete(self.question.ask());
        }
    }

    /// The operation may be over: then nobody wants this.
    pub fn complete(&self, answer: Result<Value, Error>) {
        let waiting = lock(&self.waiting).take();
        if let Some(waiting) = waiting {
            let _ = waiting.complete(answer);
        }
    }
}

impl Source for Query {
    fn begin(self: Arc<Self>, arm: &mut dyn FnMut(u64) -> Option<Waiting>) {
        {
            let mut place = lock(&self.waiting);
            let Some(waiting) = arm(crate::time::NEVER) else { return };
            *place = Some(waiting);
        }
        match self.question.at_once() {
            Some(answer) => self.complete(answer),
            None => {
                let crew = self.crew.clone();
                if let Err(error) = crew.take(self.clone()) {
                    self.complete(Err(error));
                }
            }
        }
    }

    fn over(&self, _: u64) {
        self.over.store(true, Ordering::Release);
        self.crew.forget(self);
    }
}

fn unfit(hint: &'static str) -> Error {
    Error::new(Code::InvalidParameter).hint(hint)
}

impl Question {
    /// The answer that needs nobody.
    fn at_once(&self) -> Option<Result<Value, Error>> {
        let (host, port) = match self {
            Question::Host { host, service } => {
                if host.contains('\0') || service.contains('\0') {
                    return Some(Err(unfit("a host's or service's name has no NUL in it")));
                }
                (host, if service.is_empty() { Some(0) } else { service.parse::<u16>().ok() })
            }
            Question::Port { host, .. } if host.contains('\0') => return Some(Err(unfit("a host's name has no NUL in it"))),
            Question::Port { host, port } => (host, Some(*port)),
            Question::Address(_) => return None,
        };
        if host.is_empty() {
            return Some(Err(unfit("there is no host to resolve: its name is empty")));
        }
        let address = SocketAddr::new(host.parse::<IpAddr>().ok()?, port?);
        Some(Ok(Value::Resolved(Resolved(vec![address]))))
    }

    fn ask(&self) -> Result<Value, Error> {
        match self {
            Question::Host { host, service } => addresses(host, (!service.is_empty()).then_some(service), None),
            Question::Port { host, port } => addresses(host, None, Some(*port)),
            Question::Address(address) => match dns_lookup::lookup_addr(address) {
                Ok(name) => Ok(Value::Name(Box::new(HostName(name)))),
                Err(error) => Err(error_of(error)),
            },
        }
    }
}

fn addresses(host: &str, service: Option<&str>, port: Option<u16>) -> Result<Value, Error> {
    // One of each address, not one for every kind of socket.
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for found in dns_lookup::getaddrinfo(Some(host), service, Some(hints)).map_err(error_of)? {
        // One of a family the library has no address type for is passed over.
        let Ok(found) = found else { continue };
        let mut address = found.sockaddr;
        address.set_port(port.unwrap_or(address.port()));
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(Error::new(Code::HostNotFound)),
        false => Ok(Value::Resolved(Resolved(addresses))),
    }
}

fn error_of(error: LookupError) -> Error {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => Error::new(Code::HostNotFound),
        LookupErrorKind::Again => Error::new(Code::ResolveAgain),
        LookupErrorKind::Fail => Error::new(Code::HostNotFound).hint("the name server refuses this name; check its spelling"),
        LookupErrorKind::Service | LookupErrorKind::Socktype => unfit("no such service is known here; give its number"),
        LookupErrorKind::Memory => Error::new(Code::InsufficientResources),
        LookupErrorKind::Family => Error::new(Code::NotSupported),
        LookupErrorKind::Badflags => Error::new(Code::InvalidParameter),
        LookupErrorKind::System | LookupErrorKind::Unknown | LookupErrorKind::IO => Error::from_io(&error.into()),
    }
}
