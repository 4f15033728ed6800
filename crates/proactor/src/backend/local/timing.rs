//! Timers: armed in their own wheels, due when the owner has entered the kernel, whose wait ends at the earliest.

use std::ptr::NonNull;
use std::sync::Arc;

use super::super::epoll::{Timing, no_room};
use super::port::{Core, Port, object_of};
use crate::error::Error;
use crate::handle::Which;
use crate::op::Header;
use crate::time::{NEVER, NOWHERE, Place, Wait, instant_of};

impl Core {
    /// Takes over a begun block. Where it is.
    #[inline]
    pub fn arm(&mut self, header: NonNull<Header>) -> Place {
        // SAFETY: a begun block, this port's from here on.
        let object = unsafe { object_of(header) };
        let Some(timing) = object.sys.timing() else { unreachable!("only timers are armed") };
        timing.arm(header).unwrap_or_else(|| {
            self.settle(header, 0, Err(no_room()));
            NOWHERE
        })
    }

    /// Cancels operations of these timers, or of all; how many.
    pub fn cancel_timers(&mut self, of: Option<&Arc<Timing>>, which: Which) -> usize {
        match of {
            Some(timing) => timing.armed.cancel(which, &mut self.sink),
            None => self.timings.iter().map(|timing| timing.armed.cancel(which, &mut self.sink)).sum(),
        }
    }

    /// A wait that ends when a timer is due.
    pub fn until_due(&self, wait: Wait) -> Wait {
        let earliest = self.timings.iter().map(|timing| timing.armed.alarm()).min().unwrap_or(NEVER);
        match (wait, instant_of(earliest)) {
            (Wait::Forever, Some(due)) => Wait::Until(due),
            (Wait::Until(end), Some(due)) => Wait::Until(end.min(due)),
            (wait, _) => wait,
        }
    }

    /// Completes what is due.
    pub fn expire(&mut self) {
        let Core { timings, sink, .. } = self;
        for timing in timings.iter().filter(|timing| timing.armed.alarm() != NEVER) {
            timing.armed.expire(sink, |_| {});
        }
    }
}

impl Port {
    /// Ends a begun operation that is not to be started.
    pub fn end(&self, header: NonNull<Header>, error: Error) {
        self.with(|core| core.settle(header, 0, Err(error)));
        if self.is_closed() {
            self.discard_ready();
        }
    }

    /// The wheel of its operations' deadlines, if any had one.
    pub fn deadlines(&self) -> Option<&Timing> {
        self.deadlines.get().map(Arc::as_ref)
    }

    pub fn make_deadlines(&self) {
        self.deadlines.get_or_init(|| {
            let timing = Arc::new(Timing::new());
            self.core.borrow_mut().timings.push(timing.clone());
            timing
        });
    }
}
