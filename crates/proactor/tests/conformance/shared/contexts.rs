//! ASIO.md: contexts. Who runs handlers, when `run` returns, what stop, panics and drops do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use proactor::context::{Executor, IoContext};
use proactor::net::{TcpStream, UdpSocket};
use proactor::time::Timers;
use proactor::{Code, CompletionPort, block_on};

use crate::common::*;

#[track_caller]
pub fn context(concurrency: u32) -> Arc<IoContext> {
    Arc::new(IoContext::new(concurrency).expect("a context"))
}

/// What handlers noted, in their order.
pub struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Notes<T> {
    fn clone(&self) -> Notes<T> {
        Notes(self.0.clone())
    }
}

impl<T> Default for Notes<T> {
    fn default() -> Notes<T> {
        Notes(Arc::default())
    }
}

impl<T: Clone> Notes<T> {
    pub fn note(&self, value: T) {
        self.0.lock().unwrap().push(value);
    }

    pub fn all(&self) -> Vec<T> {
        self.0.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A function that notes a value.
pub fn noting<T: Clone + Send + 'static>(notes: &Notes<T>, value: T) -> impl FnOnce() + Send + 'static {
    let notes = notes.clone();
    move || notes.note(value)
}

/// A connected stream of the context, and its peer.
pub fn stream_of(context: &IoContext) -> (TcpStream, std::net::TcpStream) {
    let (ours, peer) = homeless();
    context.associate(&ours).expect("a home");
    (ours, peer)
}

/// A bound socket of the context, for operations that pend.
pub fn udp_of(context: &IoContext) -> UdpSocket {
    let socket = UdpSocket::bind(ANY).expect("a socket");
    context.associate(&socket).expect("a home");
    socket
}

/// Calls a function whose panic is expected.
pub fn panics<R>(f: impl FnOnce() -> R) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "it was to panic");
}

#[test]
fn only_threads_inside_run_call_handlers() {
    let context = context(2);
    let notes: Notes<ThreadId> = Notes::default();
    let (stream, peer) = stream_of(&context);
    let noted = notes.clone();
    stream.send(vec![1; 8]).then(move |_| noted.note(thread::current().id())).unwrap();
    let noted = notes.clone();
    context.executor().post(move || noted.note(thread::current().id()));
    thread::sleep(SHORT);
    assert_eq!(notes.len(), 0, "nobody is inside");
    let own = context.clone();
    let runner = worker(move || (thread::current().id(), own.run().unwrap()));
    let (id, ran) = runner.join();
    assert_eq!((ran, notes.all()), (2, vec![id, id]));
    drop(peer);
}

#[test]
fn a_handler_never_runs_inside_the_call_that_started_its_operation() {
    let context = context(1);
    let (stream, _peer) = stream_of(&context);
    let (count, timers) = (Arc::new(AtomicUsize::new(0)), Timers::new());
    context.associate(&timers).unwrap();
    let own = (context.executor(), count.clone());
    context.executor().post(move || {
        let (executor, count) = own;
        let starts = |counted: Arc<AtomicUsize>| move || _ = counted.fetch_add(1, Ordering::SeqCst);
        let (sent, due) = (starts(count.clone()), starts(count.clone()));
        stream.send(vec![1; 8]).then(move |_| sent()).unwrap();
        timers.after(Duration::ZERO).then(move |_| due()).unwrap();
        executor.post(starts(count.clone()));
        executor.defer(starts(count.clone()));
        assert_eq!(count.load(Ordering::SeqCst), 0, "all of them are for later");
    });
    assert_eq!(context.run().unwrap(), 5);
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

#[test]
fn every_posted_function_runs_once_with_several_threads_in_run() {
    let context = context(4);
    let counts: Arc<Vec<AtomicUsize>> = Arc::new((0..2000).map(|_| AtomicUsize::new(0)).collect());
    let guard = context.work_guard();
    let runners: Vec<_> = (0..3)
        .map(|_| {
            worker({
                let context = context.clone();
                move || context.run().unwrap()
            })
        })
        .collect();
    for at in 0..counts.len() {
        let counts = counts.clone();
        context.executor().post(move || _ = counts[at].fetch_add(1, Ordering::SeqCst));
    }
    drop(guard);
    let ran: usize = runners.into_iter().map(|runner| runner.join()).sum();
    assert_eq!(ran, counts.len());
    assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) == 1));
}

