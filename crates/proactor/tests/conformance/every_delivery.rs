//! One object, every delivery: they may be mixed at will, and everything comes whole and in order.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use proactor::fs::{File, OpenOptions};
use proactor::net::TcpStream;
use proactor::{within, within_mut};

use crate::common::*;
use crate::deliveries::{DELIVERIES, until_run, until_there};

const KINDS: usize = DELIVERIES.len();

/// Receives once, by this delivery, into room for 100 bytes.
fn receive_by(delivery: &str, port: &Port, stream: &AtHome<TcpStream>) -> Vec<u8> {
    let buffer = vec![0; 100];
    let whole = |bytes: usize, mut buffer: Vec<u8>| {
        buffer.truncate(bytes);
        buffer
    };
    match delivery {
        "wait" => {
            let done = stream.recv(buffer).wait();
            whole(done.bytes, done.buffer)
        }
        "start" => {
            let done = finish(start(stream.recv(buffer)));
            whole(done.bytes, done.buffer)
        }
        "packet" => {
            receive(stream, 1, 100);
            let packet = success(port);
            whole(packet.done.bytes, packet.block.unwrap().into_inner().buf)
        }
        "routine" => {
            let place = Rc::new(Cell::new(None));
            let own = place.clone();
            stream.recv(buffer).routine(move |done| own.set(Some((done.bytes, done.buffer)))).unwrap();
            let (bytes, buffer) = until_run(&place);
            whole(bytes, buffer)
        }
        "then" => {
            let place = Arc::new(Mutex::new(None));
            let own = place.clone();
            stream.recv(buffer).then(move |done| *own.lock().unwrap() = Some((done.bytes, done.buffer))).unwrap();
            let (bytes, buffer) = until_there(port, &place);
            whole(bytes, buffer)
        }
        "await" => {
            let done = block_on_port(port, async { stream.recv(buffer).await });
            whole(done.bytes, done.buffer)
        }
        other => panic!("{other}"),
    }
}

/// Sends all of it, by this delivery.
fn send_by(delivery: &str, port: &Port, stream: &AtHome<TcpStream>, data: &[u8]) {
    let sent = match delivery {
        "wait" => stream.send(data.to_vec()).wait().bytes,
        "start" => run(stream.send(data.to_vec())).bytes,
        "packet" => {
            let block = proactor::Block::new(Io { buf: data.to_vec(), tag: 2 });
            packet(stream.send(within(|io: &mut Io| &io.buf[..])), block);
            success(port).done.bytes
        }
        "routine" => {
            let place = Rc::new(Cell::new(None));
            let own = place.clone();
            stream.send(data.to_vec()).routine(move |done| own.set(Some(done.bytes))).unwrap();
            until_run(&place)
        }
        "then" => {
            let place = Arc::new(Mutex::new(None));
            let own = place.clone();
            stream.send(data.to_vec()).then(move |done| *own.lock().unwrap() = Some(done.bytes)).unwrap();
            until_there(port, &place)
        }
        "await" => block_on_port(port, async { stream.send(data.to_vec()).await }).bytes,
        other => panic!("{other}"),
    };
    assert_eq!(sent, data.len(), "{delivery}");
}

#[test]
fn one_stream_used_through_every_delivery_keeps_its_bytes_in_order() {
    const BYTES: usize = 60_000;
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 1);
    let mut writes = peer.try_clone().unwrap();
    let writer = worker(move || pattern(BYTES, 5).chunks(777).for_each(|chunk| writes.write_all(chunk).unwrap()));
    let reader = worker(move || {
        let mut back = vec![0; BYTES];
        peer.read_exact(&mut back).unwrap();
        back
    });
    let (mut came, mut turn) = (Vec::new(), 0);
    while came.len() < BYTES {
        // Every pair of them, one after the other.
        let (one, other) = (DELIVERIES[turn % KINDS], DELIVERIES[turn / KINDS % KINDS]);
        let piece = receive_by(one, &port, &ours);
        assert!(!piece.is_empty());
        send_by(other, &port, &ours, &piece);
        came.extend(piece);
        turn += 1;
    }
    writer.join();
    assert_eq!(came, pattern(BYTES, 5));
    assert_eq!(reader.join(), came);
}

