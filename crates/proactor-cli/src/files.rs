//! `proactor selftest-files`: a file written, synced and read back by both deliveries, and which engine did it. A
//! process of its own, because a process has one backend.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proactor::fs::{File, OpenOptions};
use proactor::{Block, CompletionPort, Error, Outcome, Packet, within, within_mut};

use crate::args::FilesArgs;
use crate::failure::Failure;
use crate::pattern;

/// Pieces in flight at once, and their length.
const PIECES: usize = 16;
const PIECE: usize = 64 << 10;
/// No single completion takes longer, or something is wrong.
const LIMIT: Duration = Duration::from_secs(10);

/// Prints the engines, then checks. Status 1 if anything was wrong.
pub fn run(args: &FilesArgs) -> Result<(), Failure> {
    args.backend.choose()?;
    let info = proactor::backend();
    println!("{} + {}", info.sockets, info.files);
    println!("{} + {}", info.per_thread, info.files);
    let scratch = Scratch::new("packets");
    by_packets(&scratch.0).map_err(|why| Failure::Wrong(format!("files by packets: {why}")))?;
    let scratch = Scratch::new("overlapped");
    by_handles(&scratch.0).map_err(|why| Failure::Wrong(format!("files by overlapped handles: {why}")))
}

/// A path for a file, which is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(what: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("proactor-selftest-{}-{what}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn options() -> OpenOptions {
    OpenOptions::new().read(true).write(true).create(true).truncate(true)
}

fn place(n: usize) -> u64 {
    (n * PIECE) as u64
}

fn expect(what: &str, bytes: usize, expected: usize) -> Result<(), String> {
    if bytes == expected { Ok(()) } else { Err(format!("{what}: {bytes} bytes instead of {expected}")) }
}

fn compare(n: usize, bytes: &[u8]) -> Result<(), String> {
    match pattern::wrong(0, place(n), bytes) {
        0 => Ok(()),
        wrong => Err(format!("{wrong} of the bytes read at {} are not those written", place(n))),
    }
}

struct PerIo {
    n: usize,
    buf: Vec<u8>,
}

impl PerIo {
    fn room(&mut self) -> &mut [u8] {
        &mut self.buf
    }

    fn bytes(&mut self) -> &[u8] {
        &self.buf
    }
}

/// Takes one packet of a success.
fn packet(port: &CompletionPort<PerIo, usize>, what: &str) -> Result<(Block<PerIo>, usize), String> {
    match port.get(LIMIT).map_err(|error| format!("{what}: {error}"))? {
        Outcome::Packet(Packet { block: Some(block), done, .. }) => Ok((block, done.bytes)),
        other => Err(format!("{what}: {other:?}")),
    }
}

fn by_packets(path: &Path) -> Result<(), String> {
    let refused = |error: Error| error.to_string();
    let port = CompletionPort::<PerIo, usize>::new(1).map_err(refused)?;
    let file = File::new();
    port.associate(&file, 0).map_err(refused)?;
    let block = Block::new(PerIo { n: 0, buf: Vec::new() });
    file.open(path, &options()).packet(block).map_err(|refused| refused.to_string())?;
    let (whole, _) = packet(&port, "open")?;

    for n in 0..PIECES {
        let io = Block::new(PerIo { n, buf: pattern::piece(0, place(n), PIECE).to_vec() });
        file.write_at(within(PerIo::bytes), place(n)).packet(io).map_err(|refused| refused.to_string())?;
    }
    let mut blocks = Vec::new();
    for _ in 0..PIECES {
        let (io, bytes) = packet(&port, "write")?;
        expect("write", bytes, PIECE)?;
        blocks.push(io);
    }
    file.sync_data().packet(whole).map_err(|refused| refused.to_string())?;
    let (whole, _) = packet(&port, "sync")?;

    for mut io in blocks {
        io.buf.fill(0);
        let at = place(io.n);
        file.read_at(within_mut(PerIo::room), at).packet(io).map_err(|refused| refused.to_string())?;
    }
    for _ in 0..PIECES {
        let (io, bytes) = packet(&port, "read")?;
        expect("read", bytes, PIECE)?;
        compare(io.n, &io.buf)?;
    }
    let mut past = whole;
    past.buf = vec![0; 16];
    file.read_at(within_mut(PerIo::room), place(PIECES)).packet(past).map_err(|refused| refused.to_string())?;
    let (_, bytes) = packet(&port, "read at the end")?;
    expect("read at the end", bytes, 0)
}

/// Starts, waits, and gives bytes and buffer.
macro_rules! complete {
    ($what:literal, $started:expr) => {{
        let started = $started.map_err(|refused| format!("{}: {refused}", $what))?;
        let done = started.wait_timeout(LIMIT).map_err(|refused| format!("{}: {refused}", $what))?;
        done.result.map_err(|error| format!("{}: {error}", $what))?;
        (done.bytes, done.buffer)
    }};
}

fn by_handles(path: &Path) -> Result<(), String> {
    let file = File::new();
    complete!("open", file.open(path, &options()).start());

    let writes: Vec<_> = (0..PIECES).map(|n| file.write_at(pattern::piece(0, place(n), PIECE), place(n)).start()).collect();
    for write in writes {
        let (bytes, _) = complete!("write", write);
        expect("write", bytes, PIECE)?;
    }
    complete!("sync", file.sync_all().start());

    let reads: Vec<_> = (0..PIECES).map(|n| file.read_at(vec![0; PIECE], place(n)).start()).collect();
    for (n, read) in reads.into_iter().enumerate() {
        let (bytes, buffer) = complete!("read", read);
        expect("read", bytes, PIECE)?;
        compare(n, &buffer)?;
    }
    let (bytes, _) = complete!("read at the end", file.read_at(vec![0; 16], place(PIECES)).start());
    expect("read at the end", bytes, 0)
}
