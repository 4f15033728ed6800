//! One receive of many completions: each piece a packet with a buffer of the pool, the last packet with the block. Not of
//! SEMANTICS.md; the promises are those of `recv_multi`.

use std::io::{Read, Write};
use std::net::Shutdown;

use proactor::net::{TcpListener, TcpStream, UnixStream};
use proactor::{BufferPool, Carries, Code, Home, Limits, OpKind, Packet, PoolBuf, Ticket, Value};

use crate::common::*;

/// Starts one on a stream of a port.
#[track_caller]
fn receive_many<H: Home + Carries<Io>>(stream: &TcpStream<H>, pool: &BufferPool, tag: usize) -> Ticket {
    packet(stream.recv_multi(pool), block(tag, 0))
}

/// What a packet of one brought: a piece, or the end of it.
enum Came {
    Piece(PoolBuf),
    /// The block's tag, and why.
    End(usize, Result<(), Code>),
}

#[track_caller]
fn came(packet: Packet<Io, usize>) -> Came {
    assert_eq!(packet.op, OpKind::RecvMulti);
    match (packet.more, packet.block, packet.done.result) {
        (true, None, Ok(Value::Buffer(piece))) => {
            assert!(!piece.is_empty() && packet.done.bytes == piece.len(), "{} bytes of {}", packet.done.bytes, piece.len());
            Came::Piece(piece)
        }
        (false, Some(block), result) => {
            assert_eq!(packet.done.bytes, 0, "what was received came before");
            assert!(matches!(result, Ok(Value::None) | Err(_)), "{result:?}");
            Came::End(block.tag, result.map(drop).map_err(|error| error.code()))
        }
        (more, block, result) => panic!("more {more}, block {}, {result:?}", block.is_some()),
    }
}

/// Takes pieces until so many bytes have come.
#[track_caller]
fn pieces(port: &Port, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        match came(take(port)) {
            Came::Piece(piece) => all.extend_from_slice(&piece),
            Came::End(_, why) => panic!("it ended after {} of {bytes} bytes: {why:?}", all.len()),
        }
    }
    all
}

/// Takes pieces until the end of it.
#[track_caller]
fn to_the_end(port: &Port) -> (Vec<u8>, usize, Result<(), Code>) {
    let mut all = Vec::new();
    loop {
        match came(take(port)) {
            Came::Piece(piece) => all.extend_from_slice(&piece),
            Came::End(tag, why) => return (all, tag, why),
        }
    }
}

#[test]
fn pieces_come_in_order_and_the_peers_close_brings_the_block() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let pool = BufferPool::new(8, 64);
    receive_many(&ours, &pool, 1);
    nothing(&port);
    for round in 0..100 {
        peer.write_all(&pattern(16, round)).unwrap();
        let packet = success(&port);
        assert_eq!(packet.key, 7);
        match came(packet) {
            Came::Piece(piece) => assert_eq!(*piece, pattern(16, round)),
            Came::End(..) => panic!("it ended in round {round}"),
        }
    }
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(to_the_end(&port), (Vec::new(), 1, Ok(())));
    nothing(&port);
    drop(ours);
    drop(port);
    until("every buffer is back", || pool.available() == 8);
}

#[test]
fn the_key_names_the_connection_of_each_piece() {
    let port = port(1);
    let pool = BufferPool::new(32, 64);
    let mut connections: Vec<_> = (0..8)
        .map(|key| {
            let (ours, peer) = homeless();
            let ours = port.home(ours, key);
            receive_many(&ours, &pool, key);
            (ours, peer)
        })
        .collect();
    for round in 0..20 {
        for (key, (_, peer)) in connections.iter_mut().enumerate() {
            peer.write_all(&[key as u8, round]).unwrap();
        }
        for _ in 0..8 {
            let packet = success(&port);
            let key = packet.key;
            assert!(matches!(came(packet), Came::Piece(piece) if *piece == [key as u8, round]));
        }
    }
    let (_ours, peers): (Vec<_>, Vec<_>) = connections.into_iter().unzip();
    drop(peers);
    for _ in 0..8 {
        let packet = success(&port);
        let key = packet.key;
        assert!(matches!(came(packet), Came::End(tag, Ok(())) if tag == key));
    }
}

