//! The command line. Defaults are what the published figures are taken with.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, value_parser};

use super::echo::Driver;
use super::servers::{Entry, ServeArgs};

/// Measures proactor against other libraries and hand-written code, interleaved in one run.
#[derive(Parser)]
#[command(name = "bench")]
pub struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

/// What to measure.
#[derive(Subcommand)]
pub enum Command {
    /// TCP echo on loopback: throughput, server CPU per message, latency.
    Echo(EchoArgs),
    /// Packets from one thread to another, against channels and eventfds.
    Post(PostArgs),
    /// How soon an idle worker has what a busy thread asked for, against epoll.
    Handoff(HandoffArgs),
    /// Random 4 KiB reads of a file: direct and deep, cached and one by one.
    File(FileArgs),
    /// A million timers: arm, cancel and fire, and how exactly they fire, against tokio's.
    Timers(TimersArgs),
    /// One echo server, until it is killed; the other commands start it.
    #[command(hide = true)]
    Serve(ServeArgs),
}

/// How often and how long.
#[derive(Args, Clone, Debug)]
pub struct Repeat {
    /// Rounds; each runs every contender once.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Seconds measured per contender and round, after the warm-up.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub seconds: f64,
}

impl Repeat {
    /// The measured window.
    pub fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// What runs before it: enough for the caches and the scheduler, a quarter of a second at most.
    pub fn warm_up(&self) -> Duration {
        (self.window() / 2).min(Duration::from_millis(250))
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("from 0.01 to 60".to_owned()),
    }
}

/// Options of `bench echo`.
#[derive(Args, Clone, Debug)]
pub struct EchoArgs {
    /// How often and how long.
    #[command(flatten)]
    pub repeat: Repeat,
    /// The contenders, each NAME[:THREADS[:CONCURRENCY]] [default: what the scenario is about].
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Entry>,
    /// Ratios are printed against these [default: the plain servers, or the scenario's own].
    #[arg(long, value_delimiter = ',')]
    pub against: Vec<String>,
    /// Connections.
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..=20_000))]
    pub connections: u32,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..=1 << 20))]
    pub size: u32,
    /// Messages in flight on a connection.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=1024))]
    pub depth: u32,
    /// Threads of contenders that do not say how many.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=64))]
    pub threads: u32,
    /// Bytes a server receives at once.
    #[arg(long, default_value_t = 4096, value_parser = value_parser!(u32).range(64..=1 << 20))]
    pub buffer: u32,
    /// Packets the shared port fetches at once; 1 means `get`.
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..=1024))]
    pub batch: u32,
    /// The server's cores [default: the scenario's].
    #[arg(long, value_delimiter = ',')]
    pub server_cores: Option<Vec<usize>>,
    /// The client's cores [default: the scenario's]. On the server's, the two take turns and no cache line travels.
    #[arg(long, value_delimiter = ',')]
    pub client_cores: Option<Vec<usize>>,
    /// How the client waits [default: ring, where io_uring is allowed].
    #[arg(long, value_enum)]
    pub client: Option<Driver>,
    /// Compare every byte that comes back; by default one receive in eight.
    #[arg(long)]
    pub check_all: bool,
    /// Two server threads: one shared port with two against one thread, and against two per-thread servers. Server and
    /// client then have both cores, and the scheduler divides them.
    #[arg(long, conflicts_with = "slow")]
    pub two_threads: bool,
    /// One in 2,000 handlers sleeps 10 ms: a shared port with 8 workers, concurrency 2, against two per-thread servers.
    /// Cores as in --two-threads.
    #[arg(long)]
    pub slow: bool,
}

/// Options of `bench post`.
#[derive(Args, Clone, Debug)]
pub struct PostArgs {
    /// Rounds; each runs every contender once.
    #[arg(long, default_value_t = 7, value_parser = value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// The cases: flood, ping-pong, strand [default: all].
    #[arg(long, value_delimiter = ',', value_parser = ["flood", "ping-pong", "strand"])]
    pub only: Vec<String>,
    /// Items of one flood.
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u64).range(1..=20_000_000))]
    pub items: u64,
    /// Round trips of one ping-pong.
    #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u64).range(1..=5_000_000))]
    pub trips: u64,
}

impl PostArgs {
    /// Whether this case was asked for.
    pub fn runs(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == case)
    }
}

/// Options of `bench handoff`.
#[derive(Args, Clone, Debug)]
pub struct HandoffArgs {
    /// Rounds, each with its own median and p99.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Hand-offs of each contender in a round, in turn.
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=10_000))]
    pub times: u32,
    /// Milliseconds the submitting thread is busy.
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(2..=1000))]
    pub busy_ms: u64,
}

/// Options of `bench timers`.
#[derive(Args, Clone, Debug)]
pub struct TimersArgs {
    /// Rounds; each runs every contender once.
    #[arg(long, default_value_t = 7, value_parser = value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Timers armed at once.
    #[arg(long, default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1000..=4_000_000))]
    pub timers: u32,
    /// Timers due at one moment.
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u32).range(1..=100_000))]
    pub burst: u32,
    /// Such moments of each contender in a round, in turn.
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=1000))]
    pub bursts: u32,
}

/// Options of `bench file`.
#[derive(Args, Clone, Debug)]
pub struct FileArgs {
    /// How often and how long.
    #[command(flatten)]
    pub repeat: Repeat,
    /// The cases: direct, cached [default: both].
    #[arg(long, value_delimiter = ',', value_parser = ["direct", "cached"])]
    pub only: Vec<String>,
    /// Where the file is made [default: the directory for temporary files]. It never has a name that outlives the run.
    #[arg(long)]
    pub dir: Option<std::path::PathBuf>,
    /// The file's length.
    #[arg(long, default_value_t = 256, value_parser = value_parser!(u64).range(1..=1 << 20))]
    pub mib: u64,
    /// Direct reads in flight.
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u32).range(1..=1024))]
    pub depth: u32,
}

impl FileArgs {
    /// Whether this case was asked for.
    pub fn runs(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == case)
    }
}
