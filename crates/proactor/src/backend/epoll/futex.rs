//! Waiting for a word to change, and what the models have instead of the system call.

#[cfg(not(loom))]
use crate::{shim::AtomicU32, time::Wait};

/// Sleeps while `word` is `seen`, until woken or until `wait` ends. May return for no reason.
#[cfg(not(loom))]
pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, wait: Wait) {
    let left = wait.left().map(super::sys::timespec);
    let timeout = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the timespec are readable for the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, seen, timeout) };
}

#[cfg(not(loom))]
fn wake(word: *const AtomicU32, most: i32) {
    // SAFETY: the kernel only uses the address as a name; the word may be gone.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, most) };
}

#[cfg(not(loom))]
pub(crate) fn futex_wake_one(word: *const AtomicU32) {
    wake(word, 1);
}

/// By address alone: the word may be gone.
#[cfg(not(loom))]
pub(crate) fn futex_wake_all(word: *const AtomicU32) {
    wake(word, i32::MAX);
}

#[cfg(loom)]
pub(crate) use modelled::{futex_wait, futex_wake_all, futex_wake_one};

/// The models' futex: a wait really sleeps, so a wake that never comes is a deadlock that loom reports.
///
/// All threads of a model run on one thread of the system, so its thread-local list is theirs alone, and nothing
/// interrupts a step on it. The sleeper lists itself before it looks at the word, the waker looks at the list after it
/// wrote the word; the fences are those of the kernel's hash bucket. Not by loom's `park`: the token of an `unpark` that
/// found nobody parked is left over, and loom's condition variables take it for their own.
#[cfg(loom)]
mod modelled {
    use std::cell::RefCell;

    use loom::sync::Condvar;

    use crate::shim::{Arc, AtomicU32, Mutex, Ordering, fence, lock};
    use crate::time::Wait;

    struct Sleeper {
        word: usize,
        woken: Mutex<bool>,
        wake: Condvar,
    }

    thread_local! {
        static SLEEPERS: RefCell<Vec<Arc<Sleeper>>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, wait: Wait) {
        assert!(wait == Wait::Forever, "a model's wait is for ever or does not wait: it has no clock");
        let me = Arc::new(Sleeper { word: std::ptr::from_ref(word).addr(), woken: Mutex::new(false), wake: Condvar::new() });
        SLEEPERS.with_borrow_mut(|all| all.push(me.clone()));
        fence(Ordering::SeqCst);
        if word.load(Ordering::SeqCst) != seen {
            let mine = SLEEPERS.with_borrow_mut(|all| {
                let at = all.iter().position(|sleeper| Arc::ptr_eq(sleeper, &me))?;
                Some(all.remove(at))
            });
            drop(mine);
            return;
        }
        let mut woken = lock(&me.woken);
        while !*woken {
            woken = me.wake.wait(woken).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn wake(word: *const AtomicU32, most: usize) {
        fence(Ordering::SeqCst);
        for _ in 0..most {
            let next = SLEEPERS.with_borrow_mut(|all| {
                let at = all.iter().position(|sleeper| sleeper.word == word.addr())?;
                Some(all.remove(at))
            });
            let Some(sleeper) = next else { break };
            *lock(&sleeper.woken) = true;
            sleeper.wake.notify_one();
        }
    }

    pub(crate) fn futex_wake_one(word: *const AtomicU32) {
        wake(word, 1);
    }

    pub(crate) fn futex_wake_all(word: *const AtomicU32) {
        wake(word, usize::MAX);
    }
}
