//! Composed operations: several single ones that look like one, waited for, awaited, or with a handler.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proactor::compose::{self, Compose, Input, Step, Through};
use proactor::fs::{File, OpenOptions};
use proactor::net::TcpStream;
use proactor::{CancelToken, Cancellation, Code, Completion, Home, Operation, Outcome};

use crate::common::*;

const WAYS: [&str; 3] = ["wait", "await", "then"];

/// Runs a composition in this way.
macro_rules! by {
    ($way:expr, $port:expr, $composed:expr) => {
        match $way {
            "wait" => $composed.wait(),
            "await" => {
                let composed = $composed;
                block_on_port($port, async { composed.await })
            }
            "then" => {
                let place = Arc::new(Mutex::new(None));
                let own = place.clone();
                $composed.then(move |output| *own.lock().unwrap() = Some(output)).unwrap();
                assert!(place.lock().unwrap().is_none(), "never inside the call that started it");
                until_there($port, &place)
            }
            other => panic!("{other}"),
        }
    };
}

#[track_caller]
fn until_there<T>(port: &Port, place: &Mutex<Option<T>>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(value) = place.lock().unwrap().take() {
            return value;
        }
        assert!(Instant::now() < end, "a handler was due");
        let outcome = port.get(Duration::from_millis(1)).unwrap();
        assert!(matches!(outcome, Outcome::TimedOut), "no packet was due, got {outcome:?}");
    }
}

/// A stream on the port, and its peer.
fn on(port: &Port) -> (AtHome<TcpStream>, std::net::TcpStream) {
    let (ours, peer) = homeless();
    (port.home(ours, 1), peer)
}

/// Writes in small pieces, with pauses, and gives the connection back.
fn drip(mut peer: std::net::TcpStream, data: Vec<u8>, piece: usize) -> Worker<std::net::TcpStream> {
    worker(move || {
        for (turn, piece) in data.chunks(piece).enumerate() {
            peer.write_all(piece).unwrap();
            if turn % 8 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        peer
    })
}

#[test]
fn exactly_so_many_bytes_are_read_and_the_rest_stays() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    for way in WAYS {
        let writer = drip(peer, pattern(1001, 1), 77);
        let done = by!(way, &port, compose::read_exactly(&ours, vec![0; 2000], 1000));
        done.result.unwrap();
        assert_eq!((done.bytes, done.buffer), (1000, pattern(1001, 1)[..1000].to_vec()), "{way}");
        let done = by!(way, &port, compose::read_exactly(&ours, [0; 1], 1));
        assert_eq!(done.buffer[0], pattern(1001, 1)[1000], "{way}");
        peer = writer.join();
    }
}

#[test]
fn at_least_so_many_bytes_are_read_and_what_more_there_is() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    for way in WAYS {
        peer.write_all(b"0123456789").unwrap();
        let done = by!(way, &port, compose::read_at_least(&ours, Vec::with_capacity(64), 4));
        done.result.unwrap();
        assert!(done.bytes >= 4 && done.bytes <= 10, "{way}");
        assert_eq!(done.buffer, b"0123456789"[..done.bytes]);
        if done.bytes < 10 {
            let _ = compose::read_exactly(&ours, vec![0; 10], 10 - done.bytes).wait();
        }
    }
}

#[test]
fn the_end_of_the_stream_inside_an_exact_read_is_an_error_with_the_bytes_that_came() {
    let port = port(1);
    for way in WAYS {
        let (ours, mut peer) = on(&port);
        peer.write_all(b"short").unwrap();
        drop(peer);
        let done = by!(way, &port, compose::read_exactly(&ours, vec![0; 10], 10));
        assert_eq!((code(&done), done.bytes), (Some(Code::EndOfFile), 5), "{way}");
        assert_eq!(done.buffer, b"short");
        assert_eq!(Code::EndOfFile.win32(), 38);
    }
}

