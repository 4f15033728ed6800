//! The threads that ask the system: as many as there are questions, up to the most; those with nothing to do go after a while.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::query::Query;
use crate::deliver::unharmed;
use crate::error::Error;

/// How long a thread stays with nothing to do.
const IDLE: Duration = Duration::from_secs(5);

pub(super) struct Crew(Arc<Shared>);

struct Shared {
    most: usize,
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Query>>,
    threads: usize,
    idle: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crew {
    pub fn new(most: usize) -> Crew {
        Crew(Arc::new(Shared { most, state: Mutex::default(), asked: Condvar::new() }))
    }

    /// Takes a question. An error if there is no thread to ask it and none to be had.
    pub fn take(&self, query: Arc<Query>) -> Result<(), Error> {
        let mut state = self.0.lock();
        if state.idle <= state.queue.len() && state.threads < self.0.most {
            let shared = self.0.clone();
            match std::thread::Builder::new().name("proactor-resolve".into()).spawn(move || work(&shared)) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => return Err(Error::from_io(&error)),
                Err(_) => {}
            }
        }
        state.queue.push_back(query);
        drop(state);
        self.0.asked.notify_one();
        Ok(())
    }

    /// The question's operation is over. If it waits for its turn still, it does so no longer.
    pub fn forget(&self, query: &Query) {
        let forgotten = {
            let mut state = self.0.lock();
            let at = state.queue.iter().position(|other| std::ptr::eq(Arc::as_ptr(other), query));
            at.and_then(|at| state.queue.remove(at))
        };
        drop(forgotten);
    }
}

fn work(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if let Some(query) = state.queue.pop_front() {
            drop(state);
            unharmed(|| query.answer());
            drop(query);
            state = shared.lock();
            continue;
        }
        state.idle += 1;
        let timed_out;
        (state, timed_out) = match shared.asked.wait_timeout(state, IDLE) {
            Ok((state, end)) => (state, end.timed_out()),
            Err(poisoned) => {
                let (state, end) = poisoned.into_inner();
                (state, end.timed_out())
            }
        };
        state.idle -= 1;
        if timed_out && state.queue.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}
