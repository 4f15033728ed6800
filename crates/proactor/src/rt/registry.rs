//! The tasks of a port that are not over: so that none is left when it closes.

use std::sync::Arc;
use std::task::Waker;

use crate::shim::{Mutex, lock};

/// The end of the list of free seats.
const NONE: usize = usize::MAX;

enum Seat {
    /// With the next free one.
    Free(usize),
    /// Of a task that is being made.
    Reserved,
    Taken(Waker),
}

struct Seats {
    seats: Vec<Seat>,
    free: usize,
    live: usize,
    closed: bool,
}

/// Their wakers. A task leaves it when its future is dropped.
pub(super) struct Registry(Mutex<Seats>);

impl Registry {
    pub fn new() -> Arc<Registry> {
        Arc::new(Registry(Mutex::new(Seats { seats: Vec::new(), free: NONE, live: 0, closed: false })))
    }

    /// A seat for one more. None: the port is closing, and takes no more tasks.
    pub fn reserve(self: &Arc<Registry>) -> Option<Ticket> {
        let mut seats = lock(&self.0);
        if seats.closed {
            return None;
        }
        seats.live += 1;
        let index = seats.free;
        match seats.seats.get_mut(index) {
            Some(seat) => {
                if let Seat::Free(next) = std::mem::replace(seat, Seat::Reserved) {
                    seats.free = next;
                }
                Some(Ticket { registry: self.clone(), index })
            }
            None => {
                seats.seats.push(Seat::Reserved);
                Some(Ticket { registry: self.clone(), index: seats.seats.len() - 1 })
            }
        }
    }

    /// The task has been made. False: the registry closed meanwhile, and the task must not run.
    pub fn fill(&self, index: usize, waker: Waker) -> bool {
        let mut seats = lock(&self.0);
        if seats.closed {
            return false;
        }
        seats.seats[index] = Seat::Taken(waker);
        true
    }

    /// Takes no more tasks, and wakes those there are, so that whoever has them next can drop them.
    pub fn close(&self) {
        let taken: Vec<_> = {
            let mut seats = lock(&self.0);
            seats.closed = true;
            let taken = seats.seats.iter_mut().filter(|seat| matches!(seat, Seat::Taken(_)));
            taken.map(|seat| std::mem::replace(seat, Seat::Reserved)).collect()
        };
        for seat in taken {
            if let Seat::Taken(waker) = seat {
                waker.wake();
            }
        }
    }

    /// Whether every future has been dropped.
    pub fn is_empty(&self) -> bool {
        lock(&self.0).live == 0
    }

    fn leave(&self, index: usize) {
        let left = {
            let mut seats = lock(&self.0);
            let next = std::mem::replace(&mut seats.free, index);
            seats.live -= 1;
            std::mem::replace(&mut seats.seats[index], Seat::Free(next))
        };
        // Perhaps the last that knows of the task, whose memory goes with it.
        drop(left);
    }
}

/// A task's seat, given up when this is dropped: after its future.
pub(super) struct Ticket {
    registry: Arc<Registry>,
    pub index: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.registry.leave(self.index);
    }
}
