//! Reads by blocking calls on proactor's files.

use std::io;

use proactor::fs::File;
use proactor::{Completion, IoBuf, IoBufMut, LocalPort};

use super::case::{Aligned, BLOCK, Case, Measured};

/// A buffer as the other contenders have it.
struct Owned(Box<Aligned>);

// SAFETY: the memory is on the heap and of a fixed length, so address and length stay as they are while this is moved.
unsafe impl IoBuf for Owned {
    fn as_slice(&self) -> &[u8] {
        &self.0.0
    }
}

// SAFETY: as above, and it is all initialized.
unsafe impl IoBufMut for Owned {
    fn spare(&mut self) -> &mut [std::mem::MaybeUninit<u8>] {
        // SAFETY: the same bytes; who fills them writes bytes.
        unsafe { std::slice::from_raw_parts_mut(self.0.0.as_mut_ptr().cast(), BLOCK) }
    }

    unsafe fn set_filled(&mut self, _: usize) {}
}

/// One `.wait()` after the other, of a file that any thread may use.
pub fn shared(case: &Case) -> io::Result<Measured> {
    let file = File::from(case.open()?);
    read(case, |buf, offset| file.read_at(buf, offset).wait())
}

/// The same, of a file of a per-thread port.
pub fn local(case: &Case) -> io::Result<Measured> {
    let port: LocalPort = LocalPort::new()?;
    let file = port.associate(File::from(case.open()?), 0)?;
    read(case, |buf, offset| file.read_at(buf, offset).wait())
}

fn read(case: &Case, read: impl Fn(Owned, u64) -> Completion<(), Owned>) -> io::Result<Measured> {
    let mut buf = Owned(Aligned::new());
    let mut course = case.start()?;
    loop {
        let block = course.next();
        let done = read(buf, block * BLOCK as u64);
        done.result?;
        buf = done.buffer;
        if !course.read(block, &buf.0.0[..done.bytes])? {
            return course.end();
        }
    }
}
