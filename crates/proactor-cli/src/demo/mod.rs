//! `proactor demo`: every model on every backend as a process of its own, driven by clients written with the standard
//! library's blocking sockets, so that a fault of the library cannot hide behind the same fault in its client. The
//! speed alone is measured with the library's own client.

mod checks;
mod child;

use std::fmt;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{self, Backend, DemoArgs, Model, Receive, Sharing};
use crate::client::{self, Load};
use crate::failure::Failure;
use child::Server;

/// What the speed is measured with.
const SPEED_CONNS: usize = 16;
const SPEED_SIZE: usize = 64;
const SPEED_PIPELINE: usize = 4;
const SPEED_TIME: Duration = Duration::from_secs(2);

/// The columns that check something, by their names in the table.
const CHECKS: [(&str, Check); 5] = [
    ("small", checks::small),
    ("large", checks::large),
    ("many", checks::many),
    ("half-close", checks::half_close),
    ("reset", checks::reset),
];

/// A model, and where it has them, its variants.
#[derive(Clone, Copy)]
struct Way {
    model: Model,
    sharing: Sharing,
    receive: Receive,
}

const WAYS: [Way; 10] = [
    Way::of(Model::Blocking),
    Way::of(Model::Overlapped),
    Way::of(Model::Routine),
    Way::of(Model::Port),
    Way { model: Model::Port, sharing: Sharing::PerThread, receive: Receive::One },
    Way { model: Model::Port, sharing: Sharing::PerThread, receive: Receive::Multi },
    Way::of(Model::Pool),
    Way::of(Model::Handler),
    Way::of(Model::Async),
    Way { model: Model::Async, sharing: Sharing::PerThread, receive: Receive::One },
];

impl Way {
    /// A model as it is without options.
    const fn of(model: Model) -> Way {
        Way { model, sharing: Sharing::Shared, receive: Receive::One }
    }

    fn is_wanted(self, args: &DemoArgs) -> bool {
        args.sharing.is_none_or(|sharing| sharing == self.sharing) && args.receive.is_none_or(|receive| receive == self.receive)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)?;
        match self.sharing {
            Sharing::Shared => Ok(()),
            Sharing::PerThread => write!(f, ", {}, {}", self.sharing, self.receive),
        }
    }
}

type Check = fn(SocketAddr) -> Result<(), String>;

/// The backends there are to choose from on this system.
fn backends() -> &'static [Backend] {
    // What the library's `Backend` says: elsewhere the system has completion ports, and nothing to choose.
    if cfg!(target_os = "linux") { &[Backend::Auto, Backend::Epoll] } else { &[Backend::Auto] }
}

/// Runs everything and prints the table. Status 1 if anything was wrong.
pub fn run(wanted: &DemoArgs) -> Result<(), Failure> {
    let ways: Vec<_> = WAYS.into_iter().filter(|way| way.is_wanted(wanted)).collect();
    if ways.is_empty() {
        return Err(args::multi_is_per_thread());
    }
    let progress = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(100));

    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Dynamic).set_width(150);
    let names = CHECKS.iter().map(|(name, _)| *name);
    table.set_header(["model", "backend"].into_iter().chain(names).chain(["files", "k msg/s", "p99 µs"]));
    let mut faults = Vec::new();
    for way in ways {
        for backend in backends() {
            let row = Row::check(way, *backend, &progress);
            faults.extend(row.faults.iter().map(|fault| format!("{way} on {}: {fault}", row.backend)));
            table.add_row([vec![way.to_string(), row.backend], row.cells].concat());
        }
    }
    progress.finish_and_clear();

    println!("{table}");
    println!("speed: {SPEED_CONNS} connections, {SPEED_PIPELINE} messages of {SPEED_SIZE} bytes in flight on each");
    if faults.is_empty() {
        println!("all of it works");
        return Ok(());
    }
    println!("wrong: {}", faults.join("; "));
    Err(Failure::Reported)
}

/// One way on one backend.
struct Row {
    backend: String,
    /// What stands under the checks, the files and the two speeds.
    cells: Vec<String>,
    faults: Vec<String>,
}

impl Row {
    fn check(way: Way, backend: Backend, progress: &ProgressBar) -> Row {
        let mut row = Row { backend: backend.to_string(), cells: Vec::new(), faults: Vec::new() };
        let said = |what: &str| progress.set_message(format!("{way} on {backend}: {what}"));

        said("files");
        let files = child::selftest_files(backend, way.sharing);
        if let Ok(engines) = &files {
            row.backend = format!("{backend}: {engines}");
        }

        let server = Server::start(way, backend);
        for (name, check) in CHECKS {
            said(name);
            let result = server.as_ref().map_err(String::clone).and_then(|server| {
                check(server.addr)?;
                // A server that died may have been replaced by nothing, which some checks would not notice.
                if server.is_running() { Ok(()) } else { Err("the server has ended".to_owned()) }
            });
            row.cell(name, result.map(|()| "ok".to_owned()));
        }
        row.cell("files", files.map(|_| "ok".to_owned()));

        said("speed");
        match server.as_ref().map_err(String::clone).and_then(|server| speed(server.addr)) {
            Ok((rate, p99)) => row.cells.extend([format!("{rate:.0}"), format!("{p99:.0}")]),
            Err(why) => {
                row.cell("speed", Err(why));
                row.cells.push("-".to_owned());
            }
        }
        said("stopping");
        if let Ok(server) = server
            && let Err(why) = server.stop()
        {
            row.faults.push(format!("stopping: {why}"));
        }
        row
    }

    fn cell(&mut self, name: &str, result: Result<String, String>) {
        self.cells.push(result.unwrap_or_else(|why| {
            self.faults.push(format!("{name}: {why}"));
            why
        }));
    }
}

/// Thousands of messages a second, and the 99th percentile of their latency in microseconds.
fn speed(addr: SocketAddr) -> Result<(f64, f64), String> {
    let load = Load { addrs: vec![addr], conns: SPEED_CONNS, size: SPEED_SIZE, pipeline: SPEED_PIPELINE, time: SPEED_TIME };
    let report = client::drive(&load, &ProgressBar::hidden()).map_err(|error| error.to_string())?;
    if !report.is_good() {
        return Err(format!("{} wrong bytes, {} errors {:?}", report.wrong_bytes, report.errors, report.reasons));
    }
    Ok((report.rate() / 1e3, report.percentile_us(99.0)))
}
