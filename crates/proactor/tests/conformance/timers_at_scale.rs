//! SEMANTICS 18 at scale: many timers on one object, each an operation.

use std::time::{Duration, Instant};

use proactor::time::Timers;
use proactor::{Block, Code, Limits, OpKind, Overlapped, Refused};

use crate::common::*;

/// Far enough that no test sees it.
const FAR: Duration = Duration::from_secs(3600);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_timer_is_a_packet_with_its_block_and_key_and_never_early() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    for tag in 0..20 {
        let due = Instant::now() + Duration::from_micros(tag as u64 * 230);
        packet(timers.at(due), block(tag, 0));
        let packet = success(&port);
        assert!(Instant::now() >= due, "{tag}: early");
        assert_eq!((packet.key, packet.done.bytes, packet.block.unwrap().tag), (7, 0, tag));
    }
    nothing(&port);
}

#[test]
fn a_timer_is_a_handle_that_can_be_waited_for() {
    let timers = somewhere(Timers::new());
    let begin = Instant::now();
    let (late, soon) = (start(timers.after(ms(15))), start(timers.after(ms(5))));
    finish(soon).result.unwrap();
    assert!(begin.elapsed() >= ms(5));
    finish(late).result.unwrap();
    assert!(begin.elapsed() >= ms(15));
}

#[test]
fn a_wait_with_a_timeout_leaves_the_timer_armed() {
    let timers = somewhere(Timers::new());
    let begin = Instant::now();
    let timer = match start(timers.after(ms(500))).wait_timeout(ms(1)) {
        Err(Refused { error, back }) => {
            assert_eq!(error.code(), Code::WaitTimeout);
            back
        }
        Ok(_) => panic!("fired {:?} after it was armed for 500 ms", begin.elapsed()),
    };
    finish(timer).result.unwrap();
    assert!(begin.elapsed() >= ms(500));
}

#[test]
fn a_moment_that_has_passed_and_no_time_at_all_are_due_at_once() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let now = Instant::now();
    packet(timers.after(Duration::ZERO), block(0, 0));
    assert_eq!(success(&port).block.unwrap().tag, 0);
    if let Some(past) = now.checked_sub(ms(1)) {
        packet(timers.at(past), block(1, 0));
        assert_eq!(success(&port).block.unwrap().tag, 1);
    }
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines_and_equal_ones_in_that_of_their_starts() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    // All are armed before the first is due, on a busy machine, too.
    let base = Instant::now() + ms(300);
    // Deadlines two milliseconds apart, mixed up, three timers each.
    let order = [3, 0, 4, 1, 2, 6, 5];
    for turn in 0..3 {
        for step in order {
            packet(timers.at(base + ms(2 * step as u64)), block(step * 3 + turn, 0));
        }
    }
    let tags: Vec<_> = (0..21).map(|_| success(&port).block.unwrap().tag).collect();
    assert_eq!(tags, (0..21).collect::<Vec<_>>());
}

#[test]
fn one_is_cancelled_by_its_ticket_and_the_others_stay() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let tickets: Vec<_> = (0..3).map(|tag| packet(timers.after(if tag == 2 { ms(300) } else { FAR }), block(tag, 0))).collect();
    timers.cancel(tickets[1]).unwrap();
    let (cancelled, code) = failure(&port);
    assert_eq!((cancelled.key, cancelled.block.unwrap().tag, code), (7, 1, Code::Cancelled));
    assert_eq!(timers.cancel(tickets[1]).unwrap_err().code(), Code::NotFound, "it is over");
    assert_eq!(success(&port).block.unwrap().tag, 2);
    assert_eq!(timers.cancel(tickets[2]).unwrap_err().code(), Code::NotFound, "it has fired");
    // Its place is another's by now, which a ticket of the first does not name.
    packet(timers.after(FAR), block(3, 0));
    packet(timers.after(FAR), block(4, 0));
    assert_eq!(timers.cancel(tickets[2]).unwrap_err().code(), Code::NotFound);
    nothing(&port);
    timers.cancel_all().unwrap();
    let mut tags: Vec<_> = (0..3).map(|_| failure(&port).0.block.unwrap().tag).collect();
    tags.sort();
    assert_eq!(tags, [0, 3, 4]);
    assert_eq!(timers.cancel_all().unwrap_err().code(), Code::NotFound);
}

#[test]
fn the_failed_packets_error_names_the_timer() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let ticket = packet(timers.after(FAR), block(0, 0));
    timers.cancel(ticket).unwrap();
    let (packet, _) = failure(&port);
    assert_eq!(packet.error().unwrap().operation(), Some(OpKind::Timer));
}

#[test]
fn a_handle_cancels_its_timer_and_dropping_it_does_too() {
    let timers = somewhere(Timers::new());
    let timer = pending(start(timers.after(FAR)));
    timer.cancel().unwrap();
    assert_eq!(code(&finish(timer)), Some(Code::Cancelled));
    drop(start(timers.after(FAR)));
    timers.cancel_thread();
    assert_eq!(timers.cancel_all().unwrap_err().code(), Code::NotFound, "nothing is left of it");
}

