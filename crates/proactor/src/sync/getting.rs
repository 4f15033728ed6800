//! A port's get, alertable.

use std::sync::Arc;

use super::current::ThreadState;
use super::record::{Claim, Record};
use crate::backend::{Alert, Got};
use crate::error::Error;

/// The thread listens for APCs while this is held.
struct Listening<'a> {
    state: &'a ThreadState,
    record: Arc<Record>,
    before: Option<Arc<Record>>,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.state.apcs.not_alertable(self.before.take());
        self.record.claim(Claim::TimedOut);
        self.record.end();
    }
}

/// Gets by `get`, which ends when its alert is up; then runs what is queued: `Alerted` says that APCs have run.
pub(crate) fn get(mut get: impl FnMut(&Alert<'_>) -> Result<Got, Error>) -> Result<Got, Error> {
    let state = ThreadState::current();
    loop {
        let alarm = state.alarm()?;
        let got = {
            let record = state.record();
            record.begin(Some(alarm));
            let before = state.apcs.alertable(&record);
            let listening = Listening { state: &state, record, before };
            get(&Alert { alarm: Some(alarm), is_up: &|| listening.record.is_claimed() })?
        };
        // What was queued may have been taken back meanwhile.
        if got != Got::Alerted || state.drain() {
            return Ok(got);
        }
    }
}
