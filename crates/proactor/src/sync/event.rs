//! Events, manual and auto reset.
//!
//! | atomic | partner |
//! |---|---|
//! | `state` store SET, fence, `waiting` load | `waiting` fetch_add, the futex's own look at `state`: one of the two sees the other |

use std::sync::Arc;

use crate::backend;
use crate::shim::{AtomicU32, Ordering, fence};
use crate::time::Wait;

const UNSET: u32 = 0;
const SET: u32 = 1;

/// An event (`CreateEvent`): signalled or not, waited for by any threads. Cloning shares it.
///
/// A manual-reset event stays signalled until [`reset`](Event::reset); an auto-reset one releases one waiter per
/// signal.
///
/// ```
/// use std::time::Duration;
/// use proactor::sync::Event;
/// let event = Event::auto();
/// event.set();
/// assert!(event.wait_timeout(Duration::from_secs(1)));
/// assert!(!event.wait_timeout(Duration::ZERO));
/// ```
#[derive(Clone)]
pub struct Event {
    shared: Arc<Shared>,
}

struct Shared {
    state: AtomicU32,
    waiting: AtomicU32,
    auto: bool,
}

impl Event {
    /// A manual-reset event, not signalled.
    pub fn manual() -> Event {
        Event::new(false)
    }

    /// An auto-reset event, not signalled.
    pub fn auto() -> Event {
        Event::new(true)
    }

    fn new(auto: bool) -> Event {
        Event { shared: Arc::new(Shared { state: AtomicU32::new(UNSET), waiting: AtomicU32::new(0), auto }) }
    }

    /// Signals it (`SetEvent`).
    pub fn set(&self) {
        self.shared.state.store(SET, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.shared.waiting.load(Ordering::SeqCst) > 0 {
            if self.shared.auto {
                backend::futex_wake_one(&self.shared.state);
            } else {
                backend::futex_wake_all(&self.shared.state);
            }
        }
    }

    /// Takes the signal back (`ResetEvent`).
    pub fn reset(&self) {
        self.shared.state.store(UNSET, Ordering::SeqCst);
    }

    /// Waits until it is signalled; an auto-reset event is unsignalled by that. A worker of a port that waits here
    /// releases another.
    pub fn wait(&self) {
        self.wait_timeout(Wait::Forever);
    }

    /// Waits until it is signalled or `wait` ends; whether it was signalled.
    pub fn wait_timeout(&self, wait: impl Into<Wait>) -> bool {
        let wait = wait.into();
        if self.take() {
            return true;
        }
        if wait.is_poll() {
            return false;
        }
        backend::while_blocked(|| {
            self.shared.waiting.fetch_add(1, Ordering::SeqCst);
            let taken = loop {
                if self.take() {
                    break true;
                }
                if wait.is_over() {
                    break false;
                }
                backend::futex_wait(&self.shared.state, UNSET, wait);
            };
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            taken
        })
    }

    fn take(&self) -> bool {
        if self.shared.auto {
            self.shared.state.compare_exchange(SET, UNSET, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        } else {
            self.shared.state.load(Ordering::SeqCst) == SET
        }
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event").field("auto", &self.shared.auto).finish_non_exhaustive()
    }
}
