//! SEMANTICS 21: the table of errors, and what becomes of an error outside the library.

use std::io::{self, ErrorKind};

use proactor::fs::{File, OpenOptions};
use proactor::net::UdpSocket;
use proactor::{Block, Code, Error, OpKind};

use crate::common::*;

#[test]
fn the_codes_have_the_numbers_of_the_table() {
    let table = [
        (Code::Cancelled, 995, 995),
        (Code::ConnectionReset, 64, 10054),
        (Code::ConnectionAborted, 1236, 10053),
        (Code::ConnectionRefused, 1225, 10061),
        (Code::IoTimeout, 121, 10060),
        (Code::MessageTruncated, 234, 10040),
        (Code::HostUnreachable, 1232, 10065),
        (Code::NetworkUnreachable, 1231, 10051),
        (Code::Shutdown, 233, 10058),
        (Code::BrokenPipe, 109, 109),
        (Code::InsufficientResources, 1450, 10055),
        (Code::NotFound, 1168, 1168),
        (Code::InvalidParameter, 87, 10022),
        (Code::InvalidHandle, 6, 10038),
        (Code::Incomplete, 996, 996),
        (Code::WaitTimeout, 258, 258),
        (Code::Abandoned, 735, 735),
        (Code::FileNotFound, 2, 2),
    ];
    for (code, win32, winsock) in table {
        assert_eq!((code.win32(), code.winsock()), (win32, winsock), "{code:?}");
    }
}

#[test]
fn an_error_of_the_system_keeps_its_number_outside() {
    let (ours, peer) = stream();
    let receive = start(ours.recv(vec![0; 4]));
    reset(peer);
    let error = finish(receive).result.unwrap_err();
    let number = error.raw_os_error().expect("the system's own number");
    let outside = io::Error::from(error);
    assert_eq!((outside.raw_os_error(), outside.kind()), (Some(number), ErrorKind::ConnectionReset));
}

#[test]
fn an_error_of_the_librarys_own_keeps_its_kind_outside() {
    let error = Error::new(Code::TooManyOperations);
    assert_eq!(error.raw_os_error(), None);
    let outside = io::Error::from(error);
    assert_eq!((outside.raw_os_error(), outside.kind()), (None, ErrorKind::QuotaExceeded));
}

#[test]
fn an_error_is_small_and_copied() {
    let error = Error::new(Code::Cancelled);
    let (first, second) = (error, error);
    assert_eq!(first, second);
    assert!(size_of::<Error>() <= 32);
}

#[test]
fn an_error_names_its_operation_and_says_what_to_do() {
    let (ours, _peer) = stream();
    let receive = start(ours.recv(vec![0; 4]));
    receive.cancel().unwrap();
    let error = finish(receive).result.unwrap_err();
    assert_eq!(error.operation(), Some(OpKind::Recv));
    let text = error.to_string();
    assert!(text.starts_with("receive: ") && text.contains("start it again"), "{text}");
}

#[test]
fn a_local_close_is_told_from_a_peers_reset() {
    let ((closed, _peer), (left, other)) = (stream(), stream());
    let (first, second) = (start(closed.recv(vec![0; 4])), start(left.recv(vec![0; 4])));
    drop(closed);
    reset(other);
    assert_eq!(code(&finish(first)), Some(Code::ConnectionAborted));
    assert_eq!(code(&finish(second)), Some(Code::ConnectionReset));
}

