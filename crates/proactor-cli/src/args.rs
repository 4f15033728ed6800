//! The command line: what can be asked, and one line for what cannot.

use std::fmt;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::failure::Failure;
use crate::socket;

/// I/O completion ports at work: an echo server, a client that checks it, and a demonstration of every model.
#[derive(Parser)]
#[command(name = "proactor", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Serve connections, giving back every byte, until Ctrl-C or SIGTERM.
    Echo(EchoArgs),
    /// Load an echo server and check every byte it gives back; the report is one line of JSON.
    Client(ClientArgs),
    /// Check every model on every backend with real connections and files, and measure them.
    Demo(DemoArgs),
    /// Write and read a file by every delivery (a part of the demonstration).
    #[command(hide = true)]
    SelftestFiles(FilesArgs),
}

/// How the server gets its completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// Each operation blocks its thread: a thread per connection, up to 512 connections.
    Blocking,
    /// Operations are started and waited for: a thread per connection, up to 512 connections.
    Overlapped,
    /// Completion routines, inside the alertable waits of each thread.
    Routine,
    /// One completion port, several worker threads that take packets from it.
    Port,
    /// I/O objects of a thread pool, whose threads call back.
    Pool,
    /// Handlers, called by the workers of one completion port.
    Handler,
    /// A task per connection, that awaits its operations.
    Async,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Model::Blocking => "blocking",
            Model::Overlapped => "overlapped",
            Model::Routine => "routine",
            Model::Port => "port",
            Model::Pool => "pool",
            Model::Handler => "handler",
            Model::Async => "async",
        })
    }
}

/// Whose the ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sharing {
    /// One port, whose packets any worker takes.
    Shared,
    /// A port and a listener for each thread.
    PerThread,
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Sharing::Shared => "shared",
            Sharing::PerThread => "per-thread",
        })
    }
}

/// How messages are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Receive {
    /// An operation for each.
    One,
    /// One operation for all, into leased buffers.
    Multi,
}

impl fmt::Display for Receive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Receive::One => "one",
            Receive::Multi => "multi",
        })
    }
}

/// What serves files; sockets are served alike by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The best the system allows.
    Auto,
    /// Files through io_uring, where the kernel allows it (Linux).
    Uring,
    /// Files through a pool of blocking threads (Linux).
    Epoll,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Backend::Auto => "auto",
            Backend::Uring => "uring",
            Backend::Epoll => "epoll",
        })
    }
}

impl Backend {
    /// Chooses it for this process.
    pub fn choose(self) -> Result<(), Failure> {
        let (backend, name) = match self {
            // The library's own default, which also looks at PROACTOR_BACKEND.
            Backend::Auto => return Ok(()),
            Backend::Uring => (proactor::Backend::Uring, "io_uring"),
            Backend::Epoll => (proactor::Backend::Epoll, "epoll"),
        };
        proactor::set_backend(backend).map_err(|error| Failure::Usage(format!("--backend {self}: {error}")))?;
        let info = proactor::backend();
        if self == Backend::Uring && info.files != name {
            eprintln!("proactor: files are served by the {} instead of {name}: {}", info.files, info.reason);
        }
        Ok(())
    }
}

/// Options of `proactor echo`.
#[derive(Args)]
pub struct EchoArgs {
    /// How completions arrive.
    #[arg(long, value_enum, default_value_t = Model::Port)]
    pub model: Model,
    /// Whose the ports are (port and async model).
    #[arg(long, value_enum, default_value_t = Sharing::Shared)]
    pub sharing: Sharing,
    /// How messages are received (port model) [default: multi where the port has it: per-thread].
    #[arg(long, value_enum)]
    pub receive: Option<Receive>,
    /// The address or name to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Threads that serve; for the blocking and overlapped models, threads kept ready for connections to come
    /// [default: one per core].
    #[arg(long, value_parser = value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Bytes of one connection's buffer.
    #[arg(long, default_value_t = 4096, value_parser = value_parser!(u32).range(1..=1 << 26))]
    pub buf: u32,
    /// What serves files.
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    pub backend: Backend,
    /// Stop when stdin ends, too: so that the server goes when the program that started it is gone.
    #[arg(long, hide = true)]
    pub stop_on_eof: bool,
}

