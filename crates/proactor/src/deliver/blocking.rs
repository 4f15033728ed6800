//! The blocking delivery: `.wait()` and `.wait_timeout(d)`, the multithreaded model.
//!
//! An overlapped operation that is waited for in the same line: whatever ends or cancels such a wait does so here. Only a
//! read of a file, whose bytes the page cache may hold, is tried before that, without a block.

use std::any::TypeId;

use crate::backend;
use crate::buf::{Buffers, Cargo, LoweredBuffers};
use crate::error::{Code, Error};
use crate::home::{Home, Shared};
use crate::op::{Brings, Completion, Op, Operation, Value};
use crate::time::Wait;

impl<C: Cargo, T: Brings, H: Home> Operation<'_, C, T, H> {
    /// Starts the operation and waits for its completion, in the calling thread (`ReadFile` and the like without an
    /// OVERLAPPED, `read`, `recv`).
    ///
    /// A worker of a port that waits here releases another. On a per-thread port this thread completes the port's operations
    /// meanwhile; packets and handlers only queue. A read of a file whose bytes are cached is a single system call.
    ///
    /// An operation that is refused never started: its result is the reason, as [`start`](Operation::start) lists them, and
    /// the buffer is as it came.
    ///
    /// ```
    /// use proactor::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
    /// let address = listener.local_addr()?;
    /// let client = std::thread::spawn(move || {
    ///     let stream = TcpStream::unconnected_v4()?;
    ///     stream.connect(address).wait().result?;
    ///     stream.send(b"hello").wait().result
    /// });
    /// let stream = listener.accept().wait().result?.stream;
    /// let done = stream.recv(vec![0; 64]).wait();
    /// assert_eq!(done.bytes, 5);
    /// # client.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(self) -> Completion<T, C::Back> {
        match self.cached(TypeId::of::<H>() == TypeId::of::<Shared>()) {
            Ok(done) => done,
            Err(operation) => operation.start_anyway().wait(),
        }
    }

    /// As [`wait`](Operation::wait), until `wait` ends. Then the operation is cancelled and its own end waited for, so that the
    /// buffer comes back in any case: the result is [`Code::WaitTimeout`] (258), with the bytes transferred so far, or the
    /// real one if that won. What cannot be cancelled, as a file's operation that has begun, ends late with its real result.
    ///
    /// ```
    /// use std::time::Duration;
    /// use proactor::{Code, net::UdpSocket};
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// let done = socket.recv_from(vec![0; 64]).wait_timeout(Duration::from_millis(5));
    /// assert_eq!(done.result.unwrap_err().code(), Code::WaitTimeout);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_timeout(self, wait: impl Into<Wait>) -> Completion<T, C::Back> {
        let kind = self.op.kind();
        let started = match self.cached(false) {
            Ok(done) => return done,
            Err(operation) => operation.start_anyway(),
        };
        if started.wait_over(wait.into()) {
            return started.take();
        }
        // Not found: it has just ended.
        started.request_cancel();
        let mut done = started.wait();
        if done.result.as_ref().is_err_and(|error| error.code() == Code::Cancelled) {
            let hint = "the operation did not end in time and was cancelled; start it again if it is still wanted";
            done.result = Err(Error::new(Code::WaitTimeout).hint(hint).of(kind));
        }
        done
    }

    /// A read of what the page cache holds, over at once, or the operation back. It is never in flight, so it is no limit's.
    /// A thread with a port of its own is never `at_leisure`.
    #[inline]
    fn cached(mut self, at_leisure: bool) -> Result<Completion<T, C::Back>, Self> {
        let (Op::ReadAt { offset }, true) = (&self.op, self.modifiers.is_none()) else { return Err(self) };
        let offset = *offset;
        if backend::check_fork().is_err() || self.op.check_numbers().is_err() || self.handle.home_or_process().is_err() {
            return Err(self);
        }
        let mut buffers = Buffers::default();
        self.cargo.lower(&mut LoweredBuffers(&mut buffers));
        if !(1..=Buffers::MOST).contains(&buffers.count()) {
            return Err(self);
        }
        let Some((bytes, value)) =
            backend::read_cached(self.handle, &buffers, offset, at_leisure).zip(T::from_value(Value::None))
        else {
            return Err(self);
        };
        // SAFETY: the kernel filled so many bytes of what was lowered, and the cargo has not moved since.
        let buffer = unsafe { self.cargo.finish(bytes) };
        Ok(Completion { bytes, result: Ok(value), buffer })
    }
}
