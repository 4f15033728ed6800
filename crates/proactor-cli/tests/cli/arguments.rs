//! What cannot be done as asked gets one line and status 2.

use std::net::TcpListener;

use crate::run::proactor;

#[track_caller]
fn refused(arguments: &[&str], expected: &str) {
    let said = proactor(arguments);
    assert_eq!(said.status, 2, "{arguments:?}: {:?}", said.err);
    assert_eq!(said.err.len(), 1, "{arguments:?}: {:?}", said.err);
    assert!(said.err[0].starts_with("proactor: "), "{:?}", said.err);
    assert!(said.err[0].contains(expected), "{arguments:?}: '{expected}' is not in {:?}", said.err);
    assert_eq!(said.out, [""; 0], "{arguments:?}");
}

#[test]
fn bad_arguments_get_one_line_and_status_two() {
    refused(&[], "echo, client or demo");
    refused(&["bogus"], "'bogus'");
    refused(&["echo", "--model", "callbacks"], "[possible values: blocking, overlapped, routine, port, pool, handler, async]");
    refused(&["echo", "--sharing", "some"], "[possible values: shared, per-thread]");
    refused(&["echo", "--receive", "all"], "[possible values: one, multi]");
    refused(&["echo", "--receive", "multi"], "needs --sharing per-thread");
    refused(&["echo", "--model", "overlapped", "--sharing", "per-thread"], "--model port");
    refused(&["demo", "--sharing", "shared", "--receive", "multi"], "needs --sharing per-thread");
    refused(&["echo", "--backend", "kqueue"], "[possible values: auto, uring, epoll]");
    refused(&["echo", "--threads", "0"], "--threads");
    refused(&["echo", "--threads", "many"], "--threads");
    refused(&["echo", "--buf", "0"], "--buf");
    refused(&["echo", "--port", "65536"], "--port");
    refused(&["echo", "--port"], "--port");
    refused(&["echo", "--modle", "port"], "'--model'");
    refused(&["echo", "--host", "no such host"], "'no such host'");
    refused(&["client"], "--addr");
    refused(&["client", "--addr", "nowhere"], "HOST:PORT");
    refused(&["client", "--addr", "127.0.0.1:1", "--conns", "0"], "--conns");
}

#[test]
fn a_port_in_use_gets_one_line_and_status_two() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(&["echo", "--port", &port], "in use");
    refused(&["echo", "--model", "overlapped", "--port", &port], "in use");
}

#[test]
fn help_is_no_fault() {
    for arguments in [&["--help"][..], &["help"], &["echo", "--help"], &["client", "-h"], &["--version"]] {
        let said = proactor(arguments);
        assert_eq!((said.status, said.err.len()), (0, 0), "{arguments:?}");
        assert!(!said.out.is_empty(), "{arguments:?}");
    }
}
