//! Composed operations: several single ones that look like one. Read exactly so much, until a delimiter, write all of it; or one
//! of your own ([`Compose`]).
//!
//! | file | what |
//! |---|---|
//! | `run.rs` | how a composition is run: waited for, awaited, or with a handler |
//! | `read.rs` | read exactly, at least |
//! | `until.rs` | read until a delimiter or a condition holds |
//! | `write.rs` | write all |
//! | `input.rs` | what was read and not used yet |
//! | `rest.rs` | a part of a buffer |
//!
//! Every step is an operation of its own on the object, so two compositions of the same direction on one object mix their bytes:
//! start the next when the one before it is over. Steps run inside the port's `get` ([`Composed::then`]), the executor's poll
//! (`.await`), or the caller ([`Composed::wait`]).
//!
//! ```
//! use proactor::{compose, net::{TcpListener, TcpStream}};
//! let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
//! let (accept, client) = (listener.accept().start()?, TcpStream::unconnected_v4()?);
//! client.connect(listener.local_addr()?).wait().result?;
//! let server = accept.wait().result?.stream;
//! client.send(b"GET /\r\nrest").wait().result?;
//! let line = compose::read_until(&server, compose::Input::new(1024), b"\r\n").wait();
//! line.result?;
//! let mut input = line.buffer;
//! assert_eq!(&input.unread()[..line.bytes], b"GET /\r\n");
//! input.consume(line.bytes);
//! # Ok::<(), std::io::Error>(())
//! ```

mod input;
mod read;
mod rest;
mod run;
mod until;
mod write;

use crate::buf::{Cargo, Drain, Fill, IoBuf, IoBufMut, LoweredBuffers, Sealed};
use crate::cancel::Cancellation;
use crate::fs::File;
use crate::handle::sealed::Opaque;
use crate::home::Home;
use crate::net::{TcpStream, UnixStream};
use crate::op::{Brings, Completion, Operation};
use crate::pipe::{PipeClient, PipeReader, PipeServer, PipeWriter};

pub use input::Input;
pub use read::{AtLeast, read_at_least, read_exactly, read_exactly_at};
pub use rest::Rest;
pub use run::{Composed, Running, compose};
pub use until::{Delimiter, Find, Until, read_until, read_until_found};
pub use write::{All, write_all, write_all_at};

/// What comes next in a composition.
#[derive(Debug)]
pub enum Step<B, T> {
    /// Another operation, with this buffer.
    Next(B),
    /// It is over.
    Done(T),
}

/// A composition: a state machine that is asked for one operation after the other.
///
/// ```
/// use proactor::{Completion, Operation, compose::{self, Compose, On, Step, Through}, net::TcpStream};
///
/// /// Sends a request and receives the answer's first bytes.
/// struct Ask { request: Option<Vec<u8>>, sent: bool }
///
/// impl Compose<TcpStream> for Ask {
///     type Cargo = Through<Vec<u8>>;
///     type Brings = ();
///     type Output = Completion<(), Vec<u8>>;
///
///     fn begin(&mut self) -> Step<Vec<u8>, Self::Output> {
///         Step::Next(self.request.take().unwrap_or_default())
///     }
///     fn operation<'o>(&mut self, on: &'o TcpStream, buffer: Vec<u8>) -> Operation<'o, Self::Cargo, ()> {
///         if self.sent { on.recv(buffer).into() } else { on.send(buffer).into() }
///     }
///     fn resume(&mut self, done: Completion<(), Vec<u8>>) -> Step<Vec<u8>, Self::Output> {
///         if done.result.is_err() || std::mem::replace(&mut self.sent, true) {
///             return Step::Done(done);
///         }
///         Step::Next(vec![0; 64])
///     }
/// }
///
/// # use proactor::net::TcpListener;
/// # let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
/// # let (accept, client) = (listener.accept().start()?, TcpStream::unconnected_v4()?);
/// # client.connect(listener.local_addr()?).wait().result?;
/// # let server = accept.wait().result?.stream;
/// # server.send(b"pong").wait().result?;
/// let done = compose::compose(&client, Ask { request: Some(b"ping".to_vec()), sent: false }).wait();
/// assert_eq!(done.buffer, b"pong");
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Compose<O: On>: 'static {
    /// How its operations carry their buffers. [`Through`] does for those that fill and those that send.
    type Cargo: Cargo;
    /// What its operations bring.
    type Brings: Brings;
    /// What it gives in the end: the buffer, if it is to come back.
    type Output;

    /// Called once, first.
    fn begin(&mut self) -> Step<<Self::Cargo as Cargo>::Back, Self::Output>;

    /// Describes the next operation. A timeout or token of its own counts beside the composition's.
    fn operation<'o>(
        &mut self,
        on: &'o O,
        buffer: <Self::Cargo as Cargo>::Back,
    ) -> Operation<'o, Self::Cargo, Self::Brings, O::Home>;

    /// That operation is over, or was refused, which its result says. After an error the composition should be over too; one run by
    /// [`then`](Composed::then) that asks for more after many of them is dropped.
    fn resume(
        &mut self,
        done: Completion<Self::Brings, <Self::Cargo as Cargo>::Back>,
    ) -> Step<<Self::Cargo as Cargo>::Back, Self::Output>;

    /// What a cancel now would leave behind, which decides whether a token's cancel is meant for it.
    fn cancellation(&self) -> Cancellation {
        Cancellation::Partial
    }
}

