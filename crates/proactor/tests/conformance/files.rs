//! SEMANTICS 10, what exists of it: reads and writes that name their offset.

use std::fs;
use std::io::ErrorKind;

use proactor::fs::{File, OpenOptions};
use proactor::{Block, Code, Gather, GatherMut, OpKind, within, within_list, within_list_mut, within_mut};

use crate::common::*;

fn options() -> OpenOptions {
    OpenOptions::new().read(true).write(true).create(true)
}

fn file(scratch: &Scratch) -> File {
    File::open_now(&scratch.0, &options()).unwrap()
}

/// In the children of `again`, that they are what they were meant to be.
#[test]
fn the_backend_is_the_one_that_was_asked_for() {
    let info = proactor::backend();
    println!("sockets by {}, files by {}: {}", info.sockets, info.files, info.reason);
    if let Ok(expected) = std::env::var("PROACTOR_EXPECT_FILES") {
        assert_eq!(info.files, expected);
    }
}

#[test]
fn what_is_written_is_read_back_overlapped() {
    let scratch = Scratch::new("written");
    let file = somewhere(file(&scratch));
    let done = run(file.write_at(pattern(100_000, 1), 0));
    assert_eq!((done.bytes, code(&done)), (100_000, None));
    let done = run(file.read_at(vec![0; 100_000], 0));
    assert_eq!(done.bytes, 100_000);
    assert!(done.buffer == pattern(100_000, 1));
    assert!(fs::read(&scratch.0).unwrap() == pattern(100_000, 1));
}

#[test]
fn what_is_written_is_read_back_as_packets() {
    let port = port(1);
    let scratch = Scratch::new("packets");
    let file = file(&scratch);
    let file = port.home(file, 7);
    let io = Block::new(Io { buf: pattern(10_000, 2), tag: 1 });
    packet(file.write_at(within(|io: &mut Io| &io.buf[..]), 5000), io);
    let written = success(&port);
    assert_eq!((written.key, written.op, written.done.bytes), (7, OpKind::WriteAt, 10_000));
    packet(file.read_at(within_mut(|io: &mut Io| &mut io.buf[..]), 5000), block(2, 10_000));
    let read = success(&port);
    let io = read.block.unwrap();
    assert_eq!((read.op, read.done.bytes, io.tag), (OpKind::ReadAt, 10_000, 2));
    assert!(io.buf == pattern(10_000, 2));
    nothing(&port);
}

#[test]
fn every_read_and_write_names_its_offset() {
    let scratch = Scratch::new("offsets");
    let file = somewhere(file(&scratch));
    run(file.write_at(b"0123456789", 0)).result.unwrap();
    run(file.write_at(b"ab", 4)).result.unwrap();
    for (offset, expected) in [(8, "89"), (0, "01"), (4, "ab"), (4, "ab")] {
        assert_eq!(run(file.read_at(vec![0; 2], offset)).buffer, expected.as_bytes());
    }
    run(file.write_at(b"far", 1 << 20)).result.unwrap();
    assert_eq!(fs::metadata(&scratch.0).unwrap().len(), (1 << 20) + 3);
    assert_eq!(run(file.read_at(vec![1; 4], 1 << 19)).buffer, [0; 4], "the hole reads as zeros");
}

#[test]
fn the_end_of_the_file_is_a_success_with_what_is_left() {
    let port = port(1);
    let scratch = Scratch::new("end");
    fs::write(&scratch.0, b"0123456789").unwrap();
    let file = file(&scratch);
    let file = port.home(file, 7);
    for (offset, left) in [(7, 3), (10, 0), (11, 0), (1 << 40, 0)] {
        packet(file.read_at(within_mut(|io: &mut Io| &mut io.buf[..]), offset), block(0, 16));
        assert_eq!(success(&port).done.bytes, left, "as a packet from {offset}");
        let done = run(file.read_at(vec![0; 16], offset));
        assert_eq!((done.bytes, code(&done), done.buffer.len()), (left, None, left), "overlapped from {offset}");
    }
    let empty = Scratch::new("empty");
    let done = run(File::open_now(&empty.0, &options()).unwrap().read_at(vec![0; 16], 0));
    assert_eq!((done.bytes, code(&done)), (0, None));
}

