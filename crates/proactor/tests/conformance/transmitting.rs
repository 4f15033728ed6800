//! SEMANTICS 15: a head, a part of a file and a tail, as one operation.

use std::io::Read;
use std::sync::{Arc, Mutex};

use proactor::fs::{File, OpenOptions};
use proactor::net::UnixStream;
use proactor::{Block, Code, Limits, OpKind, within, within_list};

use crate::common::*;

/// A file with a pattern of this seed in it, open for reading, at the home of overlapped operations.
fn file(name: &str, len: usize, seed: usize) -> (Scratch, AtHome<File>) {
    let (path, file) = homeless_file(name, len, seed);
    (path, somewhere(file))
}

fn homeless_file(name: &str, len: usize, seed: usize) -> (Scratch, File) {
    let path = Scratch::new(name);
    std::fs::write(&path.0, pattern(len, seed)).unwrap();
    let file = File::open_now(&path.0, &OpenOptions::new().read(true)).unwrap();
    (path, file)
}

/// More than two sockets' buffers take, all zeros.
const LONG_FILE: usize = 24 << 20;

fn zeros(name: &str) -> (Scratch, AtHome<File>) {
    let path = Scratch::new(name);
    std::fs::File::create(&path.0).unwrap().set_len(LONG_FILE as u64).unwrap();
    let file = File::open_now(&path.0, &OpenOptions::new().read(true)).unwrap();
    (path, somewhere(file))
}

#[test]
fn head_file_and_tail_come_in_this_order_and_all_are_counted() {
    let (_path, file) = file("transmit-order", 3000, 1);
    let (ours, peer) = stream();
    let reader = reader(peer);
    let done = run(ours.transmit_file(&file, 100..1100, (b"head", vec![7; 5])));
    done.result.unwrap();
    assert_eq!((done.bytes, done.buffer), (4 + 1000 + 5, (b"head", vec![7; 5])));
    drop(ours);
    assert!(reader.join() == [b"head", &pattern(3000, 1)[100..1100], &[7; 5]].concat());
}

#[test]
fn each_of_the_three_may_be_missing() {
    let (_path, file) = file("transmit-parts", 500, 2);
    let (ours, peer) = stream();
    let reader = reader(peer);
    let whole = pattern(500, 2);
    assert_eq!(run(ours.transmit_file(&file, .., ())).bytes, 500);
    assert_eq!(run(ours.transmit_file(&file, 490.., (b"h", b""))).bytes, 11);
    assert_eq!(run(ours.transmit_file(&file, ..=9, (b"", b"t"))).bytes, 11);
    assert_eq!(run(ours.transmit_file(&file, 7..7, (b"only", b"around"))).bytes, 10);
    let nothing = run(ours.transmit_file(&file, 7..7, ()));
    assert_eq!((nothing.bytes, nothing.result.is_ok()), (0, true));
    drop(ours);
    let expected: [&[u8]; 7] = [&whole, b"h", &whole[490..], &whole[..10], b"t", b"only", b"around"];
    assert!(reader.join() == expected.concat());
}

#[test]
fn a_file_that_ends_sooner_ends_its_part_and_the_tail_follows() {
    let (_path, file) = file("transmit-end", 100, 3);
    let (ours, peer) = stream();
    let reader = reader(peer);
    assert_eq!(run(ours.transmit_file(&file, 60..1 << 40, (b"<", b">"))).bytes, 42);
    assert_eq!(run(ours.transmit_file(&file, 5000.., (b"<", b">"))).bytes, 2);
    drop(ours);
    assert!(reader.join() == [b"<", &pattern(100, 3)[60..], b"><>"].concat());
}

#[test]
fn a_long_one_is_one_completion_with_the_whole_count() {
    const ALL: usize = 16 << 20;
    let (_path, file) = file("transmit-long", ALL, 4);
    let (ours, peer) = stream();
    let sending = start(ours.transmit_file(&file, .., (pattern(100_000, 5), pattern(300_000, 6))));
    // Nobody reads: it cannot be over.
    let sending = pending(sending);
    let reader = reader(peer);
    assert_eq!(finish(sending).bytes, ALL + 400_000);
    drop(ours);
    let came = reader.join();
    assert!(came == [pattern(100_000, 5), pattern(ALL, 4), pattern(300_000, 6)].concat());
}

#[test]
fn sends_before_and_after_it_keep_their_order() {
    const PIECE: usize = 1 << 20;
    let (_path, file) = file("transmit-between", PIECE, 7);
    let port = port(1);
    let (ours, peer) = homeless();
    let ours = port.home(ours, 1);
    let mut expected = Vec::new();
    let mut pended = Vec::new();
    for turn in 0..4 {
        pended.push(start(ours.send(pattern(PIECE, turn))));
        expected.extend(pattern(PIECE, turn));
        let sent = start(ours.transmit_file(&file, .., (vec![1; 3], vec![2; 4])));
        expected.extend([vec![1; 3], pattern(PIECE, 7), vec![2; 4]].concat());
        pended.push(start(ours.send(vec![9; 10])));
        expected.extend([9; 10]);
        let reader = reader_until(expected.len(), &peer);
        assert_eq!(finish(sent).bytes, PIECE + 7);
        for send in pended.drain(..) {
            finish(send).result.unwrap();
        }
        assert!(reader.join() == expected);
        expected.clear();
    }
}

