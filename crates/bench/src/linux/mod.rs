//! The commands and what they share. Everything is bounded in time: a run, a child process, a wait for an answer.

mod args;
mod board;
mod buffers;
mod cpu;
mod echo;
mod file;
mod handoff;
mod pattern;
mod post;
mod servers;
mod sys;
mod timers;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Runs the command line. Status 0: measured. 1: could not be.
pub fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Echo(args) => echo::run(&args),
        Command::Post(args) => post::run(&args),
        Command::Handoff(args) => handoff::run(&args),
        Command::File(args) => file::run(&args),
        Command::Timers(args) => timers::run(&args),
        Command::Serve(args) => servers::serve(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An error that is only words.
fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}
