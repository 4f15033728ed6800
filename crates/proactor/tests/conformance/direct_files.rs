//! Direct I/O: aligned requests pass by the system's cache, others are told what is wrong with them.

use std::fs;

use proactor::fs::{File, OpenOptions};
use proactor::{Block, BufferPool, Code, OpKind, PoolBuf, Slice, within, within_mut};

use crate::common::*;

const PAGE: usize = 4096;

fn options() -> OpenOptions {
    OpenOptions::new().read(true).write(true).create(true).direct(true)
}

/// The file, opened for direct I/O; none where the temporary directory's file system offers it not.
fn file(scratch: &Scratch) -> Option<File> {
    match File::open_now(&scratch.0, &options()) {
        Ok(file) => Some(file),
        Err(error) => {
            assert_eq!(error.code(), Code::NotSupported, "{error}");
            assert!(error.to_string().contains("direct"), "{error}");
            None
        }
    }
}

macro_rules! file {
    ($scratch:expr, $test:literal) => {
        match file($scratch) {
            Some(file) => file,
            None => skip!($test, "the file system of the temporary directory has no direct I/O"),
        }
    };
}

fn filled(pool: &BufferPool, bytes: &[u8]) -> PoolBuf {
    let mut buf = pool.take().unwrap();
    buf.whole()[..bytes.len()].copy_from_slice(bytes);
    buf.set_len(bytes.len());
    buf
}

#[test]
fn buffers_of_an_aligned_pool_are_aligned_and_come_back() {
    for align in [1, 512, PAGE, 1 << 16] {
        let pool = BufferPool::aligned(4, 10_000, align).unwrap();
        for _ in 0..2 {
            let mut leased: Vec<_> = (0..4).map(|_| pool.take().unwrap()).collect();
            assert_eq!(pool.take().unwrap_err().code(), Code::InsufficientResources);
            for buf in &mut leased {
                assert_eq!((buf.whole().as_ptr().addr() % align, buf.whole().len(), buf.len()), (0, 10_000, 0));
            }
        }
        assert_eq!((pool.available(), pool.buffer_size()), (4, 10_000));
    }
    for align in [0, 3, 4097] {
        assert_eq!(BufferPool::aligned(1, PAGE, align).unwrap_err().code(), Code::InvalidParameter);
    }
    assert_eq!(BufferPool::aligned(1, usize::MAX, PAGE).unwrap_err().code(), Code::InvalidParameter);
    let empty = BufferPool::aligned(1, 0, PAGE).unwrap();
    assert_eq!(empty.take().unwrap().whole().len(), 0);
}

#[test]
fn what_is_written_directly_is_read_back_directly() {
    let scratch = Scratch::new("direct");
    let file = somewhere(file!(&scratch, "what_is_written_directly_is_read_back_directly"));
    let pool = BufferPool::aligned(2, 4 * PAGE, PAGE).unwrap();
    let done = run(file.write_at(filled(&pool, &pattern(4 * PAGE, 1)), PAGE as u64));
    assert_eq!((done.bytes, code(&done)), (4 * PAGE, None));
    drop(done);
    assert!(fs::read(&scratch.0).unwrap()[PAGE..] == pattern(4 * PAGE, 1));
    let done = run(file.read_at(pool.take().unwrap(), PAGE as u64));
    assert_eq!((done.bytes, code(&done)), (4 * PAGE, None));
    assert!(*done.buffer == pattern(4 * PAGE, 1));
}

#[test]
fn direct_files_are_opened_and_read_by_packets() {
    struct Aligned(PoolBuf);
    let scratch = Scratch::new("direct-packets");
    drop(file!(&scratch, "direct_files_are_opened_and_read_by_packets"));
    fs::write(&scratch.0, pattern(3 * PAGE, 2)).unwrap();
    let pool = BufferPool::aligned(1, PAGE, PAGE).unwrap();
    let port = port_of::<Aligned, usize>();
    let file = File::new();
    let file = port.home(file, 7);
    packet(file.open(&scratch.0, &options()), Block::new(Aligned(pool.take().unwrap())));
    let mut io = success(&port).block.unwrap();
    for page in 0..3 {
        packet(file.read_at(within_mut(|io: &mut Aligned| io.0.whole()), (page * PAGE) as u64), io);
        let read = success(&port);
        assert_eq!(read.done.bytes, PAGE);
        io = read.block.unwrap();
        assert!(*io.0.whole() == pattern(3 * PAGE, 2)[page * PAGE..][..PAGE]);
    }
    packet(file.write_at(within(|io: &mut Aligned| &*io.0.whole()), 0), io);
    assert_eq!(success(&port).done.bytes, PAGE);
    assert!(fs::read(&scratch.0).unwrap()[..PAGE] == pattern(3 * PAGE, 2)[2 * PAGE..]);
}

#[test]
fn a_direct_read_meets_the_end_of_the_file() {
    let scratch = Scratch::new("direct-end");
    let file = somewhere(file!(&scratch, "a_direct_read_meets_the_end_of_the_file"));
    fs::write(&scratch.0, pattern(2 * PAGE + 100, 3)).unwrap();
    let pool = BufferPool::aligned(2, 2 * PAGE, PAGE).unwrap();
    for (page, left) in [(0, 2 * PAGE), (1, PAGE + 100), (2, 100), (3, 0), (1 << 20, 0)] {
        let done = run(file.read_at(pool.take().unwrap(), (page * PAGE) as u64));
        assert_eq!((done.bytes, code(&done)), (left, None), "from page {page}");
        assert!(left == 0 || *done.buffer == pattern(2 * PAGE + 100, 3)[page * PAGE..][..left]);
    }
    let done = run(file.read_at_vectored(vec![pool.take().unwrap(), pool.take().unwrap()], PAGE as u64));
    assert_eq!((done.bytes, done.buffer[0].len(), done.buffer[1].len()), (PAGE + 100, PAGE + 100, 0));
}

