//! SEMANTICS 20, and what 7, 9 and 21 say of pipes: named ones in both modes, nameless ones, and one rule for their end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proactor::pipe::{self, PipeClient, PipeOptions, PipeServer};
use proactor::{Block, Code, OpKind, within, within_mut};

use crate::common::*;

/// A name nobody else has.
fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("proactor-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn bytes() -> PipeOptions {
    PipeOptions::new()
}

fn messages() -> PipeOptions {
    PipeOptions::new().messages(true)
}

/// A server's instance and its client, both of this process.
#[track_caller]
fn connected(options: &PipeOptions) -> (AtHome<PipeServer>, AtHome<PipeClient>) {
    let name = name();
    let server = somewhere(options.create(&name).expect("an instance"));
    let client = somewhere(PipeClient::open(&name).expect("a client's end"));
    run(server.connect()).result.expect("a client");
    (server, client)
}

#[test]
fn bytes_go_both_ways() {
    let (server, client) = connected(&bytes());
    assert!(!client.is_message_mode());
    assert_eq!(run(client.write(b"question")).bytes, 8);
    assert_eq!(run(server.read(vec![0; 64])).buffer, b"question");
    assert_eq!(run(server.write(b"answer")).bytes, 6);
    assert_eq!(run(client.read(vec![0; 64])).buffer, b"answer");
}

#[test]
fn a_byte_pipe_joins_what_was_written() {
    let (server, client) = connected(&bytes());
    run(client.write(b"ab")).result.unwrap();
    run(client.write(b"cd")).result.unwrap();
    assert_eq!(run(server.read(vec![0; 3])).buffer, b"abc");
    assert_eq!(run(server.read(vec![0; 3])).buffer, b"d");
}

#[test]
fn connect_read_and_write_yield_packets() {
    let port = port(1);
    let name = name();
    let server = port.home(bytes().create(&name).unwrap(), 5);
    packet(server.connect(), block(1, 0));
    nothing(&port);
    let client = port.home(PipeClient::open(&name).unwrap(), 6);
    let done = success(&port);
    assert_eq!((done.key, done.op, done.done.bytes, done.block.unwrap().tag), (5, OpKind::Connect, 0, 1));
    packet(server.read(within_mut(|io: &mut Io| &mut io.buf[..])), block(2, 64));
    nothing(&port);
    packet(client.write(within(|io: &mut Io| &io.buf[..])), Block::new(Io { buf: pattern(48, 1), tag: 3 }));
    let (first, second) = (success(&port), success(&port));
    let (write, read) = if first.key == 6 { (first, second) } else { (second, first) };
    assert_eq!((write.key, write.op, write.done.bytes, write.block.unwrap().tag), (6, OpKind::Send, 48, 3));
    assert_eq!((read.key, read.op, read.done.bytes), (5, OpKind::Recv, 48));
    assert_eq!(read.block.unwrap().buf[..48], pattern(48, 1));
}

#[test]
fn every_delivery_reads_a_pipe() {
    let port = port(1);
    let name = name();
    let server = port.home(messages().create(&name).unwrap(), 1);
    let client = somewhere(PipeClient::open(&name).unwrap());
    packet(server.connect(), block(0, 0));
    success(&port);
    let say = |text: &'static [u8]| run(client.write(text)).result.unwrap();
    say(b"wait");
    assert_eq!(server.read(vec![0; 64]).wait().buffer, b"wait");
    say(b"start");
    assert_eq!(finish(start(server.read(vec![0; 64]))).buffer, b"start");
    say(b"await");
    assert_eq!(block_on_port(&port, async { server.read(vec![0; 64]).await }).buffer, b"await");
    say(b"packet");
    packet(server.read(within_mut(|io: &mut Io| &mut io.buf[..])), block(2, 64));
    let read = success(&port);
    assert_eq!(read.block.unwrap().buf[..read.done.bytes], *b"packet");
    let place = Arc::new(Mutex::new(None));
    let own = place.clone();
    server.read(vec![0; 64]).then(move |done| *own.lock().unwrap() = Some(done.buffer)).unwrap();
    say(b"then");
    let end = Instant::now() + LONG;
    while place.lock().unwrap().is_none() {
        assert!(Instant::now() < end, "a handler was due");
        assert!(port.get(Duration::from_millis(1)).unwrap().packet().is_none(), "no packet was due");
    }
    assert_eq!(place.lock().unwrap().take().unwrap(), b"then");
}

