//! Running the command, with an end to every wait.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Each model, and each way the port model has.
pub const MODELS: [&[&str]; 9] = [
    &["--model", "blocking"],
    &["--model", "overlapped"],
    &["--model", "routine"],
    &["--model", "port"],
    &["--sharing", "per-thread", "--receive", "one"],
    &["--sharing", "per-thread", "--receive", "multi"],
    &["--model", "pool"],
    &["--model", "handler"],
    &["--model", "async"],
];
pub const BACKENDS: &[&str] = if cfg!(target_os = "linux") { &["auto", "uring", "epoll"] } else { &["auto"] };

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_proactor");

/// A process that ends with its guard.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guard {
    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the process did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(from).lines().map_while(Result::ok).for_each(|line| tell.send(line).unwrap_or(())));
    lines
}

/// What a finished command said.
pub struct Said {
    pub status: i32,
    pub out: Vec<String>,
    pub err: Vec<String>,
}

/// Runs the command to its end.
pub fn proactor(arguments: &[&str]) -> Said {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guard = Guard(command.spawn().unwrap());
    let out = lines(guard.0.stdout.take().unwrap());
    let err = lines(guard.0.stderr.take().unwrap());
    let status = guard.wait().code().expect("ended by itself");
    Said { status, out: out.iter().collect(), err: err.iter().collect() }
}

/// A number in a line of JSON.
pub fn number(json: &str, field: &str) -> f64 {
    let (_, rest) = json.split_once(&format!("\"{field}\":")).unwrap_or_else(|| panic!("no {field} in {json}"));
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

/// A running `proactor echo`.
pub struct Server {
    // Both are for `end_by`; what is never read keeps the process and its output open all the same.
    #[cfg_attr(not(unix), allow(dead_code))]
    guard: Guard,
    #[cfg_attr(not(unix), allow(dead_code))]
    lines: Receiver<String>,
    pub addr: SocketAddr,
}

impl Server {
    pub fn start(arguments: &[&str]) -> Server {
        let mut command = Command::new(PROGRAM);
        command.arg("echo").args(arguments);
        Server::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Server {
        let mut guard = Guard(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
        let lines = lines(guard.0.stdout.take().unwrap());
        let line = lines.recv_timeout(LIMIT).expect("the server says where it listens");
        let addr = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("it said '{line}'")).parse().unwrap();
        Server { guard, lines, addr }
    }

    /// Sends it a signal; its status and the line of totals, which must be its last.
    #[cfg(unix)]
    pub fn end_by(mut self, signal: &str) -> (ExitStatus, String) {
        let kill = format!("kill -{signal} {}", self.guard.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let status = self.guard.wait();
        let said: Vec<_> = self.lines.iter().collect();
        assert_eq!(said.len(), 1, "one line of totals: {said:?}");
        (status, said[0].clone())
    }
}

/// The numbers of a line of totals: connections, messages, bytes, errors.
#[cfg(unix)]
pub fn totals(line: &str) -> [u64; 4] {
    let numbers: Vec<u64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    assert!(line.starts_with("served "), "{line}");
    numbers.try_into().unwrap_or_else(|_| panic!("not four numbers: {line}"))
}