#[test]
fn reading_nothing_is_over_at_once_and_asking_for_more_than_there_is_room_for_is_refused() {
    let port = port(1);
    let (ours, _peer) = on(&port);
    for way in WAYS {
        let done = by!(way, &port, compose::read_exactly(&ours, vec![0; 4], 0));
        assert_eq!((code(&done), done.bytes), (None, 0), "{way}");
        let done = by!(way, &port, compose::read_exactly(&ours, [7; 4], 5));
        assert_eq!((code(&done), done.bytes, done.buffer), (Some(Code::InvalidParameter), 0, [7; 4]), "{way}");
        assert_eq!(by!(way, &port, compose::write_all(&ours, b"")).bytes, 0);
    }
}

#[test]
fn a_file_is_written_and_read_exactly_from_an_offset() {
    let port = port(1);
    let scratch = Scratch::new("composed");
    let file = File::open_now(&scratch.0, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    let file = port.home(file, 1);
    for way in WAYS {
        let data = pattern(300_000, 7);
        assert_eq!(by!(way, &port, compose::write_all_at(&file, data.clone(), 5)).bytes, data.len(), "{way}");
        let done = by!(way, &port, compose::read_exactly_at(&file, vec![0; 200_000], 200_000, 5));
        done.result.unwrap();
        assert_eq!(done.buffer, data[..200_000], "{way}");
        let done = by!(way, &port, compose::read_exactly_at(&file, vec![0; 100], 100, 300_000));
        assert_eq!((code(&done), done.bytes), (Some(Code::EndOfFile), 5), "{way}");
    }
}

#[test]
fn lines_are_read_one_after_the_other_and_what_came_past_one_is_kept() {
    let port = port(1);
    for way in WAYS {
        let (ours, peer) = on(&port);
        let lines: Vec<Vec<u8>> =
            (0..200_usize).map(|n| [vec![b'a' + (n % 26) as u8; n * 7 % 301], b"\r\n".to_vec()].concat()).collect();
        let writer = drip(peer, lines.concat(), 333);
        let mut input = Input::new(1024);
        for line in &lines {
            let done = by!(way, &port, compose::read_until(&ours, input, b"\r\n"));
            done.result.unwrap();
            input = done.buffer;
            assert_eq!(&input.unread()[..done.bytes], &line[..], "{way}");
            input.consume(done.bytes);
        }
        drop(writer.join());
        let done = by!(way, &port, compose::read_until(&ours, input, b"\r\n"));
        assert_eq!((code(&done), done.bytes), (Some(Code::EndOfFile), 0), "{way}");
    }
}

#[test]
fn a_line_that_is_too_long_is_an_error_and_nothing_of_it_is_lost() {
    let port = port(1);
    for way in WAYS {
        let (ours, mut peer) = on(&port);
        peer.write_all(&[b'x'; 100]).unwrap();
        peer.write_all(b"\n").unwrap();
        let done = by!(way, &port, compose::read_until(&ours, Input::new(64), b"\n"));
        assert_eq!((code(&done), done.bytes), (Some(Code::LimitReached), 64), "{way}");
        let mut input = done.buffer;
        input.set_limit(200);
        let done = by!(way, &port, compose::read_until(&ours, input, b"\n"));
        assert_eq!((code(&done), done.bytes), (None, 101), "{way}");
        assert_eq!(done.buffer.unread().len(), 101);
    }
}

#[test]
fn a_condition_is_told_what_it_has_seen_before() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    for way in WAYS {
        let writer = drip(peer, [vec![200], pattern(200, 3), vec![1, 9]].concat(), 50);
        let mut last = 0;
        let frame = move |unread: &[u8], seen: usize| {
            assert_eq!(seen, std::mem::replace(&mut last, unread.len()));
            Some(1 + usize::from(*unread.first()?)).filter(|end| *end <= unread.len())
        };
        let mut done = by!(way, &port, compose::read_until_found(&ours, Input::new(1000), frame));
        done.result.unwrap();
        assert_eq!(done.buffer.unread()[1..done.bytes], pattern(200, 3));
        done.buffer.consume(done.bytes);
        let done = by!(way, &port, compose::read_until(&ours, done.buffer, &[9]));
        assert_eq!(done.bytes, 2);
        peer = writer.join();
    }
}