#[test]
fn a_client_that_came_first_is_a_success_once_and_535_after() {
    let name = name();
    let server = somewhere(bytes().create(&name).unwrap());
    let _client = PipeClient::open(&name).unwrap();
    run(server.connect()).result.unwrap();
    let again = run(server.connect());
    assert_eq!(code(&again), Some(Code::PipeConnected));
    assert_eq!(Code::PipeConnected.win32(), 535);
}

#[test]
fn an_instance_without_a_client_says_so() {
    let server = somewhere(bytes().create(&name()).unwrap());
    assert_eq!(code(&run(server.read(vec![0; 8]))), Some(Code::NotConnected));
    assert_eq!(code(&run(server.write(b"x"))), Some(Code::NotConnected));
    assert_eq!(code(&run(server.disconnect())), Some(Code::NotConnected));
    let (server, _client) = connected(&messages());
    run(server.disconnect()).result.unwrap();
    assert_eq!(code(&run(server.read(vec![0; 8]))), Some(Code::Shutdown));
    assert_eq!(code(&run(server.write(b"x"))), Some(Code::Shutdown));
    assert_eq!(code(&run(server.disconnect())), Some(Code::Shutdown));
    assert_eq!(Code::Shutdown.win32(), 233);
}

#[test]
fn an_instance_serves_one_client_after_the_other() {
    for options in [bytes(), messages()] {
        let name = name();
        let server = somewhere(options.create(&name).unwrap());
        for round in 0..20_u8 {
            let connect = start(server.connect());
            let client = somewhere(PipeClient::open_within(&name, LONG).unwrap());
            finish(connect).result.unwrap();
            let read = start(server.read(vec![0; 8]));
            run(client.write(vec![round; 3])).result.unwrap();
            assert_eq!(finish(read).buffer, [round; 3]);
            run(server.disconnect()).result.unwrap();
            let end = run(client.read(vec![0; 8]));
            assert_eq!((end.bytes, end.result.is_ok()), (0, true), "a disconnect is the end to the client, not {:?}", end.result);
            assert_eq!(code(&run(client.write(b"late"))), Some(Code::BrokenPipe));
        }
    }
}

#[test]
fn a_read_pending_at_a_disconnect_ends() {
    for options in [bytes(), messages()] {
        let (server, _client) = connected(&options);
        let read = pending(start(server.read(vec![0; 8])));
        run(server.disconnect()).result.unwrap();
        let read = finish(read);
        assert_eq!(read.bytes, 0);
        assert!(matches!(code(&read), None | Some(Code::Shutdown)), "{:?}", read.result);
    }
}

#[test]
fn two_instances_serve_two_clients() {
    let name = name();
    let servers = [(); 2].map(|()| somewhere(bytes().create(&name).unwrap()));
    let connects = [0, 1].map(|at| start(servers[at].connect()));
    let clients = [(); 2].map(|()| somewhere(PipeClient::open(&name).unwrap()));
    connects.into_iter().for_each(|connect| finish(connect).result.unwrap());
    for (at, client) in clients.iter().enumerate() {
        run(client.write(vec![at as u8])).result.unwrap();
    }
    let mut came: Vec<u8> = servers.iter().flat_map(|server| run(server.read(vec![0; 8])).buffer).collect();
    came.sort_unstable();
    assert_eq!(came, [0, 1]);
}

#[test]
fn the_end_of_a_pipe_is_success_with_no_bytes_after_what_was_written() {
    for options in [bytes(), messages()] {
        // To the server, to the client, and to one whose own words were not read.
        let (server, client) = connected(&options);
        run(client.write(b"last")).result.unwrap();
        drop(client);
        assert_eq!(run(server.read(vec![0; 64])).buffer, b"last");
        for _ in 0..2 {
            let end = run(server.read(vec![0; 64]));
            assert_eq!((end.bytes, end.result.is_ok()), (0, true), "{:?}", end.result);
        }
        let (server, client) = connected(&options);
        run(server.write(b"last")).result.unwrap();
        run(client.write(b"never read")).result.unwrap();
        drop(server);
        assert_eq!(run(client.read(vec![0; 64])).buffer, b"last");
        let end = run(client.read(vec![0; 64]));
        assert_eq!((end.bytes, end.result.is_ok()), (0, true), "{:?}", end.result);
    }
}

