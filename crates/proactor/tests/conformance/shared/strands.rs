//! ASIO.md: strands, and handlers that run through an executor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use proactor::context::{AnyExecutor, Executor, InlineExecutor, IoContext, IoExecutor, Strand, ThreadPool};
use proactor::net::{TcpStream, UdpSocket};
use proactor::time::Timers;
use proactor::{Code, CompletionPort, Outcome};

use super::contexts::{Notes, context, noting, panics, stream_of};
use crate::common::*;

#[test]
fn functions_of_a_strand_run_in_the_order_they_were_posted() {
    let context = context(4);
    let strand = Strand::new(context.executor());
    let notes = Notes::default();
    (0..1000).for_each(|turn| strand.post(noting(&notes, turn)));
    let runners: Vec<_> = (0..3)
        .map(|_| {
            worker({
                let context = context.clone();
                move || context.run().unwrap()
            })
        })
        .collect();
    runners.into_iter().for_each(|runner| _ = runner.join());
    assert_eq!(notes.all(), Vec::from_iter(0..1000));
}

#[test]
fn two_functions_of_a_strand_never_run_at_once() {
    let pool = ThreadPool::new(4).unwrap();
    let strand = Strand::new(pool.executor());
    let (inside, ran, overlaps) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let (inside, ran, overlaps) = (inside.clone(), ran.clone(), overlaps.clone());
                    strand.post(move || {
                        if inside.swap(true, Ordering::SeqCst) {
                            overlaps.fetch_add(1, Ordering::SeqCst);
                        }
                        thread::yield_now();
                        inside.store(false, Ordering::SeqCst);
                        ran.fetch_add(1, Ordering::SeqCst);
                    });
                }
            });
        }
    });
    pool.join().unwrap();
    assert_eq!((ran.load(Ordering::SeqCst), overlaps.load(Ordering::SeqCst)), (1500, 0));
}

#[test]
fn functions_of_different_strands_run_at_once() {
    let pool = ThreadPool::new(2).unwrap();
    let (first, second) = (Strand::new(pool.executor()), Strand::new(pool.executor()));
    let (here, there) = (Flag::default(), Flag::default());
    let (own, other) = (here.clone(), there.clone());
    first.post(move || {
        own.set();
        other.wait();
    });
    second.post(move || {
        there.set();
        here.wait();
    });
    pool.join().unwrap();
}

#[test]
fn dispatch_is_inline_only_inside_the_strand() {
    let context = context(1);
    let strand = Strand::new(context.executor());
    let notes = Notes::default();
    let (own, noted) = (strand.clone(), notes.clone());
    context.executor().post(move || {
        assert!(!own.running_in_this_thread());
        own.dispatch(noting(&noted, 1));
        noted.note(0);
    });
    let (own, noted) = (strand.clone(), notes.clone());
    strand.post(move || {
        assert!(own.running_in_this_thread());
        own.dispatch(noting(&noted, 2));
        own.post(noting(&noted, 5));
        own.defer(noting(&noted, 6));
        noted.note(3);
        own.dispatch(noting(&noted, 4));
    });
    strand.dispatch(noting(&notes, 7));
    assert_eq!(notes.len(), 0, "outside it only queues");
    context.run().unwrap();
    // The first strand function was posted before the context's first one ran, hence `2` to `4` and `7` before `1`.
    assert_eq!(notes.all(), [0, 2, 3, 4, 7, 1, 5, 6]);
}

#[test]
fn a_panic_in_a_strand_does_not_lose_the_rest() {
    let context = context(1);
    let strand = Strand::new(context.executor());
    let notes = Notes::default();
    for turn in 0..5 {
        let noted = notes.clone();
        strand.post(move || {
            assert!(turn != 1 && turn != 4, "as planned");
            noted.note(turn);
        });
    }
    panics(|| context.run());
    assert_eq!(notes.all(), [0]);
    panics(|| context.run());
    assert_eq!(notes.all(), [0, 2, 3]);
    context.restart();
    strand.post(noting(&notes, 5));
    context.run().unwrap();
    assert_eq!(notes.all(), [0, 2, 3, 5]);
}

#[test]
fn a_strand_over_a_strand_keeps_both_rules() {
    let context = context(2);
    let inner = Strand::new(context.executor());
    let outer = Strand::new(inner.clone());
    let notes = Notes::default();
    for turn in 0..100 {
        let (inner, outer) = (inner.clone(), outer.clone());
        let noted = notes.clone();
        outer.clone().post(move || {
            assert!(inner.running_in_this_thread() && outer.running_in_this_thread());
            noted.note(turn);
        });
    }
    let runners: Vec<_> = (0..2)
        .map(|_| {
            worker({
                let context = context.clone();
                move || context.run().unwrap()
            })
        })
        .collect();
    runners.into_iter().for_each(|runner| _ = runner.join());
    assert_eq!(notes.all(), Vec::from_iter(0..100));
}

