//! SEMANTICS 3: who may run. A worker that must keep its place spins here, because one that sleeps gives it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proactor::sync::Event;
use proactor::{Concurrency, Outcome};

use crate::common::*;

/// This thread takes a packet of `port` and is one of those that run.
fn run_here(port: &Port) {
    port.post(usize::MAX, 0, None).unwrap();
    assert_eq!(success(port).key, usize::MAX);
}

fn post(port: &Port, key: usize) {
    port.post(key, 0, None).unwrap();
}

/// A thread that begins to wait when told, and ends with the key it got.
fn waiter(port: &Arc<Port>, go: &Flag) -> Worker<Option<usize>> {
    let (port, go) = (port.clone(), go.clone());
    worker(move || {
        go.wait();
        port.get(LONG).unwrap().packet().map(|packet| packet.key)
    })
}

/// The same, and it sets an event when it has its packet.
fn waiter_who_tells(port: &Arc<Port>, go: &Flag, event: &Event) -> Worker<usize> {
    let (port, go, event) = (port.clone(), go.clone(), event.clone());
    worker(move || {
        go.wait();
        let key = success(&port).key;
        event.set();
        key
    })
}

fn started() -> Flag {
    let go = Flag::default();
    go.set();
    go
}

#[test]
fn a_thread_over_the_limit_times_out_even_while_packets_are_queued() {
    if wine() {
        skip!("a_thread_over_the_limit_times_out_even_while_packets_are_queued", "Wine ignores the limit");
    }
    let (port, go) = (unwatched_port(1), Flag::default());
    let other = worker({
        let (port, go) = (port.clone(), go.clone());
        move || {
            go.wait();
            matches!(port.get(SHORT), Ok(Outcome::TimedOut))
        }
    });
    run_here(&port);
    post(&port, 1);
    go.set();
    assert!(other.spin_join(), "the packet went to a thread over the limit");
    assert_eq!(success(&port).key, 1, "nothing was taken");
}

#[test]
fn concurrency_zero_is_the_number_of_processors() {
    if wine() {
        skip!("concurrency_zero_is_the_number_of_processors", "Wine ignores the limit");
    }
    let cores = thread::available_parallelism().unwrap().get();
    assert_eq!(Concurrency::from(0), Concurrency::Cores);
    let port = unwatched_port(0);
    let (running, stop) = (Arc::new(AtomicUsize::new(0)), Flag::default());
    let workers: Vec<_> = (0..cores)
        .map(|_| {
            let (port, running, stop) = (port.clone(), running.clone(), stop.clone());
            worker(move || {
                success(&port);
                running.fetch_add(1, Ordering::SeqCst);
                stop.spin();
            })
        })
        .collect();
    (0..cores).for_each(|key| post(&port, key));
    until("all workers run", || running.load(Ordering::SeqCst) == cores);
    post(&port, 99);
    nothing(&port);
    stop.set();
    assert_eq!(success(&port).key, 99);
    workers.into_iter().for_each(Worker::join);
}

#[test]
fn waiting_again_gets_the_next_packet_without_a_thread_switch() {
    if wine() {
        skip!("waiting_again_gets_the_next_packet_without_a_thread_switch", "Wine ignores the limit");
    }
    let (port, go) = (unwatched_port(1), Flag::default());
    let event = Event::manual();
    let other = waiter_who_tells(&port, &go, &event);
    run_here(&port);
    go.set();
    other.asleep();
    for key in 0..1000 {
        post(&port, key);
        assert_eq!(success(&port).key, key);
    }
    assert!(!other.is_done());
    post(&port, 1000);
    assert!(event.wait_timeout(LONG), "this thread waits inside the library, so the other may run");
    assert_eq!(other.join(), 1000);
}

#[test]
fn posting_from_the_only_running_thread_wakes_nobody_else() {
    if wine() {
        skip!("posting_from_the_only_running_thread_wakes_nobody_else", "Wine ignores the limit");
    }
    let (port, go) = (unwatched_port(1), Flag::default());
    let others = [waiter(&port, &go), waiter(&port, &go)];
    run_here(&port);
    go.set();
    others.iter().for_each(Worker::asleep);
    for key in 0..10 {
        post(&port, key);
        spin_for(Duration::from_millis(3));
    }
    for key in 0..10 {
        assert_eq!(success(&port).key, key, "all of them wait for the thread that runs");
    }
    assert!(others.iter().all(|other| !other.is_done()));
    port.close();
    assert_eq!(others.map(Worker::join), [None, None]);
}

