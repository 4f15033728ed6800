//! Cancel, close of an object, and the descriptor's way out.
//!
//! What waits behind a lane's head ends at once; what the kernel has is asked to end, and does so by its own completion.
//! Once the port is closed nobody enters the kernel for it any more, so these calls do it themselves, until what they
//! cancelled has ended.

use std::ptr::NonNull;
use std::rc::Rc;

use io_uring::opcode;

use super::lanes::{Lanes, NO_FD};
use super::port::{CANCEL_FILE, CANCEL_HEAD, CANCEL_WAITING, Core, Port, TAG, object_of};
use crate::error::{Code, Error};
use crate::handle::{Object, Which};
use crate::op::{Header, Lane as Side, Op};

const SIDES: [Side; 2] = [Side::Read, Side::Write];

/// Cancels operations of an object; how many were meant.
pub(in crate::backend) fn cancel(port: &Rc<Port>, object: &Object, which: Which) -> usize {
    let count = port.with(|core| core.cancel(object, which));
    port.after_cancel();
    count
}

/// The last user's handle went.
pub(in crate::backend) fn close(port: &Rc<Port>, object: &Object) {
    port.with(|core| core.close(object));
    port.after_cancel();
}

/// The descriptor was taken out of the object, with nothing in flight on it.
pub(in crate::backend) fn take_descriptor(port: &Rc<Port>, object: &Object) {
    port.with(|core| {
        if let Some(lanes) = object.sys.index().and_then(|index| core.slab.get(index)) {
            lanes.fd = NO_FD;
        }
    });
}

impl Core {
    fn cancel(&mut self, object: &Object, which: Which) -> usize {
        if let Some(timing) = object.sys.timing() {
            return self.cancel_timers(Some(timing), which);
        }
        let own = |header: &Header| {
            which.means(header) && header.object.is_some_and(|own| std::ptr::eq(own.as_ptr(), std::ptr::from_ref(object)))
        };
        let mut count = 0;
        for header in self.floating.find(own) {
            count += 1;
            self.ask_to_end(header);
        }
        if let Some(index) = object.sys.index() {
            count += self.cancel_lanes(index, which);
        }
        count
    }

    pub fn cancel_lanes(&mut self, index: u32, which: Which) -> usize {
        let mut count = 0;
        for side in SIDES {
            let Some(lanes) = self.slab.get(index) else { break };
            // SAFETY: in the kernel's hands, so alive; only fixed parts are read.
            let head = lanes.lane(side).in_kernel().filter(|head| which.means(unsafe { head.as_ref() }));
            if let Some(head) = head {
                // In call order: what waits behind it ends when it has ended.
                count += 1 + lanes.lane(side).mark(which);
                self.ask_to_end(head);
                continue;
            }
            for header in lanes.lane(side).remove(which) {
                count += 1;
                self.abort(header, index);
            }
        }
        count
    }

    fn close(&mut self, object: &Object) {
        if let Some(timing) = object.sys.timing() {
            self.cancel_timers(Some(timing), Which::All);
            self.timings.retain(|other| !std::sync::Arc::ptr_eq(other, timing));
            return;
        }
        let Some(index) = object.sys.index() else {
            self.cancel(object, Which::All);
            return;
        };
        if let Some(lanes) = self.slab.get(index) {
            lanes.closing = true;
        }
        self.cancel(object, Which::All);
        self.vacate_if_over(index);
    }

    /// Frees the place of a closed socket with nothing left in it, and closes its descriptor.
    pub fn vacate_if_over(&mut self, index: u32) {
        if self.slab.get(index).is_some_and(|lanes| lanes.closing && lanes.is_empty()) {
            self.slab.remove(index);
        }
    }

    /// Ends an operation the kernel has not got.
    pub fn abort(&mut self, header: NonNull<Header>, index: u32) {
        let code = self.slab.get(index).map_or(Code::Cancelled, |lanes| lanes.cancel_code());
        // SAFETY: taken out of its lane, so this port's.
        let bytes = unsafe { (*header.as_ptr()).work.bytes };
        self.settle(header, bytes, Err(Error::new(code)));
    }

    /// Asks the kernel to end an operation, once.
    pub fn ask_to_end(&mut self, header: NonNull<Header>) {
        // SAFETY: in the kernel's hands, so alive, and this field is the port's own.
        let already = unsafe { std::mem::replace(&mut (*header.as_ptr()).sys.cancelled, true) };
        if already {
            return;
        }
        self.doomed += 1;
        // SAFETY: as above.
        let (side, waits, raw, index) = unsafe {
            let block = header.as_ptr();
            let raw = matches!((*block).work.op, Op::Raw);
            ((*block).work.op.lane(), (*block).sys.awaits_data(), raw, object_of(header).sys.index())
        };
        let told = match (side, index) {
            _ if raw => header.as_ptr() as u64 | CANCEL_WAITING,
            // It is in a system call, which nothing ends.
            (Side::File, _) | (_, None) => CANCEL_FILE,
            _ if waits => header.as_ptr() as u64 | CANCEL_WAITING,
            (side, Some(index)) => (u64::from(index) << 4) | (u64::from(side == Side::Write) << 3) | CANCEL_HEAD,
        };
        self.push_cancel(header, told);
    }

    fn push_cancel(&mut self, header: NonNull<Header>, told: u64) {
        self.push(&opcode::AsyncCancel::new(header.as_ptr() as u64).build().user_data(told));
    }

    /// The kernel could not end a socket's operation just then. It may be over by now, and its block another's: only one
    /// that is still here, and was asked to end, is asked again.
    pub fn ask_again(&mut self, told: u64, errno: i32) {
        let found = match told & TAG {
            CANCEL_HEAD => {
                let side = if told & 8 == 0 { Side::Read } else { Side::Write };
                self.slab.get((told >> 4) as u32).and_then(|lanes| lanes.lane(side).in_kernel())
            }
            CANCEL_WAITING => {
                let is_it = |header: &Header| std::ptr::from_ref(header) as u64 == told & !TAG;
                // One of the user's own that is running was told.
                let waits = |header: &Header| match header.work.op {
                    Op::Raw => errno == libc::ENOENT,
                    ref op => op.lane() != Side::File,
                };
                self.floating.find(|header| is_it(header) && waits(header)).pop()
            }
            _ => None,
        };
        // SAFETY: in the kernel's hands, so alive, and this field is the port's own.
        if let Some(header) = found.filter(|header| unsafe { (*header.as_ptr()).sys.cancelled }) {
            self.push_cancel(header, told);
        }
    }
}

impl Lanes {
    /// What an operation of this socket says that was ended before its time.
    pub fn cancel_code(&self) -> Code {
        if self.closing { self.kind.code_of_close() } else { Code::Cancelled }
    }
}