#[test]
fn a_pending_read_sees_the_other_end_go() {
    for options in [bytes(), messages()] {
        let (server, client) = connected(&options);
        let read = pending(start(server.read(vec![0; 64])));
        drop(client);
        let end = finish(read);
        assert_eq!((end.bytes, end.result.is_ok()), (0, true), "{:?}", end.result);
        let (server, client) = connected(&options);
        let read = pending(start(client.read(vec![0; 64])));
        drop(server);
        let end = finish(read);
        assert_eq!((end.bytes, end.result.is_ok()), (0, true), "{:?}", end.result);
    }
}

#[test]
fn a_write_to_nobody_is_a_broken_pipe() {
    for options in [bytes(), messages()] {
        let (server, client) = connected(&options);
        drop(client);
        // Until the end was seen a system may still take one.
        assert_eq!(run(server.read(vec![0; 8])).bytes, 0);
        assert_eq!(code(&run(server.write(b"x"))), Some(Code::BrokenPipe));
        let (server, client) = connected(&options);
        drop(server);
        assert_eq!(run(client.read(vec![0; 8])).bytes, 0);
        assert_eq!(code(&run(client.write(b"x"))), Some(Code::BrokenPipe));
    }
}

#[test]
fn messages_stay_apart() {
    let (server, client) = connected(&messages());
    assert!(client.is_message_mode());
    for _ in 0..2 {
        run(client.write(b"one")).result.unwrap();
        run(client.write(b"second")).result.unwrap();
        assert_eq!(run(server.read(vec![0; 64])).buffer, b"one");
        let second = run(server.read(vec![0; 6]));
        assert!(second.result.is_ok(), "it fits exactly");
        assert_eq!(second.buffer, b"second");
    }
    run(server.write(b"back")).result.unwrap();
    run(server.write(b"again")).result.unwrap();
    assert_eq!(run(client.read(vec![0; 64])).buffer, b"back");
    assert_eq!(run(client.read(vec![0; 64])).buffer, b"again");
}

#[test]
fn a_short_read_of_a_message_is_234_with_its_data_and_the_rest_follows() {
    let (server, client) = connected(&messages());
    for _ in 0..2 {
        run(client.write(b"first part, rest")).result.unwrap();
        run(client.write(b"next")).result.unwrap();
        let part = run(server.read(vec![0; 5]));
        assert_eq!((part.bytes, code(&part), &part.buffer[..]), (5, Some(Code::MessageTruncated), &b"first"[..]));
        let part = run(server.read(vec![0; 5]));
        assert_eq!((part.bytes, code(&part), &part.buffer[..]), (5, Some(Code::MessageTruncated), &b" part"[..]));
        let rest = run(server.read(vec![0; 64]));
        assert_eq!((rest.result.is_ok(), &rest.buffer[..]), (true, &b", rest"[..]));
        assert_eq!(run(server.read(vec![0; 64])).buffer, b"next");
    }
    // A read that pended does the same, and a packet has the data too.
    let read = pending(start(server.read(vec![0; 2])));
    run(client.write(b"abc")).result.unwrap();
    let part = finish(read);
    assert_eq!((code(&part), &part.buffer[..]), (Some(Code::MessageTruncated), &b"ab"[..]));
    drop(client);
    assert_eq!(run(server.read(vec![0; 64])).buffer, b"c");
    assert_eq!(run(server.read(vec![0; 64])).bytes, 0);
    assert_eq!(Code::MessageTruncated.win32(), 234);
}

#[test]
fn a_truncated_message_is_a_failed_packet_with_bytes() {
    let port = port(1);
    let name = name();
    let server = port.home(messages().create(&name).unwrap(), 1);
    let client = somewhere(PipeClient::open(&name).unwrap());
    packet(server.connect(), block(0, 0));
    success(&port);
    packet(server.read(within_mut(|io: &mut Io| &mut io.buf[..])), block(1, 4));
    run(client.write(b"longer")).result.unwrap();
    let (part, code) = failure(&port);
    assert_eq!((code, part.done.bytes), (Code::MessageTruncated, 4));
    assert_eq!(part.block.unwrap().buf, b"long");
    // The data was there before the read.
    run(client.write(b"other")).result.unwrap();
    packet(server.read(within_mut(|io: &mut Io| &mut io.buf[..])), block(2, 1));
    assert_eq!(failure(&port).1, Code::MessageTruncated);
    packet(server.read(within_mut(|io: &mut Io| &mut io.buf[..])), block(3, 16));
    assert_eq!(success(&port).done.bytes, 1);
}