#[test]
fn the_whole_has_one_timeout_and_its_bytes_come_back() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    for way in WAYS {
        peer.write_all(b"half").unwrap();
        let begin = Instant::now();
        let done = by!(way, &port, compose::read_exactly(&ours, vec![0; 8], 8).timeout(SHORT));
        assert_eq!((code(&done), done.bytes, &done.buffer[..]), (Some(Code::WaitTimeout), 4, &b"half"[..]), "{way}");
        assert!(begin.elapsed() >= SHORT);
    }
}

#[test]
fn a_token_cancels_the_whole_as_far_as_it_can_keep_its_promise() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    for way in WAYS {
        // Nothing has come: it is all or nothing.
        let token = CancelToken::new();
        let theirs = token.clone();
        let canceller = worker(move || {
            std::thread::sleep(SHORT / 3);
            theirs.cancel_with(Cancellation::Total);
        });
        let done = by!(way, &port, compose::read_exactly(&ours, vec![0; 8], 8).cancel_on(&token));
        assert_eq!((code(&done), done.bytes), (Some(Code::Cancelled), 0), "{way}");
        canceller.join();
        // Some has: only one who puts up with that cancels it.
        let token = CancelToken::new();
        let theirs = token.clone();
        peer.write_all(b"some").unwrap();
        let canceller = worker(move || {
            std::thread::sleep(SHORT);
            theirs.cancel_with(Cancellation::Total);
            std::thread::sleep(SHORT / 3);
            let begin = Instant::now();
            theirs.cancel_with(Cancellation::Partial);
            begin
        });
        let done = by!(way, &port, compose::read_exactly(&ours, vec![0; 8], 8).cancel_on(&token));
        let ended = Instant::now();
        assert_eq!((code(&done), done.bytes, &done.buffer[..]), (Some(Code::Cancelled), 4, &b"some"[..]), "{way}");
        assert!(ended >= canceller.join(), "the first cancel was not meant for it");
    }
}

#[test]
fn a_composition_with_a_handler_keeps_no_handle_and_ends_with_the_last_one() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    peer.write_all(b"some").unwrap();
    let place = Arc::new(Mutex::new(None));
    let own = place.clone();
    compose::read_exactly(&ours, vec![0; 8], 8).then(move |done| *own.lock().unwrap() = Some(done)).unwrap();
    let end = Instant::now() + SHORT;
    while Instant::now() < end {
        assert!(matches!(port.get(Duration::from_millis(1)).unwrap(), Outcome::TimedOut));
    }
    drop(ours);
    let done = until_there(&port, &place);
    assert_eq!((code(&done), done.bytes, &done.buffer[..]), (Some(Code::ConnectionAborted), 4, &b"some"[..]));
    assert_eq!(peer.read(&mut [0; 8]).unwrap_or(0), 0, "closed");
}

#[test]
fn without_a_port_a_handler_is_refused() {
    let (ours, _peer) = homeless();
    let refused = compose::read_exactly(&ours, vec![0; 8], 8).then(|_| unreachable!());
    assert_eq!(refused.unwrap_err().code(), Code::InvalidParameter);
}

#[test]
fn a_long_composition_runs_in_no_more_stack_than_a_short_one() {
    let port = port(1);
    let (ours, peer) = on(&port);
    const BYTES: usize = 20_000;
    let writer = worker(move || {
        let mut peer = peer;
        peer.write_all(&pattern(BYTES, 2)).unwrap();
        peer
    });
    // A byte at a time.
    let done = by!("then", &port, compose::compose(&ours, Bytewise { all: Vec::new(), most: BYTES }));
    assert_eq!(done, pattern(BYTES, 2));
    writer.join();
}

/// Receives single bytes.
struct Bytewise {
    all: Vec<u8>,
    most: usize,
}

impl<H: Home> Compose<TcpStream<H>> for Bytewise {
    type Cargo = Through<[u8; 1]>;
    type Brings = ();
    type Output = Vec<u8>;

    fn begin(&mut self) -> Step<[u8; 1], Vec<u8>> {
        Step::Next([0])
    }

