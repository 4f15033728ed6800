//! Spans for operations, handlers and tasks: the feature `tracing`. `off.rs` has the same names.
//!
//! | Asio's handler tracking | here |
//! |---|---|
//! | creation | the operation's span is made, where it is started: a child of the span its starter is in |
//! | what the system call came to | the event `completed` in that span |
//! | entry into the handler, exit | the span of a handler, a routine or a task's poll is entered, and exited |
//! | the handler is destroyed uncalled | the operation's span closes, and no handler's follows it |
//!
//! A subscriber is code of the user's, so none of it is called while the library holds anything: a backend that completes an
//! operation only notes when and how (`Operation::completed`); the event comes where the result is taken, or the block freed.
//!
//! Handlers and tasks begin a tree of their own, which *follows from* what they come from. As children they would keep it: in a
//! chain of handlers, or of tasks that spawn the next, every span there ever was.

use std::time::{Duration, Instant};

pub(crate) use tracing::Span;
use tracing::{trace, trace_span};

use crate::error::{Code, Error};
use crate::op::{Delivery, Op, Value, Work};

/// One operation's span, as long as its block holds it.
#[derive(Default)]
pub(crate) struct Operation(Option<Traced>);

struct Traced {
    span: Span,
    begun: Instant,
    end: Option<End>,
}

struct End {
    after: Duration,
    bytes: usize,
    result: Result<(), Code>,
}

impl Operation {
    pub fn started(op: &Op, delivery: &Delivery) -> Operation {
        if matches!(op, Op::Post) {
            return Operation(None);
        }
        let delivery = match delivery {
            Delivery::Overlapped(_) => "handle",
            Delivery::Packet | Delivery::Part => "packet",
            Delivery::Handler(_) => "handler",
            // A routine's own delivery is made when its block is.
            Delivery::Routine(_) | Delivery::None => "routine",
        };
        let span = trace_span!(target: "proactor::operation", "operation", kind = %op.kind(), delivery);
        if span.is_disabled() {
            return Operation(None);
        }
        Operation(Some(Traced { span, begun: Instant::now(), end: None }))
    }

    /// Notes the end, and calls nobody.
    pub fn completed(&mut self, bytes: usize, result: &Result<Value, Error>) {
        if let Some(traced) = &mut self.0 {
            let result = result.as_ref().map(|_| ()).map_err(|error| error.code());
            traced.end = Some(End { after: traced.begun.elapsed(), bytes, result });
        }
    }

    /// The result is taken, by a caller that holds nothing: tells of the end, and closes the span.
    pub fn taken(&mut self) {
        self.0 = None;
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let Some(End { after, bytes, result }) = self.end.take() else { return };
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        match result {
            Ok(()) => trace!(target: "proactor::operation", parent: &self.span, bytes, result = "ok", micros, "completed"),
            Err(code) => {
                trace!(target: "proactor::operation", parent: &self.span, bytes, result = ?code, micros, "completed");
            }
        }
    }
}

/// The span of one run of what an operation's user wants called.
pub(crate) fn handler(of: &Work, what: &'static str) -> Span {
    let span = trace_span!(target: "proactor::handler", parent: None, "handler", kind = %of.op.kind(), what);
    if let Some(traced) = &of.trace.0 {
        span.follows_from(&traced.span);
    }
    span
}

/// The span of a task that is spawned here.
pub(crate) fn task() -> Span {
    let span = trace_span!(target: "proactor::task", parent: None, "task");
    if !span.is_disabled() {
        span.follows_from(Span::current());
    }
    span
}
