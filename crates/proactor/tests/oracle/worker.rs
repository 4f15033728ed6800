//! The workers: real threads that do one command after the other, and report.
//!
//! A worker between two commands runs a handler, as the port sees it. It must really run: where the kernel is the gate, one
//! that slept on a channel would rightly lose its place. So it spins.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use proactor::sync::Event;
use proactor::{CompletionPort, Outcome};

use crate::threads;

pub type Port = CompletionPort<(), usize>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Wait, practically for ever.
    Get,
    /// Look.
    GetNow,
    /// Wait a little.
    GetSoon,
    /// Look into another port, which binds the thread to that.
    Elsewhere,
    /// Wait inside the library until unblocked.
    Block,
    Post(usize),
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    Packet(usize),
    TimedOut,
    Abandoned,
    Done,
}

const LONG: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_millis(2);

impl Command {
    fn pack(self) -> u64 {
        match self {
            Command::Get => 1,
            Command::GetNow => 2,
            Command::GetSoon => 3,
            Command::Elsewhere => 4,
            Command::Block => 5,
            Command::Exit => 6,
            Command::Post(packet) => (packet as u64) << 8 | 7,
        }
    }

    fn unpack(word: u64) -> Option<Command> {
        Some(match word & 0xff {
            0 => return None,
            1 => Command::Get,
            2 => Command::GetNow,
            3 => Command::GetSoon,
            4 => Command::Elsewhere,
            5 => Command::Block,
            6 => Command::Exit,
            _ => Command::Post((word >> 8) as usize),
        })
    }
}

impl Report {
    fn pack(self) -> u64 {
        match self {
            Report::TimedOut => 1,
            Report::Abandoned => 2,
            Report::Done => 3,
            Report::Packet(packet) => (packet as u64) << 8 | 4,
        }
    }

    fn unpack(word: u64) -> Option<Report> {
        Some(match word & 0xff {
            0 => return None,
            1 => Report::TimedOut,
            2 => Report::Abandoned,
            3 => Report::Done,
            _ => Report::Packet((word >> 8) as usize),
        })
    }
}

struct Shared {
    command: AtomicU64,
    report: AtomicU64,
    unblock: Event,
    /// The system's number of the thread, where sleeping threads can be seen by it.
    number: OnceLock<u32>,
}

pub struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub fn spawn(port: Arc<Port>, other: Arc<Port>) -> Worker {
        let shared = Arc::new(Shared {
            command: AtomicU64::new(0),
            report: AtomicU64::new(0),
            unblock: Event::auto(),
            number: OnceLock::new(),
        });
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || shared.run(&port, &other)
        });
        shared.number.wait();
        Worker { shared, thread: Some(thread) }
    }

    pub fn command(&self, command: Command) {
        self.shared.command.store(command.pack(), Ordering::Release);
    }

    pub fn unblock(&self) {
        self.shared.unblock.set();
    }

    /// What the worker reported since it was asked last.
    pub fn report(&self) -> Option<Report> {
        Report::unpack(self.shared.report.swap(0, Ordering::AcqRel))
    }

    /// Whether the thread waits in the library; a thread that was woken does not, from that moment on.
    pub fn sleeps(&self) -> bool {
        threads::waits(*self.shared.number.wait()).unwrap_or_else(|| {
            // Nothing to see: long enough for every wake that is on its way.
            std::thread::sleep(Duration::from_millis(3));
            true
        })
    }

    /// Ends the thread, and waits until it has ended.
    pub fn exit(&mut self) {
        self.command(Command::Exit);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a worker does not panic");
        }
    }
}

impl Shared {
    fn run(&self, port: &Port, other: &Port) {
        self.number.get_or_init(threads::own_number);
        loop {
            let report = match Command::unpack(self.command.swap(0, Ordering::AcqRel)) {
                None => {
                    std::hint::spin_loop();
                    std::thread::yield_now();
                    continue;
                }
                Some(Command::Exit) => return,
                Some(Command::Get) => get(port, LONG),
                Some(Command::GetNow) => get(port, Duration::ZERO),
                Some(Command::GetSoon) => get(port, SOON),
                Some(Command::Elsewhere) => get(other, Duration::ZERO),
                Some(Command::Block) => {
                    assert!(self.unblock.wait_timeout(LONG), "it is unblocked in the end");
                    Report::Done
                }
                Some(Command::Post(packet)) => {
                    port.post(packet, 0, None).expect("the port is open");
                    Report::Done
                }
            };
            self.report.store(report.pack(), Ordering::Release);
        }
    }
}

fn get(port: &Port, wait: Duration) -> Report {
    match port.get(wait).expect("the port is open") {
        Outcome::Packet(packet) => Report::Packet(packet.key),
        Outcome::TimedOut => Report::TimedOut,
        Outcome::Abandoned => Report::Abandoned,
        other => panic!("{other:?}"),
    }
}
