//! Slots for the port's sockets: stable addresses, found by index without a lock, never freed while the port lives.
//!
//! An epoll event carries index and generation. Memory safety does not hang on the generation: a slot is always there,
//! and an event for a former tenant is at worst a needless system call.

use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::lane::Slot;

/// Chunk `c` holds `FIRST << c` slots.
const FIRST: usize = 64;
const CHUNKS: usize = 22;

pub(super) struct Slab {
    chunks: [AtomicPtr<Slot>; CHUNKS],
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: Vec<u32>,
    made: u32,
}

impl Slab {
    pub fn new() -> Slab {
        Slab { chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS], state: Mutex::default() }
    }

    fn place(index: u32) -> (usize, usize) {
        let n = index as usize / FIRST + 1;
        let chunk = n.ilog2() as usize;
        (chunk, index as usize - FIRST * ((1 << chunk) - 1))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The slot of an index that was handed out once.
    pub fn get(&self, index: u32) -> Option<&Slot> {
        let (chunk, at) = Slab::place(index);
        let slots = self.chunks.get(chunk)?.load(Ordering::Acquire);
        // SAFETY: a chunk, once published, stays until the slab is dropped, and `place` lies within it.
        (!slots.is_null()).then(|| unsafe { &*slots.add(at) })
    }

    /// A free slot; `None` after 268 million.
    pub fn take(&self) -> Option<&Slot> {
        let mut state = self.state();
        let index = match state.free.pop() {
            Some(index) => index,
            None => {
                let index = state.made;
                let (chunk, at) = Slab::place(index);
                if at == 0 {
                    let slots: Box<[Slot]> = (0..FIRST << chunk).map(|n| Slot::new(index + n as u32)).collect();
                    self.chunks.get(chunk)?.store(Box::leak(slots).as_mut_ptr(), Ordering::Release);
                }
                state.made += 1;
                index
            }
        };
        self.get(index)
    }

    /// Takes a slot back whose lanes are closed.
    pub fn give_back(&self, index: u32) {
        self.state().free.push(index);
    }

    /// Every slot handed out so far, free ones too.
    pub fn each(&self) -> impl Iterator<Item = &Slot> {
        let made = self.state().made;
        (0..made).filter_map(|index| self.get(index))
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        for (chunk, slots) in self.chunks.iter_mut().enumerate() {
            let slots = *slots.get_mut();
            if !slots.is_null() {
                // SAFETY: leaked by `take` as a boxed slice of this length; nobody borrows from a slab being dropped.
                drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(slots, FIRST << chunk)) });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_its_own_place() {
        let mut last = (0, 0);
        for index in 1..100_000 {
            let place = Slab::place(index);
            let next = if last.1 + 1 < FIRST << last.0 { (last.0, last.1 + 1) } else { (last.0 + 1, 0) };
            assert_eq!(place, next, "index {index}");
            last = place;
        }
    }
}