/// The objects that compositions run on: all of the library's.
///
/// Sealed.
pub trait On: sealed::Sealed<At = <Self as On>::Home> {
    /// Its home.
    type Home: Home;
}

/// An object to receive from: streams, and the pipes that are read.
pub trait Source: On {
    /// Receives some.
    #[doc(hidden)]
    fn some<B: IoBufMut + 'static>(&self, buffer: B) -> Operation<'_, Fill<B>, (), <Self as On>::Home>;
}

/// An object to send to: streams, and the pipes that are written.
pub trait Sink: On {
    /// Sends all, or some.
    #[doc(hidden)]
    fn all<B: IoBuf + 'static>(&self, buffer: B) -> Operation<'_, Drain<B>, (), <Self as On>::Home>;
}

macro_rules! ends {
    ($($name:ident, $($trait:ident $method:ident $call:ident $bound:ident $cargo:ident)*;)*) => {$($(
        impl<H: Home> $trait for $name<H> {
            fn $method<B: $bound + 'static>(&self, buffer: B) -> Operation<'_, $cargo<B>, (), H> {
                self.$call(buffer)
            }
        }
    )*)*};
}

ends! {
    TcpStream, Source some recv IoBufMut Fill Sink all send IoBuf Drain;
    UnixStream, Source some recv IoBufMut Fill Sink all send IoBuf Drain;
    PipeServer, Source some read IoBufMut Fill Sink all write IoBuf Drain;
    PipeClient, Source some read IoBufMut Fill Sink all write IoBuf Drain;
    PipeReader, Source some read IoBufMut Fill;
    PipeWriter, Sink all write IoBuf Drain;
}

/// A place to read from.
pub trait Reads<O: On>: 'static {
    #[doc(hidden)]
    fn read<'o, B: IoBufMut + 'static>(&self, on: &'o O, buffer: B, after: usize) -> Operation<'o, Fill<B>, (), O::Home>;
}

/// A place to write to.
pub trait Writes<O: On>: 'static {
    #[doc(hidden)]
    fn write<'o, B: IoBuf + 'static>(&self, on: &'o O, buffer: B, after: usize) -> Operation<'o, Drain<B>, (), O::Home>;
}

/// The next bytes of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Stream;

/// Bytes of a file from an offset on.
#[derive(Clone, Copy, Debug)]
pub struct Offset(pub u64);

impl<O: Source> Reads<O> for Stream {
    fn read<'o, B: IoBufMut + 'static>(&self, on: &'o O, buffer: B, _: usize) -> Operation<'o, Fill<B>, (), O::Home> {
        on.some(buffer)
    }
}

impl<O: Sink> Writes<O> for Stream {
    fn write<'o, B: IoBuf + 'static>(&self, on: &'o O, buffer: B, _: usize) -> Operation<'o, Drain<B>, (), O::Home> {
        on.all(buffer)
    }
}

impl<H: Home> Reads<File<H>> for Offset {
    fn read<'o, B: IoBufMut + 'static>(&self, on: &'o File<H>, buffer: B, after: usize) -> Operation<'o, Fill<B>, (), H> {
        on.read_at(buffer, self.0.saturating_add(after as u64))
    }
}

impl<H: Home> Writes<File<H>> for Offset {
    fn write<'o, B: IoBuf + 'static>(&self, on: &'o File<H>, buffer: B, after: usize) -> Operation<'o, Drain<B>, (), H> {
        on.write_at(buffer, self.0.saturating_add(after as u64))
    }
}

/// A buffer that is filled by one step and sent by another.
pub enum Through<B> {
    #[doc(hidden)]
    In(Fill<B>),
    #[doc(hidden)]
    Out(Drain<B>),
}

impl<B> Sealed for Through<B> {}

impl<B: IoBufMut> Cargo for Through<B> {
    type Back = B;
    fn lower(&mut self, into: &mut LoweredBuffers<'_>) {
        match self {
            Through::In(fill) => fill.lower(into),
            Through::Out(drain) => drain.lower(into),
        }
    }
    unsafe fn finish(self, bytes: usize) -> B {
        // SAFETY: the caller's promise; what is sent is not told of a count.
        unsafe {
            match self {
                Through::In(fill) => fill.finish(bytes),
                Through::Out(drain) => drain.finish(bytes),
            }
        }
    }
    fn give_back(self) -> B {
        match self {
            Through::In(fill) => fill.give_back(),
            Through::Out(drain) => drain.give_back(),
        }
    }
}

impl<'o, B, T, H: Home> From<Operation<'o, Fill<B>, T, H>> for Operation<'o, Through<B>, T, H> {
    fn from(operation: Operation<'o, Fill<B>, T, H>) -> Self {
        operation.map_cargo(Through::In)
    }
}

impl<'o, B, T, H: Home> From<Operation<'o, Drain<B>, T, H>> for Operation<'o, Through<B>, T, H> {
    fn from(operation: Operation<'o, Drain<B>, T, H>) -> Self {
        operation.map_cargo(Through::Out)
    }
}

pub(crate) mod sealed {
    use super::{Home, Opaque};

    /// Ways to the handle inside and back.
    pub trait Sealed: Sized + 'static {
        #[doc(hidden)]
        type At: Home;
        #[doc(hidden)]
        fn opaque_of(&self) -> &Opaque<Self::At>;
        #[doc(hidden)]
        fn of_opaque(inner: Opaque<Self::At>) -> Self;
    }
}