#[test]
fn data_that_was_there_already_comes_too_and_the_close_behind_it_last() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    peer.write_all(b"last words").unwrap();
    drop(peer);
    receive_many(&ours, &BufferPool::new(4, 64), 1);
    assert_eq!(to_the_end(&port), (b"last words".to_vec(), 1, Ok(())));
    receive_many(&ours, &BufferPool::new(4, 64), 2);
    assert_eq!(to_the_end(&port), (Vec::new(), 2, Ok(())), "and again for a later one");
}

#[test]
fn more_than_one_buffer_holds_comes_in_order_across_buffers() {
    const ALL: usize = 1 << 20;
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    // Buffers of an odd size, and fewer than the data fills.
    let pool = BufferPool::new(50, 997);
    receive_many(&ours, &pool, 1);
    let writer = worker(move || peer.write_all(&pattern(ALL, 3)));
    let mut all = Vec::with_capacity(ALL);
    let mut starts = 1;
    loop {
        match came(take(&port)) {
            Came::Piece(piece) => all.extend_from_slice(&piece),
            Came::End(_, Ok(())) => break,
            // Data may come faster than buffers go back.
            Came::End(_, Err(Code::InsufficientResources)) => {
                starts += 1;
                receive_many(&ours, &pool, starts);
            }
            Came::End(_, why) => panic!("{why:?} after {} bytes", all.len()),
        }
    }
    writer.join().unwrap();
    assert!(all == pattern(ALL, 3), "{} bytes, started {starts} times", all.len());
}

#[test]
fn a_reset_comes_last_as_an_error_after_what_came_before() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive_many(&ours, &BufferPool::new(4, 64), 1);
    peer.write_all(b"hello").unwrap();
    assert_eq!(pieces(&port, 5), b"hello");
    reset(peer);
    let (packet, code) = failure(&port);
    assert_eq!(code, Code::ConnectionReset);
    assert!(matches!(came(packet), Came::End(1, Err(Code::ConnectionReset))));
    nothing(&port);
    if wine() {
        skip!(
            "a_reset_comes_last_as_an_error_after_what_came_before",
            "Wine answers a receive after a reset with success and 0 bytes"
        );
    }
    receive_many(&ours, &BufferPool::new(4, 64), 2);
    assert_eq!(to_the_end(&port), (Vec::new(), 2, Err(Code::ConnectionReset)), "never taken for an orderly close");
}

#[test]
fn a_cancel_ends_it_once_and_what_comes_later_is_anothers() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let ticket = receive_many(&ours, &BufferPool::new(4, 64), 1);
    peer.write_all(b"before").unwrap();
    assert_eq!(pieces(&port, 6), b"before");
    ours.cancel(ticket).unwrap();
    assert_eq!(to_the_end(&port), (Vec::new(), 1, Err(Code::Cancelled)));
    assert_eq!(ours.cancel(ticket).unwrap_err().code(), Code::NotFound);
    nothing(&port);
    peer.write_all(b"after").unwrap();
    receive(&ours, 2, 16);
    assert_eq!(&success(&port).block.unwrap().buf[..5], b"after");
    nothing(&port);
}

#[test]
fn a_cancel_racing_with_data_loses_none_of_it() {
    const ROUNDS: usize = 1000;
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let pool = BufferPool::new(16, 64);
    let (go, went) = std::sync::mpsc::channel::<usize>();
    let writer = worker(move || {
        for round in went {
            peer.write_all(&round.to_le_bytes()).unwrap();
        }
        peer
    });
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let ticket = receive_many(&ours, &pool, round);
        go.send(round).unwrap();
        (0..(round % 16) * 64).for_each(|_| std::hint::spin_loop());
        if round % 3 == 0 {
            all.extend(pieces(&port, (round + 1) * 8 - all.len()));
        }
        ours.cancel(ticket).expect("it goes on until it is cancelled");
        let (came, tag, why) = to_the_end(&port);
        assert_eq!((tag, why), (round, Err(Code::Cancelled)));
        all.extend(came);
    }
    drop(go);
    drop(writer.join());
    receive_many(&ours, &pool, 0);
    let (rest, _, why) = to_the_end(&port);
    assert_eq!(why, Ok(()));
    all.extend(rest);
    assert!(all == (0..ROUNDS).flat_map(usize::to_le_bytes).collect::<Vec<_>>(), "bytes were lost or mixed");
}