#[test]
fn dropping_the_last_handle_of_timers_cancels_what_is_armed() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let other = timers.clone();
    for tag in 0..500 {
        packet(timers.after(FAR), block(tag, 0));
    }
    drop(timers);
    nothing(&port);
    drop(other);
    for _ in 0..500 {
        assert_eq!(failure(&port).1, Code::Cancelled);
    }
    nothing(&port);
}

#[test]
fn two_objects_of_timers_on_a_port_are_each_their_own() {
    let port = port(1);
    let (one, two) = (port.home(Timers::new(), 1), port.home(Timers::new(), 2));
    let first = packet(one.after(ms(10)), block(1, 0));
    packet(two.after(ms(5)), block(2, 0));
    assert_eq!(two.cancel(first).unwrap_err().code(), Code::NotFound, "it is not one of theirs");
    // Each keeps its own order; between them, on a machine that was busy for ten milliseconds, there is none.
    let mut keys = [success(&port).key, success(&port).key];
    keys.sort();
    assert_eq!(keys, [1, 2]);
    packet(one.after(FAR), block(1, 0));
    packet(two.after(ms(1)), block(2, 0));
    drop(one);
    let mut keys = [take(&port).key, take(&port).key];
    keys.sort();
    assert_eq!(keys, [1, 2]);
}

#[test]
fn a_new_earlier_deadline_brings_the_wait_forward() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    packet(timers.after(FAR), block(0, 0));
    assert!(matches!(port.get(Duration::ZERO).unwrap(), proactor::Outcome::TimedOut));
    packet(timers.after(ms(300)), block(1, 0));
    packet(timers.after(ms(3)), block(2, 0));
    assert_eq!(success(&port).block.unwrap().tag, 2);
    assert_eq!(success(&port).block.unwrap().tag, 1);
    timers.cancel_all().unwrap();
    assert_eq!(failure(&port).0.block.unwrap().tag, 0);
}

#[test]
fn deadlines_as_far_as_the_clock_goes_are_taken() {
    let timers = somewhere(Timers::new());
    let mut armed = vec![start(timers.after(Duration::MAX)), start(timers.after(Duration::from_secs(1 << 33)))];
    armed.extend(Instant::now().checked_add(Duration::from_secs(u64::from(u32::MAX))).map(|far| start(timers.at(far))));
    for timer in &mut armed {
        assert!(!timer.is_complete());
    }
    // One that is near still fires.
    finish(start(timers.after(ms(1)))).result.unwrap();
    for timer in armed {
        assert_eq!(
            code(&finish({
                timer.cancel().unwrap();
                timer
            })),
            Some(Code::Cancelled)
        );
    }
}

#[test]
fn a_limit_refuses_the_next_timer_and_gives_the_block_back() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    timers.set_limits(Limits { operations: 2, ..Limits::default() });
    packet(timers.after(FAR), block(0, 0));
    packet(timers.after(FAR), block(1, 0));
    let refused = timers.after(FAR).packet(block(2, 0)).unwrap_err();
    assert_eq!((refused.error.code(), refused.back.tag), (Code::TooManyOperations, 2));
    timers.cancel_all().unwrap();
    failure(&port);
    packet(timers.after(ms(1)), block(3, 0));
    failure(&port);
    assert_eq!(success(&port).block.unwrap().tag, 3);
}

#[test]
fn a_hundred_thousand_armed_timers_fire_or_are_cancelled_each_once() {
    const COUNT: usize = 100_000;
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let begin = Instant::now();
    // A third is due within the test, in an order that is none; the others are cancelled one by one.
    let due = |tag: usize| begin + Duration::from_micros((tag as u64).wrapping_mul(0x9E37_79B9) % 300_000);
    let mut tickets = Vec::new();
    for tag in 0..COUNT {
        match tag % 3 {
            0 => drop(packet(timers.at(due(tag)), block(tag, 0))),
            _ => tickets.push(packet(timers.after(FAR + Duration::from_micros(tag as u64 * 7919)), block(tag, 0))),
        }
    }
    for ticket in tickets {
        timers.cancel(ticket).unwrap();
    }
    let mut seen = vec![false; COUNT];
    for _ in 0..COUNT {
        let packet = take(&port);
        let failed = packet.error().map(|error| error.code());
        let tag = packet.block.unwrap().tag;
        assert!(!std::mem::replace(&mut seen[tag], true), "{tag} came twice");
        assert_eq!(failed, if tag.is_multiple_of(3) { None } else { Some(Code::Cancelled) });
        assert!(!tag.is_multiple_of(3) || Instant::now() >= due(tag), "{tag} came early");
    }
    nothing(&port);
}

