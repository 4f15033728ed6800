//! What is asked of an operation before its delivery: a timeout, a token that cancels it. Alike for every delivery.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::sync::{Waited, alertable};
use proactor::time::Timers;
use proactor::{CancelToken, Cancellation, Code, Home, Operation, Outcome, within, within_mut};

use crate::common::*;

const DELIVERIES: [&str; 6] = ["wait", "start", "packet", "routine", "then", "await"];

/// What is asked of a receive.
enum Ask<'a> {
    Time(Duration),
    Token(&'a CancelToken),
    Both(Duration, &'a CancelToken),
}

impl Ask<'_> {
    fn of<'o, C, T, H: Home>(&self, op: Operation<'o, C, T, H>) -> Operation<'o, C, T, H> {
        match self {
            Ask::Time(time) => op.timeout(*time),
            Ask::Token(token) => op.cancel_on(token),
            Ask::Both(time, token) => op.timeout(*time).cancel_on(token),
        }
    }
}

/// How a receive by this delivery ended: its code if it failed, its bytes, and its buffer's size.
#[track_caller]
fn receive_by(delivery: &str, port: &Port, stream: &AtHome<TcpStream>, ask: &Ask<'_>) -> (Option<Code>, usize, usize) {
    let op = ask.of(stream.recv(vec![0; 100].into_boxed_slice()));
    match delivery {
        "wait" => {
            let done = op.wait();
            (code(&done), done.bytes, done.buffer.len())
        }
        "start" => {
            let done = run(op);
            (code(&done), done.bytes, done.buffer.len())
        }
        "packet" => {
            packet(ask.of(stream.recv(within_mut(|io: &mut Io| &mut io.buf[..]))), block(1, 100));
            let packet = take(port);
            (packet.error().map(|it| it.code()), packet.done.bytes, packet.block.unwrap().buf.len())
        }
        "routine" => {
            let place = Rc::new(Cell::new(None));
            let own = place.clone();
            op.routine(move |done| own.set(Some((code(&done), done.bytes, done.buffer.len())))).unwrap();
            let end = Instant::now() + LONG;
            loop {
                match place.take() {
                    Some(came) => return came,
                    None => assert_ne!(alertable::sleep(end), Ok(Waited::TimedOut), "a routine was due"),
                }
            }
        }
        "then" => {
            let place = Arc::new(Mutex::new(None));
            let own = place.clone();
            op.then(move |done| *own.lock().unwrap() = Some((code(&done), done.bytes, done.buffer.len()))).unwrap();
            let end = Instant::now() + LONG;
            loop {
                if let Some(came) = place.lock().unwrap().take() {
                    return came;
                }
                assert!(Instant::now() < end, "a handler was due");
                let outcome = port.get(Duration::from_millis(1)).unwrap();
                assert!(matches!(outcome, Outcome::TimedOut), "no packet was due, got {outcome:?}");
            }
        }
        "await" => {
            let done = block_on_port(port, async { op.await });
            (code(&done), done.bytes, done.buffer.len())
        }
        other => panic!("{other}"),
    }
}

/// A stream on the port, and its peer.
fn on(port: &Port) -> (AtHome<TcpStream>, std::net::TcpStream) {
    let (ours, peer) = homeless();
    (port.home(ours, 1), peer)
}

#[test]
fn an_operation_ends_as_timed_out_when_its_time_has_passed_by_every_delivery() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    for delivery in DELIVERIES {
        let begin = Instant::now();
        let came = receive_by(delivery, &port, &ours, &Ask::Time(Duration::from_millis(8)));
        assert_eq!(came, (Some(Code::WaitTimeout), 0, 100), "{delivery}");
        assert!(begin.elapsed() >= Duration::from_millis(8), "{delivery}");
    }
    // The stream is as good as new.
    for delivery in DELIVERIES {
        peer.write_all(b"hello").unwrap();
        assert_eq!(receive_by(delivery, &port, &ours, &Ask::Time(LONG)), (None, 5, 100), "{delivery}");
    }
}

#[test]
fn a_token_cancels_an_operation_of_every_delivery_from_another_thread() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    for delivery in DELIVERIES {
        let token = CancelToken::new();
        let theirs = token.clone();
        let other = worker(move || {
            std::thread::sleep(SHORT / 3);
            theirs.cancel();
        });
        assert_eq!(receive_by(delivery, &port, &ours, &Ask::Both(LONG, &token)), (Some(Code::Cancelled), 0, 100), "{delivery}");
        other.join();
        // On a token that is cancelled already it is not even tried.
        peer.write_all(b"x").unwrap();
        assert_eq!(receive_by(delivery, &port, &ours, &Ask::Token(&token)), (Some(Code::Cancelled), 0, 100), "{delivery}");
        assert_eq!(receive_by(delivery, &port, &ours, &Ask::Token(&CancelToken::new())), (None, 1, 100), "{delivery}");
    }
}