/// Reads so many bytes on a thread of its own.
fn reader_until(bytes: usize, peer: &std::net::TcpStream) -> Worker<Vec<u8>> {
    let mut peer = peer.try_clone().unwrap();
    worker(move || {
        let mut all = vec![0; bytes];
        peer.read_exact(&mut all).unwrap();
        all
    })
}

#[test]
fn it_goes_by_every_delivery() {
    let (_path, file) = homeless_file("transmit-deliveries", 1000, 8);
    let port = port(1);
    let file = port.home(file, 2);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 1);
    let mut came = vec![0; 1003];
    let mut check = |by: &str| {
        peer.read_exact(&mut came).unwrap();
        assert!(came == [b"ab", &pattern(1000, 8)[..], b"c"].concat(), "{by}");
    };
    assert_eq!(ours.transmit_file(&file, .., (b"ab", b"c")).wait().bytes, 1003);
    check("wait");
    assert_eq!(run(ours.transmit_file(&file, .., (b"ab", b"c"))).bytes, 1003);
    check("start");
    let io = Block::new(Io { buf: b"abc".to_vec(), tag: 5 });
    let around = within_list(|io: &mut Io, list| {
        list.push(&io.buf[..2]);
        list.push(&io.buf[2..]);
    });
    packet(ours.transmit_file(&file, .., around), io);
    let done = success(&port);
    assert_eq!((done.key, done.op, done.done.bytes, done.block.unwrap().tag), (1, OpKind::Transmit, 1003, 5));
    check("packet");
    let place = Arc::new(Mutex::new(None));
    let own = place.clone();
    ours.transmit_file(&file, .., (b"ab", b"c")).then(move |done| *own.lock().unwrap() = Some(done.bytes)).unwrap();
    until_on(&port, "a handler", || {
        let outcome = port.get(SHORT).unwrap();
        assert!(outcome.packet().is_none());
        place.lock().unwrap().is_some()
    });
    assert_eq!(place.lock().unwrap().take(), Some(1003));
    check("then");
    assert_eq!(block_on_port(&port, async { ours.transmit_file(&file, .., (b"ab", b"c")).await }).bytes, 1003);
    check("await");
    let place = Arc::new(Mutex::new(None));
    let own = place.clone();
    ours.transmit_file(&file, .., (b"ab", b"c")).routine(move |done| *own.lock().unwrap() = Some(done.bytes)).unwrap();
    until("a routine", || {
        proactor::sync::alertable::sleep(SHORT).unwrap();
        place.lock().unwrap().is_some()
    });
    assert_eq!(place.lock().unwrap().take(), Some(1003));
    check("routine");
}

#[test]
fn the_file_stays_open_while_it_is_sent() {
    const ALL: usize = 16 << 20;
    let (_path, file) = file("transmit-open", ALL, 9);
    let (ours, peer) = stream();
    let sending = pending(start(ours.transmit_file(&file, .., ())));
    drop(file);
    let reader = reader(peer);
    assert_eq!(finish(sending).bytes, ALL);
    drop(ours);
    assert!(reader.join() == pattern(ALL, 9));
}

#[test]
fn the_file_cannot_be_closed_by_an_operation_until_it_was_sent() {
    let (_path, mut file) = file("transmit-close", 10, 9);
    let (ours, _peer) = stream();
    let sending = start(ours.transmit_file(&file, .., ()));
    let refused = file.close().start().unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    finish(sending).result.unwrap();
    run(file.close()).result.unwrap();
    let closed = run(ours.transmit_file(&file, .., (b"head", b"")));
    assert_eq!((code(&closed), closed.bytes), (Some(Code::InvalidHandle), 0));
}

#[test]
fn a_cancelled_one_says_how_much_went() {
    let (_path, file) = zeros("transmit-cancel");
    let (ours, peer) = stream();
    let sending = pending(start(ours.transmit_file(&file, .., (b"head", b"tail"))));
    let behind = start(ours.send(b"behind"));
    sending.cancel().unwrap();
    let sent = finish(sending);
    assert_eq!(code(&sent), Some(Code::Cancelled));
    assert!(sent.bytes < LONG_FILE);
    let reader = reader(peer);
    finish(behind).result.unwrap();
    drop(ours);
    let came = reader.join();
    assert!(came.starts_with(b"head") && came.ends_with(b"behind"));
    // Windows does not promise to count what went of a cancelled one.
    if !cfg!(windows) {
        assert_eq!(came.len(), sent.bytes + 6);
    }
}

#[test]
fn closing_this_side_ends_it_as_aborted() {
    let (_path, file) = zeros("transmit-abort");
    let (ours, peer) = stream();
    let sending = pending(start(ours.transmit_file(&file, .., ())));
    drop(ours);
    assert_eq!(code(&finish(sending)), Some(Code::ConnectionAborted));
    drop(peer);
}