fn newest_first(limit: u32) {
    let port = port(limit);
    let mut waiting: Vec<_> = (0..3)
        .map(|_| {
            let thread = waiter(&port, &started());
            thread.asleep();
            thread
        })
        .collect();
    for key in 0..3 {
        post(&port, key);
        assert_eq!(waiting.pop().and_then(Worker::join), Some(key), "limit {limit}: the newest waiter gets the packet");
    }
}

#[test]
fn waiting_threads_are_released_newest_first() {
    if wine() {
        skip!("waiting_threads_are_released_newest_first", "Wine releases the oldest first");
    }
    for limit in [1, 2, 3, 8] {
        newest_first(limit);
    }
}

#[test]
fn threads_that_wait_for_a_place_are_released_newest_first() {
    if wine() {
        skip!("threads_that_wait_for_a_place_are_released_newest_first", "Wine releases the oldest first");
    }
    let port = unwatched_port(1);
    let (runs, go, blocked) = (Flag::default(), Flag::default(), Event::auto());
    let holder = worker({
        let (port, runs, go, blocked) = (port.clone(), runs.clone(), go.clone(), blocked.clone());
        move || {
            success(&port);
            runs.set();
            go.spin();
            assert!(blocked.wait_timeout(LONG));
        }
    });
    post(&port, 0);
    runs.wait();
    let mut waiting: Vec<_> = (0..3)
        .map(|_| {
            let thread = waiter(&port, &started());
            thread.asleep();
            thread
        })
        .collect();
    (1..4).for_each(|key| post(&port, key));
    go.set();
    // Each ends with its packet, and its end releases the next.
    for key in 1..4 {
        assert_eq!(waiting.pop().and_then(Worker::join), Some(key));
    }
    blocked.set();
    holder.join();
}

#[test]
fn a_worker_that_waits_for_an_event_releases_another() {
    let (port, go) = (unwatched_port(1), Flag::default());
    let event = Event::manual();
    let other = waiter_who_tells(&port, &go, &event);
    run_here(&port);
    post(&port, 1);
    go.set();
    assert!(event.wait_timeout(LONG), "the other thread got no place while this one waited");
    assert_eq!(other.join(), 1);
}

#[test]
fn a_worker_that_waits_for_an_overlapped_result_releases_another() {
    let (port, go) = (unwatched_port(1), Flag::default());
    let (ours, peer) = stream();
    let other = worker({
        let (port, go) = (port.clone(), go.clone());
        move || {
            go.wait();
            let key = success(&port).key;
            std::io::Write::write_all(&mut &peer, b"go on").unwrap();
            (key, peer)
        }
    });
    let receive = start(ours.recv(vec![0; 16]));
    run_here(&port);
    post(&port, 1);
    go.set();
    assert_eq!(finish(receive).buffer, b"go on", "what this thread waits for is done by the one it released");
    assert_eq!(other.join().0, 1);
}

#[test]
fn a_worker_that_blocks_outside_the_library_releases_another_soon() {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let (port, go) = (port(1), Flag::default());
        let other = worker({
            let (port, go) = (port.clone(), go.clone());
            move || {
                go.wait();
                success(&port);
                Instant::now()
            }
        });
        run_here(&port);
        go.set();
        other.asleep();
        post(&port, 1);
        let blocked = Instant::now();
        // A channel's receive: nothing of the library's.
        best = best.min(other.join().saturating_duration_since(blocked));
    }
    assert!(best < Duration::from_millis(100), "the best of five took {best:?}");
}

#[test]
fn a_worker_that_sleeps_releases_another() {
    let (port, go) = (port(1), Flag::default());
    let other = waiter(&port, &go);
    run_here(&port);
    go.set();
    post(&port, 1);
    until("the other worker's packet", || {
        thread::sleep(Duration::from_millis(20));
        other.is_done()
    });
    assert_eq!(other.join(), Some(1));
}