#[test]
fn a_thousand_due_at_once_come_together() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let due = Instant::now() + ms(30);
    for tag in 0..1000 {
        packet(timers.at(due), block(tag, 0));
    }
    let first = success(&port);
    let begin = Instant::now();
    assert!(begin >= due);
    assert_eq!(first.block.unwrap().tag, 0);
    for tag in 1..1000 {
        assert_eq!(success(&port).block.unwrap().tag, tag);
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "they took {:?}", begin.elapsed());
}

#[test]
fn closing_the_port_drops_the_blocks_of_what_is_armed() {
    struct Counted(std::sync::Arc<()>);
    let alive = std::sync::Arc::new(());
    let port = port_of::<Counted, usize>();
    let timers = port.home(Timers::new(), 7);
    for _ in 0..1000 {
        packet(timers.after(FAR), Block::new(Counted(alive.clone())));
    }
    let handle: Overlapped<_, _, _> = start(timers.after(FAR));
    assert_eq!(std::sync::Arc::strong_count(&alive), 1001);
    port.close();
    assert_eq!(std::sync::Arc::strong_count(&alive), 1, "only those of packets were dropped, and all of them");
    let refused = timers.after(ms(1)).packet(Block::new(Counted(alive.clone()))).unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidHandle);
    drop(refused.back.into_inner().0);
    // An overlapped timer goes on.
    assert!(!handle.is_complete());
    handle.cancel().unwrap();
    assert_eq!(code(&finish(handle)), Some(Code::Cancelled));
    finish(start(timers.after(ms(1)))).result.unwrap();
}

#[test]
fn an_event_is_signalled_when_the_timer_fires() {
    let timers = somewhere(Timers::new());
    let timer = start(timers.after(ms(5)));
    let event = timer.event();
    assert!(event_within(&event, LONG));
    assert!(timer.is_complete());
}

#[test]
fn a_post_for_later_brings_the_timers_key_and_its_token_and_is_never_early() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let due = Instant::now() + ms(3);
    timers.post_at(due, 42).unwrap();
    let packet = success(&port);
    assert!(Instant::now() >= due);
    assert_eq!((packet.key, packet.done.bytes, packet.block.is_none(), packet.op), (7, 42, true, OpKind::Post));
}

#[test]
fn a_post_for_later_that_is_cancelled_does_not_come() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let tickets: Vec<_> = (0..3).map(|token| timers.post_after(FAR, token).unwrap()).collect();
    timers.cancel(tickets[1]).unwrap();
    assert_eq!(timers.cancel(tickets[1]).unwrap_err().code(), Code::NotFound);
    let again = timers.post_after(FAR, 3).unwrap();
    assert_eq!(timers.cancel(tickets[1]).unwrap_err().code(), Code::NotFound, "its place is another's");
    timers.cancel(again).unwrap();
    let soon = timers.post_after(ms(1), 4).unwrap();
    assert_eq!(success(&port).done.bytes, 4);
    assert_eq!(timers.cancel(soon).unwrap_err().code(), Code::NotFound, "it has come");
    timers.cancel_all().unwrap();
    assert_eq!(timers.cancel_all().unwrap_err().code(), Code::NotFound);
    nothing(&port);
}

#[test]
fn a_post_for_later_needs_an_open_port_and_keeps_to_the_limit() {
    assert_eq!(Timers::new().post_after(ms(1), 0).unwrap_err().code(), Code::InvalidParameter);
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    timers.set_limits(Limits { operations: 1, ..Limits::default() });
    timers.post_after(FAR, 0).unwrap();
    assert_eq!(timers.post_after(FAR, 0).unwrap_err().code(), Code::TooManyOperations);
    port.close();
    assert_eq!(timers.post_after(ms(1), 0).unwrap_err().code(), Code::InvalidHandle);
    assert_eq!(timers.cancel_all().unwrap_err().code(), Code::NotFound, "the close dropped what was armed");
}

#[test]
fn the_key_of_a_post_for_later_is_a_clone_and_none_is_left_over() {
    let key = std::sync::Arc::new(());
    let port = port_of::<(), std::sync::Arc<()>>();
    let timers = port.home(Timers::new(), key.clone());
    for token in 0..100 {
        timers.post_after(if token < 50 { ms(1) } else { FAR }, token).unwrap();
    }
    for token in 0..50 {
        let packet = success(&port);
        assert!(std::sync::Arc::ptr_eq(&packet.key, &key));
        assert_eq!(packet.done.bytes, token);
    }
    drop(timers);
    nothing(&port);
    assert_eq!(std::sync::Arc::strong_count(&key), 1);
}

#[test]
fn a_timer_that_never_comes_does_not_keep_its_port_busy() {
    let port = port(1);
    let timers = port.home(Timers::new(), 7);
    let ticket = packet(timers.after(Duration::MAX), block(1, 0));
    nothing(&port);
    timers.cancel(ticket).unwrap();
    assert_eq!(failure(&port).1, Code::Cancelled);
}
