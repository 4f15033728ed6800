//! How a thread stops to count against a port: the kernel counts it at the port it last waited on, so it waits, for no time, on
//! one that nobody uses.

use std::os::windows::io::AsRawHandle;
use std::ptr::null_mut;
use std::sync::OnceLock;

use windows_sys::Win32::System::IO::GetQueuedCompletionStatus;

use super::port::Port;
use super::sys::Iocp;
use crate::shim::Arc;

/// The calling thread goes on to other things: the port is not to count it, until its next `get`.
pub(crate) fn leave(_: &Arc<Port>) {
    static EMPTY: OnceLock<Option<Iocp>> = OnceLock::new();
    let Some(empty) = EMPTY.get_or_init(|| Iocp::new(0).ok()) else { return };
    let (mut bytes, mut key, mut overlapped) = (0, 0, null_mut());
    // SAFETY: three places to write to; nothing is ever posted there, and the wait is over at once.
    unsafe {
        let port = empty.borrow().as_raw_handle();
        GetQueuedCompletionStatus(port, &raw mut bytes, &raw mut key, &raw mut overlapped, 0);
    }
}
