//! The client on edge-triggered epoll: each connection is registered once; a receive that does not fill the buffer ends its
//! turn; what does not fit the socket waits for an edge. Bytes that are not compared are not copied either.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use super::{Conn, Load, Measured, RECEIVE, SILENCE, Watch, closed, silent};
use crate::linux::sys::{self, Epoll, Moved};

/// Runs the load until the watch says so.
pub fn drive(load: &Load, mut conns: Vec<Conn>, mut watch: Watch) -> io::Result<Measured> {
    let epoll = Epoll::new()?;
    for (n, conn) in conns.iter_mut().enumerate() {
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        epoll.add(conn.stream.as_raw_fd(), events, n as u64)?;
        conn.sent_at.fill(Instant::now());
        send(conn, load)?;
    }
    let mut buf = vec![0; RECEIVE];
    let mut room = sys::event_room(256);
    loop {
        let events = epoll.wait(&mut room, SILENCE.as_millis() as i32)?;
        let Some(first) = events.first() else { return Err(silent()) };
        let mut now = turn(&mut conns[first.u64 as usize], load, &mut buf, &mut watch)?;
        for event in &events[1..] {
            now = turn(&mut conns[event.u64 as usize], load, &mut buf, &mut watch)?;
        }
        if watch.is_over(now)? {
            return watch.end();
        }
    }
}

/// Receives what there is and sends as much again; the time it was when it had received.
#[inline]
fn turn(conn: &mut Conn, load: &Load, buf: &mut [u8], watch: &mut Watch) -> io::Result<Instant> {
    let fd = conn.stream.as_raw_fd();
    send(conn, load)?;
    loop {
        let compares = conn.compares(load);
        let received = if compares { sys::recv(fd, buf) } else { sys::discard(fd, buf.len()) };
        let now = Instant::now();
        let got = match received {
            Moved::Bytes(0) => return Err(closed()),
            Moved::Bytes(got) => got,
            Moved::Later => return Ok(now),
            Moved::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
        };
        conn.received(load, got, compares.then_some(&buf[..got]), now, watch)?;
        send(conn, load)?;
        if got < buf.len() {
            return Ok(now);
        }
    }
}

/// Sends what fits; the rest waits for an edge.
#[inline]
fn send(conn: &mut Conn, load: &Load) -> io::Result<()> {
    if conn.unsent == 0 {
        return Ok(());
    }
    match sys::send(conn.stream.as_raw_fd(), conn.to_send(load)) {
        Moved::Bytes(sent) => conn.sent(sent),
        Moved::Later => {}
        Moved::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
    }
    Ok(())
}