#[test]
fn a_padded_direct_write_and_a_new_length_make_any_length() {
    let scratch = Scratch::new("direct-tail");
    let file = somewhere(file!(&scratch, "a_padded_direct_write_and_a_new_length_make_any_length"));
    let pool = BufferPool::aligned(1, 2 * PAGE, PAGE).unwrap();
    run(file.write_at(filled(&pool, &pattern(2 * PAGE, 4)), 0)).result.unwrap();
    run(file.set_len(5000)).result.unwrap();
    assert!(fs::read(&scratch.0).unwrap() == pattern(5000, 4));
}

#[test]
fn a_misaligned_direct_request_is_told_the_alignment() {
    let scratch = Scratch::new("direct-misaligned");
    let file = somewhere(file!(&scratch, "a_misaligned_direct_request_is_told_the_alignment"));
    fs::write(&scratch.0, pattern(4 * PAGE, 5)).unwrap();
    let pool = BufferPool::aligned(2, 2 * PAGE, PAGE).unwrap();
    let whole = || filled(&pool, &[0; 2 * PAGE]);
    // Offset, length, address.
    let requests = [(1, 0..PAGE), (0, 0..100), (0, 1..PAGE + 1)];
    for (offset, range) in requests {
        let read = run(file.read_at(Slice::new(whole(), range.clone()).unwrap(), offset));
        let (read, bytes) = (read.result, read.bytes);
        let write = run(file.write_at(Slice::new(whole(), range.clone()).unwrap(), offset)).result;
        for (result, kind) in [(read, OpKind::ReadAt), (write, OpKind::WriteAt)] {
            match result {
                Ok(()) => println!(
                    "SKIP a_misaligned_direct_request_is_told_the_alignment: {kind} of {range:?} at {offset} is taken here"
                ),
                Err(error) => {
                    assert_eq!((error.code(), error.operation(), bytes), (Code::InvalidParameter, Some(kind), 0));
                    let text = error.to_string();
                    assert!(text.contains("multiples of") && text.contains("BufferPool::aligned"), "{text}");
                    println!("{text}");
                }
            }
        }
    }
    assert_eq!(run(file.read_at(whole(), 0)).bytes, 2 * PAGE, "the file is none the worse");
}

#[test]
fn many_direct_reads_at_once_each_get_their_own_part() {
    const READS: usize = 64;
    let scratch = Scratch::new("direct-many");
    let file = somewhere(file!(&scratch, "many_direct_reads_at_once_each_get_their_own_part"));
    fs::write(&scratch.0, pattern(READS * PAGE, 6)).unwrap();
    let pool = BufferPool::aligned(READS, PAGE, PAGE).unwrap();
    let reads: Vec<_> = (0..READS).map(|n| start(file.read_at(pool.take().unwrap(), (n * PAGE) as u64))).collect();
    for (n, read) in reads.into_iter().enumerate() {
        let done = finish(read);
        assert!(*done.buffer == pattern(READS * PAGE, 6)[n * PAGE..][..PAGE], "read {n}");
    }
}

#[test]
fn a_file_closed_and_opened_another_way_is_read_that_way() {
    let scratch = Scratch::new("direct-again");
    let mut file = somewhere(file!(&scratch, "a_file_closed_and_opened_another_way_is_read_that_way"));
    fs::write(&scratch.0, pattern(PAGE, 7)).unwrap();
    let pool = BufferPool::aligned(1, PAGE, PAGE).unwrap();
    for round in 0..4 {
        assert!(*run(file.read_at(pool.take().unwrap(), 0)).buffer == pattern(PAGE, 7));
        run(file.close()).result.unwrap();
        run(file.open(&scratch.0, &options().direct(round % 2 == 1))).result.unwrap();
    }
}

/// More completions than a queue of the kernel's may have room for, while nobody fetches any.
#[test]
fn a_storm_of_cancels_loses_no_packet() {
    const READS: usize = 600;
    const SIZE: usize = 16 * PAGE;
    struct Aligned(PoolBuf);
    let scratch = Scratch::new("direct-storm");
    let file = file!(&scratch, "a_storm_of_cancels_loses_no_packet");
    fs::write(&scratch.0, pattern(SIZE, 8)).unwrap();
    let port = port_of::<Aligned, usize>();
    let file = port.home(file, 7);
    let pool = BufferPool::aligned(READS, SIZE, PAGE).unwrap();
    for _ in 0..3 {
        for _ in 0..READS {
            let io = Block::new(Aligned(pool.take().unwrap()));
            packet(file.read_at(within_mut(|io: &mut Aligned| io.0.whole()), 0), io);
        }
        for _ in 0..5 {
            let _ = file.cancel_all();
        }
        for _ in 0..READS {
            let result = take(&port).done.result;
            assert!(matches!(result.map_err(|error| error.code()), Ok(_) | Err(Code::Cancelled)));
        }
        nothing(&port);
    }
    run(file.sync_all()).result.expect("the ring goes on");
}