#[test]
fn a_context_without_work_stops_and_run_returns() {
    let context = context(1);
    assert!(!context.is_stopped());
    assert_eq!(context.run().unwrap(), 0);
    assert!(context.is_stopped());
}

#[test]
fn the_end_of_the_last_work_returns_every_run() {
    let context = context(4);
    let guard = context.work_guard();
    let runners: Vec<_> = (0..4)
        .map(|_| {
            worker({
                let context = context.clone();
                move || context.run().unwrap()
            })
        })
        .collect();
    runners.iter().for_each(Worker::asleep);
    assert!(!context.is_stopped());
    drop(guard);
    assert_eq!(runners.into_iter().map(Worker::join).sum::<usize>(), 0);
    assert!(context.is_stopped());
}

#[test]
fn restart_makes_it_runnable_again() {
    let context = context(1);
    let notes = Notes::default();
    for turn in 0..3 {
        context.executor().post(noting(&notes, turn));
        assert_eq!(context.run().unwrap(), 1);
        assert!(context.is_stopped());
        context.executor().post(noting(&notes, turn + 10));
        assert_eq!(context.run().unwrap(), 0, "posted while it is stopped: queued");
        context.restart();
        assert!(!context.is_stopped());
        assert_eq!(context.run().unwrap(), 1);
        context.restart();
    }
    assert_eq!(notes.all(), [0, 10, 1, 11, 2, 12]);
}

#[test]
fn run_one_runs_at_most_one_handler() {
    let context = context(1);
    let notes = Notes::default();
    (0..3).for_each(|turn| context.executor().post(noting(&notes, turn)));
    for turn in 1..=3 {
        assert_eq!(context.run_one().unwrap(), 1);
        assert_eq!(notes.len(), turn);
    }
    assert_eq!(context.run_one().unwrap(), 0);
    assert!(context.is_stopped());
}

#[test]
fn run_one_waits_for_its_handler() {
    let context = context(1);
    let _guard = context.work_guard();
    let own = context.clone();
    let runner = worker(move || own.run_one().unwrap());
    runner.asleep();
    context.executor().post(|| ());
    assert_eq!(runner.join(), 1);
}

#[test]
fn poll_runs_what_is_ready_and_never_blocks() {
    let context = context(1);
    let _guard = context.work_guard();
    let notes = Notes::default();
    assert_eq!(context.poll().unwrap(), 0);
    (0..3).for_each(|turn| context.executor().post(noting(&notes, turn)));
    let (executor, noted) = (context.executor(), notes.clone());
    context.executor().post(move || executor.post(noting(&noted, 9)));
    assert_eq!(context.poll_one().unwrap(), 1);
    assert_eq!(context.poll().unwrap(), 4, "those made ready meanwhile, too");
    assert_eq!((context.poll().unwrap(), context.poll_one().unwrap()), (0, 0));
    assert!(!context.is_stopped());
    assert_eq!(notes.all(), [0, 1, 2, 9]);
}

#[test]
fn poll_sees_timers_that_are_due() {
    let context = context(1);
    let timers = Timers::new();
    context.associate(&timers).unwrap();
    let notes = Notes::default();
    let noted = notes.clone();
    let begin = Instant::now();
    timers.after(SHORT).then(move |done| noted.note(done.result.is_ok())).unwrap();
    let ran = context.poll().unwrap();
    assert!(ran == 0 || begin.elapsed() >= SHORT, "not due yet");
    thread::sleep(SHORT);
    until("the timer's handler", || {
        let _ = context.poll().unwrap();
        notes.len() == 1
    });
    assert_eq!(notes.all(), [true]);
    assert!(context.is_stopped(), "the timer was all its work");
}