#[test]
fn vectored_reads_and_writes_keep_their_order_overlapped() {
    let scratch = Scratch::new("vectored");
    let file = somewhere(file(&scratch));
    let done = run(file.write_at_vectored(vec!["head ", "", "body ", "tail"], 3));
    assert_eq!(done.bytes, 14);
    assert_eq!(fs::read(&scratch.0).unwrap(), b"\0\0\0head body tail");
    let done = run(file.read_at_vectored([vec![0; 5], vec![0; 5], vec![0; 16]], 3));
    assert_eq!(
        (done.bytes, done.buffer.map(|part| String::from_utf8(part).unwrap())),
        (14, ["head ", "body ", "tail"].map(String::from))
    );
}

#[test]
fn vectored_reads_and_writes_keep_their_order_as_packets() {
    let port = port(1);
    let scratch = Scratch::new("vectored-packets");
    let file = file(&scratch);
    let file = port.home(file, 7);
    let gather = within_list(|io: &mut Io, list: &mut Gather<'_>| {
        list.push(&io.buf[4..]);
        list.push(&io.buf[..4]);
    });
    packet(file.write_at_vectored(gather, 0), Block::new(Io { buf: b"45670123".to_vec(), tag: 0 }));
    assert_eq!(success(&port).done.bytes, 8);
    assert_eq!(fs::read(&scratch.0).unwrap(), b"01234567");
    let scatter = within_list_mut(|io: &mut Io, list: &mut GatherMut<'_>| {
        let (head, body) = io.buf.split_at_mut(3);
        list.push(body);
        list.push(head);
    });
    packet(file.read_at_vectored(scatter, 0), block(1, 8));
    assert_eq!(success(&port).block.unwrap().buf, b"56701234");
}

#[test]
fn long_lists_of_buffers_are_written_and_read_whole() {
    let scratch = Scratch::new("long-lists");
    let file = somewhere(file(&scratch));
    let parts: Vec<Vec<u8>> = pattern(50_000, 4).chunks(50).map(<[u8]>::to_vec).collect();
    assert_eq!(run(file.write_at_vectored(parts, 0)).bytes, 50_000);
    assert!(fs::read(&scratch.0).unwrap() == pattern(50_000, 4));
    let done = run(file.read_at_vectored(vec![vec![0; 50]; 60], 0));
    assert!(done.buffer.concat() == pattern(50_000, 4)[..3000]);
}

#[test]
fn lists_longer_than_one_call_takes_are_read_whole() {
    let scratch = Scratch::new("long-reads");
    let file = somewhere(file(&scratch));
    fs::write(&scratch.0, pattern(50_000, 4)).unwrap();
    let done = run(file.read_at_vectored(vec![vec![0; 50]; 1000], 0));
    assert_eq!(done.bytes, 50_000);
    assert!(done.buffer.concat() == pattern(50_000, 4));
}

#[test]
fn many_reads_at_once_each_get_their_own_part() {
    const READS: usize = 2000;
    let port = port(2);
    let scratch = Scratch::new("many");
    let whole = pattern(READS * 64, 5);
    fs::write(&scratch.0, &whole).unwrap();
    let file = file(&scratch);
    let file = port.home(file, 7);
    for tag in 0..READS {
        packet(file.read_at(within_mut(|io: &mut Io| &mut io.buf[..]), tag as u64 * 64), block(tag, 64));
    }
    let mut seen = vec![false; READS];
    for _ in 0..READS {
        let packet = success(&port);
        let io = packet.block.unwrap();
        assert!(!std::mem::replace(&mut seen[io.tag], true), "read {} completed twice", io.tag);
        assert!(io.buf == whole[io.tag * 64..][..64]);
    }
    nothing(&port);
}

