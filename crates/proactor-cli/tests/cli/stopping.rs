//! A signal ends the server with its totals and status 0, whatever it is doing.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::run::{LIMIT, MODELS, Server, totals};

#[test]
fn a_signal_ends_an_idle_server_with_totals_and_status_zero() {
    for model in MODELS {
        for signal in ["TERM", "INT"] {
            let (status, line) = Server::start(model).end_by(signal);
            assert_eq!((status.code(), totals(&line)), (Some(0), [0, 0, 0, 0]), "{model:?} by {signal}");
        }
    }
}

#[test]
fn a_signal_drops_the_connections() {
    for model in MODELS {
        let server = Server::start(&[model, &["--threads", "3"]].concat());
        let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(server.addr).unwrap()).collect();
        for client in &mut clients {
            client.set_read_timeout(Some(LIMIT)).unwrap();
            client.write_all(b"hello").unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
        }
        let (status, line) = server.end_by("TERM");
        let [connections, messages, bytes, errors] = totals(&line);
        assert_eq!((status.code(), connections, errors), (Some(0), 20, 0), "{model:?}: {line}");
        // The packet of a send that went out may still be on the port when that closes; then the send is not counted.
        assert!(messages <= 20 && bytes == messages * 5, "{model:?}: {line}");
        for client in &mut clients {
            // The end of the stream, or a reset: no more data in either case.
            assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)), "{model:?}");
        }
    }
}

#[test]
fn a_signal_ends_a_server_whose_clients_do_not_read() {
    for model in MODELS {
        let server = Server::start(model);
        let mut client = TcpStream::connect(server.addr).unwrap();
        client.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        // Until every buffer on the way and back is full, so that a send of the server is pending.
        while client.write(&[7; 1 << 16]).is_ok() {}
        let (status, line) = server.end_by("TERM");
        assert_eq!((status.code(), totals(&line)[0]), (Some(0), 1), "{model:?}");
    }
}