#[test]
fn run_for_and_run_until_end_at_their_moment() {
    let context = context(1);
    let _guard = context.work_guard();
    context.executor().post(|| ());
    let begin = Instant::now();
    assert_eq!(context.run_for(SHORT).unwrap(), 1);
    assert!(begin.elapsed() >= SHORT && !context.is_stopped());
    let end = Instant::now() + SHORT;
    assert_eq!(context.run_until(end).unwrap(), 0);
    assert!(Instant::now() >= end);
    context.executor().post(|| ());
    assert_eq!(context.run_until(begin).unwrap(), 0, "a moment that has passed is too late for anything");
    assert_eq!(context.run_one_for(LONG).unwrap(), 1);
    assert_eq!(context.run_one_until(Instant::now() + SHORT).unwrap(), 0);
}

#[test]
fn run_for_ends_though_handlers_go_on() {
    fn again(executor: proactor::context::IoExecutor) {
        let next = executor.clone();
        executor.post(move || again(next));
    }
    let context = context(1);
    again(context.executor());
    let begin = Instant::now();
    assert!(context.run_for(SHORT).unwrap() > 0);
    assert!(begin.elapsed() >= SHORT);
}

#[test]
fn stop_returns_every_run_and_keeps_what_is_queued() {
    let context = context(3);
    let _guard = context.work_guard();
    let runners: Vec<_> = (0..3)
        .map(|_| {
            worker({
                let context = context.clone();
                move || context.run().unwrap()
            })
        })
        .collect();
    runners.iter().for_each(Worker::asleep);
    context.stop();
    assert_eq!(runners.into_iter().map(Worker::join).sum::<usize>(), 0);
    let notes = Notes::default();
    context.executor().post(noting(&notes, 1));
    let calls = [context.run(), context.run_one(), context.poll(), context.poll_one(), context.run_for(LONG)];
    assert!(calls.iter().all(|ran| *ran == Ok(0)) && notes.len() == 0);
    context.restart();
    assert_eq!(context.poll().unwrap(), 1);
}

#[test]
fn no_handler_runs_after_the_one_that_stops() {
    let context = context(1);
    let notes = Notes::default();
    let own = Arc::downgrade(&context);
    context.executor().post(move || own.upgrade().unwrap().stop());
    (0..2).for_each(|turn| context.executor().post(noting(&notes, turn)));
    assert_eq!(context.run().unwrap(), 1);
    assert_eq!(notes.len(), 0);
    context.restart();
    assert_eq!(context.run().unwrap(), 2);
    assert_eq!(notes.all(), [0, 1]);
}

#[test]
fn wake_ups_are_never_lost() {
    let context = context(2);
    for round in 0..100 {
        let guard = context.work_guard();
        let count = Arc::new(AtomicUsize::new(0));
        let runners: Vec<_> = (0..2)
            .map(|_| {
                worker({
                    let context = context.clone();
                    move || context.run().unwrap()
                })
            })
            .collect();
        let counted = count.clone();
        context.executor().post(move || _ = counted.fetch_add(1, Ordering::SeqCst));
        if round % 2 == 0 {
            thread::yield_now();
        }
        drop(guard);
        assert_eq!(runners.into_iter().map(Worker::join).sum::<usize>(), 1, "round {round}");
        assert_eq!(count.load(Ordering::SeqCst), 1);
        context.restart();
    }
}

#[test]
fn an_operation_is_work_until_its_handler_has_run() {
    let context = context(1);
    let socket = udp_of(&context);
    let notes = Notes::default();
    let noted = notes.clone();
    socket.recv_from(vec![0; 16]).then(move |done| noted.note(done.bytes)).unwrap();
    let own = context.clone();
    let runner = worker(move || own.run().unwrap());
    runner.asleep();
    assert!(!context.is_stopped());
    let sender = std::net::UdpSocket::bind(ANY).unwrap();
    sender.send_to(b"datagram", socket.local_addr().unwrap()).unwrap();
    assert_eq!(runner.join(), 1);
    assert!(context.is_stopped());
    assert_eq!(notes.all(), [8]);
}

