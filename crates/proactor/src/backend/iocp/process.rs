//! Processes: their end signals their handle, for which `waits.rs` waits.

use std::os::windows::io::{AsHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE,
};

use super::ObjectState;
use crate::error::Error;
use crate::process::Exited;

/// The process of this number.
pub(crate) fn open_process(id: u32) -> Result<ObjectState, Error> {
    // SAFETY: no pointers; the handle returned is new and ours alone.
    unsafe {
        let handle = OpenProcess(PROCESS_SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION, 0, id);
        if handle.is_null() {
            return Err(Error::last_os_error());
        }
        Ok(ObjectState::waited_for(OwnedHandle::from_raw_handle(handle)))
    }
}

/// A child's.
pub(crate) fn process_of(child: &Child) -> Result<ObjectState, Error> {
    child.as_handle().try_clone_to_owned().map(ObjectState::waited_for).map_err(|error| Error::from_io(&error))
}

/// Another way to the same process.
pub(crate) fn same_process(of: &ObjectState) -> Result<ObjectState, Error> {
    of.borrow_handle().try_clone_to_owned().map(ObjectState::waited_for).map_err(|error| Error::from_io(&error))
}

/// How a process ended.
pub(super) fn exited(process: HANDLE) -> Exited {
    let mut code = 0;
    // SAFETY: the operation's object keeps the handle.
    let known = unsafe { GetExitCodeProcess(process, &raw mut code) } != 0;
    Exited { status: known.then(|| ExitStatus::from_raw(code)) }
}
