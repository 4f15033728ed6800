//! A server that runs out of descriptors serves on, takes new clients as old ones go, and does not spin meanwhile.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::run::{LIMIT, MODELS, PROGRAM, Server, totals};

const DESCRIPTORS: usize = 40;
const CLIENTS: usize = 60;

fn echo(client: &mut TcpStream, wait: Duration) -> bool {
    client.set_read_timeout(Some(wait)).unwrap();
    client.read_exact(&mut [0; 5]).is_ok()
}

#[test]
fn out_of_descriptors_new_clients_wait_and_old_ones_are_served() {
    for model in MODELS {
        // Listeners that share an address take clients in no common order: with one, the last client is the last.
        let threads = if model.contains(&"per-thread") { "1" } else { "2" };
        let mut command = Command::new("sh");
        let limited = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\"");
        command.args(["-c", &limited, PROGRAM, "echo"]).args(model).args(["--threads", threads]).stderr(Stdio::null());
        let server = Server::spawn(command);

        let begin = Instant::now();
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(server.addr).unwrap()).collect();
        clients.iter_mut().for_each(|client| client.write_all(b"hello").unwrap());
        // The last cannot be served: there is no descriptor for it.
        assert!(!echo(&mut clients[CLIENTS - 1], Duration::from_millis(700)), "{model:?}: the limit was not met");
        // Those that were accepted are, and their going makes room for the rest.
        for (n, client) in clients.iter_mut().enumerate() {
            assert!(echo(client, LIMIT), "{model:?}: client {n} of {CLIENTS} was not served");
            // When its end has come back the server has heard of everything it did for this client.
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "{model:?}: client {n}");
        }
        let elapsed = begin.elapsed();
        let (status, line) = server.end_by("TERM");
        let [connections, messages, _, errors] = totals(&line);
        assert_eq!((status.code(), connections, messages), (Some(0), CLIENTS as u64, CLIENTS as u64), "{model:?}: {line}");
        // Two threads try twenty times a second each; besides, each accept in flight may fail once for each descriptor
        // that came free.
        let patient = (elapsed.as_secs_f64() * 40.0) as u64 + 16 + 2 * CLIENTS as u64;
        assert!(errors > 0 && errors <= patient, "{model:?}: {errors} failed accepts in {elapsed:?}");
    }
}
