//! Reads on proactor's shared port: a block for each read in flight, its buffer inside.

use std::io;

use proactor::fs::File;
use proactor::{Batch, Block, CompletionPort, Error, Outcome, within_mut};

use super::case::{Aligned, BLOCK, Case, Measured};
use crate::linux::wrong;

struct PerIo {
    buf: Box<Aligned>,
    block: u64,
}

/// One thread starts the reads and takes the packets: with `get` at depth 1, else with `get_many`.
pub fn read(case: &Case) -> io::Result<Measured> {
    let port: CompletionPort<PerIo, usize> = CompletionPort::new(1)?;
    let file = File::from(case.open()?);
    port.associate(&file, 0)?;
    let mut course = case.start()?;
    let start = |mut io: Block<PerIo>, block: u64| {
        io.block = block;
        file.read_at(within_mut(|io: &mut PerIo| &mut io.buf.0[..]), block * BLOCK as u64).packet(io).map_err(Error::from)
    };
    for _ in 0..case.depth {
        start(Block::new(PerIo { buf: Aligned::new(), block: 0 }), course.next())?;
    }
    let mut batch = Batch::with_capacity(case.depth.min(16));
    let mut each = |outcome| match outcome {
        Outcome::Packet(packet) => {
            let (bytes, io): (usize, Block<PerIo>) = (packet.done.bytes, packet.block.expect("reads bring their block"));
            let going = course.read(io.block, &io.buf.0[..bytes])?;
            if going {
                start(io, course.next())?;
            }
            Ok::<_, io::Error>(going)
        }
        other => Err(wrong(format!("the port brought {other:?}"))),
    };
    // Reads still in flight at the end are cancelled and waited for by the port's close.
    if case.depth == 1 {
        while each(port.get(None)?)? {}
    } else {
        let mut going = true;
        while going {
            port.get_many(&mut batch, None)?;
            for outcome in &mut batch {
                going &= each(outcome)?;
            }
        }
    }
    course.end()
}