#[test]
fn a_token_cancels_all_that_is_bound_to_it_and_nothing_else() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    let (token, other) = (CancelToken::new(), CancelToken::new());
    for tag in 0..8 {
        let op = ours.recv(within_mut(|io: &mut Io| &mut io.buf[..]));
        packet(op.cancel_on(if tag % 2 == 0 { &token } else { &other }), block(tag, 4));
    }
    token.cancel();
    let mut tags: Vec<_> = (0..4)
        .map(|_| {
            let (packet, code) = failure(&port);
            assert_eq!(code, Code::Cancelled);
            packet.block.unwrap().tag
        })
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, [0, 2, 4, 6]);
    for tag in [1, 3, 5, 7] {
        peer.write_all(b"four").unwrap();
        assert_eq!(success(&port).block.unwrap().tag, tag);
    }
    nothing(&port);
}

#[test]
fn a_childs_operations_are_cancelled_with_the_parents_and_alone_by_the_child() {
    let (ours, _peer) = stream();
    let parent = CancelToken::new();
    let (one, other) = (parent.child(), parent.child().child());
    let (first, second) = (start(ours.recv(vec![0; 4]).cancel_on(&one)), start(ours.recv(vec![0; 4]).cancel_on(&other)));
    one.cancel();
    assert_eq!(code(&finish(first)), Some(Code::Cancelled));
    let second = pending(second);
    assert!(!parent.is_cancelled() && !other.is_cancelled());
    drop(one);
    parent.cancel();
    assert_eq!(code(&finish(second)), Some(Code::Cancelled));
    assert!(other.is_cancelled() && parent.child().is_cancelled());
}

#[test]
fn a_long_line_of_children_is_cancelled_and_dropped() {
    let first = CancelToken::new();
    let mut last = first.clone();
    for _ in 0..200_000 {
        last = last.child();
    }
    first.cancel();
    assert!(last.is_cancelled());
    drop(first);
    drop(last);
}

#[test]
fn a_token_keeps_nothing_alive_and_outlives_what_was_bound_to_it() {
    let token = CancelToken::new();
    {
        let (ours, mut peer) = stream();
        let op = start(ours.recv(vec![0; 4]).cancel_on(&token));
        drop(ours);
        assert_eq!(code(&finish(op)), Some(Code::ConnectionAborted));
        assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0, "closed");
    }
    token.cancel();
}

#[test]
fn a_real_result_comes_before_a_deadline_that_passes_later() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])).timeout(SHORT), block(1, 8));
    peer.write_all(b"in time").unwrap();
    assert_eq!(success(&port).done.bytes, 7);
    // The deadline is not that of the next one in the same block.
    packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])), block(2, 8));
    std::thread::sleep(SHORT * 2);
    nothing(&port);
    peer.write_all(b"late").unwrap();
    assert_eq!(success(&port).done.bytes, 4);
}

#[test]
fn bytes_sent_before_the_time_passed_are_counted() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    let data = pattern(64 << 20, 3);
    let sent = Arc::new(Mutex::new(None));
    let own = sent.clone();
    ours.send(data.clone()).timeout(SHORT).then(move |done| *own.lock().unwrap() = Some(done)).unwrap();
    let end = Instant::now() + LONG;
    let done = loop {
        if let Some(done) = sent.lock().unwrap().take() {
            break done;
        }
        assert!(Instant::now() < end, "a handler was due");
        assert!(matches!(port.get(Duration::from_millis(1)).unwrap(), Outcome::TimedOut));
    };
    assert_eq!(code(&done), Some(Code::WaitTimeout));
    assert!(done.bytes < data.len(), "nobody read");
    assert_eq!(done.buffer.len(), data.len());
    drop(ours);
    let mut came = Vec::new();
    let _ = peer.read_to_end(&mut came);
    if !cfg!(windows) {
        // The count is of what the peer gets; Windows throws away what a cancelled send had queued.
        assert_eq!(came.len(), done.bytes);
    }
    assert_eq!(came[..], data[..came.len()]);
}

#[test]
fn the_earlier_of_two_deadlines_counts() {
    let socket = somewhere(UdpSocket::bind(ANY).unwrap());
    for (one, other) in [(SHORT / 4, LONG), (LONG, SHORT / 4)] {
        let begin = Instant::now();
        let done = socket.recv_from(vec![0; 4]).timeout(one).timeout(other).wait();
        assert_eq!(code(&done), Some(Code::WaitTimeout));
        assert!(begin.elapsed() >= SHORT / 4 && begin.elapsed() < LONG);
    }
}

#[test]
fn time_that_has_passed_already_ends_an_operation_that_would_wait() {
    let (ours, _peer) = stream();
    for _ in 0..200 {
        assert_eq!(code(&run(ours.recv(vec![0; 4]).timeout(Duration::ZERO))), Some(Code::WaitTimeout));
    }
    // A time past the clock's end is none.
    assert_eq!(code(&run(ours.recv(vec![0; 4]).timeout(Duration::MAX).timeout(SHORT / 4))), Some(Code::WaitTimeout));
}

