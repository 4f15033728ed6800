//! The writing half: at most one send in flight, of a copy of what was written.

use std::future::{Future, IntoFuture};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::buffer::Buffer;
use super::source::{Writes, handle};
use super::stream::{check, io_error};
use crate::buf::{BufferPool, Drain, DrainTarget, NoBuffer};
use crate::deliver::Overlapped;
use crate::error::{Code, Error};
use crate::home::Home;
use crate::op::{Op, Operation};

pub(super) struct Writing<H: Home> {
    sending: Option<Overlapped<Drain<Buffer>, (), H>>,
    /// Why something that was taken from the writer was not sent. It stays: what is written now would come after a gap.
    failed: Option<Error>,
    closing: Closing<H>,
}

enum Closing<H: Home> {
    Open,
    Shutting(Overlapped<NoBuffer, (), H>),
    Closed,
}

impl<H: Home> Writing<H> {
    pub fn new() -> Writing<H> {
        Writing { sending: None, failed: None, closing: Closing::Open }
    }

    /// Takes as much as a buffer holds and begins to send it; how much that was. Waits for the send before it.
    pub fn poll_write<'d, S: Writes<Home = H>>(
        &mut self,
        source: &S,
        pool: &BufferPool,
        cx: &mut Context<'_>,
        data: impl Iterator<Item = &'d [u8]>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(cx))?;
        check(source)?;
        let mut data = data.filter(|part| !part.is_empty()).peekable();
        if data.peek().is_none() {
            return Poll::Ready(Ok(0));
        }
        let mut buffer = Buffer::take(pool);
        let (mut taken, mut room) = (0, buffer.whole());
        for part in data {
            let n = part.len().min(room.len());
            let (now, rest) = room.split_at_mut(n);
            now.copy_from_slice(&part[..n]);
            (taken, room) = (taken + n, rest);
            if room.is_empty() {
                break;
            }
        }
        buffer.keep(taken);
        // Over at once as a rule: then nobody is to be woken.
        match Operation::new(handle(source), Op::Send, buffer.into_cargo()).into_future().into_result() {
            Ok(done) => self.sent(done.result)?,
            Err(pending) => self.sending = Some(pending.back),
        }
        Poll::Ready(Ok(taken))
    }

    /// Ready when all that was written is in the object's own buffer.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(op) = &mut self.sending {
            let done = ready!(Pin::new(op).poll(cx));
            self.sending = None;
            return Poll::Ready(self.sent(done.result));
        }
        Poll::Ready(self.failed.map_or(Ok(()), |error| Err(broken(error))))
    }

    /// The same, and then closes the sending half of a socket.
    pub fn poll_close<S: Writes<Home = H>>(&mut self, source: &S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.closing {
                Closing::Open => {
                    ready!(self.poll_sent(cx))?;
                    self.closing = if S::SOCKET {
                        let op = Op::Shutdown { how: Shutdown::Write };
                        Closing::Shutting(Operation::new(handle(source), op, NoBuffer).into_future())
                    } else {
                        Closing::Closed
                    };
                }
                Closing::Shutting(op) => {
                    let done = ready!(Pin::new(op).poll(cx));
                    self.closing = Closing::Open;
                    match done.result {
                        // The peer was faster.
                        Err(error) if error.code() != Code::NotConnected => return Poll::Ready(Err(io_error(error))),
                        _ => self.closing = Closing::Closed,
                    }
                }
                Closing::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    fn sent(&mut self, result: Result<(), Error>) -> io::Result<()> {
        result.map_err(|error| {
            self.failed = Some(error);
            broken(error)
        })
    }
}

/// A cancelled send is not to be tried again, as the kind of error of other cancelled operations says: a part of it is gone.
fn broken(error: Error) -> io::Error {
    match error.code() {
        Code::Cancelled => io::Error::new(io::ErrorKind::ConnectionAborted, error),
        _ => io_error(error),
    }
}
