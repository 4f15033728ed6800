//! Asio's timers: one expiry, many waits. Those of the clock that cannot be set, and of the one that can.

use std::time::{Duration, Instant, SystemTime};

use proactor::time::{SteadyTimer, SystemTimer, Timers};
use proactor::{Code, OpKind};

use crate::common::*;
use crate::deliveries::{DELIVERIES, by};

const FAR: Duration = Duration::from_secs(3600);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_wait_is_over_at_the_expiry_and_never_early_by_every_delivery() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let timer = SteadyTimer::new(&timers);
    for delivery in DELIVERIES {
        let due = Instant::now() + ms(3);
        assert_eq!(timer.expires_at(due), 0);
        by(delivery, &port, timer.wait()).unwrap();
        assert!(Instant::now() >= due, "{delivery}: early");
        // It has expired: at once.
        by(delivery, &port, timer.wait()).unwrap();
    }
    nothing(&port);
}

#[test]
fn a_new_timer_has_expired() {
    let timers = somewhere(Timers::new());
    let timer = SteadyTimer::new(&timers);
    assert!(timer.expiry().unwrap() <= Instant::now());
    run(timer.wait()).result.unwrap();
}

#[test]
fn a_new_expiry_cancels_all_waits_and_says_how_many() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let (timer, other) = (SteadyTimer::new(&timers), SteadyTimer::new(&timers));
    other.expires_after(FAR);
    let others = start(other.wait());
    timer.expires_after(FAR);
    for tag in 1..=5 {
        packet(timer.wait(), block(tag, 0));
    }
    assert_eq!(timer.expires_after(ms(2)), 5);
    packet(timer.wait(), block(6, 0));
    for tag in 1..=5 {
        let (packet, code) = failure(&port);
        assert_eq!((packet.block.unwrap().tag, code), (tag, Code::Cancelled), "in call order");
    }
    assert_eq!(success(&port).block.unwrap().tag, 6);
    assert_eq!(timer.expires_after(FAR), 0, "nobody waits any more");
    assert_eq!(other.cancel(), 1, "another timer's waits are its own");
    assert_eq!(code(&finish(others)), Some(Code::Cancelled));
}

#[test]
fn cancelling_one_takes_the_first_that_began_to_wait() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let timer = SteadyTimer::new(&timers);
    timer.expires_after(FAR);
    let tickets: Vec<_> = (1..=4).map(|tag| packet(timer.wait(), block(tag, 0))).collect();
    // The second leaves by a cancel of its own.
    timers.cancel(tickets[1]).unwrap();
    assert_eq!(failure(&port).0.block.unwrap().tag, 2);
    for tag in [1, 3] {
        assert_eq!(timer.cancel_one(), 1);
        let (packet, code) = failure(&port);
        assert_eq!((packet.block.unwrap().tag, code), (tag, Code::Cancelled));
    }
    assert_eq!(timer.cancel(), 1);
    assert_eq!(failure(&port).0.block.unwrap().tag, 4);
    assert_eq!((timer.cancel_one(), timer.cancel()), (0, 0));
    nothing(&port);
}

#[test]
fn many_waits_end_together_in_call_order() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let timer = SteadyTimer::new(&timers);
    let due = Instant::now() + ms(5);
    timer.expires_at(due);
    for tag in 0..200 {
        packet(timer.wait(), block(tag, 0));
    }
    for tag in 0..200 {
        assert_eq!(success(&port).block.unwrap().tag, tag);
    }
    assert!(Instant::now() >= due);
    assert_eq!(timer.expiry(), Some(due));
}

#[test]
fn cancelling_keeps_the_expiry() {
    let timers = somewhere(Timers::new());
    let timer = SteadyTimer::new(&timers);
    let due = Instant::now() + ms(20);
    timer.expires_at(due);
    let wait = start(timer.wait());
    assert_eq!(timer.cancel(), 1);
    let error = finish(wait).result.unwrap_err();
    assert_eq!((error.code(), error.operation()), (Code::Cancelled, Some(OpKind::Timer)));
    run(timer.wait()).result.unwrap();
    assert!(Instant::now() >= due);
}

#[test]
fn dropping_the_timer_or_its_timers_cancels_its_waits() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let timer = SteadyTimer::new(&timers);
    timer.expires_after(FAR);
    packet(timer.wait(), block(1, 0));
    drop(timer);
    assert_eq!(failure(&port).1, Code::Cancelled);
    let timer = SteadyTimer::new(&timers);
    timer.expires_after(FAR);
    packet(timer.wait(), block(2, 0));
    drop((timers, timer));
    assert_eq!(failure(&port).1, Code::Cancelled);
    nothing(&port);
}

#[test]
fn an_expiry_past_the_clocks_end_never_comes() {
    let timers = somewhere(Timers::new());
    let timer = SteadyTimer::new(&timers);
    timer.expires_after(Duration::MAX);
    assert_eq!(timer.expiry(), None);
    let wait = pending(start(timer.wait()));
    assert_eq!(timer.cancel(), 1);
    assert_eq!(code(&finish(wait)), Some(Code::Cancelled));
}

#[test]
fn closing_the_port_takes_the_waits_along() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let (timer, system) = (SteadyTimer::new(&timers), SystemTimer::new(&timers).unwrap());
    timer.expires_after(FAR);
    system.expires_after(FAR);
    packet(timer.wait(), block(1, 0));
    packet(system.wait(), block(2, 0));
    let overlapped = (start(timer.wait()), start(system.wait()));
    port.close();
    assert_eq!((timer.cancel(), system.cancel()), (1, 1), "those that were to be packets are gone");
    assert_eq!(code(&finish(overlapped.0)), Some(Code::Cancelled));
    assert_eq!(code(&finish(overlapped.1)), Some(Code::Cancelled));
}

#[test]
fn a_time_of_day_is_waited_for_by_every_delivery_and_never_early() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let timer = SystemTimer::new(&timers).unwrap();
    for delivery in DELIVERIES {
        let due = SystemTime::now() + ms(3);
        assert_eq!(timer.expires_at(due), 0);
        by(delivery, &port, timer.wait()).unwrap();
        assert!(SystemTime::now() >= due, "{delivery}: early");
        by(delivery, &port, timer.wait()).unwrap();
    }
    nothing(&port);
}

#[test]
fn waits_for_a_time_of_day_are_cancelled_all_one_or_by_a_new_expiry() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let timer = SystemTimer::new(&timers).unwrap();
    timer.expires_after(FAR);
    for tag in 1..=3 {
        packet(timer.wait(), block(tag, 0));
    }
    assert_eq!(timer.cancel_one(), 1);
    assert_eq!(timer.expires_at(SystemTime::now() + ms(4)), 2);
    for tag in 1..=3 {
        let (packet, code) = failure(&port);
        assert_eq!((packet.block.unwrap().tag, code), (tag, Code::Cancelled));
    }
    let wait = start(timer.wait());
    finish(wait).result.unwrap();
    assert_eq!((timer.cancel(), timer.cancel_one()), (0, 0));
    // A wait that is cancelled by itself leaves the timer as it was.
    timer.expires_after(FAR);
    let wait = start(timer.wait());
    wait.cancel().unwrap();
    assert_eq!(code(&finish(wait)), Some(Code::Cancelled));
    timer.expires_at(SystemTime::UNIX_EPOCH);
    run(timer.wait()).result.unwrap();
}
