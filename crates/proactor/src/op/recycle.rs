//! Memory of blocks, kept per thread: starting an operation takes what an earlier one left.
//!
//! Contract: `take` gives uninitialized memory for a layout, `give` takes it back, on any thread. Each thread keeps at
//! most [`KEPT`] pieces of each of a few sizes; others go to the allocator. Built with `--cfg proactor_no_recycle`
//! everything does, so that the address sanitizer sees each use after its free.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::ptr::NonNull;

use super::block::{Header, free_shell};

const KEPT: usize = 64;
/// Sizes are rounded up to a multiple of this.
const STEP: usize = 64;
const CLASSES: usize = 16;
const ALIGN: usize = 16;

struct Shelves([Vec<NonNull<u8>>; CLASSES]);

/// Idle blocks without cargo, as they are.
struct Shells(Vec<NonNull<Header>>);

thread_local! {
    static SHELVES: RefCell<Shelves> = const { RefCell::new(Shelves([const { Vec::new() }; CLASSES])) };
    static SHELLS: RefCell<Shells> = const { RefCell::new(Shells(Vec::new())) };
}

/// The shelf for a layout, and what its pieces look like.
fn class(layout: Layout) -> Option<(usize, Layout)> {
    let class = layout.size().div_ceil(STEP);
    if cfg!(proactor_no_recycle) || layout.align() > ALIGN || class >= CLASSES {
        return None;
    }
    Some((class, Layout::from_size_align(class * STEP, ALIGN).ok()?))
}

pub(super) fn take(layout: Layout) -> NonNull<u8> {
    let (kept, layout) = match class(layout) {
        // A thread that is ending has no shelves any more.
        Some((class, layout)) => (SHELVES.try_with(|shelves| shelves.borrow_mut().0[class].pop()).ok().flatten(), layout),
        None => (None, layout),
    };
    kept.unwrap_or_else(|| {
        // SAFETY: a block's layout has a size: it begins with a header.
        let fresh = unsafe { alloc(layout) };
        NonNull::new(fresh).unwrap_or_else(|| handle_alloc_error(layout))
    })
}

/// # Safety
/// `memory` came from `take` with this layout and is given back once.
pub(super) unsafe fn give(memory: NonNull<u8>, layout: Layout) {
    let layout = match class(layout) {
        Some((class, layout)) => {
            let kept = SHELVES.try_with(|shelves| {
                let shelf = &mut shelves.borrow_mut().0[class];
                let room = shelf.len() < KEPT;
                if room {
                    shelf.push(memory);
                }
                room
            });
            if kept == Ok(true) {
                return;
            }
            layout
        }
        None => layout,
    };
    // SAFETY: `take` allocated it with this layout.
    unsafe { dealloc(memory.as_ptr(), layout) }
}

/// An idle block without cargo, if one is kept.
pub(super) fn take_shell() -> Option<NonNull<Header>> {
    SHELLS.try_with(|shells| shells.borrow_mut().0.pop()).ok().flatten()
}

/// Keeps an idle block without cargo; false if it is the caller's to free.
pub(super) fn give_shell(shell: NonNull<Header>) -> bool {
    !cfg!(proactor_no_recycle)
        && SHELLS
            .try_with(|shells| {
                let shells = &mut shells.borrow_mut().0;
                let room = shells.len() < KEPT;
                if room {
                    shells.push(shell);
                }
                room
            })
            .unwrap_or(false)
}

impl Drop for Shells {
    fn drop(&mut self) {
        for shell in self.0.drain(..) {
            // SAFETY: an idle block without cargo, kept here alone.
            unsafe { free_shell(shell) }
        }
    }
}

impl Drop for Shelves {
    fn drop(&mut self) {
        for (class, shelf) in self.0.iter_mut().enumerate() {
            for memory in shelf.drain(..) {
                if let Ok(layout) = Layout::from_size_align(class * STEP, ALIGN) {
                    // SAFETY: pieces of this shelf were allocated with this layout.
                    unsafe { dealloc(memory.as_ptr(), layout) }
                }
            }
        }
    }
}

/// Has the processor fetch the cache line of an address, whatever is there. Where there is no way to ask it does nothing.
#[inline]
pub(super) fn prefetch(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a hint, which reads nothing the program could see and cannot fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    #[cfg(any(not(target_arch = "x86_64"), miri))]
    let _ = address;
}
