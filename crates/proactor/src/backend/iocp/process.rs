//! Processes: their end signals their handle, for which the system's pool waits.
//!
//! | who | does | when |
//! |---|---|---|
//! | `ended`, the wait's callback | concludes the operation | its process ended before anybody asked the operation to end |
//! | `end` on a thread of the pool | takes the wait back, concludes | a cancel came first: `ended` of the block is set under the lane's lock |
//!
//! The block outlives both: `end` waits for a callback that runs before it concludes, and a callback that comes second only
//! looks at `ended` under the lock.

use std::ffi::c_void;
use std::os::windows::io::{AsHandle, FromRawHandle, OwnedHandle};
use std::os::windows::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::ptr::{NonNull, null, null_mut};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, INFINITE, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, PTP_CALLBACK_INSTANCE,
    RegisterWaitForSingleObject, TrySubmitThreadpoolCallback, UnregisterWait, UnregisterWaitEx, WT_EXECUTEONLYONCE,
};

use super::lanes::Core;
use super::object::{conclude, object_of};
use super::types::Aside;
use super::{ObjectState, codes};
use crate::error::{Code, Error};
use crate::op::{Header, Value};
use crate::process::Exited;

/// The process of this number.
pub(crate) fn open_process(id: u32) -> Result<ObjectState, Error> {
    // SAFETY: no pointers; the handle returned is new and ours alone.
    unsafe {
        let handle = OpenProcess(PROCESS_SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION, 0, id);
        if handle.is_null() {
            return Err(Error::last_os_error());
        }
        Ok(state(OwnedHandle::from_raw_handle(handle)))
    }
}

/// A child's.
pub(crate) fn process_of(child: &Child) -> Result<ObjectState, Error> {
    child.as_handle().try_clone_to_owned().map(state).map_err(|error| Error::from_io(&error))
}

/// Another way to the same process.
pub(crate) fn same_process(of: &ObjectState) -> Result<ObjectState, Error> {
    of.borrow_handle().try_clone_to_owned().map(state).map_err(|error| Error::from_io(&error))
}

fn state(handle: OwnedHandle) -> ObjectState {
    ObjectState::new(handle.into(), true, false)
}

fn exited(process: HANDLE) -> Exited {
    let mut code = 0;
    // SAFETY: the operation's object keeps the handle.
    let known = unsafe { GetExitCodeProcess(process, &raw mut code) } != 0;
    Exited { status: known.then(|| ExitStatus::from_raw(code)) }
}

/// Has the pool wait for the operation's process.
///
/// # Safety
/// As `start::issue`.
pub(super) unsafe fn wait_for(header: NonNull<Header>, aside: &mut Aside, core: &Core) -> Result<(), Error> {
    let mut wait = null_mut();
    // SAFETY: the block stays until `ended` or `end` has concluded it, and keeps the handle.
    unsafe {
        let context = header.as_ptr().cast_const().cast();
        if RegisterWaitForSingleObject(&raw mut wait, core.handle(), Some(ended), context, INFINITE, WT_EXECUTEONLYONCE) == 0 {
            return Err(Error::last_os_error());
        }
    }
    *aside = Aside::Wait(wait);
    Ok(())
}

/// Ends the wait of an operation, on a thread of the pool; whether it will.
///
/// # Safety
/// The operation waits, nobody asked it to end before, and the caller holds its lane's lock and says so under it.
pub(super) unsafe fn end(header: NonNull<Header>) -> bool {
    // SAFETY: the block stays until the callback concludes it.
    unsafe { TrySubmitThreadpoolCallback(Some(end_wait), header.as_ptr().cast(), null()) != 0 }
}

/// # Safety
/// The block waits, or waited, and its lane is locked.
unsafe fn take_wait(header: NonNull<Header>) -> HANDLE {
    // SAFETY: as the caller promises; the kernel has no part in this.
    match std::mem::take(unsafe { &mut *(*header.as_ptr()).sys.aside.get() }) {
        Aside::Wait(wait) => wait,
        _ => unreachable!("an operation that waits has its wait"),
    }
}

unsafe extern "system" fn ended(context: *mut c_void, _timed_out: bool) {
    let Some(header) = NonNull::new(context.cast::<Header>()) else { return };
    // SAFETY: the block is alive: who ends the wait in another way waits for this callback first.
    unsafe {
        let core = object_of(header).sys.core.clone();
        let list = core.lock((*header.as_ptr()).sys.lane);
        if (*header.as_ptr()).sys.ended.is_some() {
            return;
        }
        // From inside its callback a wait is taken back without waiting.
        UnregisterWait(take_wait(header));
        conclude(list, header, 0, Ok(Value::Exited(exited(core.handle()))));
    }
}

unsafe extern "system" fn end_wait(_: PTP_CALLBACK_INSTANCE, context: *mut c_void) {
    let Some(header) = NonNull::new(context.cast::<Header>()) else { return };
    // SAFETY: pending until it is concluded here: the wait's callback leaves it alone, as `ended` is set.
    unsafe {
        let core = object_of(header).sys.core.clone();
        let lane = (*header.as_ptr()).sys.lane;
        let (wait, code) = {
            let _list = core.lock(lane);
            (take_wait(header), (*header.as_ptr()).sys.ended.unwrap_or(Code::Cancelled))
        };
        // Waits for a callback that runs.
        UnregisterWaitEx(wait, INVALID_HANDLE_VALUE);
        conclude(core.lock(lane), header, 0, Err(codes::of_end(code)));
    }
}