#[test]
fn receives_of_every_delivery_that_wait_at_once_fill_in_call_order() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 1);
    let place = Arc::new(Mutex::new(None));
    for round in 0..20_u8 {
        let started = start(ours.recv(vec![0; 1]));
        receive(&ours, 1, 1);
        let own = place.clone();
        ours.recv(vec![0; 1]).then(move |done| *own.lock().unwrap() = Some(done.buffer)).unwrap();
        let awaited = std::future::IntoFuture::into_future(ours.recv(vec![0; 1]));
        let ran = Rc::new(Cell::new(None));
        let own = ran.clone();
        ours.recv(vec![0; 1]).routine(move |done| own.set(Some(done.buffer))).unwrap();
        let numbers: [u8; 6] = std::array::from_fn(|at| round + at as u8);
        peer.write_all(&numbers).unwrap();
        let last = ours.recv(vec![0; 1]).wait();
        assert_eq!(last.buffer, [numbers[5]]);
        assert_eq!(until_run(&ran), [numbers[4]]);
        assert_eq!(block_on_port(&port, awaited).buffer, [numbers[3]]);
        assert_eq!(finish(started).buffer, [numbers[0]]);
        assert_eq!(success(&port).block.unwrap().buf, [numbers[1]]);
        assert_eq!(until_there(&port, &place), [numbers[2]]);
    }
}

/// Writes all of it there, by this delivery; how many bytes it says it wrote.
fn write_by(delivery: &str, port: &Port, file: &AtHome<File>, data: Vec<u8>, offset: u64) -> usize {
    match delivery {
        "wait" => file.write_at(data, offset).wait().bytes,
        "start" => run(file.write_at(data, offset)).bytes,
        "packet" => {
            let block = proactor::Block::new(Io { buf: data, tag: 0 });
            packet(file.write_at(within(|io: &mut Io| &io.buf[..]), offset), block);
            success(port).done.bytes
        }
        "routine" => {
            let place = Rc::new(Cell::new(None));
            let own = place.clone();
            file.write_at(data, offset).routine(move |done| own.set(Some(done.bytes))).unwrap();
            until_run(&place)
        }
        "then" => {
            let place = Arc::new(Mutex::new(None));
            let own = place.clone();
            file.write_at(data, offset).then(move |done| *own.lock().unwrap() = Some(done.bytes)).unwrap();
            until_there(port, &place)
        }
        "await" => block_on_port(port, async { file.write_at(data, offset).await }).bytes,
        other => panic!("{other}"),
    }
}

/// Reads so much from there, by this delivery.
fn read_by(delivery: &str, port: &Port, file: &AtHome<File>, len: usize, offset: u64) -> Vec<u8> {
    let buffer = vec![0; len];
    match delivery {
        "wait" => file.read_at(buffer, offset).wait().buffer,
        "start" => run(file.read_at(buffer, offset)).buffer,
        "packet" => {
            packet(file.read_at(within_mut(|io: &mut Io| &mut io.buf[..]), offset), block(0, len));
            success(port).block.unwrap().into_inner().buf
        }
        "routine" => {
            let place = Rc::new(Cell::new(None));
            let own = place.clone();
            file.read_at(buffer, offset).routine(move |done| own.set(Some(done.buffer))).unwrap();
            until_run(&place)
        }
        "then" => {
            let place = Arc::new(Mutex::new(None));
            let own = place.clone();
            file.read_at(buffer, offset).then(move |done| *own.lock().unwrap() = Some(done.buffer)).unwrap();
            until_there(port, &place)
        }
        "await" => block_on_port(port, async { file.read_at(buffer, offset).await }).buffer,
        other => panic!("{other}"),
    }
}

#[test]
fn one_file_used_through_every_delivery_has_every_write() {
    const PIECE: usize = 5000;
    const TURNS: usize = KINDS * KINDS;
    let path = Scratch::new("every-delivery");
    let port = port(1);
    let file = port.home(File::open_now(&path.0, &OpenOptions::new().read(true).write(true).create(true)).unwrap(), 1);
    for turn in 0..TURNS {
        let (writes, reads) = (DELIVERIES[turn % KINDS], DELIVERIES[turn / KINDS]);
        let (offset, data) = ((turn * PIECE) as u64, pattern(PIECE, turn));
        assert_eq!(write_by(writes, &port, &file, data.clone(), offset), PIECE, "{writes}");
        assert_eq!(read_by(reads, &port, &file, PIECE, offset), data, "written by {writes}, read by {reads}");
    }
    let whole: Vec<u8> = (0..TURNS).flat_map(|turn| pattern(PIECE, turn)).collect();
    assert_eq!(std::fs::read(&path.0).unwrap(), whole);
}