#[test]
fn many_writes_at_once_each_go_to_their_own_place() {
    let scratch = Scratch::new("many-writes");
    let file = somewhere(file(&scratch));
    let writes: Vec<_> = (0..200).map(|n| start(file.write_at(vec![n as u8; 100], n * 100))).collect();
    for write in writes {
        assert_eq!(finish(write).bytes, 100);
    }
    let all = fs::read(&scratch.0).unwrap();
    assert_eq!(all.len(), 20_000);
    assert!(all.chunks(100).enumerate().all(|(n, part)| part == [n as u8; 100]));
}

#[test]
fn an_open_yields_a_packet_and_the_file_works() {
    let port = port(1);
    let scratch = Scratch::new("opened");
    let file = File::new();
    let file = port.home(file, 7);
    packet(file.open(&scratch.0, &options()), block(1, 0));
    let opened = success(&port);
    assert_eq!((opened.key, opened.op, opened.done.bytes), (7, OpKind::Open, 0));
    packet(file.write_at(within(|io: &mut Io| &io.buf[..]), 0), block(2, 100));
    assert_eq!(success(&port).done.bytes, 100);
    assert_eq!(fs::metadata(&scratch.0).unwrap().len(), 100);
}

#[test]
fn an_open_of_nothing_is_file_not_found() {
    let port = port(1);
    let scratch = Scratch::new("missing");
    let (packets, overlapped) = (File::new(), File::new());
    let packets = port.home(packets, 7);
    packet(packets.open(&scratch.0, &OpenOptions::new().read(true)), block(1, 0));
    let (_, missing) = failure(&port);
    assert_eq!((missing, missing.win32()), (Code::FileNotFound, 2));
    let error = run(overlapped.open(&scratch.0, &OpenOptions::new().read(true))).result.unwrap_err();
    assert_eq!((error.code(), error.operation()), (Code::FileNotFound, Some(OpKind::Open)));
    assert_eq!(std::io::Error::from(error).kind(), ErrorKind::NotFound);
    assert_eq!(File::open_now(&scratch.0, &OpenOptions::new().read(true)).unwrap_err().code(), Code::FileNotFound);
    run(overlapped.open(&scratch.0, &options())).result.expect("a failed open may be tried again");
}

#[test]
fn making_a_file_that_exists_is_file_exists() {
    let scratch = Scratch::new("exists");
    fs::write(&scratch.0, b"x").unwrap();
    let options = OpenOptions::new().write(true).create_new(true);
    assert_eq!(code(&run(File::new().open(&scratch.0, &options))), Some(Code::FileExists));
    assert_eq!(File::open_now(&scratch.0, &options).unwrap_err().code(), Code::FileExists);
}

#[test]
fn opening_a_file_twice_is_an_invalid_parameter() {
    let scratch = Scratch::new("twice");
    let file = somewhere(file(&scratch));
    assert_eq!(code(&run(file.open(&scratch.0, &options()))), Some(Code::InvalidParameter));
    run(file.write_at(b"x", 0)).result.expect("it goes on with the file it had");
}

#[test]
fn a_file_not_open_yet_is_an_invalid_handle() {
    let file = somewhere(File::new());
    assert_eq!(code(&run(file.read_at(vec![0; 4], 0))), Some(Code::InvalidHandle));
}

#[test]
fn truncating_and_writing_only_do_as_they_say() {
    let scratch = Scratch::new("truncate");
    fs::write(&scratch.0, b"long contents").unwrap();
    let file = somewhere(File::new());
    run(file.open(&scratch.0, &OpenOptions::new().write(true).truncate(true))).result.unwrap();
    assert_eq!(fs::metadata(&scratch.0).unwrap().len(), 0);
    run(file.write_at(b"new", 0)).result.unwrap();
    assert!(run(file.read_at(vec![0; 4], 0)).result.is_err(), "it was not opened for reading");
    assert_eq!(fs::read(&scratch.0).unwrap(), b"new");
}

#[test]
fn syncing_yields_a_completion() {
    let port = port(1);
    let scratch = Scratch::new("sync");
    let file = file(&scratch);
    let file = port.home(file, 7);
    run(file.write_at(b"data", 0)).result.unwrap();
    packet(file.sync_data(), block(1, 0));
    assert_eq!(success(&port).op, OpKind::Sync);
    run(file.sync_all()).result.unwrap();
    nothing(&port);
}

