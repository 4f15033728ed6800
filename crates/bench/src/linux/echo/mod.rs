//! `bench echo`: every contender in every round, each a fresh server process, one client.
//!
//! | scenario | server on | client on | contenders |
//! |---|---|---|---|
//! | default | the first core | the last core | all, one thread |
//! | --two-threads | any core | any core | shared port with two threads and with one, two per-thread ports, two plain rings, the shared runtime and tokio's |
//! | --slow | any core | any core | shared port of 8 workers, concurrency 2; two per-thread ports, two plain servers |
//!
//! With two server threads on two cores the client has to share a core with one of them, whichever it is: pinning it to one
//! would only choose the victim. Leaving it to the scheduler treats every contender alike.

mod client;

use std::io;
use std::io::IsTerminal;

use super::args::EchoArgs;
use super::board::{self, Board, Ratio};
use super::cpu;
use super::pattern::Pattern;
use super::servers::{CONTENDERS, Child, Contender, Entry, Options};
pub use client::Driver;
use client::{Load, Measured};

const METRICS: &[&str] = &["k msg/s", "server CPU µs/msg", "p50 µs", "p99 µs", "client busy %"];
const RATE: usize = 0;
const CPU: usize = 1;
const P99: usize = 3;

/// What a scenario measures, and against whom.
struct Scenario {
    entries: Vec<Entry>,
    against: Vec<String>,
    /// Metrics whose ratios are of interest.
    ratios: &'static [usize],
    slow_one_in: u32,
    server_cores: Vec<usize>,
    client_cores: Vec<usize>,
}

/// Runs it and prints the table.
pub fn run(args: &EchoArgs) -> io::Result<()> {
    let mut scenario = Scenario::of(args);
    scenario.server_cores = args.server_cores.clone().unwrap_or(scenario.server_cores);
    scenario.client_cores = args.client_cores.clone().unwrap_or(scenario.client_cores);
    let EchoArgs { connections, size, depth, repeat, .. } = args;
    let cores = |cores: &[usize]| match cores {
        [] => "any core".to_owned(),
        some => format!("core {some:?}"),
    };
    println!(
        "echo: {connections} connections x {size} B, depth {depth}; {} rounds of {} s; server on {}, client on {}",
        repeat.rounds,
        repeat.seconds,
        cores(&scenario.server_cores),
        cores(&scenario.client_cores),
    );
    let driver = args.client.unwrap_or(if io_uring::IoUring::new(2).is_ok() { Driver::Ring } else { Driver::Epoll });
    cpu::pin(&scenario.client_cores)?;
    let load = Load {
        pattern: Pattern::new((*size as usize * *depth as usize).max(client::RECEIVE)),
        connections: *connections as usize,
        size: *size as usize,
        depth: *depth as usize,
        driver,
        check_all: args.check_all,
        warm_up: repeat.warm_up(),
        window: repeat.window(),
    };
    let options = Options {
        threads: args.threads,
        concurrency: 0,
        buffer: args.buffer,
        batch: args.batch,
        slow_one_in: scenario.slow_one_in,
        slow_ms: 10,
    };
    let mut board = Board::new(METRICS);
    board::interleave(repeat.rounds, &scenario.entries, |entry| {
        let server = Child::start(entry, &options, &scenario.server_cores)?;
        let measured = client::drive(&load, &server.addrs, server.clock)
            .map_err(|error| io::Error::new(error.kind(), format!("{entry}: {error}")))?;
        if io::stderr().is_terminal() {
            eprintln!("{entry}: {:.0} k/s", measured.metrics()[RATE]);
        }
        board.add(&entry.to_string(), &measured.metrics());
        Ok(())
    })?;
    let ratios: Vec<_> =
        scenario.ratios.iter().flat_map(|metric| scenario.against.iter().map(|base| Ratio { metric: *metric, base })).collect();
    println!("{}", board.table(&ratios));
    validity(&board);
    Ok(())
}

impl Measured {
    /// In the order of [`METRICS`].
    fn metrics(&self) -> [f64; 5] {
        let messages = self.messages as f64;
        [
            messages / self.elapsed.as_secs_f64() / 1e3,
            self.server_cpu.as_secs_f64() * 1e6 / messages,
            self.latency.value_at_quantile(0.5) as f64 / 1e3,
            self.latency.value_at_quantile(0.99) as f64 / 1e3,
            self.client_cpu.as_secs_f64() / self.elapsed.as_secs_f64() * 100.0,
        ]
    }
}

impl Scenario {
    fn of(args: &EchoArgs) -> Scenario {
        let entries = |default: &[&str]| match args.only.as_slice() {
            [] => default.iter().filter_map(|text| text.parse().ok()).collect(),
            some => some.to_vec(),
        };
        let against = |default: &[&str]| match args.against.as_slice() {
            [] => default.iter().map(|text| (*text).to_owned()).collect(),
            some => some.to_vec(),
        };
        if args.two_threads || args.slow {
            let (names, bases, slow_one_in): (&[&str], &[&str], u32) = if args.slow {
                (&["shared:8:2", "local-multi:2", "plain-ring:2", "plain-epoll:2"], &["local-multi:2", "plain-ring:2"], 2000)
            } else {
                let names = &["shared:2:2", "shared:1", "local-multi:2", "plain-ring:2", "async-shared:2", "tokio-multi:2"];
                (names, &["shared:1", "local-multi:2", "tokio-multi:2"], 0)
            };
            return Scenario {
                entries: entries(names),
                against: against(bases),
                ratios: &[RATE, P99],
                slow_one_in,
                server_cores: Vec::new(),
                client_cores: Vec::new(),
            };
        }
        let all: Vec<_> = CONTENDERS.iter().filter(|contender| is_available(contender)).map(|contender| contender.name).collect();
        let (first, last) = cpu::first_and_last();
        Scenario {
            entries: entries(&all),
            against: against(&["plain-ring", "plain-epoll"]),
            ratios: &[RATE, CPU],
            slow_one_in: 0,
            server_cores: vec![first],
            client_cores: vec![last],
        }
    }
}

/// Whether a contender can run here. That one cannot is said, unless others were asked for.
fn is_available(contender: &Contender) -> bool {
    contender.available().inspect_err(|error| println!("left out: {error}")).is_ok()
}

/// Whether the plain servers are fast enough in this run to be called ceilings: by throughput, or, because a client near
/// 100 % busy hides what a faster server could do, by the CPU time a message costs them.
fn validity(board: &Board) {
    for (plain, library, least) in [("plain-ring", "monoio", 1.05), ("plain-epoll", "tokio", 0.98)] {
        let (Some(rate), Some(cpu)) = (board.ratio(plain, library, RATE), board.ratio(library, plain, CPU)) else { continue };
        let word = if rate.max(cpu) >= least { "valid" } else { "NOT VALID" };
        println!("baseline {plain}: {word}: {rate:.3} x {library} by throughput, {cpu:.3} by CPU (needs {least})");
    }
}
