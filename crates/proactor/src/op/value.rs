//! What a completion brings back.

use super::address::Address;
use super::block::Work;
use super::boxed::Boxed;
use super::message::Message;
use crate::buf::PoolBuf;
use crate::dns::{HostName, Resolved};
use crate::error::{Code, Error};
use crate::flow::Permit;
use crate::fs::Metadata;
use crate::net::{TcpStream, UnixStream};
use crate::process::Exited;
use crate::signal::Signal;

/// What an operation brought besides its byte count. What is larger than a few words lies in a box, so that packets are
/// small.
#[derive(Debug, Default)]
pub enum Value {
    /// Nothing more.
    #[default]
    None,
    /// A TCP connection, with both addresses.
    Tcp(Box<Accepted<TcpStream>>),
    /// A Unix stream connection, with both addresses.
    Unix(Box<Accepted<UnixStream>>),
    /// A datagram's sender and whether it was cut.
    Datagram(Boxed<Datagram>),
    /// What a datagram's headers say.
    Message(Boxed<Message>),
    /// A buffer of the operation's pool with what was received.
    Buffer(PoolBuf),
    /// What a file is.
    Metadata(Box<Metadata>),
    /// How a process ended.
    Exited(Exited),
    /// A signal that came.
    Signal(Signal),
    /// A name's addresses.
    Resolved(Resolved),
    /// An address's name.
    Name(Box<HostName>),
    /// A permit.
    Permit(Permit),
}

/// An accepted connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The connection, not yet associated with any port.
    pub stream: S,
    /// This end's address.
    pub local: Address,
    /// The peer's address.
    pub peer: Address,
}

/// A datagram's sender, and whether its end did not fit the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub from: Address,
    /// The datagram was longer than the buffer; what fitted was delivered, the rest is lost.
    pub truncated: bool,
}

impl Datagram {
    /// The warning a truncated datagram carries: [`Code::MessageTruncated`] (234 / 10040), with the data delivered.
    pub fn warning(&self) -> Option<Error> {
        self.truncated.then(|| Error::new(Code::MessageTruncated))
    }
}

/// How one operation ended: the bytes transferred, on failure too, and what it brought or why it failed.
#[derive(Debug)]
pub struct Done {
    /// Bytes transferred; for a failed or cancelled operation those before it failed.
    pub bytes: usize,
    /// What the operation brought, or its error.
    pub result: Result<Value, Error>,
}

/// How one operation ended, typed, with the buffer handed back.
#[derive(Debug)]
pub struct Completion<T, B = ()> {
    /// Bytes transferred; for a failed or cancelled operation those before it failed.
    pub bytes: usize,
    /// What the operation brought, or its error.
    pub result: Result<T, Error>,
    /// The buffer, for errors and cancellations too.
    pub buffer: B,
}

/// The types an operation can bring.
pub trait Brings: Sized {
    /// Takes it out of the closed enum; the operation's own type guarantees the variant.
    #[doc(hidden)]
    fn from_value(value: Value) -> Option<Self>;
}

impl Brings for () {
    fn from_value(_: Value) -> Option<()> {
        Some(())
    }
}

impl Brings for Accepted<TcpStream> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Tcp(accepted) => Some(*accepted),
            _ => None,
        }
    }
}

impl Brings for Accepted<UnixStream> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Unix(accepted) => Some(*accepted),
            _ => None,
        }
    }
}

impl Brings for Datagram {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Datagram(datagram) => Some(datagram.into_inner()),
            _ => None,
        }
    }
}

impl Brings for Message {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Message(message) => Some(message.into_inner()),
            _ => None,
        }
    }
}

impl Brings for Metadata {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Metadata(metadata) => Some(*metadata),
            _ => None,
        }
    }
}

impl Brings for Exited {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Exited(exited) => Some(exited),
            _ => None,
        }
    }
}

impl Brings for Signal {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Signal(signal) => Some(signal),
            _ => None,
        }
    }
}

impl Brings for Resolved {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Resolved(resolved) => Some(resolved),
            _ => None,
        }
    }
}

impl Brings for HostName {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Name(name) => Some(*name),
            _ => None,
        }
    }
}

impl Brings for Permit {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Permit(permit) => Some(permit),
            _ => None,
        }
    }
}

impl Done {
    /// Takes the result out of a completed block, leaving it ready for its next operation.
    #[inline]
    pub(crate) fn take(work: &mut Work) -> Done {
        work.trace.taken();
        if matches!(work.result, Ok(Value::None)) {
            return Done { bytes: work.bytes, result: Ok(Value::None) };
        }
        Done { bytes: work.bytes, result: Done::take_result(work) }
    }

    /// Not inlined: the optimizer would split every packet around the bytes this touches, and move it in as many pieces.
    #[inline(never)]
    fn take_result(work: &mut Work) -> Result<Value, Error> {
        let kind = work.op.kind();
        std::mem::replace(&mut work.result, Ok(Value::None)).map_err(|e| e.of(kind))
    }

    /// The same, typed. An operation that brought another thing than its type says breaks an invariant of the backend.
    pub(crate) fn typed<T: Brings>(self) -> (usize, Result<T, Error>) {
        let result =
            self.result.map(|value| T::from_value(value).expect("a backend completed an operation with another's value"));
        (self.bytes, result)
    }
}

const _: () = assert!(size_of::<Value>() <= 32 && size_of::<Done>() <= 40, "packets are moved by value, several times each");
