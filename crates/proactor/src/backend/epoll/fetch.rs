//! How a thread waits in the port: its slot, the queue, the poll, and what events mean.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::Got;
use super::super::alarm::Alert;
use super::super::gate::Parked;
use super::super::worker::{self, Inside};
use super::lane::{HUP, READY};
use super::port::{CLOSING, EVENTS, FEW, KICK, NESTED, Port, RING, TIMERS};
use super::{monitor, pace, reaper, sys, types};
use crate::deliver::{After, Packets};
use crate::error::{Code, Error};
use crate::op::Lane;
use crate::port::{Entry, Fetch};
use crate::time::Wait;

/// The first packets go to the fetching thread, the rest to the queue; all of them behind those that are queued already.
struct ToFetch<'a, 'f> {
    port: &'a Port,
    out: Option<&'a mut Fetch<'f>>,
}

impl Packets for ToFetch<'_, '_> {
    fn packet(&mut self, entry: Entry) {
        let left = match &mut self.out {
            Some(out) if self.port.queue.is_empty() => out.push(entry),
            _ => Some(entry),
        };
        if let Some(entry) = left {
            self.port.queue.push(entry);
        }
    }

    fn after(&mut self, after: After) {
        after.run();
    }
}

thread_local! {
    /// The port whose events this thread deals with, inside its `get`.
    static REAPING: Cell<*const Port> = const { Cell::new(ptr::null()) };
}

/// This thread deals with a port's events while this lives, and then looks at the queue.
struct Reaps {
    before: *const Port,
}

impl Reaps {
    fn begin(port: &Port) -> Reaps {
        Reaps { before: REAPING.replace(port) }
    }
}

impl Drop for Reaps {
    fn drop(&mut self) {
        REAPING.set(self.before);
    }
}

impl Port {
    /// Whether the calling thread looks at the queue before it leaves `get`, so that nobody need be told of a packet it posts.
    #[inline]
    pub(super) fn is_reaped_here(&self) -> bool {
        ptr::eq(REAPING.get(), self)
    }

    #[inline]
    pub fn get(self: &Arc<Self>, out: &mut Fetch<'_>, wait: Wait) -> Result<Got, Error> {
        types::check_fork()?;
        if self.is_closed() {
            return Err(Error::new(Code::InvalidHandle).hint("the completion port is closed"));
        }
        let due = pace::is_poll_due();
        if !due
            && let Some(running) = worker::running(self)
            && !self.gate.is_over(self.gate.counts())
            && self.queue.pop_into(out)
        {
            running.turn();
            return Ok(Got::Entries);
        }
        self.get_slowly(out, wait, due)
    }

    /// Not by a worker that runs, and finds packets queued, and need not poll.
    fn get_slowly(self: &Arc<Self>, out: &mut Fetch<'_>, wait: Wait, poll_first: bool) -> Result<Got, Error> {
        let mut inside = worker::enter(self);
        let got = self.fetch(&mut inside, out, wait, poll_first, None);
        if got == Got::Abandoned {
            inside.leave_free();
            self.left_by_crew();
        }
        Ok(got)
    }

    /// As `get`, until the alert is up besides. A thread that is not bound to this port yet is told of that first, one that
    /// is gets entries first.
    pub fn get_alertable(self: &Arc<Self>, out: &mut Fetch<'_>, wait: Wait, alert: &Alert<'_>) -> Result<Got, Error> {
        types::check_fork()?;
        if self.is_closed() {
            return Err(Error::new(Code::InvalidHandle).hint("the completion port is closed"));
        }
        let was_bound = self.has_owner() || worker::is_bound(self);
        let mut inside = worker::enter(self);
        if let Some(alarm) = alert.alarm {
            alarm.reaches(&inside.worker().permit);
        }
        if !was_bound && alert.is_up() {
            if !inside.has_slot {
                // It goes on running, and counts.
                self.slot_taken();
            }
            return Ok(Got::Alerted);
        }
        let got = self.fetch(&mut inside, out, wait, pace::is_poll_due(), Some(alert));
        if got == Got::Abandoned {
            inside.leave_free();
        }
        Ok(got)
    }