#[test]
fn with_no_buffer_free_it_ends_with_nothing_lost_and_goes_on_when_started_again() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let pool = BufferPool::new(2, 16);
    receive_many(&ours, &pool, 1);
    let all = pattern(100, 4);
    peer.write_all(&all).unwrap();
    drop(peer);
    let (mut got, mut ends) = (Vec::new(), 0);
    loop {
        let mut held = Vec::new();
        let why = loop {
            match came(take(&port)) {
                Came::Piece(piece) => held.push(piece),
                Came::End(_, why) => break why,
            }
        };
        assert!(held.len() <= 2);
        held.iter().for_each(|piece| got.extend_from_slice(piece));
        match why {
            Ok(()) => break,
            Err(code) => assert_eq!((code, held.len()), (Code::InsufficientResources, 2)),
        }
        // While the buffers are out it is refused the same way.
        receive_many(&ours, &pool, 2);
        assert_eq!(to_the_end(&port), (Vec::new(), 2, Err(Code::InsufficientResources)));
        drop(held);
        ends += 1;
        receive_many(&ours, &pool, 1);
    }
    assert!(got == all && ends >= 3, "{} bytes, {ends} times", got.len());
}

#[test]
fn it_goes_on_while_every_buffer_is_out_until_data_comes_that_needs_one() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let pool = BufferPool::new(1, 16);
    let ticket = receive_many(&ours, &pool, 1);
    for text in ["one", "two", "three"] {
        peer.write_all(text.as_bytes()).unwrap();
        let Came::Piece(piece) = came(take(&port)) else { panic!("it ended before '{text}'") };
        assert_eq!(&piece[..], text.as_bytes());
        // The only buffer is out, and nothing needs it.
        nothing(&port);
        drop(piece);
    }
    ours.cancel(ticket).unwrap();
    assert_eq!(to_the_end(&port), (Vec::new(), 1, Err(Code::Cancelled)));
}

#[test]
fn a_receive_started_behind_it_waits_for_its_end() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let ticket = receive_many(&ours, &BufferPool::new(4, 64), 1);
    receive(&ours, 2, 16);
    let overlapped = start(ours.recv(vec![0; 16]));
    for text in ["one", "two", "three"] {
        peer.write_all(text.as_bytes()).unwrap();
        assert_eq!(pieces(&port, text.len()), text.as_bytes());
    }
    ours.cancel(ticket).unwrap();
    assert_eq!(to_the_end(&port), (Vec::new(), 1, Err(Code::Cancelled)));
    nothing(&port);
    peer.write_all(b"four").unwrap();
    let io = success(&port).block.unwrap();
    assert_eq!((io.tag, &io.buf[..4]), (2, &b"four"[..]));
    peer.write_all(b"five").unwrap();
    assert_eq!(finish(overlapped).buffer, b"five");
}

#[test]
fn a_receive_behind_it_completes_at_the_peers_close_though_nobody_fetches() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive_many(&ours, &BufferPool::new(64, 4), 1);
    let behind = pending(start(ours.recv(vec![0; 16])));
    let data = pattern(40, 5);
    peer.write_all(&data).unwrap();
    let behind = pending(behind);
    peer.shutdown(Shutdown::Write).unwrap();
    let done = finish(behind);
    assert!(done.result.is_ok() && done.bytes == 0, "{} bytes, {:?}", done.bytes, done.result);
    assert_eq!(to_the_end(&port), (data, 1, Ok(())), "it went on meanwhile, and its packets waited");
}

#[test]
fn a_send_that_it_must_receive_completes_though_nobody_fetches() {
    // More than the socket's buffers hold.
    const ALL: usize = 16 << 20;
    let port = port(1);
    let listener = somewhere(TcpListener::bind(ANY).unwrap());
    let accept = start(listener.accept());
    let near = port.home(TcpStream::unconnected_v4().unwrap(), 1);
    run(near.connect(listener.local_addr().unwrap())).result.unwrap();
    let far = port.home(finish(accept).result.unwrap().stream, 2);
    receive_many(&far, &BufferPool::new(8192, 16 << 10), 1);
    assert_eq!(run(near.send(pattern(ALL, 1))).bytes, ALL);
    run(near.shutdown(Shutdown::Write)).result.unwrap();
    let (all, _, end) = to_the_end(&port);
    assert!(end == Ok(()) && all == pattern(ALL, 1), "{} bytes, {end:?}", all.len());
}

#[test]
fn closing_the_stream_ends_it_as_aborted_on_this_side() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive_many(&ours, &BufferPool::new(4, 64), 1);
    receive(&ours, 2, 16);
    peer.write_all(b"hello").unwrap();
    assert_eq!(pieces(&port, 5), b"hello");
    drop(ours);
    assert_eq!(to_the_end(&port), (Vec::new(), 1, Err(Code::ConnectionAborted)));
    assert_eq!(failure(&port).1, Code::ConnectionAborted);
    nothing(&port);
    assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0);
}

