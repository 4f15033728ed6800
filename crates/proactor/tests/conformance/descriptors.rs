//! Readiness of any pollable descriptor, as operations.

use std::fs::File;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use proactor::Code;
use proactor::watch::Descriptor;

use crate::common::*;

fn owned(fd: libc::c_int) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: a new descriptor, nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn watched(fd: impl Into<OwnedFd>) -> AtHome<Descriptor> {
    somewhere(Descriptor::from_owned(fd).unwrap())
}

/// The reading end of a pipe and its writer.
fn pipe() -> (AtHome<Descriptor>, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (watched(reader), writer)
}

/// Reads with the user's own call what is there.
fn read(fd: &impl AsRawFd, buf: &mut [u8]) -> isize {
    // SAFETY: the buffer is writable for its length.
    unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) }
}

#[test]
fn readable_completes_with_data_and_takes_nothing() {
    let (reader, mut writer) = pipe();
    for round in 0..3_u8 {
        let readable = pending(start(reader.readable()));
        writer.write_all(&[round; 3]).unwrap();
        finish(readable).result.unwrap();
        run(reader.readable()).result.unwrap();
        let mut buf = [0; 8];
        assert_eq!((read(&reader, &mut buf), &buf[..3]), (3, &[round; 3][..]));
    }
}

#[test]
fn readable_completes_when_the_other_end_goes() {
    let (reader, writer) = pipe();
    let readable = pending(start(reader.readable()));
    drop(writer);
    finish(readable).result.unwrap();
    run(reader.readable()).result.unwrap();
    assert_eq!(read(&reader, &mut [0; 8]), 0);
}

#[test]
fn writable_completes_with_room_and_when_nobody_reads() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    // SAFETY: a flag of an open descriptor.
    unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    let mut filler = File::from(OwnedFd::from(writer.try_clone().unwrap()));
    let writer = watched(writer);
    run(writer.writable()).result.unwrap();
    let mut filled = 0;
    while let Ok(n) = filler.write(&[0; 65_536]) {
        filled += n;
    }
    let writable = pending(start(writer.writable()));
    reader.read_exact(&mut vec![0; filled]).unwrap();
    finish(writable).result.unwrap();
    while filler.write(&[0; 65_536]).is_ok() {}
    let writable = pending(start(writer.writable()));
    drop(reader);
    finish(writable).result.unwrap();
}

#[test]
fn the_two_directions_do_not_wait_for_one_another() {
    let (ours, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let ours = watched(ours);
    let readable = pending(start(ours.readable()));
    run(ours.writable()).result.unwrap();
    peer.write_all(b"x").unwrap();
    finish(readable).result.unwrap();
}

#[test]
fn events_timers_and_directory_watches_are_ready_when_they_have_something() {
    // SAFETY: plain numbers.
    let event = watched(owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }));
    let readable = pending(start(event.readable()));
    let one = 1_u64;
    // SAFETY: eight readable bytes.
    assert_eq!(unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), 8) }, 8);
    finish(readable).result.unwrap();

    // SAFETY: plain numbers.
    let timer = watched(owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) }));
    let readable = pending(start(timer.readable()));
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    let time = libc::itimerspec { it_value: soon, it_interval: soon };
    // SAFETY: the time is readable for the call.
    assert_eq!(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const time, std::ptr::null_mut()) }, 0);
    finish(readable).result.unwrap();
    for _ in 0..3 {
        assert_eq!(read(&timer, &mut [0; 8]), 8);
        run(timer.readable()).result.unwrap();
    }

    let scratch = Scratch::new("watched");
    let directory = std::ffi::CString::new(scratch.0.parent().unwrap().to_str().unwrap()).unwrap();
    // SAFETY: plain numbers, and a path.
    let watch = unsafe {
        let watch = owned(libc::inotify_init1(libc::IN_CLOEXEC));
        assert!(libc::inotify_add_watch(watch.as_raw_fd(), directory.as_ptr(), libc::IN_CREATE) >= 0);
        watched(watch)
    };
    let readable = start(watch.readable());
    std::fs::write(&scratch.0, b"").unwrap();
    finish(readable).result.unwrap();
}

#[test]
fn readiness_is_a_packet_with_the_ports_key() {
    let port = port(1);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reader = port.home(Descriptor::from_owned(reader).unwrap(), 7);
    let ticket = packet(reader.readable(), block(1, 0));
    packet(reader.readable(), block(2, 0));
    nothing(&port);
    reader.cancel(ticket).unwrap();
    let (first, code) = failure(&port);
    assert_eq!((code, first.block.unwrap().tag), (Code::Cancelled, 1));
    writer.write_all(b"x").unwrap();
    let second = success(&port);
    assert_eq!((second.key, second.done.bytes, second.block.unwrap().tag), (7, 0, 2));
}

#[test]
fn the_last_handles_drop_cancels_what_waits() {
    let (reader, writer) = pipe();
    let readable = pending(start(reader.readable()));
    drop(reader);
    assert_eq!(code(&finish(readable)), Some(Code::Cancelled));
    let mut writer = writer;
    until("the descriptor is closed", || writer.write_all(b"x").is_err());
}

#[test]
fn what_is_always_ready_is_refused_and_given_back() {
    let scratch = Scratch::new("regular");
    let file = File::create(&scratch.0).unwrap();
    let number = file.as_raw_fd();
    let refused = Descriptor::from_owned(file).unwrap_err();
    assert_eq!((refused.error.code(), refused.back.as_raw_fd()), (Code::NotSupported, number));
    assert!(refused.error.to_string().contains("fs::File"), "it says where to go: {}", refused.error);
    assert_eq!(refused.error.raw_os_error(), Some(libc::EPERM));
}

#[test]
fn the_descriptor_comes_back_as_it_was() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: a flag of an open descriptor.
    let flags = |fd: &OwnedFd| unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: as above.
    unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    let port = port(1);
    let reader = port.home(Descriptor::from_owned(reader).unwrap(), 7);
    packet(reader.readable(), block(1, 0));
    nothing(&port);
    let refused = reader.into_fd().unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    let reader = refused.back;
    writer.write_all(b"x").unwrap();
    success(&port);
    let fd = reader.into_fd().unwrap();
    assert_ne!(flags(&fd) & libc::O_NONBLOCK, 0);
    assert_eq!(read(&fd, &mut [0; 8]), 1);
    // It is nobody's now: another object may have it.
    drop(port);
    let again = watched(fd);
    let readable = pending(start(again.readable()));
    writer.write_all(b"x").unwrap();
    finish(readable).result.unwrap();
}
