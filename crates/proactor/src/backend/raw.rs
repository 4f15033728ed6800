//! The door to system calls of the user's own: any entry of io_uring, as an operation like the library's.
//!
//! [`Ring`] stands for the ring that serves files on the object's home: the port's own, or its thread's. An entry submitted
//! through it completes as every operation does: as a packet, or through a handle. What Asio calls `overlapped_ptr`.
//!
//! Entries are those of the crate `io-uring`, [`io_uring`] here, so that a program needs no dependency of its own, nor the
//! same version.
//!
//! On Windows this module has `Handle` and its `call` instead: any overlapped call of the kernel's.

pub use ::io_uring;
use io_uring::squeue::Entry;

use super::epoll::{ObjectState, has_uring};
use crate::buf::{Cargo, LoweredBuffers, Project, Sealed};
use crate::error::{Code, Error};
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{Op, Operation};

/// A way into the ring of a port, for entries of the user's own.
///
/// ```
/// use proactor::{Code, raw::{Ring, io_uring::{opcode, types}}};
/// use std::io::Write;
/// use std::os::fd::AsRawFd;
///
/// let ring = match Ring::new() {
///     Ok(ring) => ring,
///     Err(error) => return Ok(assert_eq!(error.code(), Code::NotSupported)), // no io_uring here
/// };
/// let (reader, mut writer) = std::io::pipe()?;
/// // The descriptor and the buffer are the operation's until it completes.
/// // SAFETY: the entry names the pipe and the buffer in its own memory, and nothing else.
/// let read = unsafe {
///     ring.entry((reader, [0; 16]), |(reader, buf)| {
///         opcode::Read::new(types::Fd(reader.as_raw_fd()), buf.as_mut_ptr(), buf.len() as u32).build()
///     })
/// };
/// let read = read.start()?;
/// writer.write_all(b"hello")?;
/// let done = read.wait();
/// let (_reader, buf) = done.buffer;
/// assert_eq!(&buf[..done.bytes], b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Ring<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(Ring);

impl Ring {
    /// A way into the ring of the port it is associated with later, or else the process's own.
    ///
    /// [`Code::NotSupported`] where io_uring is not used: the system refuses it, is older than Linux 6.1, or the program chose
    /// epoll. A [`Descriptor`](crate::watch::Descriptor) whose call the program makes itself serves there.
    pub fn new() -> Result<Ring, Error> {
        match has_uring() {
            true => Ok(Ring::from_handle(Handle::new(Kind::Raw, ObjectState::unopened()))),
            false => Err(refused()),
        }
    }
}

impl<H: Home> Ring<H> {
    /// Submits the entry that `describe` makes, once `memory` has come to the place at which it stays until the entry's last
    /// completion; then it comes back.
    ///
    /// Completes when the kernel says so: `bytes` is its answer (bytes, or what else the call returns), or the error has its
    /// errno. A descriptor that an answer brings is the caller's to close; dropping the operation loses it. Entries of one
    /// port complete in any order. A cancel asks the kernel to end the entry, and so does dropping the handle; `memory` is
    /// dropped after the kernel's last word. An entry that a signal or its thread's end interrupted (EINTR, or ECANCELED that
    /// nobody asked for) is submitted again as it was: a timeout begins anew.
    ///
    /// Of several completions the last one counts, but for a send without copying, whose first has the answer. User data is the
    /// library's. The entry may have no flag but `ASYNC` (links, drains, skipped completions, fixed files and provided buffers
    /// would touch entries or tables of others): `InvalidParameter`. A kernel that lacks the operation answers EINVAL, also
    /// `InvalidParameter`. `NotSupported`, if the port could have no ring.
    ///
    /// # Safety
    /// Until the completion, whatever is dropped or leaked meanwhile:
    /// - what the entry points to lies in `memory` or in what it owns, or lives and stays as long;
    /// - the descriptors it names stay open (keep them in `memory`; a clone of a socket of the library keeps that open);
    /// - nobody else reads what the kernel writes, nor writes what it reads;
    /// - the entry does nothing to descriptors, memory or other entries that are not its maker's to touch.
    pub unsafe fn entry<M, F>(&self, memory: M, describe: F) -> Operation<'_, Owned<M, F>, (), H>
    where
        M: Send + 'static,
        F: FnOnce(&mut M) -> Entry + Send + 'static,
    {
        Operation::new(self.handle(), Op::Raw, Owned { memory, describe: Some(describe) })
    }

