//! A thread's habits in `get`: how soon it leaves a busy queue for the poll, and whether it looks at an empty one a little
//! longer before it sleeps.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A busy queue is left for the poll once in a while, so that I/O does not starve behind posts: after so many turns
/// without a poll, the clock is started; after so many more it is looked at.
const TURNS: u32 = 16;
/// And polled this long after, at the soonest: with less, packets that take no time would be outweighed by the polls.
const BUSY: Duration = Duration::from_micros(20);

/// Doublings of the pause between two looks at an empty queue, before the thread sleeps: together a microsecond or two,
/// which is what going to sleep and being woken cost at least.
const LOOKS: u32 = 7;
/// After a wait that was in vain so many chances are let pass, and twice as many after each further one.
const MOST_SKIPPED: u32 = 1024;

pub(super) struct Pace {
    turns: Cell<u32>,
    busy_since: Cell<Option<Instant>>,
    /// Chances to wait that are let pass after the next failure, and now.
    penalty: Cell<u32>,
    skip: Cell<u32>,
}

thread_local! {
    static PACE: Pace =
        const { Pace { turns: Cell::new(0), busy_since: Cell::new(None), penalty: Cell::new(1), skip: Cell::new(0) } };
}

/// A turn: whether the poll is due before the queue.
#[inline]
pub(super) fn is_poll_due() -> bool {
    PACE.with(|pace| {
        let turns = pace.turns.get() + 1;
        pace.turns.set(turns);
        turns >= TURNS && pace.is_late()
    })
}

/// The thread polled.
#[inline]
pub(super) fn polled() {
    PACE.with(|pace| {
        pace.turns.set(0);
        pace.busy_since.set(None);
    });
}

/// Looks at an empty queue a little longer, if that was of use lately: a post from a busy thread is then taken without a
/// sleep and a wake. Whether `is_there`.
pub(super) fn linger(is_there: impl Fn() -> bool) -> bool {
    PACE.with(|pace| {
        let skip = pace.skip.get();
        if skip > 0 {
            pace.skip.set(skip - 1);
            return false;
        }
        for look in 0..LOOKS {
            (0..1 << look).for_each(|_| std::hint::spin_loop());
            if is_there() {
                pace.penalty.set(1);
                return true;
            }
        }
        let penalty = pace.penalty.get();
        pace.skip.set(penalty);
        pace.penalty.set((penalty * 2).min(MOST_SKIPPED));
        false
    })
}

impl Pace {
    #[cold]
    fn is_late(&self) -> bool {
        self.turns.set(0);
        let now = Instant::now();
        match self.busy_since.get() {
            Some(since) => now.duration_since(since) >= BUSY,
            None => {
                self.busy_since.set(Some(now));
                false
            }
        }
    }
}
