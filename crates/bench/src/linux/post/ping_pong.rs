//! Ping-pong: two threads on one core wake each other in turn, so that a round trip is two posts, two switches of threads,
//! and nothing of what waking another core costs.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Barrier;
use std::time::Instant;

use super::{Measure, Port};
use crate::linux::sys::{Epoll, check};
use crate::linux::{cpu, wrong};

/// Who is measured.
pub const CONTENDERS: &[(&str, Measure)] = &[
    ("eventfd+epoll", |trips| measure(trips, [Events::new(false)?, Events::new(false)?])),
    ("eventfd+epoll, edge", |trips| measure(trips, [Events::new(true)?, Events::new(true)?])),
    ("crossbeam", |trips| measure(trips, [crossbeam_channel::unbounded(), crossbeam_channel::unbounded()])),
    ("get", |trips| measure(trips, [Port::new()?, Port::new()?])),
];

/// One direction.
trait Way: Sync {
    /// Wakes whoever takes.
    fn post(&self);
    /// Waits for a post.
    fn take(&self);
}

fn measure(trips: u64, ways: [impl Way; 2]) -> io::Result<f64> {
    let (core, _) = cpu::first_and_last();
    let [there, back] = &ways;
    let start = &Barrier::new(2);
    std::thread::scope(|scope| {
        let partner = scope.spawn(move || {
            cpu::pin(&[core])?;
            start.wait();
            (0..trips).for_each(|_| {
                there.take();
                back.post();
            });
            Ok::<_, io::Error>(())
        });
        let first = scope.spawn(move || {
            cpu::pin(&[core])?;
            start.wait();
            let begun = Instant::now();
            (0..trips).for_each(|_| {
                there.post();
                back.take();
            });
            Ok::<_, io::Error>(begun.elapsed())
        });
        let elapsed = first.join().map_err(|_| wrong("the first thread panicked"))??;
        partner.join().map_err(|_| wrong("the partner panicked"))??;
        Ok(elapsed.as_nanos() as f64 / trips as f64)
    })
}

impl Way for Port {
    fn post(&self) {
        Port::post(self, 0);
    }

    fn take(&self) {
        self.get();
    }
}

impl Way for (crossbeam_channel::Sender<usize>, crossbeam_channel::Receiver<usize>) {
    fn post(&self) {
        self.0.send(0).expect("both ends live");
    }

    fn take(&self) {
        self.1.recv().expect("both ends live");
    }
}

/// An eventfd in an epoll instance of its own.
struct Events {
    epoll: Epoll,
    event: OwnedFd,
    /// Edge-triggered: the count need not be read, because every write is an edge.
    edge: bool,
}

impl Events {
    fn new(edge: bool) -> io::Result<Events> {
        // SAFETY: the descriptor that comes back is nobody else's.
        let event = unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?) };
        let epoll = Epoll::new()?;
        epoll.add(event.as_raw_fd(), libc::EPOLLIN | if edge { libc::EPOLLET } else { 0 }, 0)?;
        Ok(Events { epoll, event, edge })
    }
}

impl Way for Events {
    fn post(&self) {
        // SAFETY: reads eight bytes.
        let wrote = unsafe { libc::write(self.event.as_raw_fd(), (&raw const ONE).cast(), 8) };
        assert_eq!(wrote, 8, "an eventfd takes a count while it is far below its limit");
    }

    fn take(&self) {
        let mut room = [libc::epoll_event { events: 0, u64: 0 }];
        while self.epoll.wait(&mut room, -1).expect("the instance is open").is_empty() {}
        if !self.edge {
            let mut count = 0u64;
            // SAFETY: writes eight bytes.
            let read = unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), 8) };
            assert_eq!(read, 8, "it was readable, and this thread alone reads it");
        }
    }
}

static ONE: u64 = 1;
