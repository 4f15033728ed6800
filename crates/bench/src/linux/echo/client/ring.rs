//! The client on io_uring: multishot receives into provided buffers, sends straight from the pattern's table, one system
//! call for a whole batch. One send is in flight on a connection at a time, because two could interleave.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::{Conn, Load, Measured, SILENCE, Watch, closed, silent};
use crate::linux::buffers::Buffers;

const GROUP: u16 = 0;
const BUFFERS: u16 = 512;
const BUFFER: u32 = 4096;

/// In the user data of a send, above the connection's number.
const SEND: u64 = 1 << 32;

struct Client<'l> {
    load: &'l Load,
    conns: Vec<Conn>,
    /// By connection: bytes of the send in flight.
    flying: Vec<usize>,
    buffers: Buffers,
    /// To be submitted.
    next: Vec<squeue::Entry>,
    watch: Watch,
}

/// Runs the load until the watch says so.
pub fn drive(load: &Load, conns: Vec<Conn>, watch: Watch) -> io::Result<Measured> {
    let mut ring: IoUring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().setup_cqsize(8192).build(1024)?;
    let buffers = Buffers::register(&ring.submitter(), GROUP, BUFFERS, BUFFER)?;
    let flying = vec![0; conns.len()];
    let mut client = Client { load, conns, flying, buffers, next: Vec::new(), watch };
    let ended = client.run(&mut ring);
    // Closing a ring does not wait for what is in it: the receives end before the buffers they could write to are freed.
    match ring.submitter().register_sync_cancel(Some(SILENCE.into()), types::CancelBuilder::any()) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
            std::mem::forget(client);
            return Err(error);
        }
        _ => drop(ring),
    }
    ended?;
    client.watch.end()
}

impl Client<'_> {
    fn run(&mut self, ring: &mut IoUring) -> io::Result<()> {
        for n in 0..self.conns.len() {
            self.conns[n].sent_at.fill(Instant::now());
            self.receive(n);
            self.send(n);
        }
        let patience = types::Timespec::from(SILENCE);
        loop {
            for entry in self.next.drain(..) {
                // SAFETY: sends read the pattern's table, which outlives the ring; receives name buffers of the group.
                while unsafe { ring.submission().push(&entry) }.is_err() {
                    ring.submit()?;
                }
            }
            match ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&patience)) {
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::ETIME) => return Err(silent()),
                    Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => {}
                    _ => return Err(error),
                },
            }
            let now = Instant::now();
            ring.completion().try_for_each(|entry| self.complete(&entry, now))?;
            self.buffers.publish();
            if self.watch.is_over(now)? {
                return Ok(());
            }
        }
    }

    #[inline]
    fn complete(&mut self, entry: &cqueue::Entry, now: Instant) -> io::Result<()> {
        let n = (entry.user_data() & (SEND - 1)) as usize;
        if entry.user_data() & SEND != 0 {
            self.flying[n] = 0;
            match entry.result() {
                sent @ 0.. => self.conns[n].sent(sent as usize),
                errno => return Err(io::Error::from_raw_os_error(-errno)),
            }
        } else {
            let flags = entry.flags();
            match (entry.result(), cqueue::buffer_select(flags)) {
                (0, _) => return Err(closed()),
                (got @ 1.., Some(id)) => {
                    let conn = &mut self.conns[n];
                    let bytes = conn.compares(self.load).then(|| self.buffers.received(id, got as usize));
                    conn.received(self.load, got as usize, bytes, now, &mut self.watch)?;
                    self.buffers.give(id);
                }
                (errno, _) if errno != -libc::ENOBUFS => return Err(io::Error::from_raw_os_error(-errno)),
                _ => {}
            }
            if !cqueue::more(flags) {
                self.receive(n);
            }
        }
        self.send(n);
        Ok(())
    }

    fn receive(&mut self, n: usize) {
        let fd = types::Fd(self.conns[n].stream.as_raw_fd());
        self.next.push(opcode::RecvMulti::new(fd, GROUP).build().user_data(n as u64));
    }

    /// Sends what is to be sent, unless a send is in flight; its completion comes back here.
    #[inline]
    fn send(&mut self, n: usize) {
        let conn = &self.conns[n];
        if conn.unsent == 0 || self.flying[n] > 0 {
            return;
        }
        let bytes = conn.to_send(self.load);
        self.flying[n] = bytes.len();
        let send = opcode::Send::new(types::Fd(conn.stream.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32);
        self.next.push(send.flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL).build().user_data(SEND | n as u64));
    }
}