#[test]
fn a_busy_strand_lets_others_have_their_turn() {
    fn again(strand: Strand<IoExecutor>, left: usize, notes: Notes<usize>) {
        let next = strand.clone();
        strand.post(move || {
            notes.note(0);
            if left > 0 {
                again(next, left - 1, notes);
            }
        });
    }
    let context = context(1);
    let strand = Strand::new(context.executor());
    let notes = Notes::default();
    again(strand, 1000, notes.clone());
    context.executor().post(noting(&notes, 1));
    context.run().unwrap();
    let at = notes.all().iter().position(|note| *note == 1).unwrap();
    assert!(at < 1000, "after {at} of the strand's functions");
    assert_eq!(notes.len(), 1002);
}

#[test]
fn equal_strands_are_the_same_one() {
    let context = context(1);
    let (a, b) = (Strand::new(context.executor()), Strand::new(context.executor()));
    assert!(a == a.clone() && a != b && *a.inner() == context.executor());
}

#[test]
fn what_waits_in_a_strand_is_dropped_with_the_context() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (dropped, called) = (Arc::new(AtomicUsize::new(0)), Notes::<usize>::default());
    let context = context(1);
    let strand = Strand::new(Strand::new(context.executor()));
    let post = |strand: &Strand<_>| {
        let (counts, noted) = (Counts(dropped.clone()), called.clone());
        strand.post(move || {
            noted.note(1);
            drop(counts);
        });
    };
    (0..5).for_each(|_| post(&strand));
    drop(context);
    assert_eq!(dropped.load(Ordering::SeqCst), 5);
    post(&strand);
    assert_eq!((dropped.load(Ordering::SeqCst), called.len()), (6, 0), "dropped at once");
}

#[test]
fn a_strands_cell_is_for_functions_of_its_strand() {
    let pool = ThreadPool::new(3).unwrap();
    let strand = Strand::new(pool.executor());
    let cell = Arc::new(strand.cell(Vec::new()));
    for turn in 0..1000 {
        let cell = cell.clone();
        strand.post(move || cell.with(|turns| turns.push(turn)));
    }
    let (nested, result) = (cell.clone(), Notes::default());
    let noted = result.clone();
    strand.post(move || {
        let twice = || nested.with(|_| nested.with(|_| ()));
        noted.note(std::panic::catch_unwind(std::panic::AssertUnwindSafe(twice)).is_err());
        nested.with(|turns| turns.push(1000));
    });
    let (beside, noted) = (cell.clone(), result.clone());
    Strand::new(pool.executor()).post(move || {
        let outside = || beside.with(|_| ());
        noted.note(std::panic::catch_unwind(std::panic::AssertUnwindSafe(outside)).is_err());
    });
    pool.join().unwrap();
    panics(|| cell.with(|_| ()));
    assert_eq!(result.all(), [true, true]);
    assert!(cell.strand() == &strand);
    assert_eq!(Arc::into_inner(cell).unwrap().into_inner(), Vec::from_iter(0..=1000));
}

// ---- .on ----

/// One connection: what its handlers share needs no lock of theirs.
struct Connection {
    stream: TcpStream,
    strand: Strand<IoExecutor>,
    busy: AtomicBool,
    received: Notes<u8>,
    sent: AtomicUsize,
}

impl Connection {
    /// Runs a handler's body, which nothing else of this connection may overlap.
    fn alone(&self, body: impl FnOnce()) {
        assert!(self.strand.running_in_this_thread());
        assert!(!self.busy.swap(true, Ordering::SeqCst), "one at a time");
        thread::yield_now();
        body();
        self.busy.store(false, Ordering::SeqCst);
    }

    fn receive(self: Arc<Connection>, buffer: Vec<u8>) {
        let own = self.clone();
        let started = self.stream.recv(buffer).on(&self.strand).then(move |done| {
            own.alone(|| (0..done.bytes).for_each(|at| own.received.note(done.buffer[at])));
            if own.received.len() < 200 {
                own.receive(done.buffer);
            }
        });
        assert!(started.is_ok());
    }

    fn send(self: Arc<Connection>, left: usize) {
        let own = self.clone();
        let started = self.stream.send(vec![7; 3]).on(&self.strand).then(move |done| {
            own.alone(|| _ = own.sent.fetch_add(done.bytes, Ordering::SeqCst));
            if left > 1 {
                own.send(left - 1);
            }
        });
        assert!(started.is_ok());
    }
}