    fn fetch(
        &self,
        inside: &mut Inside,
        out: &mut Fetch<'_>,
        wait: Wait,
        mut poll_first: bool,
        alert: Option<&Alert<'_>>,
    ) -> Got {
        let has_slot = inside.has_slot;
        let admitted = if has_slot { !self.gate.is_over(self.gate.counts()) } else { self.gate.try_enter() };
        if !admitted && let Some(got) = self.park(inside, has_slot, wait, alert) {
            return got;
        }
        let mut polled = false;
        loop {
            if !std::mem::take(&mut poll_first) {
                let comes_soon = || !polled && wait != Wait::Poll && pace::linger(|| self.queue.is_hot());
                if self.queue.pop_into(out) || (comes_soon() && self.queue.pop_into(out)) {
                    return self.leave_with(polled);
                }
            }
            if self.is_closed() {
                return Got::Abandoned;
            }
            // Closed meanwhile: nobody else may be left to be told by the descriptor for that.
            let queued = self.gate.idle_begin(|| !self.queue.is_empty() || self.is_closed());
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
            // Another thread idles: take one event and leave the others to it. What events are to a crew, tasks that become
            // ready, is queued, where the others find it.
            let room = if self.gate.counts().idle() > 1 && !self.is_crew() { 1 } else { out.room().clamp(FEW, EVENTS) };
            let mut poll = if queued { Wait::Poll } else { wait };
            if let Some(alert) = alert {
                poll = alert.sleep_with(&self.epoll, poll);
            }
            let came = sys::epoll_wait(&self.epoll, &mut events[..room], poll);
            let counts = self.gate.idle_end();
            polled = true;
            pace::polled();
            if self.gate.wants_refill(counts) {
                self.freed(self.gate.refill(|| !self.queue.is_empty()));
            }
            if self.gate.is_full(counts) && counts.parked() + counts.idle() > 0 {
                monitor::watch(self);
            }
            let over = self.gate.is_over(counts);
            let nothing = came.is_empty();
            {
                let _reaps = Reaps::begin(self);
                self.handle(came, &mut ToFetch { port: self, out: (!over).then_some(&mut *out) });
            }
            if self.waitables.load(Ordering::SeqCst) > 0 {
                reaper::arm(self);
            }
            if over {
                // Others took the slots while this thread idled; what it fetched is queued for them.
                self.tell_watchers();
                if let Some(got) = self.park(inside, true, wait, alert) {
                    return got;
                }
                continue;
            }
            if !out.is_empty() {
                return self.leave_with(polled);
            }
            let is_alerted = alert.is_some_and(Alert::is_up);
            if is_alerted || nothing && !queued && wait.is_over() {
                let without = if is_alerted { Got::Alerted } else { Got::TimedOut };
                return if self.queue.pop_into(out) { self.leave_with(polled) } else { without };
            }
        }
    }

    /// A thread that was in the poll may have used up the wake of several packets: it passes it on.
    fn leave_with(&self, polled: bool) -> Got {
        if polled && !self.queue.is_empty() {
            self.left();
        }
        Got::Entries
    }

    /// Waits for a slot. `None`: the thread has one and may look for packets.
    fn park(&self, inside: &Inside, has_slot: bool, wait: Wait, alert: Option<&Alert<'_>>) -> Option<Got> {
        monitor::watch(self);
        let is_alerted = || alert.is_some_and(Alert::is_up);
        match self.gate.park_alertably(&inside.worker().permit, has_slot, wait, &is_alerted) {
            Parked::Admitted => None,
            Parked::Alerted => Some(Got::Alerted),
            Parked::TimedOut => Some(Got::TimedOut),
            Parked::Closed => Some(Got::Abandoned),
        }
    }

    pub(super) fn handle(&self, events: &[libc::epoll_event], packets: &mut impl Packets) {
        for event in events {
            let (tag, flags) = (event.u64, event.events.cast_signed());
            match tag {
                KICK => self.wake.kicked(),
                CLOSING => {}
                RING => {
                    if let Some(files) = self.files.get() {
                        files.reap(packets);
                    }
                }
                tag if tag & TIMERS == TIMERS => self.ring_out(tag & !TIMERS, packets),
                tag if tag & NESTED == NESTED => reaper::nested(tag & !NESTED),
                tag => self.socket_event(tag, flags, packets),
            }
        }
        self.settled();
    }

    fn socket_event(&self, tag: u64, flags: libc::c_int, packets: &mut impl Packets) {
        const GONE: libc::c_int = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
        let Some(slot) = self.slot(tag as u32) else { return };
        if slot.generation.load(crate::shim::Ordering::Relaxed) & (u32::MAX >> 2) != (tag >> 32) as u32 {
            return;
        }
        let parent = slot.parent.load(crate::shim::Ordering::SeqCst);
        if parent != 0 {
            // A connection whose accept waits for first data.
            slot.read.state.mark(READY);
            if let Some(listener) = self.slot(parent - 1) {
                listener.nudge(self, packets);
            }
            return;
        }
        let hup = if flags & GONE != 0 { HUP } else { 0 };
        if flags & (libc::EPOLLIN | GONE) != 0 {
            slot.event(Lane::Read, READY | hup, self, packets);
        }
        if flags & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) != 0 {
            slot.event(Lane::Write, READY, self, packets);
        }
    }
}
