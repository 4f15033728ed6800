//! SEMANTICS 21: the table of errors, and what becomes of an error outside the library.

use std::io::{self, ErrorKind};

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