    /// As [`entry`](Ring::entry), with a packet's block as its memory.
    ///
    /// ```
    /// # use proactor::{Block, CompletionPort, raw::{Ring, io_uring::{opcode, types}}};
    /// # let Ok(ring) = Ring::new() else { return Ok(()) };
    /// struct PerIo { pause: types::Timespec }
    /// let port: CompletionPort<PerIo, usize> = CompletionPort::new(1)?;
    /// port.associate(&ring, 7)?;
    /// let io = Block::new(PerIo { pause: types::Timespec::new().nsec(1_000_000) });
    /// // SAFETY: the entry points into the block alone.
    /// unsafe { ring.entry_within(|io: &mut PerIo| opcode::Timeout::new(&io.pause).build()) }.packet(io)?;
    /// let packet = port.get(None)?.packet().unwrap();
    /// let time_is_up = 62; // ETIME
    /// assert_eq!(packet.done.result.unwrap_err().raw_os_error(), Some(time_is_up));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Safety
    /// As for [`entry`](Ring::entry), of the block.
    pub unsafe fn entry_within<B, F>(&self, describe: F) -> Operation<'_, Inside<F>, (), H>
    where
        F: FnOnce(&mut B) -> Entry,
    {
        Operation::new(self.handle(), Op::Raw, Inside(describe))
    }
}

/// The memory of one entry, and how the entry is made.
pub struct Owned<M, F> {
    memory: M,
    describe: Option<F>,
}

impl<M, F> Sealed for Owned<M, F> {}

impl<M: Send + 'static, F: FnOnce(&mut M) -> Entry + Send + 'static> Cargo for Owned<M, F> {
    type Back = M;

    fn lower(&mut self, into: &mut LoweredBuffers<'_>) {
        if let Some(describe) = self.describe.take() {
            into.0.raw.set(describe(&mut self.memory));
        }
    }

    unsafe fn finish(self, _: usize) -> M {
        self.memory
    }

    fn give_back(self) -> M {
        self.memory
    }
}

/// How an entry is made of a packet's block.
pub struct Inside<F>(F);

impl<F> Sealed for Inside<F> {}

impl<B, F: FnOnce(&mut B) -> Entry> Project<B> for Inside<F> {
    fn project(self, block: &mut B, into: &mut LoweredBuffers<'_>) {
        into.0.raw.set((self.0)(block));
    }
}

/// The entry of an operation. Its place is kept when a block is used again.
#[derive(Default)]
pub(crate) struct RawCall(Option<Box<Entry>>);

impl RawCall {
    fn set(&mut self, entry: Entry) {
        match &mut self.0 {
            Some(place) => **place = entry,
            None => self.0 = Some(Box::new(entry)),
        }
    }

    /// The entry, if it touches nobody else's.
    pub(in crate::backend) fn entry(&self) -> Result<Entry, Error> {
        const ASYNC: u8 = 1 << 4;
        let Some(entry) = &self.0 else { unreachable!("an operation of the user's own has its entry") };
        // SAFETY: an entry is the kernel's 64 bytes, whose second is the flags'.
        let flags = unsafe { std::ptr::from_ref::<Entry>(entry).cast::<u8>().add(1).read() };
        match flags & !ASYNC {
            0 => Ok((**entry).clone()),
            _ => Err(Error::new(Code::InvalidParameter)
                .hint("an entry of one's own has no flag but ASYNC: no links, drains, fixed files or provided buffers")),
        }
    }
}

const _: () = assert!(size_of::<Entry>() == 64);

/// Why there is no ring.
pub(in crate::backend) fn refused() -> Error {
    Error::new(Code::NotSupported)
        .hint("entries of one's own need io_uring, which this process does not use (see proactor::backend); watch the descriptor and call by yourself")
}
