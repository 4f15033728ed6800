//! The end of an operation that never began: its token was cancelled before.

use std::ptr::NonNull;

use super::multi;
use super::object::{conclude, object_of, port_of};
use crate::error::Error;
use crate::op::Header;

/// Ends a begun operation that is not to be started.
///
/// # Safety
/// As `start`.
pub(crate) unsafe fn end(header: NonNull<Header>, error: Error) {
    // SAFETY: as in `start`; listed for a moment, as whoever takes its packet expects.
    unsafe {
        if let Some(timing) = object_of(header).sys.timing() {
            return timing.refuse(header, port_of(header), error);
        }
        let block = header.as_ptr();
        let (core, port) = (&object_of(header).sys.core, port_of(header));
        let is_packet = (*block).delivery.is_queued();
        (*block).sys.lane = (*block).work.op.lane();
        if multi::is_multi(&(*block).work.op) {
            port.multi_begins();
        }
        let mut list = core.lock((*block).sys.lane);
        list.push(header);
        conclude(list, header, 0, Err(error));
        if is_packet && port.is_closed() {
            port.reap();
        }
    }
}
