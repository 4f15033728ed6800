//! The reading half: at most one operation in flight, kept from poll to poll.
//!
//! | state | holds | a poll |
//! |---|---|---|
//! | idle | nothing | begins a wait for something to read; a receive at once, if the last one filled its buffer or cannot be waited for |
//! | waiting | a readiness operation, no buffer | when it is over, begins a receive |
//! | receiving | a receive and its buffer | when it is over: full, or idle at the peer's close or an error |
//! | full | a buffer with bytes nobody took yet | gives them; the last one taken: idle, the buffer goes back |

use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::buffer::Buffer;
use super::source::{Reads, handle};
use super::stream::{check, io_error};
use crate::buf::{BufferPool, Fill, FillTarget, IoBuf, NoBuffer};
use crate::deliver::Overlapped;
use crate::home::Home;
use crate::op::{Interest, Op, Operation};

pub(super) struct Reading<H: Home> {
    state: State<H>,
    /// The last receive filled its buffer: there is more, as a rule.
    more: bool,
}

enum State<H: Home> {
    Idle,
    Waiting(Overlapped<NoBuffer, (), H>),
    Receiving(Overlapped<Fill<Buffer>, (), H>),
    Full { buffer: Buffer, taken: usize },
}

impl<H: Home> Reading<H> {
    pub fn new() -> Reading<H> {
        Reading { state: State::Idle, more: false }
    }

    /// The bytes that are there, at least one; none at the peer's close. What is not taken with `consume` comes again.
    pub fn poll_fill<S: Reads<Home = H>>(
        &mut self,
        source: &S,
        pool: &BufferPool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<&[u8]>> {
        let receive = || {
            let op = Operation::new(handle(source), Op::Recv, Buffer::take(pool).into_cargo());
            State::Receiving(op.into_future())
        };
        loop {
            match &mut self.state {
                State::Idle => {
                    check(source)?;
                    self.state = if S::SOCKET && !self.more {
                        let op = Op::Ready { interest: Interest::Read };
                        State::Waiting(Operation::new(handle(source), op, NoBuffer).into_future())
                    } else {
                        receive()
                    };
                }
                State::Waiting(op) => {
                    let done = ready!(Pin::new(op).poll(cx));
                    self.state = State::Idle;
                    done.result.map_err(io_error)?;
                    self.state = receive();
                }
                State::Receiving(op) => {
                    let done = ready!(Pin::new(op).poll(cx));
                    self.state = State::Idle;
                    self.more = done.result.is_ok() && done.bytes == pool.buffer_size();
                    done.result.map_err(io_error)?;
                    if done.bytes == 0 {
                        return Poll::Ready(Ok(&[]));
                    }
                    self.state = State::Full { buffer: done.buffer, taken: 0 };
                }
                State::Full { .. } => break,
            }
        }
        Poll::Ready(Ok(self.here()))
    }

    /// What was received and nobody took.
    pub fn here(&self) -> &[u8] {
        match &self.state {
            State::Full { buffer, taken } => &buffer.as_slice()[*taken..],
            _ => &[],
        }
    }

    /// Takes `n` of the bytes that `poll_fill` gave, or all of them if that is less.
    pub fn consume(&mut self, n: usize) {
        if let State::Full { buffer, taken } = &mut self.state {
            *taken = taken.saturating_add(n).min(buffer.as_slice().len());
            if *taken == buffer.as_slice().len() {
                self.state = State::Idle;
            }
        }
    }
}
