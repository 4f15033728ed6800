//! Measures proactor beside other libraries and beside hand-written code, all contenders interleaved in one run.
//!
//! `bench echo`, `bench post`, `bench handoff` and `bench file` each print one table; `--help` tells their options. Linux only.

#[cfg(target_os = "linux")]
mod linux;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("bench: the contenders are made for Linux; nothing is measured on this system");
    ExitCode::from(2)
}
