//! What can be made into poll-style I/O: the library's streams and byte pipes.

use crate::handle::Handle;
use crate::home::Home;
use crate::net::{TcpStream, UnixStream};
use crate::pipe::{PipeClient, PipeReader, PipeServer, PipeWriter};

/// A stream of bytes whose operations [`Stream`](super::Stream) polls: connections and pipes, on a shared port or on a
/// thread's own.
///
/// Sealed: implemented by the library's objects. A pipe in message mode is refused when it is used, with
/// [`Code::InvalidParameter`](crate::Code::InvalidParameter): polls would join what it keeps apart.
pub trait Source: sealed::Sealed + Unpin + 'static {
    /// Where its operations live.
    type Home: Home;
}

/// A [`Source`] that can be read.
pub trait Reads: Source {}

/// A [`Source`] that can be written.
pub trait Writes: Source {}

pub(super) mod sealed {
    use crate::handle::Handle;

    pub trait Sealed {
        #[doc(hidden)]
        fn inner(&self) -> Inner<'_>;
        /// Whether one can wait for something to read without a buffer, and close the sending half alone.
        #[doc(hidden)]
        const SOCKET: bool;
    }

    /// Hides the handle from the public trait.
    pub struct Inner<'s>(pub(in crate::compat) &'s Handle);
}

pub(super) fn handle<S: Source>(source: &S) -> &Handle {
    source.inner().0
}

macro_rules! sources {
    ($($name:ident, $socket:expr, [$($way:ident)*];)*) => {$(
        impl<H: Home> sealed::Sealed for $name<H> {
            fn inner(&self) -> sealed::Inner<'_> {
                sealed::Inner(self.handle())
            }
            const SOCKET: bool = $socket;
        }
        impl<H: Home> Source for $name<H> {
            type Home = H;
        }
        $(impl<H: Home> $way for $name<H> {})*
    )*};
}

sources! {
    TcpStream, true, [Reads Writes];
    UnixStream, true, [Reads Writes];
    PipeServer, false, [Reads Writes];
    PipeClient, false, [Reads Writes];
    PipeReader, false, [Reads];
    PipeWriter, false, [Writes];
}