#[test]
fn a_cancelled_file_operation_ends_as_cancelled_or_with_its_result() {
    let scratch = Scratch::new("cancelled");
    let whole = pattern(1 << 20, 6);
    fs::write(&scratch.0, &whole).unwrap();
    let file = somewhere(file(&scratch));
    for _ in 0..100 {
        let read = start(file.read_at(vec![0; 1 << 16], 0));
        let asked = read.cancel();
        let done = finish(read);
        match code(&done) {
            None => assert!(done.buffer == whole[..1 << 16]),
            Some(Code::Cancelled) => asked.expect("it ended as cancelled"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn closing_a_file_completes_what_is_pending() {
    let port = port(1);
    let scratch = Scratch::new("closed");
    fs::write(&scratch.0, pattern(1 << 20, 7)).unwrap();
    for tag in 0..50 {
        let file = file(&scratch);
        let file = port.home(file, 7);
        packet(file.read_at(within_mut(|io: &mut Io| &mut io.buf[..]), 0), block(tag, 1 << 16));
        drop(file);
        let packet = take(&port);
        assert_eq!(packet.block.unwrap().tag, tag);
        assert!(matches!(packet.done.result.map_err(|error| error.code()), Ok(_) | Err(Code::Cancelled)));
    }
}

/// The first part is copied by the starter, the rest comes from the device; in every order.
#[cfg(target_os = "linux")]
#[test]
fn a_read_of_what_is_cached_in_part_is_whole() {
    use std::os::fd::AsRawFd;
    const LEN: usize = 1 << 20;
    let port = port(1);
    let scratch = Scratch::new("cached-in-part");
    let whole = pattern(LEN + 100, 8);
    fs::write(&scratch.0, &whole).unwrap();
    let file = file(&scratch);
    let file = port.home(file, 7);
    run(file.sync_all()).result.unwrap();
    let uncache = |from: usize, len: usize| {
        // SAFETY: no pointers.
        let advised = unsafe { libc::posix_fadvise(file.as_raw_fd(), from as i64, len as i64, libc::POSIX_FADV_DONTNEED) };
        assert_eq!(advised, 0);
    };
    for (from, len) in [(LEN / 2, LEN), (0, LEN / 2), (4096, 4096), (0, 2 * LEN), (LEN, 4096), (0, 0)] {
        uncache(from, len);
        let done = run(file.read_at(vec![0; 2 * LEN], 0));
        assert_eq!((done.bytes, code(&done)), (LEN + 100, None), "without {len} from {from}");
        assert!(done.buffer == whole);
        uncache(from, len);
        let parts = vec![vec![0; LEN / 256]; 512];
        let done = run(file.read_at_vectored(parts, 10));
        assert!(done.bytes == LEN + 90 && done.buffer.concat() == whole[10..]);
        uncache(from, len);
        packet(file.read_at(within_mut(|io: &mut Io| &mut io.buf[..]), 3), block(1, LEN));
        let read = success(&port);
        assert!(read.done.bytes == LEN && read.block.unwrap().buf == whole[3..LEN + 3]);
    }
    nothing(&port);
}

#[test]
fn a_read_that_is_over_at_once_still_yields_one_packet_and_one_event() {
    let port = port(1);
    let scratch = Scratch::new("at-once");
    fs::write(&scratch.0, pattern(4096, 9)).unwrap();
    let file = file(&scratch);
    let file = port.home(file, 7);
    for tag in 0..200 {
        let ticket = packet(file.read_at(within_mut(|io: &mut Io| &mut io.buf[..]), 0), block(tag, 4096));
        // Over or not, it is no longer there to cancel, or it ends as asked.
        let _ = file.cancel(ticket);
    }
    for _ in 0..200 {
        let packet = take(&port);
        assert!(packet.done.result.is_err() || packet.block.unwrap().buf == pattern(4096, 9));
    }
    nothing(&port);
    let read = start(file.read_at(vec![0; 4096], 0));
    assert!(read.event().wait_timeout(LONG), "the event of a read that is over is set");
    assert!(finish(read).buffer == pattern(4096, 9));
}
