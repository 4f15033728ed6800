//! The command line. Defaults are what the published figures are taken with.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, value_parser};

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
    #[arg(long, default_value_t = 16, value_parser = value_parser!(u32).range(1..=1024))]
    pub batch: u32,
    /// Two server threads: one shared port with two against one thread, and against two per-thread servers. Server and
    /// client then have both cores, and the scheduler divides them.
    #[arg(long, conflicts_with = "slow")]
    pub two_threads: bool,
    /// One in 2,000 handlers sleeps 10 ms: a shared port with 8 workers, concurrency 2, against two per-thread servers.
    /// Cores as in --two-threads.
    #[arg(long)]
    pub slow: bool,
}
