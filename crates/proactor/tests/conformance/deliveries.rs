//! For what comes by every delivery: an operation without a buffer, run by the one that is named.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proactor::sync::{Waited, alertable};
use proactor::{Brings, Error, NoBuffer, Operation};

use crate::common::*;

/// The deliveries there are, by the last word of a line.
pub const DELIVERIES: [&str; 6] = ["wait", "start", "packet", "routine", "then", "await"];

/// Runs the port until the other side of a handler has its value.
#[track_caller]
pub fn until_there<T>(port: &Port, place: &Mutex<Option<T>>) -> T {
    let end = std::time::Instant::now() + LONG;
    loop {
        if let Some(value) = place.lock().unwrap().take() {
            return value;
        }
        assert!(std::time::Instant::now() < end, "a handler was due");
        let outcome = port.get(Duration::from_millis(1)).unwrap();
        assert!(outcome.packet().is_none(), "no packet was due");
    }
}

/// Waits alertably until a routine of this thread has left its value.
#[track_caller]
pub fn until_run<T>(place: &Cell<Option<T>>) -> T {
    let end = std::time::Instant::now() + LONG;
    loop {
        if let Some(value) = place.take() {
            return value;
        }
        assert_ne!(alertable::sleep(end), Ok(Waited::TimedOut), "a routine was due");
    }
}

/// What the operation brings by this delivery. Its object lives on the port.
#[track_caller]
pub fn by<T: Brings + Send + 'static>(
    delivery: &str,
    port: &Port,
    operation: Operation<'_, NoBuffer, T, Here>,
) -> Result<T, Error> {
    match delivery {
        "wait" => operation.wait().result,
        "start" => run(operation).result,
        "packet" => {
            packet(operation, block(1, 0));
            take(port).done.result.map(|value| T::from_value(value).expect("a packet has what the operation brings"))
        }
        "routine" => {
            let place = Rc::new(Cell::new(None));
            let own = place.clone();
            operation.routine(move |done| own.set(Some(done.result))).unwrap();
            until_run(&place)
        }
        "then" => {
            let place = Arc::new(Mutex::new(None));
            let own = place.clone();
            operation.then(move |done| *own.lock().unwrap() = Some(done.result)).unwrap();
            until_there(port, &place)
        }
        "await" => block_on_port(port, async { operation.await }).result,
        other => panic!("{other}"),
    }
}