#[test]
fn a_message_may_be_empty() {
    let (server, client) = connected(&messages());
    run(client.write(b"")).result.unwrap();
    run(client.write(b"full")).result.unwrap();
    let empty = run(server.read(vec![0; 64]));
    assert_eq!((empty.bytes, empty.result.is_ok()), (0, true));
    assert_eq!(run(server.read(vec![0; 64])).buffer, b"full");
}

#[test]
fn a_long_message_goes_whole_or_says_that_it_is_too_long() {
    const LONG_ONE: usize = 8 << 20;
    let (server, client) = connected(&messages());
    let write = start(client.write(pattern(LONG_ONE, 4)));
    let read = start(server.read(vec![0; LONG_ONE]));
    let write = finish(write);
    match write.result {
        Ok(()) => assert!(finish(read).buffer == pattern(LONG_ONE, 4)),
        Err(error) => {
            assert_eq!((error.code(), write.bytes), (Code::MessageTruncated, 0));
            // Nothing of it went.
            run(client.write(b"short")).result.unwrap();
            assert_eq!(finish(read).buffer, b"short");
        }
    }
}

#[test]
fn pending_reads_fill_in_call_order() {
    for options in [bytes(), messages()] {
        let (server, client) = connected(&options);
        let reads: Vec<_> = (0..8).map(|_| start(server.read(vec![0; 1]))).collect();
        for at in 0..8_u8 {
            run(client.write(vec![at])).result.unwrap();
        }
        for (at, read) in reads.into_iter().enumerate() {
            assert_eq!(finish(read).buffer, [at as u8]);
        }
    }
}

#[test]
fn a_write_completes_whole() {
    const ALL: usize = 4 << 20;
    let (server, client) = connected(&bytes());
    let write = pending(start(server.write(pattern(ALL, 3))));
    let mut came = Vec::new();
    while came.len() < ALL {
        let read = run(client.read(vec![0; 1 << 16]));
        assert!(read.bytes > 0, "{:?}", read.result);
        came.extend_from_slice(&read.buffer[..read.bytes]);
    }
    assert_eq!(finish(write).bytes, ALL);
    assert!(came == pattern(ALL, 3));
}

#[test]
fn closing_ends_what_is_pending_with_109() {
    for options in [bytes(), messages()] {
        let (server, client) = connected(&options);
        let reads = (pending(start(server.read(vec![0; 8]))), pending(start(client.read(vec![0; 8]))));
        drop(client);
        assert_eq!(code(&finish(reads.1)), Some(Code::BrokenPipe));
        assert_eq!(finish(reads.0).bytes, 0);
        let read = start(server.read(vec![0; 8]));
        drop(finish(read));
        let waiting = somewhere(options.create(&name()).unwrap());
        let connect = pending(start(waiting.connect()));
        drop(waiting);
        assert_eq!(code(&finish(connect)), Some(Code::BrokenPipe));
    }
    assert_eq!(Code::BrokenPipe.win32(), 109);
}

#[test]
fn a_cancelled_read_takes_nothing() {
    for options in [bytes(), messages()] {
        let (server, client) = connected(&options);
        let read = pending(start(server.read(vec![0; 8])));
        read.cancel().unwrap();
        assert_eq!(code(&finish(read)), Some(Code::Cancelled));
        run(client.write(b"kept")).result.unwrap();
        assert_eq!(run(server.read(vec![0; 8])).buffer, b"kept");
    }
}

#[test]
fn a_cancelled_connect_leaves_the_instance_as_it_was() {
    let name = name();
    let server = somewhere(bytes().create(&name).unwrap());
    let connect = pending(start(server.connect()));
    connect.cancel().unwrap();
    assert_eq!(code(&finish(connect)), Some(Code::Cancelled));
    let connect = start(server.connect());
    let client = somewhere(PipeClient::open(&name).unwrap());
    finish(connect).result.unwrap();
    run(client.write(b"x")).result.unwrap();
    assert_eq!(run(server.read(vec![0; 8])).buffer, b"x");
}