#[test]
fn a_peer_that_goes_is_an_error() {
    let (_path, file) = zeros("transmit-reset");
    let (ours, peer) = stream();
    let sending = pending(start(ours.transmit_file(&file, .., ())));
    reset(peer);
    assert_eq!(code(&finish(sending)), Some(Code::ConnectionReset));
    // And so is a second one, without a signal.
    let again = run(ours.transmit_file(&file, .., ()));
    // To Wine the socket is not connected then.
    let expected: &[_] = match wine() {
        true => &[Code::NotConnected],
        false => &[Code::ConnectionReset, Code::ConnectionAborted],
    };
    assert!(code(&again).is_some_and(|code| expected.contains(&code)), "{:?}", again.result);
}

#[test]
fn after_a_disconnect_it_fails_as_a_send_does() {
    let (_path, file) = file("transmit-shut", 100, 13);
    let (ours, _peer) = stream();
    run(ours.disconnect()).result.unwrap();
    let sent = run(ours.transmit_file(&file, .., ()));
    assert_eq!((code(&sent), sent.bytes), (Some(Code::Shutdown), 0));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (_path, file) = homeless_file("transmit-refused", 100, 14);
    let port = port(1);
    let file = port.home(file, 2);
    let (ours, _peer) = homeless();
    let ours = port.home(ours, 1);
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is tested")]
    let refused = ours.transmit_file(&file, 10..5, (b"head", b"tail")).start().unwrap_err();
    assert_eq!((refused.error.code(), refused.back), (Code::InvalidParameter, (b"head", b"tail")));
    let refused = ours.transmit_file(&file, ..=u64::MAX, ()).start().unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    let three = within_list(|io: &mut Io, list| (0..3).for_each(|at| list.push(&io.buf[at..=at])));
    let refused = ours.transmit_file(&file, .., three).packet(block(1, 3)).unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    assert!(refused.error.to_string().contains("one buffer before it"), "{}", refused.error);
    // Nothing of it holds the file, nor has anything been sent.
    packet(ours.send(within(|io: &mut Io| &io.buf[..])), block(2, 1));
    success(&port);
}

#[test]
fn the_limit_of_bytes_counts_what_goes_around_the_file() {
    let (_path, file) = zeros("transmit-limit");
    let (ours, _peer) = stream();
    ours.set_limits(Limits { send_bytes: 10, ..Limits::default() });
    let sending = pending(start(ours.transmit_file(&file, .., (vec![0; 6], vec![0; 3]))));
    let refused = ours.send(vec![0; 2]).start().unwrap_err();
    assert_eq!(refused.error.code(), Code::TooManyBytesQueued);
    drop(sending);
}

#[test]
fn closing_the_port_with_files_on_their_way_lets_everything_go() {
    let life = Arc::new(());
    let (path, file) = homeless_file("transmit-port", 24 << 20, 16);
    let port = port_of::<Arc<()>, usize>();
    let file = port.home(file, 2);
    let mut peers = Vec::new();
    let mut streams = Vec::new();
    for turn in 0..8 {
        let (ours, peer) = homeless();
        let ours = port.home(ours, turn);
        for _ in 0..3 {
            packet(ours.transmit_file(&file, .., ()), Block::new(life.clone()));
        }
        // Half of them lose their last handle before the port closes, half after it.
        if turn % 2 == 0 {
            drop(ours)
        } else {
            streams.push(ours)
        }
        peers.push(peer);
    }
    drop(file);
    port.close();
    until("every block is dropped", || Arc::strong_count(&life) == 1);
    drop(streams);
    drop(port);
    // The file is closed with the last of them: some systems let nobody remove one that is open.
    until("the file is closed", || std::fs::remove_file(&path.0).is_ok());
    for mut peer in peers {
        let mut all = Vec::new();
        // What went before may be followed by a reset.
        let _ = peer.read_to_end(&mut all);
        assert!(all.len() < 3 * LONG_FILE);
    }
}

#[test]
fn a_file_goes_over_a_unix_stream_too() {
    let Ok((ours, theirs)) = UnixStream::pair() else {
        skip!("a_file_goes_over_a_unix_stream_too", "this system has no such pair");
    };
    const ALL: usize = 3 << 20;
    let (_path, file) = file("transmit-unix", ALL, 17);
    let (ours, theirs) = (somewhere(ours), somewhere(theirs));
    // Its buffer holds less.
    let sending = pending(start(ours.transmit_file(&file, .., (b"head", b"tail"))));
    let mut came = Vec::new();
    while came.len() < ALL + 8 {
        let piece = run(theirs.recv(vec![0; 1 << 16]));
        piece.result.unwrap();
        came.extend(piece.buffer);
    }
    assert_eq!(finish(sending).bytes, ALL + 8);
    assert!(came == [b"head", &pattern(ALL, 17)[..], b"tail"].concat());
}
