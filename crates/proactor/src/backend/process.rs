//! Processes by their pidfd: pollable once they have ended.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use super::ObjectState;
use crate::error::{Code, Error};
use crate::process::Exited;

/// The process of this number.
pub(crate) fn open_process(id: u32) -> Result<ObjectState, Error> {
    open(id).map(|fd| ObjectState::new(fd, true, false))
}

/// A child's. Its number is its own for as long as nobody waited for it.
pub(crate) fn process_of(child: &Child) -> Result<ObjectState, Error> {
    let fd = open(child.id())?;
    match wait(&fd) {
        Err(libc::ECHILD) => Err(gone()),
        _ => Ok(ObjectState::new(fd, true, false)),
    }
}

/// Another way to the same process.
pub(crate) fn same_process(of: &ObjectState) -> Result<ObjectState, Error> {
    let fd = of.borrow().try_clone_to_owned().map_err(|error| Error::from_io(&error))?;
    Ok(ObjectState::new(fd, true, false))
}

fn gone() -> Error {
    Error::new(Code::InvalidParameter)
        .hint("there is no such process (any more); a child keeps its number until it is waited for")
}

fn open(id: u32) -> Result<OwnedFd, Error> {
    let Some(pid) = libc::pid_t::try_from(id).ok().filter(|pid| *pid > 0) else { return Err(gone()) };
    // SAFETY: two numbers; the descriptor returned is new and ours alone.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd as libc::c_int)),
            _ => Err(match Error::last_os_error() {
                error if matches!(error.raw_os_error(), Some(libc::ESRCH)) => gone(),
                error => error,
            }),
        }
    }
}

/// How a process ended, if it is a child of this one and nobody has waited for it. It stays to be waited for.
pub(super) fn exited(fd: libc::c_int) -> Exited {
    Exited { status: wait(&fd).ok().flatten() }
}

fn wait(fd: &impl AsRawFd) -> Result<Option<ExitStatus>, i32> {
    // SAFETY: all-zero is a valid siginfo, which is written; the descriptor is open.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let id = fd.as_raw_fd().cast_unsigned();
        loop {
            if libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) == 0 {
                break;
            }
            match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                errno => return Err(errno.unwrap_or(libc::EINVAL)),
            }
        }
        // As wait(2) would have told it.
        let raw = match (info.si_pid(), info.si_code) {
            (0, _) => return Ok(None),
            (_, libc::CLD_EXITED) => (info.si_status() & 0xff) << 8,
            (_, libc::CLD_DUMPED) => info.si_status() | 0x80,
            _ => info.si_status(),
        };
        Ok(Some(ExitStatus::from_raw(raw)))
    }
}
