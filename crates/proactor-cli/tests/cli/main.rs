//! The command as its users run it: processes, signals, exit statuses, and clients of the standard library.

// A test that cannot go on has failed; where, the backtrace says.
#![allow(clippy::unwrap_used)]

mod arguments;
mod half_close;
mod load;
mod run;
mod shortage;
mod stopping;
