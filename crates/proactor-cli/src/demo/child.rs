//! The processes the demonstration starts: this same program. None outlives its guard.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::Way;
use crate::args::{Backend, Sharing};

const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(8);
const FILES_LIMIT: Duration = Duration::from_secs(30);

/// Ends its process when dropped.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guard {
    fn start(arguments: &[&str]) -> Result<Guard, String> {
        let program = std::env::current_exe().map_err(|error| format!("cannot find this program again: {error}"))?;
        Command::new(program)
            .args(arguments)
            // The demonstration says which backend, not whoever started it.
            .env_remove("PROACTOR_BACKEND")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map(Guard)
            .map_err(|error| format!("cannot start 'proactor {}': {error}", arguments.join(" ")))
    }

    /// The lines it prints, read by a thread so that waiting for one can end.
    fn lines(&mut self) -> Receiver<String> {
        let (tell, lines) = mpsc::channel();
        if let Some(out) = self.0.stdout.take() {
            std::thread::spawn(move || {
                let told = BufReader::new(out.take(1 << 20)).lines().map_while(Result::ok);
                told.for_each(|line| drop(tell.send(line)));
            });
        }
        lines
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let end = Instant::now() + limit;
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => return Err(format!("it did not end within {} s", limit.as_secs())),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// A running `proactor echo`.
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    guard: Mutex<Guard>,
    lines: Receiver<String>,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(way: Way, backend: Backend) -> Result<Server, String> {
        let (model, backend) = (way.model.to_string(), backend.to_string());
        let (sharing, receive) = (way.sharing.to_string(), way.receive.to_string());
        let mut arguments = vec!["echo", "--model", &model, "--backend", &backend];
        arguments.extend(["--sharing", &sharing, "--receive", &receive, "--stop-on-eof"]);
        let mut guard = Guard::start(&arguments)?;
        let lines = guard.lines();
        let line = match lines.recv_timeout(START_LIMIT) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err("the server did not say where it listens".to_owned()),
            Err(RecvTimeoutError::Disconnected) => return Err("the server ended instead of listening".to_owned()),
        };
        let addr = line.strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        let addr = addr.ok_or_else(|| format!("the server said '{line}'"))?;
        Ok(Server { addr, guard: Mutex::new(guard), lines })
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        let mut guard = self.guard.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        matches!(guard.0.try_wait(), Ok(None))
    }

    /// Stops it as it asks to be stopped; it must print its totals and end well.
    pub fn stop(self) -> Result<(), String> {
        let mut guard = self.guard.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        drop(guard.0.stdin.take());
        let status = guard.wait(STOP_LIMIT)?;
        let totals = self.lines.recv_timeout(START_LIMIT).map_err(|_| "it printed no totals".to_owned())?;
        if !totals.starts_with("served ") {
            return Err(format!("instead of its totals it printed '{totals}'"));
        }
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}")) }
    }
}

/// Runs `proactor selftest-files`; the engines it names, of sockets and files, for ports of this kind.
pub fn selftest_files(backend: Backend, sharing: Sharing) -> Result<String, String> {
    let mut guard = Guard::start(&["selftest-files", "--backend", &backend.to_string()])?;
    let lines = guard.lines();
    let status = guard.wait(FILES_LIMIT)?;
    let engines = lines.recv_timeout(START_LIMIT).map_err(|_| format!("it named no engine and ended with {status}"))?;
    let engines = match sharing {
        Sharing::Shared => engines,
        Sharing::PerThread => lines.recv_timeout(START_LIMIT).map_err(|_| "it named only one engine".to_owned())?,
    };
    if status.success() { Ok(engines) } else { Err(format!("the self-test of files ended with {status}")) }
}