    fn operation<'o>(&mut self, on: &'o TcpStream<H>, buffer: [u8; 1]) -> Operation<'o, Self::Cargo, (), H> {
        on.recv(buffer).into()
    }

    fn resume(&mut self, done: Completion<(), [u8; 1]>) -> Step<[u8; 1], Vec<u8>> {
        done.result.unwrap();
        self.all.extend(done.buffer);
        if self.all.len() == self.most { Step::Done(std::mem::take(&mut self.all)) } else { Step::Next([0]) }
    }
}

/// Sends back what it receives, so many times.
struct Echo {
    turns: usize,
    received: bool,
}

impl<H: Home> Compose<TcpStream<H>> for Echo {
    type Cargo = Through<Vec<u8>>;
    type Brings = ();
    type Output = Completion<(), Vec<u8>>;

    fn begin(&mut self) -> Step<Vec<u8>, Self::Output> {
        Step::Next(Vec::with_capacity(64))
    }

    fn operation<'o>(&mut self, on: &'o TcpStream<H>, buffer: Vec<u8>) -> Operation<'o, Self::Cargo, (), H> {
        self.received = !self.received;
        if self.received { on.recv(buffer).into() } else { on.send(buffer).into() }
    }

    fn resume(&mut self, done: Completion<(), Vec<u8>>) -> Step<Vec<u8>, Self::Output> {
        self.turns -= usize::from(!self.received);
        if done.result.is_err() || done.bytes == 0 || self.turns == 0 { Step::Done(done) } else { Step::Next(done.buffer) }
    }
}

#[test]
fn ones_own_composition_mixes_operations() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    for way in WAYS {
        let client = worker(move || {
            for turn in 0..20_u8 {
                peer.write_all(&[turn; 9]).unwrap();
                let mut back = [0; 9];
                peer.read_exact(&mut back).unwrap();
                assert_eq!(back, [turn; 9]);
            }
            peer
        });
        by!(way, &port, compose::compose(&ours, Echo { turns: 20, received: false })).result.unwrap();
        peer = client.join();
    }
}

/// Asks for more, whatever happens.
struct Stubborn(usize);

impl<H: Home> Compose<TcpStream<H>> for Stubborn {
    type Cargo = Through<Vec<u8>>;
    type Brings = ();
    type Output = ();

    fn begin(&mut self) -> Step<Vec<u8>, ()> {
        Step::Next(vec![0])
    }

    fn operation<'o>(&mut self, on: &'o TcpStream<H>, buffer: Vec<u8>) -> Operation<'o, Self::Cargo, (), H> {
        self.0 += 1;
        assert!(self.0 < 1000, "without end");
        on.recv(buffer).into()
    }

    fn resume(&mut self, done: Completion<(), Vec<u8>>) -> Step<Vec<u8>, ()> {
        Step::Next(done.buffer)
    }
}

#[test]
fn a_composition_that_never_ends_is_dropped_with_its_object() {
    let port = port(1);
    let (ours, _peer) = on(&port);
    let held = Arc::new(());
    let own = held.clone();
    compose::compose(&ours, Stubborn(0)).then(move |()| drop(own)).unwrap();
    drop(ours);
    let end = Instant::now() + LONG;
    while Arc::strong_count(&held) > 1 {
        assert!(Instant::now() < end, "it is dropped");
        assert!(matches!(port.get(Duration::from_millis(1)).unwrap(), Outcome::TimedOut));
    }
}

#[test]
fn a_dropped_future_cancels_its_step_and_the_stream_goes_on() {
    let port = port(1);
    let (ours, mut peer) = on(&port);
    for _ in 0..10 {
        block_on_port(&port, async {
            let mut running = std::future::IntoFuture::into_future(compose::read_exactly(&ours, vec![0; 8], 8));
            std::future::poll_fn(|cx| {
                assert!(std::pin::Pin::new(&mut running).poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        });
    }
    turn_over(&port);
    peer.write_all(b"afterwards").unwrap();
    assert_eq!(compose::read_exactly(&ours, vec![0; 10], 10).wait().buffer, b"afterwards");
}

/// Lets cancelled operations end.
fn turn_over(port: &Port) {
    let end = Instant::now() + SHORT;
    while Instant::now() < end {
        assert!(matches!(port.get(Duration::from_millis(1)).unwrap(), Outcome::TimedOut));
    }
}
