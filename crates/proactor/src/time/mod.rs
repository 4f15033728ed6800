//! Time: how long a wait may last, and timers.
//!
//! | file | what |
//! |---|---|
//! | `wait.rs` | the end of a wait |
//! | `wheel.rs` | the pure timing wheel: what is due, and when to look next |
//! | `armed.rs` | a wheel of operations behind its lock: arm, cancel, expire |
//! | `timers.rs` | the object whose operations those are |
//! | `steady.rs`, `system.rs` | timers of one expiry and many waits, as Asio has them; `waiters.rs` their list |
//! | `service.rs` | the library's thread for moments |
//! | `waitable.rs` | timers that threads wait for |
//! | `routines.rs` | what those run on the threads that set them |

mod armed;
mod routines;
mod service;
mod steady;
mod system;
mod timers;
mod wait;
mod waitable;
mod waiters;
mod wheel;

#[allow(unused_imports, reason = "some are for one system alone")]
pub(crate) use armed::{Armed, NEVER, NOWHERE, Place, instant_of, nanos_of, until};
#[allow(unused_imports, reason = "as above")]
pub(crate) use service::{Moment, Sleeper, service};
pub use steady::SteadyTimer;
pub use system::SystemTimer;
pub use timers::Timers;
pub use wait::Wait;
pub use waitable::{Due, Reset, WaitableTimer};