#[test]
fn pieces_nobody_fetched_go_back_to_the_pool_with_the_port() {
    let pool = BufferPool::new(8, 16);
    for fetched in 0..3 {
        let port = port(1);
        let (ours, mut peer) = homeless();
        let ours = port.home(ours, 7);
        receive_many(&ours, &pool, 1);
        for _ in 0..4 {
            peer.write_all(&pattern(16, fetched)).unwrap();
            turn_on(&port);
        }
        drop(pieces(&port, fetched * 16));
        match fetched {
            0 => drop((port, ours)),
            1 => drop((ours, port)),
            _ => port.close(),
        }
        until("every buffer is back", || pool.available() == 8);
    }
}

#[test]
fn a_piece_in_hand_outlives_its_port() {
    let pool = BufferPool::new(4, 16);
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive_many(&ours, &pool, 1);
    peer.write_all(b"hello").unwrap();
    let Came::Piece(piece) = came(success(&port)) else { panic!("a piece was due") };
    drop((port, ours));
    assert_eq!(*piece, *b"hello");
    until("the others are back", || pool.available() == 3);
    drop(piece);
    assert_eq!(pool.available(), 4);
}

#[test]
fn it_counts_as_one_operation_and_so_does_each_piece_nobody_fetched() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    ours.set_limits(Limits { operations: 1, ..Limits::default() });
    let pool = BufferPool::new(8, 16);
    receive_many(&ours, &pool, 1);
    for round in 0..10 {
        peer.write_all(&pattern(16, round)).unwrap();
        assert_eq!(pieces(&port, 16), pattern(16, round), "it goes on though the limit is reached");
        assert_eq!(ours.send(b"x").start().unwrap_err().error.code(), Code::TooManyOperations);
    }
    drop(peer);
    assert_eq!(to_the_end(&port), (Vec::new(), 1, Ok(())));
    receive_many(&ours, &pool, 2);
    assert_eq!(to_the_end(&port).1, 2);
}

#[test]
fn it_is_refused_where_a_receive_is() {
    let port = port(1);
    let pool = BufferPool::new(4, 16);
    let (ours, _peer) = homeless();
    let refused = ours.recv_multi(&pool).packet(block(5, 0)).unwrap_err();
    assert_eq!((refused.error.code(), refused.back.tag), (Code::InvalidParameter, 5));
    let ours = port.home(TcpStream::unconnected_v4().unwrap(), 7);
    receive_many(&ours, &pool, 1);
    assert_eq!(to_the_end(&port), (Vec::new(), 1, Err(Code::NotConnected)));
    drop((ours, port));
    until("every buffer is back", || pool.available() == 4);
}

#[test]
fn a_block_starts_it_again_and_again() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let pools = [BufferPool::new(4, 16), BufferPool::new(2, 64)];
    let mut io = block(1, 0);
    for round in 0..50 {
        let ticket = packet(ours.recv_multi(&pools[round % 2]), io);
        peer.write_all(b"data").unwrap();
        assert_eq!(pieces(&port, 4), b"data");
        ours.cancel(ticket).unwrap();
        let ended = failure(&port).0;
        io = ended.block.unwrap();
        assert_eq!(io.tag, 1);
    }
    drop((ours, port));
    until("every buffer is back", || pools[0].available() == 4 && pools[1].available() == 2);
}

#[test]
fn unix_streams_receive_many_too() {
    let Ok((ours, mut peer)) = unix_pair() else {
        skip!("unix_streams_receive_many_too", "this system has no pairs of Unix sockets");
    };
    let port = port(1);
    let ours = port.home(ours, 7);
    packet(ours.recv_multi(&BufferPool::new(8, 3)), block(1, 0));
    peer.write_all(b"0123456789").unwrap();
    assert_eq!(pieces(&port, 10), b"0123456789");
    drop(peer);
    assert_eq!(to_the_end(&port), (Vec::new(), 1, Ok(())));
}

#[cfg(unix)]
fn unix_pair() -> std::io::Result<(UnixStream, impl Write)> {
    let (ours, peer) = std::os::unix::net::UnixStream::pair()?;
    Ok((UnixStream::from(ours), peer))
}

#[cfg(not(unix))]
fn unix_pair() -> std::io::Result<(UnixStream, std::net::TcpStream)> {
    Err(std::io::ErrorKind::Unsupported.into())
}
