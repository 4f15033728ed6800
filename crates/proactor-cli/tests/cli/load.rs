//! The server and the client against each other, as two processes.

use crate::run::{BACKENDS, MODELS, Server, number, proactor};

/// Where listeners cannot share an address, a port per thread means one thread.
const THREADS: &str = if cfg!(unix) { "2" } else { "1" };

/// Runs the client to a good end; its report.
fn client(server: &Server, arguments: &[&str]) -> String {
    let addr = server.addr.to_string();
    let said = proactor(&[&["client", "--addr", &addr], arguments].concat());
    assert_eq!(said.out.len(), 1, "one line: {:?} {:?}", said.out, said.err);
    let json = &said.out[0];
    assert_eq!((said.status, number(json, "wrong_bytes"), number(json, "errors")), (0, 0.0, 0.0), "{json} {:?}", said.err);
    json.clone()
}

#[test]
fn every_model_on_every_backend_gives_back_every_byte() {
    for model in MODELS {
        for backend in BACKENDS {
            let server = Server::start(&[model, &["--backend", backend, "--threads", THREADS]].concat());
            let json = client(&server, &["--conns", "8", "--size", "1000", "--pipeline", "4", "--secs", "1"]);
            assert!(number(&json, "messages") > 100.0, "{model:?} on {backend}: {json}");
            assert_eq!(number(&json, "bytes"), number(&json, "messages") * 1000.0, "{model:?} on {backend}: {json}");
            assert!(number(&json, "p50_us") > 0.0 && number(&json, "max_us") >= number(&json, "p99_us"), "{json}");
            #[cfg(unix)]
            {
                let (_, line) = server.end_by("TERM");
                let [connections, _, bytes, errors] = crate::run::totals(&line);
                assert_eq!((connections, bytes as f64, errors), (8, number(&json, "bytes"), 0), "{model:?} on {backend}");
            }
        }
    }
}

#[test]
fn messages_larger_than_every_buffer_come_back_whole() {
    for model in MODELS {
        let server = Server::start(&[model, &["--buf", "1000"]].concat());
        let json = client(&server, &["--conns", "2", "--size", "5000000", "--pipeline", "2", "--secs", "1"]);
        assert!(number(&json, "messages") >= 4.0, "{model:?}: {json}");
    }
}

#[test]
fn two_thousand_connections_at_once() {
    let enough = rlimit::increase_nofile_limit(2_200).is_ok_and(|limit| limit >= 2_200);
    if !enough {
        println!("SKIP two_thousand_connections_at_once: the limit of open files is under 2,200");
        return;
    }
    let server = Server::start(&["--model", "port"]);
    let json = client(&server, &["--conns", "2000", "--size", "100", "--pipeline", "2", "--secs", "2"]);
    assert!(number(&json, "messages") >= 4_000.0, "{json}");
}

#[test]
fn a_client_without_a_server_reports_it_and_fails() {
    // A port that was free a moment ago.
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = proactor(&["client", "--addr", &addr, "--conns", "3", "--secs", "1"]);
    assert_eq!((said.status, said.out.len(), said.err.len()), (1, 1, 1), "{:?} {:?}", said.out, said.err);
    assert_eq!(number(&said.out[0], "errors"), 3.0);
}

#[test]
fn a_server_that_changes_a_byte_is_found_out() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut at) = ([0; 4096], 0_usize);
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            // The thousandth byte, once.
            if (at..at + n).contains(&1000) {
                buffer[1000 - at] ^= 1;
            }
            at += n;
            stream.write_all(&buffer[..n]).unwrap();
        }
    });
    let said = proactor(&["client", "--addr", &addr, "--size", "300", "--secs", "1"]);
    assert_eq!((said.status, number(&said.out[0], "wrong_bytes")), (1, 1.0), "{:?}", said.out);
}
