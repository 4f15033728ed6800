//! Processes: their end, as an operation.

use std::process::{Child, ExitStatus};
use std::sync::{Arc, OnceLock};

use crate::backend;
use crate::buf::NoBuffer;
use crate::deliver::Overlapped;
use crate::error::Error;
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{Op, Operation};
use crate::sync::object::Core;
use crate::sync::waitable::sealed::Sealed;

/// A process of this system, a child or not, whose end is waited for as for any operation.
///
/// It can be waited for by the functions of [`sync`](crate::sync), too: signalled once the process has ended. Dropping it does
/// nothing to the process.
///
/// ```
/// use proactor::process::Process;
/// # let program = if cfg!(windows) { "whoami" } else { "true" };
/// # let spawn = || std::process::Command::new(program).stdout(std::process::Stdio::null()).spawn();
/// # let Ok(mut child) = spawn() else { return Ok(()) };
/// let process = Process::of(&child)?;
/// let exited = process.exited().start()?.wait().result?;
/// assert!(exited.status.unwrap().success());
/// child.wait()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Process<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
    ended: OnceLock<Box<Ended>>,
}

/// For those who wait for the process itself: an operation of the library's own, on an object beside the user's, so that the
/// user's finds its home when he says so.
struct Ended {
    exited: Overlapped<NoBuffer, Exited>,
    _process: Process,
}

object!(Process, ended);

impl Process {
    /// The process with this number (`OpenProcess`, `pidfd_open`).
    ///
    /// `InvalidParameter` if there is none, `AccessDenied` if this user may not wait for it (on Linux everybody may). A number is
    /// given to another process some time after its owner's end, so better [`of`](Process::of) a child.
    pub fn open(id: u32) -> Result<Process, Error> {
        backend::open_process(id).map(Process::make)
    }

    /// A child's process. The child stays its owner's, to be written to and waited for: on Linux an ended one remains, without
    /// its memory, until [`Child::wait`]. `InvalidParameter` if it was waited for already.
    pub fn of(child: &Child) -> Result<Process, Error> {
        backend::process_of(child).map(Process::make)
    }

    fn make(state: backend::ObjectState) -> Process {
        Process::from_handle(Handle::new(Kind::Watched, state))
    }
}

impl<H: Home> Process<H> {
    /// Completes when the process has ended (`RegisterWaitForSingleObject`, `poll` of a pidfd), at once if it has already. May
    /// be asked any number of times. A packet has it as [`Value::Exited`](crate::Value::Exited).
    ///
    /// A cancel, and the drop of the last handle, complete it with `Cancelled`.
    pub fn exited(&self) -> Operation<'_, NoBuffer, Exited, H> {
        Operation::new(self.handle(), Op::Exited, NoBuffer)
    }
}

impl<H: Home> Sealed for Process<H> {
    fn core(&self) -> Result<&Arc<Core>, Error> {
        if self.ended.get().is_none() {
            let process = backend::same_process(&self.handle().sys).map(Process::make)?;
            let exited = process.exited().start()?;
            // Another thread may have been faster.
            let _ = self.ended.set(Box::new(Ended { exited, _process: process }));
        }
        match self.ended.get() {
            Some(ended) => ended.exited.core(),
            None => unreachable!("just set"),
        }
    }
}

/// A process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exited {
    /// How. On Linux it is told only of this process's children, until they are waited for; on Windows always.
    pub status: Option<ExitStatus>,
}
