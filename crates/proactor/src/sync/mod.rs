//! Waitable objects.

mod event;

pub use event::Event;
