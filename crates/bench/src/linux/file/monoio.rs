//! Reads through monoio's io_uring driver: a task for each read in flight.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use monoio::buf::IoBufMut;

use super::case::{Aligned, BLOCK, Case, Course, Measured};

/// A buffer monoio may lend to the kernel.
struct Owned {
    memory: Box<Aligned>,
    filled: usize,
}

// SAFETY: the memory is on the heap and of a fixed length, so address and length stay as they are while this is moved.
unsafe impl IoBufMut for Owned {
    fn write_ptr(&mut self) -> *mut u8 {
        self.memory.0.as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        BLOCK
    }

    unsafe fn set_init(&mut self, filled: usize) {
        self.filled = filled;
    }
}

/// As many tasks as reads in flight, on one thread.
pub fn read(case: &Case) -> io::Result<Measured> {
    let file = case.open()?;
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().with_entries(1024).build()?;
    runtime.block_on(async {
        let file = Rc::new(monoio::fs::File::from_std(file)?);
        let course = Rc::new(RefCell::new(case.start()?));
        let tasks: Vec<_> = (0..case.depth).map(|_| monoio::spawn(task(file.clone(), course.clone()))).collect();
        for task in tasks {
            task.await?;
        }
        Rc::into_inner(course).map_or_else(|| Err(super::super::wrong("a task is left")), |course| course.into_inner().end())
    })
}

async fn task(file: Rc<monoio::fs::File>, course: Rc<RefCell<Course>>) -> io::Result<()> {
    let mut buf = Owned { memory: Aligned::new(), filled: 0 };
    loop {
        let block = course.borrow_mut().next();
        let (got, back) = file.read_at(buf, block * BLOCK as u64).await;
        got?;
        buf = back;
        if !course.borrow_mut().read(block, &buf.memory.0[..buf.filled])? {
            return Ok(());
        }
    }
}
