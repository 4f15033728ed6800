//! Backpressure: permits for what may be there at once, and queues that hold so many bytes.
//!
//! Both have operations, to be told when there is room again; they come by any delivery, like those of a socket.

mod permits;
mod queue;

pub use permits::{Permit, Permits};
pub use queue::{Queues, SendQueue};
