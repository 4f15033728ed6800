//! A server in a process of its own: started from this executable, killed and reaped when dropped.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{self, Command, Stdio};

use super::{Entry, Options};
use crate::linux::cpu::Clock;
use crate::linux::wrong;

/// A running server.
pub struct Child {
    process: process::Child,
    /// Where it listens: one address, or one for each of its threads.
    pub addrs: Vec<SocketAddr>,
    /// The CPU time of all its threads.
    pub clock: Clock,
}

impl Child {
    /// Starts a server and waits until it listens.
    pub fn start(entry: &Entry, options: &Options, cores: &[usize]) -> io::Result<Child> {
        let Options { threads, concurrency, buffer, batch, slow_one_in, slow_ms } = options;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", &entry.name]);
        command.arg(format!("--threads={}", entry.threads.unwrap_or(*threads)));
        command.arg(format!("--concurrency={}", entry.concurrency.unwrap_or(*concurrency)));
        command.arg(format!("--buffer={buffer}")).arg(format!("--batch={batch}"));
        command.arg(format!("--slow-one-in={slow_one_in}")).arg(format!("--slow-ms={slow_ms}"));
        for core in cores {
            command.arg(format!("--cores={core}"));
        }
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let clock = Clock::of_process(process.id())?;
        let mut child = Child { process, addrs: Vec::new(), clock };
        let stdout = child.process.stdout.take().ok_or_else(|| wrong("the server has no stdout"))?;
        let mut line = String::new();
        // A server that fails closes its stdout; one that hangs is ended by its lifetime.
        BufReader::new(stdout).read_line(&mut line)?;
        child.addrs = line.split_whitespace().filter_map(|addr| addr.parse().ok()).collect();
        if child.addrs.is_empty() { Err(wrong(format!("the server {entry} did not start"))) } else { Ok(child) }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill, and the wait reaps it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
