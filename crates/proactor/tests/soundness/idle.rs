//! An idle server does nothing: no thread of it wakes, so none makes a system call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proactor::net::{TcpListener, TcpStream};
use proactor::{Block, CompletionPort, Outcome, within_mut};

use crate::alone::alone;

/// Context switches of every thread but this one; a system call that waits shows as one.
fn switches() -> BTreeMap<String, u64> {
    // SAFETY: no arguments.
    let own = unsafe { libc::gettid() }.to_string();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    tasks
        .filter(|tid| *tid != own)
        .filter_map(|tid| {
            let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).ok()?;
            let count = status
                .lines()
                .filter(|line| line.contains("ctxt_switches"))
                .filter_map(|line| line.split('\t').nth(1)?.parse::<u64>().ok());
            Some((tid, count.sum()))
        })
        .collect()
}

#[test]
fn an_idle_server_makes_no_system_call() {
    if std::env::var_os("TSAN_OPTIONS").is_some() {
        println!("SKIP an_idle_server_makes_no_system_call: the thread sanitizer has a thread of its own that ticks");
        return;
    }
    alone("idle::an_idle_server_makes_no_system_call", || {
        let port = Arc::new(CompletionPort::<Vec<u8>, usize>::new(2).unwrap());
        for _ in 0..8 {
            let port = port.clone();
            std::thread::spawn(move || while !matches!(port.get(None), Ok(Outcome::Abandoned) | Err(_)) {});
        }
        // Connections with receives pending, of both deliveries, so that the library's own thread exists too.
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut kept = Vec::new();
        for n in 0..50 {
            let accept = listener.accept().start().unwrap();
            let client = TcpStream::unconnected_v4().unwrap();
            client.connect(listener.local_addr().unwrap()).start().unwrap().wait().result.unwrap();
            let server = accept.wait().result.unwrap().stream;
            port.associate(&server, n).unwrap();
            server.recv(within_mut(|buf: &mut Vec<u8>| &mut buf[..])).packet(Block::new(vec![0; 64])).unwrap();
            let waits = client.recv(vec![0; 64]).start().unwrap();
            kept.push((client, server, waits));
        }
        for key in 0..100 {
            port.post(key, 0, None).unwrap();
        }
        // The block monitor goes to sleep a little after the load; then nothing at all may move.
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let before = switches();
            assert!(before.len() >= 9, "the workers are there");
            std::thread::sleep(Duration::from_secs(1));
            if switches() == before {
                break;
            }
            assert!(Instant::now() < end, "an idle server's threads keep waking: {before:?} then {:?}", switches());
        }
    });
}
