//! How the command ends when it does not end well.

use std::io;
use std::process::ExitCode;

/// Why the command ends with a status other than 0.
#[derive(Debug)]
pub enum Failure {
    /// It cannot be done as asked: status 2, and a line that says what to change.
    Usage(String),
    /// It ran and something went wrong: status 1, and a line that says what.
    Wrong(String),
    /// It ran, something was wrong, and the report on stdout says so already: status 1.
    Reported,
}

impl Failure {
    /// Prints the line, and gives the status.
    pub fn report(&self) -> ExitCode {
        match self {
            Failure::Usage(line) => {
                eprintln!("proactor: {line}");
                ExitCode::from(2)
            }
            Failure::Wrong(line) => {
                eprintln!("proactor: {line}");
                ExitCode::from(1)
            }
            Failure::Reported => ExitCode::from(1),
        }
    }
}

impl From<proactor::Error> for Failure {
    fn from(error: proactor::Error) -> Failure {
        Failure::Wrong(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Wrong(error.to_string())
    }
}
