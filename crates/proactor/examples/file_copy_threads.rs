//! The file copier, first model: several threads, each of which reads and writes and blocks.
//!
//!     cargo run --release --example file_copy_threads -- FROM TO
//!
//! While one thread waits for its read another writes: the threads are the concurrency.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proactor::Error;
use proactor::fs::{File, OpenOptions};

const THREADS: usize = 4;
const PIECE: usize = 256 * 1024;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        return Err("usage: file_copy_threads FROM TO".into());
    };
    let from = File::open_now(from, &OpenOptions::new().read(true))?;
    let to = File::open_now(to, &OpenOptions::new().write(true).create(true).truncate(true))?;

    // Each thread takes the next piece that nobody has taken.
    let next = AtomicU64::new(0);
    let copied = thread::scope(|scope| {
        let copiers: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| copy(&from, &to, &next))).collect();
        copiers
            .into_iter()
            .map(|copier| copier.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .sum::<Result<u64, Error>>()
    })?;
    println!("{copied} bytes copied by {THREADS} threads");
    Ok(())
}

/// Copies pieces until there are no more; how many bytes.
fn copy(from: &File, to: &File, next: &AtomicU64) -> Result<u64, Error> {
    let (mut buffer, mut copied) = (Vec::with_capacity(PIECE), 0);
    loop {
        let start = next.fetch_add(PIECE as u64, Ordering::Relaxed);
        let mut done = 0;
        while done < PIECE as u64 {
            buffer.clear();
            let read = from.read_at(buffer, start + done).wait();
            read.result?;
            buffer = read.buffer;
            if read.bytes == 0 {
                return Ok(copied);
            }
            buffer.truncate(PIECE - done as usize);
            let written = to.write_at(buffer, start + done).wait();
            written.result?;
            buffer = written.buffer;
            done += written.bytes as u64;
            copied += written.bytes as u64;
        }
    }
}
