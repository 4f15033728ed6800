//! The operation that a thread is blocked on, so that another can cancel it.
//!
//! | the wait | who cancels |
//! |---|---|
//! | of an operation any thread may cancel | who asks, holding its object |
//! | of an operation of the thread's own port | the thread itself: it is asked, and its alarm rings |

use std::ptr::NonNull;

use crate::backend::{self, Alarm};
use crate::error::{Code, Error};
use crate::handle::{Object, Which};
use crate::op::Ticket;
use crate::shim::{Mutex, lock};

pub(crate) enum On {
    /// Its handle, which waits, keeps the operation, and that its object.
    Operation(NonNull<Object>, Ticket),
    Own {
        asked: bool,
    },
}

// SAFETY: the object is shared by design, and touched under the lock while its operation is waited for.
unsafe impl Send for On {}

#[derive(Default)]
pub(crate) struct Blocking(Mutex<Option<On>>);

impl Blocking {
    /// The thread begins to wait, inside another wait perhaps, which is given back.
    pub fn begin(&self, on: On) -> Option<On> {
        lock(&self.0).replace(on)
    }

    pub fn end(&self, before: Option<On>) {
        *lock(&self.0) = before;
    }

    /// Whether the thread is asked to cancel its own operation.
    pub fn is_asked(&self) -> bool {
        matches!(*lock(&self.0), Some(On::Own { asked: true }))
    }

    /// It did as it was asked.
    pub fn answered(&self) {
        if let Some(On::Own { asked }) = &mut *lock(&self.0) {
            *asked = false;
        }
    }

    /// Cancels what the thread is blocked on.
    pub fn cancel(&self, alarm: Option<&Alarm>) -> Result<(), Error> {
        let idle = || Error::new(Code::NotFound).hint("the thread is not blocked in an operation");
        let (object, ticket) = match &mut *lock(&self.0) {
            None => return Err(idle()),
            Some(On::Own { asked }) => {
                *asked = true;
                if let Some(alarm) = alarm {
                    alarm.ring();
                }
                return Ok(());
            }
            Some(On::Operation(object, ticket)) => {
                // SAFETY: while it is here the operation's handle waits, and keeps it. The count keeps the object past the lock.
                unsafe { object.as_ref().operation_added() };
                (*object, *ticket)
            }
        };
        // SAFETY: the count taken above, given up here.
        let cancelled = unsafe {
            let cancelled = backend::cancel(object.as_ref(), Which::One(ticket));
            Object::operation_ended(object);
            cancelled
        };
        if cancelled > 0 { Ok(()) } else { Err(idle()) }
    }
}