#[test]
fn an_operation_with_another_delivery_is_no_work() {
    let context = context(1);
    let socket = udp_of(&context);
    let receive = start(socket.recv_from(vec![0; 16]));
    assert_eq!(context.run().unwrap(), 0);
    let sender = std::net::UdpSocket::bind(ANY).unwrap();
    sender.send_to(b"datagram", socket.local_addr().unwrap()).unwrap();
    assert_eq!(finish(receive).bytes, 8);
    sender.send_to(b"again", socket.local_addr().unwrap()).unwrap();
    assert_eq!(block_on(socket.recv_from(vec![0; 16]).into_future()).bytes, 5);
}

#[test]
fn handlers_of_a_chain_start_their_next_operation() {
    fn echo(stream: Arc<TcpStream>, buffer: Vec<u8>, left: usize, notes: Notes<usize>) {
        let next = stream.clone();
        let started = stream.recv(buffer).then(move |done| {
            let (again, mut buffer) = (next.clone(), done.buffer);
            buffer.truncate(done.bytes);
            let sent = next.send(buffer).then(move |done| {
                notes.note(left);
                let mut buffer = done.buffer;
                buffer.resize(64, 0);
                if left > 1 {
                    echo(again, buffer, left - 1, notes);
                }
            });
            assert!(sent.is_ok());
        });
        assert!(started.is_ok());
    }
    use std::io::{Read, Write};
    let context = context(2);
    let (ours, mut peer) = stream_of(&context);
    let notes = Notes::default();
    echo(Arc::new(ours), vec![0; 64], 20, notes.clone());
    let runners: Vec<_> = (0..2)
        .map(|_| {
            worker({
                let context = context.clone();
                move || context.run().unwrap()
            })
        })
        .collect();
    for turn in 0..20 {
        let sent = pattern(32, turn);
        peer.write_all(&sent).unwrap();
        let mut back = [0; 32];
        peer.read_exact(&mut back).unwrap();
        assert_eq!(back, sent[..]);
    }
    assert_eq!(runners.into_iter().map(Worker::join).sum::<usize>(), 40);
    assert_eq!(notes.all(), Vec::from_iter((1..=20).rev()));
}

#[test]
fn a_thread_that_left_run_does_not_count_any_more() {
    let context = Arc::new(IoContext::new(proactor::Settings::new(1).block_monitor(false)).unwrap());
    let _guard = context.work_guard();
    context.executor().post(|| ());
    assert_eq!(context.run_one().unwrap(), 1);
    // This thread goes on without ever waiting; the context's one place is another's.
    let own = context.clone();
    let done = Flag::default();
    let told = done.clone();
    context.executor().post(move || told.set());
    let runner = worker(move || own.run_one().unwrap());
    done.spin();
    assert_eq!(runner.spin_join(), 1);
}

#[test]
fn run_may_be_called_inside_a_handler() {
    let context = context(1);
    let notes = Notes::default();
    let (own, noted) = (Arc::downgrade(&context), notes.clone());
    context.executor().post(move || {
        let context = own.upgrade().unwrap();
        noted.note(0);
        assert_eq!(context.poll().unwrap(), 2);
        noted.note(3);
    });
    context.executor().post(noting(&notes, 1));
    context.executor().post(noting(&notes, 2));
    assert_eq!(context.run().unwrap(), 1);
    assert_eq!(notes.all(), [0, 1, 2, 3]);
}

#[test]
fn packets_and_posts_of_a_contexts_objects_are_refused() {
    let context = context(1);
    let (stream, _peer) = stream_of(&context);
    let refused = stream.recv(proactor::within_mut(|io: &mut Io| &mut io.buf[..])).packet(block(1, 8)).unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    let timers = Timers::new();
    context.associate(&timers).unwrap();
    assert_eq!(timers.post_after(Duration::ZERO, 1).unwrap_err().code(), Code::InvalidParameter);
    let port: CompletionPort = CompletionPort::new(1).unwrap();
    assert_eq!(port.associate(&stream, 1).unwrap_err().code(), Code::InvalidParameter, "it has its home");
    assert_eq!(context.associate(&stream).unwrap_err().code(), Code::InvalidParameter);
}