#[test]
fn a_refusal_becomes_an_error_of_either_library() {
    fn both() -> Result<(), Error> {
        let (ours, _peer) = stream();
        drop(ours.send_vectored(Vec::<Vec<u8>>::new()).start()?);
        Ok(())
    }
    fn outside() -> io::Result<()> {
        let port = port(1);
        port.close();
        port.post(1, 0, Some(Block::new(Io { buf: Vec::new(), tag: 0 })))?;
        Ok(())
    }
    assert_eq!(both().unwrap_err().code(), Code::InvalidParameter);
    assert_eq!(outside().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn asking_for_what_was_never_started_is_an_error_with_words() {
    let (ours, _peer) = homeless();
    let refused = ours.recv(proactor::within_mut(|io: &mut Io| &mut io.buf[..])).packet(block(0, 1)).unwrap_err();
    assert!(refused.to_string().contains("associate"), "{refused}");
}

/// The numbers of each system that the table's rows are told by.
#[test]
fn the_systems_numbers_become_the_codes_of_the_table() {
    // Linux, Win32, Winsock. 0: the system has no number for it.
    let table = [
        (Code::Cancelled, libc_number("ECANCELED"), 995, 0),
        (Code::ConnectionReset, libc_number("ECONNRESET"), 64, 10054),
        (Code::ConnectionAborted, libc_number("ECONNABORTED"), 1236, 10053),
        (Code::ConnectionRefused, libc_number("ECONNREFUSED"), 1225, 10061),
        // A datagram's unreachable port.
        (Code::ConnectionRefused, libc_number("ECONNREFUSED"), 1234, 10061),
        (Code::IoTimeout, libc_number("ETIMEDOUT"), 121, 10060),
        (Code::MessageTruncated, libc_number("EMSGSIZE"), 234, 10040),
        (Code::HostUnreachable, libc_number("EHOSTUNREACH"), 1232, 10065),
        (Code::NetworkUnreachable, libc_number("ENETUNREACH"), 1231, 10051),
        (Code::Shutdown, libc_number("ESHUTDOWN"), 233, 10058),
        (Code::BrokenPipe, libc_number("EPIPE"), 109, 0),
        (Code::InsufficientResources, libc_number("ENOBUFS"), 1450, 10055),
        (Code::InvalidParameter, libc_number("EFAULT"), 122, 10014),
        (Code::NotFound, 0, 1168, 0),
    ];
    for (code, linux, win32, winsock) in table {
        let numbers = if cfg!(windows) { [win32, winsock] } else { [linux, 0] };
        for number in numbers.into_iter().filter(|number| *number != 0) {
            let error = Error::from_raw_os_error(number);
            assert_eq!((error.code(), error.raw_os_error()), (code, Some(number)), "{number}");
        }
    }
}

/// The same on every machine of the kinds this runs on.
fn libc_number(name: &str) -> i32 {
    const NUMBERS: [(&str, i32); 12] = [
        ("EFAULT", 14),
        ("EPIPE", 32),
        ("EMSGSIZE", 90),
        ("ENETUNREACH", 101),
        ("ECONNABORTED", 103),
        ("ECONNRESET", 104),
        ("ENOBUFS", 105),
        ("ESHUTDOWN", 108),
        ("ETIMEDOUT", 110),
        ("ECONNREFUSED", 111),
        ("EHOSTUNREACH", 113),
        ("ECANCELED", 125),
    ];
    NUMBERS.iter().find(|(known, _)| *known == name).expect("a number of Linux").1
}

#[test]
fn of_sends_too_a_local_close_is_told_from_a_peers_reset() {
    // More than two sockets' buffers take.
    let data = || vec![0; 24 << 20];
    let ((closed, _peer), (left, other)) = (stream(), stream());
    let (first, second) = (pending(start(closed.send(data()))), pending(start(left.send(data()))));
    drop(closed);
    reset(other);
    assert_eq!(code(&finish(first)), Some(Code::ConnectionAborted));
    assert_eq!(code(&finish(second)), Some(Code::ConnectionReset));
}

#[test]
fn a_reset_is_never_taken_for_an_end() {
    for _ in 0..20 {
        let (ours, peer) = stream();
        let receive = start(ours.recv(vec![0; 4]));
        reset(peer);
        assert_eq!(code(&finish(receive)), Some(Code::ConnectionReset));
    }
}

#[test]
fn an_unreachable_port_is_a_refused_connection() {
    if wine() {
        skip!("an_unreachable_port_is_a_refused_connection", "Wine does not end a receive that is pending after that error");
    }
    let ours = UdpSocket::bind(ANY).unwrap();
    let nobody = std::net::UdpSocket::bind(ANY).unwrap().local_addr().unwrap();
    ours.connect(nobody).unwrap();
    let ours = somewhere(ours);
    let receive = start(ours.recv_from(vec![0; 16]));
    run(ours.send(b"anybody?")).result.unwrap();
    let error = finish(receive).result.unwrap_err();
    assert_eq!((error.code(), error.operation()), (Code::ConnectionRefused, Some(OpKind::RecvFrom)));
}

#[test]
fn the_end_of_a_file_and_of_a_stream_are_no_errors() {
    let path = Scratch::new("errors-end");
    std::fs::write(&path.0, b"short").unwrap();
    let file = somewhere(File::open_now(&path.0, &OpenOptions::new().read(true)).unwrap());
    let (ours, peer) = stream();
    drop(peer);
    let (read, received) = (run(file.read_at(vec![0; 4], 5)), run(ours.recv(vec![0; 4])));
    assert_eq!((read.bytes, read.result), (0, Ok(())));
    assert_eq!((received.bytes, received.result), (0, Ok(())));
}
