//! The file copier, third model: completion routines ("extended I/O"). One thread; a read's routine writes, a write's
//! routine reads the next piece.
//!
//!     cargo run --release --example file_copy_routines -- FROM TO

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proactor::Error;
use proactor::fs::{File, OpenOptions};
use proactor::sync::alertable;

const IN_FLIGHT: usize = 8;
const PIECE: usize = 256 * 1024;

struct Copy {
    from: File,
    to: File,
    length: u64,
    next: Cell<u64>,
    copied: Cell<u64>,
    /// Pieces between their read and the end of their write.
    in_flight: Cell<usize>,
    failed: RefCell<Option<Error>>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        return Err("usage: file_copy_routines FROM TO".into());
    };
    let from = File::open_now(from, &OpenOptions::new().read(true))?;
    let to = File::open_now(to, &OpenOptions::new().write(true).create(true).truncate(true))?;
    let length = from.metadata().wait().result?.len;

    let copy = Rc::new(Copy {
        from,
        to,
        length,
        next: Cell::new(0),
        copied: Cell::new(0),
        in_flight: Cell::new(0),
        failed: RefCell::new(None),
    });
    for _ in 0..IN_FLIGHT {
        read(&copy, Vec::with_capacity(PIECE));
    }
    while copy.in_flight.get() > 0 {
        // SleepEx: the routines run in here, and nowhere else.
        alertable::sleep(None)?;
    }
    if let Some(error) = copy.failed.take() {
        return Err(error.into());
    }
    if copy.copied.get() != length {
        return Err("the file changed while it was copied".into());
    }
    println!("{} bytes copied by completion routines", copy.copied.get());
    Ok(())
}

/// ReadFileEx of the next piece, if there is one.
fn read(copy: &Rc<Copy>, buffer: Vec<u8>) {
    let at = copy.next.get();
    if at >= copy.length || copy.failed.borrow().is_some() {
        return;
    }
    copy.next.set(at + PIECE as u64);
    copy.in_flight.set(copy.in_flight.get() + 1);
    let own = copy.clone();
    let started = copy.from.read_at(buffer, at).routine(move |done| match done.result {
        Ok(()) => write(&own, done.buffer, at),
        Err(error) => own.end(Err(error)),
    });
    if let Err(refused) = started {
        copy.end(Err(refused.error));
    }
}

/// WriteFileEx of what was read.
fn write(copy: &Rc<Copy>, mut buffer: Vec<u8>, at: u64) {
    buffer.truncate(PIECE);
    let own = copy.clone();
    let started = copy.to.write_at(buffer, at).routine(move |done| {
        own.end(done.result.map(|()| done.bytes as u64));
        read(&own, done.buffer);
    });
    if let Err(refused) = started {
        copy.end(Err(refused.error));
    }
}

impl Copy {
    /// A piece is done.
    fn end(&self, written: Result<u64, Error>) {
        self.in_flight.set(self.in_flight.get() - 1);
        match written {
            Ok(bytes) => self.copied.set(self.copied.get() + bytes),
            Err(error) => *self.failed.borrow_mut() = Some(error),
        }
    }
}
