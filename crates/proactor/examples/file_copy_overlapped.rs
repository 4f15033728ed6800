//! The file copier, second model: overlapped operations, and a wait for whichever piece is ready.
//!
//!     cargo run --release --example file_copy_overlapped -- FROM TO
//!
//! One thread keeps several reads and writes in flight. Each piece has its own operation, whose event the thread waits on:
//! the file itself could not tell which of its operations is meant.

use proactor::fs::{File, OpenOptions};
use proactor::sync::{Waitable, Waited, wait_any};
use proactor::{Drain, Error, Fill, Overlapped};

const IN_FLIGHT: usize = 8;
const PIECE: usize = 256 * 1024;

/// What a piece is waiting for.
enum Piece {
    Read(Overlapped<Fill<Vec<u8>>, ()>, u64),
    Write(Overlapped<Drain<Vec<u8>>, ()>),
}

impl Piece {
    fn read(from: &File, buffer: Vec<u8>, at: u64) -> Result<Piece, Error> {
        Ok(Piece::Read(from.read_at(buffer, at).start()?, at))
    }

    fn operation(&self) -> &dyn Waitable {
        match self {
            Piece::Read(read, _) => read,
            Piece::Write(write) => write,
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        return Err("usage: file_copy_overlapped FROM TO".into());
    };
    let from = File::open_now(from, &OpenOptions::new().read(true))?;
    let to = File::open_now(to, &OpenOptions::new().write(true).create(true).truncate(true))?;
    let length = from.metadata().wait().result?.len;

    let mut offsets = (0..length).step_by(PIECE);
    let mut pieces = Vec::new();
    for at in offsets.by_ref().take(IN_FLIGHT) {
        pieces.push(Piece::read(&from, Vec::with_capacity(PIECE), at)?);
    }
    let mut copied = 0;
    while !pieces.is_empty() {
        // WaitForMultipleObjects: the lowest operation that is complete.
        let operations: Vec<_> = pieces.iter().map(Piece::operation).collect();
        let Waited::Signalled(index) = wait_any(&operations, None)? else {
            return Err("an endless wait ended".into());
        };
        match pieces.swap_remove(index) {
            Piece::Read(read, at) => {
                // GetOverlappedResult, which need not wait any more.
                let read = read.wait();
                read.result?;
                let mut buffer = read.buffer;
                buffer.truncate(PIECE);
                pieces.push(Piece::Write(to.write_at(buffer, at).start()?));
            }
            Piece::Write(written) => {
                let written = written.wait();
                written.result?;
                copied += written.bytes as u64;
                if let Some(at) = offsets.next() {
                    pieces.push(Piece::read(&from, written.buffer, at)?);
                }
            }
        }
    }
    if copied != length {
        return Err("the file changed while it was copied".into());
    }
    println!("{copied} bytes copied, up to {IN_FLIGHT} operations in flight");
    Ok(())
}
