//! The command `proactor`: an echo server in each model, a client that checks every byte, and a demonstration that runs
//! both against each other.
//!
//! Status 0: it worked. 1: it ran, and something was wrong. 2: it could not be done as asked; one line on stderr says why.

mod args;
mod client;
mod demo;
mod echo;
mod failure;
mod files;
mod pattern;
mod report;
mod socket;

use std::process::ExitCode;

use args::{Command, Parsed};
use failure::Failure;

fn main() -> ExitCode {
    let command = match args::parse() {
        Parsed::Command(command) => command,
        Parsed::Answered(text) => {
            // Help piped into `head` ends early, which is no fault.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Parsed::Refused(line) => return Failure::Usage(line).report(),
    };
    // Thousands of connections need thousands of descriptors; the default of 1,024 is for programs that use select.
    // A system that refuses shows it later, as an error of the connection that found none left.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let ended = match command {
        Command::Echo(args) => echo::run(&args),
        Command::Client(args) => client::command(&args),
        Command::Demo(args) => demo::run(&args),
        Command::SelftestFiles(args) => files::run(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
