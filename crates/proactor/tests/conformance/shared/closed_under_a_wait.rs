//! A port is closed while threads wait in it.

use proactor::{Code, Outcome};

use crate::common::*;

#[test]
fn closing_the_port_abandons_every_waiter() {
    for limit in [1, 2, 8] {
        let port = port(limit);
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let port = port.clone();
                let waiter = worker(move || matches!(port.get(LONG), Ok(Outcome::Abandoned)));
                waiter.asleep();
                waiter
            })
            .collect();
        port.close();
        assert!(port.is_closed());
        assert!(waiters.into_iter().all(Worker::join), "limit {limit}: a waiter was not told");
    }
}

#[test]
fn a_port_closed_during_the_wait_is_abandoned_and_before_it_is_error_6() {
    let port = port(1);
    let waiting = worker({
        let port = port.clone();
        move || matches!(port.get(None), Ok(Outcome::Abandoned))
    });
    waiting.asleep();
    port.close();
    assert!(waiting.join());
    let error = port.get(None).unwrap_err();
    assert_eq!((error.code(), error.code().win32()), (Code::InvalidHandle, 6));
}

#[test]
fn a_port_closed_during_the_wait_is_error_735() {
    let port = port(1);
    let waiting = worker({
        let port = port.clone();
        move || port.get_many(&mut Batch::with_capacity(4), LONG).unwrap_err().code()
    });
    waiting.asleep();
    port.close();
    let code = waiting.join();
    assert_eq!((code, code.win32()), (Code::Abandoned, 735));
}
