//! Reads on proactor's ports: a block for each read in flight, its buffer inside.

use std::io;

use proactor::fs::File;
use proactor::{Batch, Block, CompletionPort, LocalPort, Outcome, Refused, Ticket, within_mut};

use super::case::{Aligned, BLOCK, Case, Measured};
use crate::linux::wrong;

struct PerIo {
    buf: Box<Aligned>,
    block: u64,
}

impl PerIo {
    fn buf(&mut self) -> &mut [u8] {
        &mut self.buf.0
    }
}

type Started = Result<Ticket, Refused<Block<PerIo>>>;
type Taken = Outcome<PerIo, usize>;

/// One thread starts the reads and takes the packets: with `get` at depth 1, else with `get_many`.
pub fn shared(case: &Case) -> io::Result<Measured> {
    let port: CompletionPort<PerIo, usize> = CompletionPort::new(1)?;
    let file = File::from(case.open()?);
    port.associate(&file, 0)?;
    let mut batch = Batch::with_capacity(case.depth.min(16));
    let start = |io, offset| file.read_at(within_mut(PerIo::buf), offset).packet(io);
    read(case, start, |each| {
        if case.depth == 1 {
            return each(port.get(None)?);
        }
        port.get_many(&mut batch, None)?;
        let mut going = true;
        for outcome in &mut batch {
            going &= each(outcome)?;
        }
        Ok(going)
    })
}

/// The same on a per-thread port, always with `get`.
pub fn local(case: &Case) -> io::Result<Measured> {
    let port: LocalPort<PerIo, usize> = LocalPort::new()?;
    let file = port.associate(File::from(case.open()?), 0)?;
    let start = |io, offset| file.read_at(within_mut(PerIo::buf), offset).packet(io);
    read(case, start, |each| each(port.get(None)?))
}

/// Keeps `depth` reads in flight until the time is over; those in flight then are cancelled and waited for by the port's
/// close.
fn read(
    case: &Case,
    start: impl Fn(Block<PerIo>, u64) -> Started,
    mut take: impl FnMut(&mut dyn FnMut(Taken) -> io::Result<bool>) -> io::Result<bool>,
) -> io::Result<Measured> {
    let mut course = case.start()?;
    let start = |mut io: Block<PerIo>, block: u64| {
        io.block = block;
        start(io, block * BLOCK as u64).map_err(proactor::Error::from)
    };
    for _ in 0..case.depth {
        start(Block::new(PerIo { buf: Aligned::new(), block: 0 }), course.next())?;
    }
    let mut each = |outcome: Taken| match outcome {
        Outcome::Packet(packet) => {
            let (bytes, io): (usize, Block<PerIo>) = (packet.done.bytes, packet.block.expect("reads bring their block"));
            let going = course.read(io.block, &io.buf.0[..bytes])?;
            if going {
                start(io, course.next())?;
            }
            Ok(going)
        }
        other => Err(wrong(format!("the port brought {other:?}"))),
    };
    while take(&mut each)? {}
    course.end()
}