#[test]
fn handlers_of_a_connection_on_its_strand_keep_their_order_with_several_threads() {
    use std::io::Write;
    let context = context(4);
    let (stream, mut peer) = stream_of(&context);
    let connection = Arc::new(Connection {
        stream,
        strand: Strand::new(context.executor()),
        busy: AtomicBool::new(false),
        received: Notes::default(),
        sent: AtomicUsize::new(0),
    });
    connection.clone().receive(vec![0; 7]);
    connection.clone().send(200);
    let runners: Vec<_> = (0..3)
        .map(|_| {
            worker({
                let context = context.clone();
                move || context.run().unwrap()
            })
        })
        .collect();
    for turn in 0..200 {
        peer.write_all(&[turn]).unwrap();
    }
    runners.into_iter().for_each(|runner| _ = runner.join());
    assert_eq!(connection.received.all(), Vec::from_iter(0..200));
    assert_eq!(connection.sent.load(Ordering::SeqCst), 600);
}

#[test]
fn a_handler_runs_in_another_context_than_its_object_is_of() {
    let (objects, handlers) = (context(1), context(1));
    let timers = Timers::new();
    objects.associate(&timers).unwrap();
    let notes = Notes::default();
    for executor in [AnyExecutor::new(handlers.executor()), AnyExecutor::new(Strand::new(handlers.executor()))] {
        let (own, noted) = (handlers.executor(), notes.clone());
        let handler = move |_| noted.note(own.running_in_this_thread());
        timers.after(Duration::from_millis(1)).on(&executor).then(handler).unwrap();
    }
    // Both have work until the handlers have run.
    assert_eq!(handlers.poll().unwrap(), 0);
    assert!(!handlers.is_stopped());
    assert_eq!(objects.run().unwrap(), 2);
    assert_eq!(notes.len(), 0);
    assert_eq!(handlers.run().unwrap(), 2);
    assert_eq!(notes.all(), [true, true]);
}

#[test]
fn a_handler_of_a_completion_ports_object_runs_in_a_context() {
    let port: CompletionPort = CompletionPort::new(1).unwrap();
    let context = context(1);
    let socket = UdpSocket::bind(ANY).unwrap();
    port.associate(&socket, 7).unwrap();
    let notes = Notes::default();
    let noted = notes.clone();
    socket.recv_from(vec![0; 8]).on(&context.executor()).then(move |done| noted.note(done.buffer)).unwrap();
    socket.send_to(b"hello", socket.local_addr().unwrap()).wait().result.unwrap();
    until("the completion", || {
        assert!(matches!(port.get(Duration::ZERO).unwrap(), Outcome::TimedOut));
        context.poll().unwrap();
        notes.len() == 1
    });
    assert_eq!(notes.all(), [b"hello".to_vec()]);
    assert!(context.is_stopped());
}

#[test]
fn a_handler_on_the_inline_executor_runs_where_its_completion_is_taken() {
    let context = context(1);
    let timers = Timers::new();
    context.associate(&timers).unwrap();
    let notes = Notes::default();
    let noted = notes.clone();
    timers.after(Duration::ZERO).on(&InlineExecutor).then(move |_| noted.note(thread::current().id())).unwrap();
    assert_eq!(context.run().unwrap(), 1);
    assert_eq!(notes.all(), [thread::current().id()]);
}

#[test]
fn a_refused_operation_gives_buffer_and_work_back() {
    let context = context(1);
    let socket = UdpSocket::bind(ANY).unwrap();
    let refused = socket.recv_from(vec![5; 4]).on(&context.executor()).then(|_| ()).unwrap_err();
    assert_eq!((refused.error.code(), refused.back), (Code::InvalidParameter, vec![5; 4]));
    assert_eq!(context.run().unwrap(), 0);
}

#[test]
fn an_error_names_its_operation_on_a_strand_too() {
    let context = context(1);
    let strand = Strand::new(context.executor());
    let timers = Timers::new();
    context.associate(&timers).unwrap();
    let notes = Notes::default();
    let noted = notes.clone();
    timers.after(LONG * 100).on(&strand).then(move |done| noted.note(done.result.unwrap_err().to_string())).unwrap();
    drop(timers);
    context.run().unwrap();
    let said = notes.all().remove(0);
    assert!(said.contains("timer"), "{said}");
}

#[test]
fn a_handler_on_a_strand_is_dropped_uncalled_with_its_context() {
    let (dropped, socket) = (Arc::new(()), UdpSocket::bind(ANY).unwrap());
    let (objects, handlers) = (IoContext::new(1).unwrap(), IoContext::new(1).unwrap());
    objects.associate(&socket).unwrap();
    let strand = Strand::new(handlers.executor());
    let kept = dropped.clone();
    socket.recv_from(vec![0; 8]).on(&strand).then(move |_| panic!("{kept:?} is called")).unwrap();
    socket.send_to(b"hello", socket.local_addr().unwrap()).wait().result.unwrap();
    assert_eq!(objects.run_one().unwrap(), 1, "on its way to the strand");
    assert_eq!(Arc::strong_count(&dropped), 2);
    drop(handlers);
    assert_eq!(Arc::strong_count(&dropped), 1);
}