#[test]
fn without_the_block_monitor_a_worker_that_blocks_outside_the_library_keeps_its_place() {
    if cfg!(windows) {
        skip!(
            "without_the_block_monitor_a_worker_that_blocks_outside_the_library_keeps_its_place",
            "the kernel always sees who blocks; the setting does nothing here"
        );
    }
    let (port, go) = (unwatched_port(1), Flag::default());
    let event = Event::manual();
    let other = waiter_who_tells(&port, &go, &event);
    run_here(&port);
    go.set();
    other.asleep();
    post(&port, 1);
    // Many times what the monitor takes.
    thread::sleep(Duration::from_millis(200));
    assert!(!other.is_done(), "the place of a worker that slept outside the library was given away");
    assert_eq!(success(&port).key, 1, "the packet waited for the worker");
    post(&port, 2);
    assert!(event.wait_timeout(LONG), "a wait inside the library gives the place up all the same");
    assert_eq!(other.join(), 2);
}

#[test]
fn a_worker_that_runs_again_after_a_wait_may_overshoot_the_limit() {
    if wine() {
        skip!("a_worker_that_runs_again_after_a_wait_may_overshoot_the_limit", "Wine ignores the limit");
    }
    let (port, go) = (unwatched_port(1), Flag::default());
    let (event, told) = (Event::manual(), Flag::default());
    let other = worker({
        let (port, go, event, told) = (port.clone(), go.clone(), event.clone(), told.clone());
        move || {
            go.wait();
            let key = success(&port).key;
            event.set();
            told.spin();
            // The first worker runs again: two run, so this one, waiting again, is over the limit.
            (key, matches!(port.get(SHORT), Ok(Outcome::TimedOut)))
        }
    });
    run_here(&port);
    post(&port, 1);
    post(&port, 2);
    go.set();
    assert!(event.wait_timeout(LONG));
    told.set();
    assert_eq!(other.spin_join(), (1, true));
    assert_eq!(success(&port).key, 2);
}

#[test]
fn a_thread_whose_wait_timed_out_counts_as_running() {
    if wine() {
        skip!("a_thread_whose_wait_timed_out_counts_as_running", "Wine ignores the limit");
    }
    let port = unwatched_port(1);
    let (timed_out, stop) = (Flag::default(), Flag::default());
    let other = worker({
        let (port, timed_out, stop) = (port.clone(), timed_out.clone(), stop.clone());
        move || {
            assert!(matches!(port.get(Duration::from_millis(5)), Ok(Outcome::TimedOut)));
            timed_out.set();
            stop.spin();
        }
    });
    timed_out.wait();
    post(&port, 1);
    nothing(&port);
    stop.set();
    other.join();
    assert_eq!(success(&port).key, 1);
}

#[test]
fn getting_from_another_port_gives_the_place_in_the_first_up() {
    let (first, second) = (unwatched_port(1), unwatched_port(1));
    let go = Flag::default();
    let other = waiter(&first, &go);
    run_here(&first);
    go.set();
    post(&first, 1);
    post(&second, 2);
    assert_eq!(success(&second).key, 2);
    // Bound to the second port, this thread may spin without keeping the first one's place.
    assert_eq!(other.spin_join(), Some(1));
}

#[test]
fn no_more_than_the_limit_run_at_once() {
    if wine() {
        skip!("no_more_than_the_limit_run_at_once", "Wine ignores the limit");
    }
    const PACKETS: usize = 4000;
    let port = unwatched_port(2);
    let (running, most, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let (port, running, most, done) = (port.clone(), running.clone(), most.clone(), done.clone());
            worker(move || {
                while let Ok(Outcome::Packet(_)) = port.get(LONG) {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    (0..500).for_each(|_| std::hint::spin_loop());
                    running.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for key in 0..PACKETS {
        post(&port, key);
        if key % 64 == 0 {
            thread::yield_now();
        }
    }
    until("every packet", || done.load(Ordering::SeqCst) == PACKETS);
    port.close();
    workers.into_iter().for_each(Worker::join);
    assert!(most.load(Ordering::SeqCst) <= 2, "{} workers ran at once", most.load(Ordering::SeqCst));
}
