//! The end of processes, as an operation.

use std::io::Read;
use std::process::{Child, ChildStdin, Command, Stdio};

use proactor::process::Process;
use proactor::sync::{self, Event, Waited};
use proactor::{Code, Value};

use crate::common::*;

const ROLE: &str = "PROACTOR_CHILD_ENDS_WITH";

/// Not a test of its own: what the children of these tests run. One ends when its input does, with the status it was given.
#[test]
fn in_a_child_this_waits_for_the_end_of_its_input() {
    let Some(status) = std::env::var_os(ROLE) else { return };
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    std::process::exit(status.to_str().unwrap().parse().unwrap());
}

/// A child, and what keeps it alive.
fn child(status: i32) -> (Child, ChildStdin) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::in_a_child_this_waits_for_the_end_of_its_input", "--nocapture"]);
    command.env(ROLE, status.to_string()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let input = child.stdin.take().unwrap();
    (child, input)
}

#[test]
fn exited_completes_with_the_childs_status_and_leaves_it_to_be_waited_for() {
    let (mut child, input) = child(3);
    let process = somewhere(Process::of(&child).unwrap());
    let exited = pending(start(process.exited()));
    drop(input);
    let done = finish(exited).result.unwrap();
    assert_eq!(done.status.unwrap().code(), Some(3));
    // It may be asked again.
    assert_eq!(run(process.exited()).result.unwrap(), done);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    run(process.exited()).result.unwrap();
}

#[test]
fn a_process_that_is_killed_has_ended_too() {
    let (mut child, _input) = child(0);
    let process = somewhere(Process::of(&child).unwrap());
    let exited = start(process.exited());
    child.kill().unwrap();
    let status = finish(exited).result.unwrap().status.unwrap();
    assert!(!status.success());
    assert_eq!(status, child.wait().unwrap());
}

#[test]
fn the_end_of_a_process_is_a_packet_with_the_ports_key() {
    let port = port(1);
    let (mut child, input) = child(5);
    let process = port.home(Process::of(&child).unwrap(), 7);
    packet(process.exited(), block(1, 0));
    packet(process.exited(), block(2, 0));
    nothing(&port);
    drop(input);
    let mut tags = Vec::new();
    for _ in 0..2 {
        let packet = success(&port);
        let Value::Exited(exited) = packet.done.result.unwrap() else { panic!("it brings how the process ended") };
        assert_eq!((packet.key, exited.status.unwrap().code()), (7, Some(5)));
        tags.push(packet.block.unwrap().tag);
    }
    tags.sort_unstable();
    assert_eq!(tags, [1, 2]);
    child.wait().unwrap();
}

#[test]
fn waiting_for_a_process_is_cancelled() {
    let (mut child, input) = child(0);
    let port = port(1);
    let process = port.home(Process::of(&child).unwrap(), 7);
    let ticket = packet(process.exited(), block(1, 0));
    process.cancel(ticket).unwrap();
    assert_eq!(failure(&port).1, Code::Cancelled);
    assert_eq!(process.cancel(ticket).unwrap_err().code(), Code::NotFound);
    let process = somewhere(Process::of(&child).unwrap());
    let exited = pending(start(process.exited()));
    exited.cancel().unwrap();
    assert_eq!(code(&finish(exited)), Some(Code::Cancelled));
    let exited = start(process.exited());
    drop(process);
    assert_eq!(code(&finish(exited)), Some(Code::Cancelled));
    drop(input);
    child.wait().unwrap();
}

#[test]
fn a_process_is_waited_for_like_any_object() {
    let (mut child, input) = child(0);
    let process = Process::of(&child).unwrap();
    let event = Event::auto();
    assert_eq!(sync::wait_any(&[&process, &event], SHORT).unwrap(), Waited::TimedOut);
    event.set();
    assert_eq!(sync::wait_any(&[&process, &event], LONG).unwrap(), Waited::Signalled(1));
    drop(input);
    assert_eq!(sync::wait_one(&process, LONG).unwrap(), Waited::Signalled(0));
    // It stays signalled, its home is still to be said, and another handle sees the same.
    event.set();
    assert_eq!(sync::wait_all(&[&process, &event], LONG).unwrap(), Waited::Signalled(0));
    let port = port(1);
    assert_eq!(sync::wait_one(&process.clone(), LONG).unwrap(), Waited::Signalled(0));
    let process = port.home(process, 7);
    packet(process.exited(), block(1, 0));
    assert_eq!(success(&port).key, 7);
    child.wait().unwrap();
}

#[test]
fn a_process_is_opened_by_its_number() {
    let (mut child, input) = child(0);
    let process = somewhere(Process::open(child.id()).unwrap());
    let exited = pending(start(process.exited()));
    drop(input);
    finish(exited).result.unwrap();
    child.wait().unwrap();
    // No process has such a number, of any system.
    assert_eq!(Process::open(0x7fff_fffd).unwrap_err().code(), Code::InvalidParameter);
    assert_eq!(Process::open(0).unwrap_err().code(), Code::InvalidParameter);
}

#[test]
fn dropping_all_of_it_leaves_the_process_alone() {
    let (mut child, input) = child(6);
    let process = somewhere(Process::of(&child).unwrap());
    drop(start(process.exited()));
    drop(process);
    assert!(child.try_wait().unwrap().is_none());
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(6));
}