impl EchoArgs {
    /// How messages are received.
    pub fn receive(&self) -> Receive {
        self.receive.unwrap_or(match self.sharing {
            Sharing::PerThread if self.model == Model::Port => Receive::Multi,
            Sharing::Shared | Sharing::PerThread => Receive::One,
        })
    }

    /// What cannot be had together.
    pub fn check(&self) -> Result<(), Failure> {
        let per_thread = self.sharing == Sharing::PerThread;
        if per_thread && !matches!(self.model, Model::Port | Model::Async) {
            return Err(Failure::Usage("--sharing per-thread is of the port and the async model; add --model port".to_owned()));
        }
        if self.receive() == Receive::Multi && self.model == Model::Async {
            return Err(Failure::Usage("--receive multi is of the port model: a future has one result".to_owned()));
        }
        if self.receive() == Receive::Multi && !per_thread {
            return Err(multi_is_per_thread());
        }
        if per_thread && self.threads() > 1 && !socket::CAN_SHARE_ADDRESS {
            let why = "this system lets only one listener have an address";
            return Err(Failure::Usage(format!("--sharing per-thread needs --threads 1: {why}")));
        }
        Ok(())
    }

    /// How many threads to run.
    pub fn threads(&self) -> usize {
        match self.threads {
            Some(n) => n as usize,
            None if self.sharing == Sharing::PerThread && !socket::CAN_SHARE_ADDRESS => 1,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Why a shared port's server does not receive so.
pub fn multi_is_per_thread() -> Failure {
    let why = "several workers would send the pieces of one connection back in any order";
    Failure::Usage(format!("--receive multi needs --sharing per-thread: {why}"))
}

/// Options of `proactor demo`: without any it shows every way there is.
#[derive(Args)]
pub struct DemoArgs {
    /// Only servers whose ports are shared, or each thread's own.
    #[arg(long, value_enum)]
    pub sharing: Option<Sharing>,
    /// Only servers that receive this way.
    #[arg(long, value_enum)]
    pub receive: Option<Receive>,
}

/// Options of `proactor client`.
#[derive(Args)]
pub struct ClientArgs {
    /// The server's address, HOST:PORT.
    #[arg(long)]
    pub addr: String,
    /// Connections.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=100_000))]
    pub conns: u32,
    /// Bytes of one message.
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..=1 << 26))]
    pub size: u32,
    /// Messages in flight on each connection.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=10_000))]
    pub pipeline: u32,
    /// Seconds to send for.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=86_400))]
    pub secs: u32,
}

/// Options of `proactor selftest-files`.
#[derive(Args)]
pub struct FilesArgs {
    /// What serves files.
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    pub backend: Backend,
}

/// What the command line came to.
pub enum Parsed {
    /// A command to run.
    Command(Command),
    /// Help or version, to be printed.
    Answered(String),
    /// What is wrong with it, in one line.
    Refused(String),
}

/// Reads the command line.
pub fn parse() -> Parsed {
    match Cli::try_parse() {
        Ok(cli) => Parsed::Command(cli.command),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Parsed::Answered(error.render().to_string()),
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                Parsed::Refused("say what to do: echo, client or demo (--help tells more)".to_owned())
            }
            _ => Parsed::Refused(one_line(&error.render().to_string())),
        },
    }
}

/// clap's message without its usage: the fault, the values there are, the tip.
fn one_line(message: &str) -> String {
    let told = message.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let mut words = Vec::new();
    for line in told.map(str::trim).filter(|line| !line.is_empty()) {
        words.push(line.strip_prefix("error: ").unwrap_or(line));
    }
    format!("{} (--help tells more)", words.join(" "))
}
