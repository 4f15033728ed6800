//! A callback while it runs: what it may say of itself, and what happens when it returns.

use std::cell::{Cell, RefCell};

use super::member::Member;
use crate::backend;
use crate::sync::Event;

/// A running callback of a thread pool (`PTP_CALLBACK_INSTANCE`).
pub struct Instance<'m> {
    member: &'m Member,
    crew: &'m std::sync::Arc<super::crew::Crew>,
    counted: Cell<bool>,
    slot: RefCell<Option<backend::SlotGivenUp>>,
    events: RefCell<Vec<Event>>,
}

impl<'m> Instance<'m> {
    pub(super) fn new(member: &'m Member) -> Instance<'m> {
        Instance {
            member,
            crew: member.crew(),
            counted: Cell::new(true),
            slot: RefCell::new(None),
            events: RefCell::new(Vec::new()),
        }
    }

    /// Says that this callback may take long (`CallbackMayRunLong`): from now on another may run in its place. Whether the
    /// pool has a thread for it, or could add one.
    pub fn may_run_long(&self) -> bool {
        let mut slot = self.slot.borrow_mut();
        if slot.is_none() {
            *slot = backend::give_slot_up();
        }
        self.crew.keep_one_waiting()
    }

    /// Sets this event when the callback has returned (`SetEventWhenCallbackReturns`).
    pub fn set_when_done(&self, event: &Event) {
        self.events.borrow_mut().push(event.clone());
    }

    /// Those who wait for the object's callbacks wait no longer for this one (`DisassociateCurrentThreadFromCallback`).
    pub fn disassociate(&self) {
        if self.counted.replace(false) {
            self.member.disown();
            self.member.end();
        }
    }

    /// The callback has returned; whether the member still counts it.
    pub(super) fn finish(self) -> bool {
        drop(self.slot.into_inner());
        for event in self.events.into_inner() {
            event.set();
        }
        self.counted.get()
    }
}

impl std::fmt::Debug for Instance<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("associated", &self.counted.get()).finish_non_exhaustive()
    }
}
