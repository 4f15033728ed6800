//! `bench file`: 4 KiB reads at random aligned offsets of one file, every read's block number checked.
//!
//! | case | the file | in flight | against |
//! |---|---|---|---|
//! | direct | opened with O_DIRECT | `--depth` | a plain io_uring loop, monoio |
//! | cached | in the page cache | 1 | `pread` |
//!
//! Each contender is one thread on the first core. CPU is that of the whole process, the kernel's helpers of it included.
//! A contender is one function in a file here and one line in a table.

mod case;
mod monoio;
mod plain;
mod ports;
mod waits;

use std::io;

use super::args::FileArgs;
use super::board::{self, Board, Ratio};
use super::cpu;
use case::{Case, Measured, TestFile};

type Contender = (&'static str, fn(&Case) -> io::Result<Measured>);

const DIRECT: &[Contender] =
    &[("plain-ring", plain::ring), ("monoio", monoio::read), ("shared", ports::shared), ("local", ports::local)];
const CACHED: &[Contender] = &[
    ("pread", plain::pread),
    ("preadv2-nowait", plain::nowait),
    ("plain-ring", plain::ring),
    ("shared", ports::shared),
    ("local", ports::local),
    ("shared-wait", waits::shared),
    ("local-wait", waits::local),
];

/// Makes the file, runs the cases, and prints their tables.
pub fn run(args: &FileArgs) -> io::Result<()> {
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let file = TestFile::new(&dir, args.mib)?;
    let (first, _) = cpu::first_and_last();
    cpu::pin(&[first])?;
    println!("4 KiB reads of {} MiB in {}; {} rounds of {} s", args.mib, dir.display(), args.repeat.rounds, args.repeat.seconds);
    if args.runs("direct") {
        match file.open(true) {
            Ok(_) => table(args, &file, true, DIRECT, &["plain-ring", "monoio"])?,
            Err(error) => println!("direct: not possible on the file system of {}: {error}; try another --dir", dir.display()),
        }
    }
    if args.runs("cached") {
        file.warm()?;
        table(args, &file, false, CACHED, &["pread"])?;
    }
    Ok(())
}

fn table(args: &FileArgs, file: &TestFile, direct: bool, contenders: &[Contender], bases: &[&str]) -> io::Result<()> {
    let depth = if direct { args.depth as usize } else { 1 };
    println!("{}, depth {depth}:", if direct { "direct" } else { "cached" });
    let case = Case { file, direct, depth, warm_up: args.repeat.warm_up(), window: args.repeat.window() };
    let mut board = Board::new(&["k reads/s", "CPU µs/read"]);
    board::interleave(args.repeat.rounds, contenders, |(name, read)| {
        let Measured { reads, elapsed, cpu } = read(&case)?;
        let reads = reads as f64;
        board.add(name, &[reads / elapsed.as_secs_f64() / 1e3, cpu.as_secs_f64() * 1e6 / reads]);
        Ok(())
    })?;
    let ratios: Vec<_> = (0..2).flat_map(|metric| bases.iter().map(move |base| Ratio { metric, base })).collect();
    println!("{}", board.table(&ratios));
    Ok(())
}