#[test]
fn a_users_cancel_is_told_from_a_timeout() {
    let (ours, _peer) = stream();
    let op = start(ours.recv(vec![0; 4]).timeout(LONG));
    op.cancel().unwrap();
    assert_eq!(code(&finish(op)), Some(Code::Cancelled));
}

#[test]
fn accepts_timers_and_accepts_of_many_have_their_time_too() {
    let port = port(1);
    let listener = port.home(TcpListener::bind(ANY).unwrap(), 1);
    let timers = port.home(Timers::new(), 2);
    packet(listener.accept().timeout(SHORT / 3), block(1, 0));
    packet(timers.after(LONG).timeout(SHORT / 2), block(2, 0));
    packet(listener.accept_multi().timeout(SHORT), block(3, 0));
    // A busy machine may tell of all of them at once.
    let mut tags = [0; 3].map(|_| failure(&port)).map(|(packet, code)| (code, packet.block.unwrap().tag));
    tags.sort_by_key(|(_, tag)| *tag);
    assert_eq!(tags, [1, 2, 3].map(|tag| (Code::WaitTimeout, tag)));
    let token = CancelToken::new();
    packet(timers.after(LONG).cancel_on(&token), block(4, 0));
    packet(listener.accept_multi().cancel_on(&token), block(5, 0));
    token.cancel();
    let mut tags = [0; 2].map(|_| failure(&port)).map(|(packet, code)| (code, packet.block.unwrap().tag));
    tags.sort_by_key(|(_, tag)| *tag);
    assert_eq!(tags, [(Code::Cancelled, 4), (Code::Cancelled, 5)]);
}

#[test]
fn a_cancel_ends_only_what_can_keep_its_promise() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    let token = CancelToken::new();
    let data = pattern(64 << 20, 1);
    packet(ours.send(within(|io: &mut Io| &io.buf[..])).cancel_on(&token), proactor::Block::new(Io { buf: data, tag: 1 }));
    packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])).cancel_on(&token), block(2, 8));
    token.cancel_with(Cancellation::Total);
    let (packet, code) = failure(&port);
    assert_eq!((code, packet.block.unwrap().tag), (Code::Cancelled, 2));
    nothing(&port);
    assert_eq!(token.cancellation(), Some(Cancellation::Total));
    token.cancel_with(Cancellation::Partial);
    let (packet, code) = failure(&port);
    assert_eq!((code, packet.block.unwrap().tag), (Code::Cancelled, 1));
    drop(ours);
    let _ = peer.read(&mut [0; 16]);
}

#[test]
fn tasks_wait_for_a_token() {
    let token = CancelToken::new();
    let theirs = token.clone();
    let other = worker(move || {
        std::thread::sleep(SHORT / 3);
        theirs.cancel_with(Cancellation::Total);
    });
    block_on(async { token.cancelled().await });
    assert!(token.is_cancelled());
    block_on(token.cancelled());
    other.join();
}

#[test]
fn closing_the_port_leaves_no_deadline_behind() {
    let token = CancelToken::new();
    for _ in 0..20 {
        let port = port(1);
        let (ours, _peer) = on(&port);
        for tag in 0..4 {
            packet(ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])).timeout(SHORT / 6).cancel_on(&token), block(tag, 8));
        }
        port.close();
        std::thread::sleep(SHORT / 6);
    }
    token.cancel();
}

#[test]
fn deadlines_and_tokens_beside_results_lose_nothing() {
    const EACH: usize = 2_000;
    let port = port(1);
    let (ours, mut peer) = on(&port);
    let writer = worker(move || {
        for turn in 0..EACH {
            peer.write_all(&[turn as u8]).unwrap();
            if turn % 16 == 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
        peer
    });
    let mut token = CancelToken::new();
    let (mut came, mut turn, mut failures) = (0_usize, 0_usize, 0_usize);
    let end = Instant::now() + LONG;
    while came < EACH {
        assert!(Instant::now() < end, "{came} bytes came, {failures} operations were given up");
        let op = ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])).cancel_on(&token);
        packet(op.timeout(Duration::from_micros((turn % 7 * 40) as u64)), block(turn, 1));
        if turn % 5 == 0 {
            std::mem::take(&mut token).cancel();
        }
        let packet = take(&port);
        let block = packet.block.unwrap();
        assert_eq!(block.tag, turn);
        match packet.done.result {
            Ok(_) => {
                assert_eq!((packet.done.bytes, block.buf[0]), (1, came as u8), "the byte is whole and in order");
                came += 1;
            }
            Err(error) => {
                assert!(matches!(error.code(), Code::WaitTimeout | Code::Cancelled), "{error}");
                failures += 1;
            }
        }
        turn += 1;
    }
    // However slow this side was, so that all came before it asked: nothing comes any more.
    let op = ours.recv(within_mut(|io: &mut Io| &mut io.buf[..])).timeout(Duration::from_millis(1));
    packet(op, block(turn, 1));
    assert_eq!(take(&port).done.result.unwrap_err().code(), Code::WaitTimeout);
    drop(writer.join());
}