#[test]
fn a_pipe_with_all_its_instances_taken_is_busy_until_one_is_free() {
    let name = name();
    let server = somewhere(bytes().instances(1).create(&name).unwrap());
    // As many clients as the system lets stand in line: a few.
    let mut clients = vec![PipeClient::open(&name).unwrap()];
    run(server.connect()).result.unwrap();
    let busy = loop {
        assert!(clients.len() < 8, "one instance does not serve that many");
        match PipeClient::open(&name) {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert_eq!((busy.code(), busy.code().win32()), (Code::PipeBusy, 231));
    let late = PipeClient::open_within(&name, SHORT).unwrap_err();
    assert_eq!(late.code(), Code::WaitTimeout);
    let waiter = worker({
        let name = name.clone();
        move || PipeClient::open_within(&name, LONG).map(|client| client.write(b"late").wait().result)
    });
    clients.clear();
    run(server.disconnect()).result.unwrap();
    // Those that stood in line come first.
    let came = (0..8).find_map(|_| {
        run(server.connect()).result.unwrap();
        let came = run(server.read(vec![0; 8])).buffer;
        run(server.disconnect()).result.unwrap();
        (!came.is_empty()).then_some(came)
    });
    assert_eq!(came.unwrap(), b"late");
    waiter.join().unwrap().unwrap();
}

#[test]
fn what_cannot_be_made_or_opened_says_why() {
    let own = name();
    assert_eq!(PipeClient::open(&own).unwrap_err().code(), Code::FileNotFound);
    assert_eq!(PipeClient::open_within(&own, LONG).unwrap_err().code(), Code::FileNotFound);
    for bad in ["", "a\\b", "a/b", "a\0b", &"x".repeat(81)] {
        assert_eq!(PipeServer::create(bad).unwrap_err().code(), Code::InvalidParameter);
        assert_eq!(PipeClient::open(bad).unwrap_err().code(), Code::InvalidParameter);
    }
    for bad in [0, 255, u32::MAX] {
        assert_eq!(bytes().instances(bad).create(&own).unwrap_err().code(), Code::InvalidParameter);
    }
    let longest = format!("{own}{}", "y".repeat(80 - own.len()));
    drop((PipeServer::create(&longest).unwrap(), PipeClient::open(&longest).unwrap()));
    let one = bytes().instances(2).first(true).create(&own).unwrap();
    let two = bytes().instances(2).create(&own).unwrap();
    assert_eq!(bytes().instances(2).create(&own).unwrap_err().code(), Code::PipeBusy);
    drop(one);
    let again = bytes().instances(2).create(&own).unwrap();
    drop((two, again));
    assert_eq!(PipeClient::open(&own).unwrap_err().code(), Code::FileNotFound);
    let _first = messages().first(true).create(&own).unwrap();
    assert_eq!(bytes().create(&own).unwrap_err().code(), Code::AccessDenied);
    messages().create(&own).unwrap();
}

#[test]
fn who_wants_to_be_the_first_instance_is_refused_if_there_is_one() {
    if wine() {
        skip!("who_wants_to_be_the_first_instance_is_refused_if_there_is_one", "Wine 8 ignores FILE_FLAG_FIRST_PIPE_INSTANCE");
    }
    let own = name();
    let first = bytes().first(true).create(&own).unwrap();
    assert_eq!(bytes().first(true).create(&own).unwrap_err().code(), Code::AccessDenied);
    drop(first);
    bytes().first(true).create(&own).unwrap();
}

#[test]
fn a_nameless_pipe_has_two_ends_and_one_end_of_file() {
    let (reader, writer) = pipe::pair().unwrap();
    let (reader, writer) = (somewhere(reader), somewhere(writer));
    let read = pending(start(reader.read(vec![0; 64])));
    run(writer.write(b"through")).result.unwrap();
    assert_eq!(finish(read).buffer, b"through");
    run(writer.write(b"rest")).result.unwrap();
    drop(writer);
    assert_eq!(run(reader.read(vec![0; 64])).buffer, b"rest");
    let end = run(reader.read(vec![0; 64]));
    assert_eq!((end.bytes, end.result.is_ok()), (0, true), "{:?}", end.result);
    let (reader, writer) = pipe::pair().unwrap();
    let writer = somewhere(writer);
    drop(reader);
    assert_eq!(code(&run(writer.write(b"x"))), Some(Code::BrokenPipe));
}
