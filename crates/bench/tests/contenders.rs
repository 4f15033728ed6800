//! Every contender, for a moment: the client compares every byte that comes back, the readers check every block, the
//! posts are summed. A server that dies, hangs or echoes something else fails the command.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs the bench; it must succeed, and the table must name all of these.
fn bench(args: &str, named: &[&str]) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_bench")).args(args.split_whitespace()).output().expect("the bench starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "bench {args}: {status}\n{stdout}\n{stderr}");
    for name in named {
        assert!(stdout.contains(&format!("| {name} ")), "no row of {name}:\n{stdout}\n{stderr}");
    }
}

/// This process may use io_uring; a container may not.
fn ring() -> bool {
    proactor::backend().files == "io_uring"
}

fn servers() -> Vec<&'static str> {
    const ALL: [&str; 12] = [
        "plain-ring",
        "plain-epoll",
        "monoio",
        "tokio",
        "tokio-multi",
        "compio",
        "smol",
        "asio",
        "libuv",
        "shared",
        "async-local",
        "async-shared",
    ];
    let runs_here = |name: &&str| match *name {
        "plain-ring" | "monoio" | "compio" => ring(),
        "asio" => Path::new("/usr/include/asio.hpp").exists(),
        "libuv" => Path::new("/usr/include/uv.h").exists(),
        _ => true,
    };
    ALL.into_iter().filter(runs_here).collect()
}

const SHORT: &str = "--rounds 1 --seconds 0.05";

fn echo(args: &str) {
    let servers = servers();
    bench(&format!("echo {SHORT} --check-all --only {} {args}", servers.join(",")), &servers);
}

#[test]
fn every_server_echoes() {
    echo("--connections 10");
}

#[test]
fn every_server_echoes_many_small_messages_in_flight() {
    echo("--connections 3 --depth 64 --size 100");
}

#[test]
fn every_server_echoes_messages_larger_than_its_buffer() {
    echo("--connections 3 --size 70000 --buffer 4096");
}

/// More in flight than the sockets hold: every server meets a full socket, and must not lose or swap the rest.
#[test]
fn every_server_echoes_more_than_its_sockets_hold() {
    echo("--connections 2 --size 1000000 --depth 10");
}

#[test]
fn every_server_echoes_with_two_threads() {
    let servers: Vec<_> = servers().iter().map(|name| format!("{name}:2")).collect();
    let named: Vec<_> = servers.iter().map(String::as_str).collect();
    bench(&format!("echo {SHORT} --check-all --two-threads --only {}", servers.join(",")), &named);
}

#[test]
fn the_shared_port_echoes_by_get_and_with_slow_handlers() {
    bench(&format!("echo {SHORT} --check-all --batch 1 --only shared"), &["shared"]);
    bench(&format!("echo {SHORT} --slow --only shared:8:2"), &["shared:8:2"]);
}

#[test]
fn posts_arrive() {
    bench("post --rounds 1 --items 10000 --trips 500", &["crossbeam", "get", "get_many 16", "eventfd+epoll"]);
}

#[test]
fn hand_offs_arrive() {
    bench("handoff --rounds 1 --times 5 --busy-ms 4", &["epoll", "shared"]);
}

#[test]
fn files_are_read() {
    if ring() {
        bench(&format!("file {SHORT} --mib 4"), &["pread", "plain-ring", "shared", "shared-wait", "local-wait"]);
    }
}

#[test]
fn what_cannot_be_asked_is_refused() {
    for args in ["echo --only nobody", "echo --only shared:0", "file --only sideways", "echo --seconds 0"] {
        let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(args.split_whitespace()).output().expect("the bench starts");
        assert!(!output.status.success(), "bench {args} was taken");
    }
}
