//! The echo servers. A contender is one file here and one line in [`CONTENDERS`].
//!
//! Contract: a server echoes every byte of every connection until its process is killed; it gets bound listeners and never
//! returns but with an error. It calls its [`Handler`] once for each receive, before sending.

mod child;
mod compio;
mod handler;
mod local;
mod monoio;
mod native;
mod plain_epoll;
mod plain_ring;
mod shared;
mod smol;
mod tasks;
mod tokio;

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, value_parser};
use socket2::{Domain, Socket, Type};

use super::{cpu, wrong};
pub use child::Child;
use handler::Handler;
use native::Native;

/// An echo server to measure.
pub struct Contender {
    /// What the command line and the table call it.
    pub name: &'static str,
    serve: Serve,
}

/// How it uses threads.
enum Serve {
    /// Each thread is a server of its own, with a listener of its own; the client spreads its connections evenly.
    PerThread(fn(TcpListener, &Options, Handler) -> io::Result<()>),
    /// One server starts the threads itself, on one listener.
    Shared(fn(TcpListener, &Options) -> io::Result<()>),
    /// Likewise, another language's.
    Native(Native),
}

/// Every contender, in the order they run.
pub const CONTENDERS: &[Contender] = &[
    Contender { name: "plain-ring", serve: Serve::PerThread(plain_ring::serve) },
    Contender { name: "plain-epoll", serve: Serve::PerThread(plain_epoll::serve) },
    Contender { name: "monoio", serve: Serve::PerThread(monoio::serve) },
    Contender { name: "tokio", serve: Serve::PerThread(tokio::serve) },
    Contender { name: "tokio-multi", serve: Serve::Shared(tokio::serve_shared) },
    Contender { name: "compio", serve: Serve::PerThread(compio::serve) },
    Contender { name: "smol", serve: Serve::PerThread(smol::serve) },
    Contender { name: "asio", serve: Serve::Native(native::ASIO) },
    Contender { name: "libuv", serve: Serve::Native(native::LIBUV) },
    Contender { name: "shared", serve: Serve::Shared(shared::serve) },
    Contender { name: "local-one", serve: Serve::PerThread(local::one) },
    Contender { name: "local-multi", serve: Serve::PerThread(local::multi) },
    Contender { name: "async-local", serve: Serve::PerThread(tasks::local) },
    Contender { name: "async-shared", serve: Serve::Shared(tasks::shared) },
];

impl Contender {
    /// Whether it can run here; the reason why not.
    pub fn available(&self) -> io::Result<()> {
        match &self.serve {
            Serve::Native(native) => native.executable().map(drop),
            _ => Ok(()),
        }
    }
}

fn contender(name: &str) -> Option<&'static Contender> {
    CONTENDERS.iter().find(|contender| contender.name == name)
}

/// What every server is told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Threads.
    #[arg(long, default_value_t = 1)]
    pub threads: u32,
    /// Of these, how many may run at once (shared port only); 0 means as many as there are cores.
    #[arg(long, default_value_t = 0)]
    pub concurrency: u32,
    /// Bytes received at once.
    #[arg(long, default_value_t = 4096, value_parser = value_parser!(u32).range(64..))]
    pub buffer: u32,
    /// Packets fetched at once (shared port only); 1 means `get`.
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u32).range(1..))]
    pub batch: u32,
    /// One in so many handlers sleeps; 0: none.
    #[arg(long, default_value_t = 0)]
    pub slow_one_in: u32,
    /// For so many milliseconds.
    #[arg(long, default_value_t = 10)]
    pub slow_ms: u64,
}

impl Options {
    /// The handler of thread number `n`.
    fn handler(&self, n: u32) -> Handler {
        Handler::new(n, self.slow_one_in, Duration::from_millis(self.slow_ms))
    }
}

/// Options of `bench serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Which contender.
    pub name: String,
    /// Where to listen; with several per-thread servers, all but the first take free ports.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The cores to stay on [default: any].
    #[arg(long, value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// The process ends itself after so many seconds, whatever became of who started it.
    #[arg(long, default_value_t = 600)]
    pub lifetime: u32,
    /// What the server is told.
    #[command(flatten)]
    pub options: Options,
}

/// A contender of a run: NAME[:THREADS[:CONCURRENCY]].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The contender's name.
    pub name: String,
    /// Its threads, if it says.
    pub threads: Option<u32>,
    /// How many may run at once, if it says.
    pub concurrency: Option<u32>,
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Entry, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default().to_owned();
        if contender(&name).is_none() {
            let known: Vec<_> = CONTENDERS.iter().map(|contender| contender.name).collect();
            return Err(format!("no contender '{name}'; there are: {}", known.join(", ")));
        }
        let mut number = || match parts.next().map(str::parse) {
            None => Ok(None),
            Some(Ok(n @ 1..=64)) => Ok(Some(n)),
            Some(_) => Err("threads and concurrency are from 1 to 64".to_owned()),
        };
        Ok(Entry { name, threads: number()?, concurrency: number()? })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        [self.threads, self.concurrency].iter().flatten().try_for_each(|n| write!(f, ":{n}"))
    }
}

/// `bench serve`: prints the addresses on one line of stdout, and serves.
pub fn serve(args: &ServeArgs) -> io::Result<()> {
    // SAFETY: both calls only set attributes of this process: it ends with its parent, and after its lifetime.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::alarm(args.lifetime);
    }
    cpu::pin(&args.cores)?;
    let contender = contender(&args.name).ok_or_else(|| wrong(format!("no contender '{}'", args.name)))?;
    let options = &args.options;
    match &contender.serve {
        Serve::Shared(serve) => {
            let listener = listen(args.listen)?;
            tell(&[listener.local_addr()?])?;
            serve(listener, options)
        }
        Serve::Native(native) => {
            let listener = listen(args.listen)?;
            // Made before it says that it listens.
            native.executable()?;
            tell(&[listener.local_addr()?])?;
            native.serve(listener, options)
        }
        Serve::PerThread(serve) => {
            let mut listeners = vec![listen(args.listen)?];
            for _ in 1..options.threads {
                listeners.push(listen(SocketAddr::new(args.listen.ip(), 0))?);
            }
            tell(&listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?)?;
            in_threads(listeners, |n, listener| serve(listener, options, options.handler(n)))
        }
    }
}

/// Runs one server per listener, the first on this thread; ends when that one does.
fn in_threads(listeners: Vec<TcpListener>, serve: impl Fn(u32, TcpListener) -> io::Result<()> + Sync) -> io::Result<()> {
    let serve = &serve;
    std::thread::scope(|scope| {
        let mut each = (0..).zip(listeners);
        let first = each.next();
        for (n, listener) in each {
            scope.spawn(move || serve(n, listener));
        }
        first.map_or(Ok(()), |(n, listener)| serve(n, listener))
    })
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    socket.bind(&addr.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn tell(addrs: &[SocketAddr]) -> io::Result<()> {
    let addrs: Vec<_> = addrs.iter().map(SocketAddr::to_string).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", addrs.join(" "))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_say_threads_and_concurrency() {
        let entry: Entry = "shared:8:2".parse().expect("it is well formed");
        assert_eq!((entry.threads, entry.concurrency, entry.to_string().as_str()), (Some(8), Some(2), "shared:8:2"));
        assert!("nobody".parse::<Entry>().is_err() && "shared:0".parse::<Entry>().is_err());
    }
}
