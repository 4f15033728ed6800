//! The programs in `examples/`, run as a reader of the README would, against peers made of the standard library's blocking
//! sockets and files. Every wait ends; no program outlives its test.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

/// A running example. Ended when dropped.
struct Example {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Example {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where cargo put it: beside this test's own folder.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().and_then(|deps| deps.parent()).unwrap().join("examples");
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is not built: run the whole of `cargo test`, or `cargo build --examples` first",
        program.display()
    );
    program
}

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Example {
        let mut child = Command::new(program(name)).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).for_each(|line| tell.send(line).unwrap_or(()));
        });
        Example { child, lines }
    }

    /// Starts a server; it and where it listens.
    fn serve(name: &str) -> (Example, SocketAddr) {
        let server = Example::start(name, &[]);
        let line = server.line();
        let address = line.strip_prefix("listening on ").and_then(|address| address.parse().ok());
        (server, address.unwrap_or_else(|| panic!("the server said '{line}'")))
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(LONG).expect("a line was due")
    }

    /// Waits for its end; its status and the lines it printed.
    #[track_caller]
    fn end(mut self) -> (ExitStatus, Vec<String>) {
        let limit = Instant::now() + LONG;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < limit => std::thread::sleep(Duration::from_millis(5)),
                None => panic!("the program does not end"),
            }
        };
        (status, self.lines.iter().collect())
    }
}

/// Runs one to its end, which must be a good one; the lines it printed.
#[track_caller]
fn run(name: &str, arguments: &[&str]) -> Vec<String> {
    let (status, lines) = Example::start(name, arguments).end();
    assert!(status.success(), "{name} ended with {status} after {lines:?}");
    lines
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LONG).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + seed * 31 + at / 251) as u8).collect()
}

/// What an echo server must do, with several clients at once, then with the example client.
fn check_echo(name: &str) {
    let (server, address) = Example::serve(name);
    std::thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || {
                let mut stream = connect(address);
                for (turn, len) in [1, 64, 5_000, 20_000].into_iter().cycle().take(40).enumerate() {
                    let message = pattern(len, client * 100 + turn);
                    let mut back = vec![0; len];
                    stream.write_all(&message).unwrap();
                    stream.read_exact(&mut back).unwrap();
                    assert!(back == message, "{name}: message {turn} of client {client} came back changed");
                }
                stream.shutdown(Shutdown::Write).unwrap();
                assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
            });
        }
    });
    // A client that goes without a word is nobody else's fault.
    drop(connect(address).write_all(&[1; 100]));
    let lines = run("echo_client", &[&address.to_string(), "24"]);
    assert_eq!(lines.len(), 25, "{lines:?}");
    assert!(lines[24].starts_with("24 messages, "), "{lines:?}");
    drop(server);
}

#[test]
fn the_echo_server_with_completion_routines() {
    check_echo("completion_routine_echo_server");
}

#[test]
fn the_echo_server_on_a_completion_port() {
    check_echo("iocp_echo_server");
}

#[test]
fn the_echo_server_with_strands() {
    check_echo("strand_echo_server");
}

#[test]
fn the_coroutine_echo_server() {
    check_echo("coroutine_echo_server");
}

/// A file that is no whole number of pieces, and an empty one.
fn check_copy(name: &str) {
    let folder = std::env::temp_dir().join(format!("proactor-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (from, to) = (folder.join("from"), folder.join("to"));
    for len in [5 * 256 * 1024 + 4321, 0, 256 * 1024, 12_000_001] {
        let contents = pattern(len, len);
        std::fs::write(&from, &contents).unwrap();
        let lines = run(name, &[from.to_str().unwrap(), to.to_str().unwrap()]);
        assert!(lines[0].starts_with(&format!("{len} bytes copied")), "{lines:?}");
        assert!(std::fs::read(&to).unwrap() == contents, "{name}: the copy of {len} bytes differs");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_file_copier_with_threads() {
    check_copy("file_copy_threads");
}

#[test]
fn the_file_copier_with_overlapped_operations() {
    check_copy("file_copy_overlapped");
}

#[test]
fn the_file_copier_with_completion_routines() {
    check_copy("file_copy_routines");
}

#[test]
fn the_timer_prints_each_period() {
    let begin = Instant::now();
    let lines = run("periodic_timer", &["10", "5"]);
    assert!(begin.elapsed() >= Duration::from_millis(50), "five ticks of ten milliseconds");
    let ticks: Vec<_> = lines.iter().filter(|line| line.starts_with("tick ")).collect();
    assert_eq!(ticks.len(), 5, "{lines:?}");
    assert_eq!(lines.last().unwrap(), "5 ticks");
}

#[cfg(unix)]
#[test]
fn the_timer_ends_with_ctrl_c() {
    let example = Example::start("periodic_timer", &["10"]);
    while !example.line().starts_with("tick 3 ") {}
    // SAFETY: a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(example.child.id().cast_signed(), libc::SIGINT) }, 0);
    let (status, lines) = example.end();
    assert!(status.success(), "{status}");
    assert!(lines.last().is_some_and(|line| line.ends_with(" ticks")), "{lines:?}");
}

#[test]
fn an_overlapped_call_of_ones_own_comes_to_the_port() {
    let lines = run("overlapped_call", &[]);
    assert!(!lines.is_empty());
}

#[test]
fn the_programs_are_short() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    // Under Wine the sources are not there.
    let Ok(files) = std::fs::read_dir(&folder) else { return };
    for file in files.map(|file| file.unwrap().path()) {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines < 120, "{} has {lines} lines", file.display());
    }
}
