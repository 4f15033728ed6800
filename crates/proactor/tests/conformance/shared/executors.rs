//! ASIO.md: executors as values, work guards, services, thread pools.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use proactor::Code;
use proactor::context::{
    AnyExecutor, Executor, InlineExecutor, IoContext, IoExecutor, Job, Service, Strand, SystemExecutor, ThreadPool, WorkGuard,
};
use proactor::net::UdpSocket;

use super::contexts::{Notes, context, noting, panics};
use crate::common::*;

#[test]
fn post_queues_and_dispatch_runs_inline_only_inside() {
    let context = context(1);
    let executor = context.executor();
    let notes = Notes::default();
    executor.dispatch(noting(&notes, 0));
    assert_eq!(notes.len(), 0, "outside");
    let (own, noted) = (executor.clone(), notes.clone());
    executor.post(move || {
        assert!(own.running_in_this_thread());
        own.post(noting(&noted, 3));
        own.dispatch(noting(&noted, 1));
        noted.note(2);
    });
    assert!(!executor.running_in_this_thread());
    assert_eq!(context.run().unwrap(), 3);
    assert_eq!(notes.all(), [0, 1, 2, 3]);
}

#[test]
fn inside_one_context_is_not_inside_another() {
    let (one, other) = (context(1), context(1));
    let notes = Notes::default();
    let (there, noted) = (other.executor(), notes.clone());
    one.executor().post(move || {
        assert!(!there.running_in_this_thread());
        there.dispatch(noting(&noted, 2));
        noted.note(1);
    });
    one.run().unwrap();
    assert_eq!(notes.all(), [1]);
    other.run().unwrap();
    assert_eq!(notes.all(), [1, 2]);
}

#[test]
fn what_a_handler_defers_is_queued_when_it_ends() {
    let context = context(1);
    let notes = Notes::default();
    let (own, noted) = (context.executor(), notes.clone());
    context.executor().post(move || {
        own.defer(noting(&noted, 2));
        own.post(noting(&noted, 1));
        own.defer(noting(&noted, 3));
        noted.note(0);
    });
    context.executor().defer(noting(&notes, 9));
    assert_eq!(context.run().unwrap(), 5);
    assert_eq!(notes.all(), [0, 9, 1, 2, 3]);
}

#[test]
fn executors_are_values() {
    let (one, other) = (context(1), context(1));
    assert!(one.executor() == one.executor() && one.executor() != other.executor());
    let any = AnyExecutor::new(one.executor());
    assert!(any == AnyExecutor::new(one.executor()) && any == AnyExecutor::new(any.clone()));
    assert!(any != AnyExecutor::new(other.executor()) && any != AnyExecutor::new(InlineExecutor));
    assert!(any.target::<IoExecutor>() == Some(&one.executor()) && any.target::<InlineExecutor>().is_none());
    let strand = Strand::new(any.clone());
    assert!(AnyExecutor::new(strand.clone()) == AnyExecutor::new(strand));
}

#[test]
fn a_type_erased_executor_does_what_the_one_inside_does() {
    let context = context(1);
    let any = AnyExecutor::new(Strand::new(AnyExecutor::new(context.executor())));
    let notes = Notes::default();
    let mut guard = WorkGuard::new(any.clone());
    assert_eq!(context.poll().unwrap(), 0);
    assert!(!context.is_stopped(), "the guard reaches the context");
    let (own, noted) = (any.clone(), notes.clone());
    any.post(move || {
        own.defer(noting(&noted, 3));
        own.dispatch(noting(&noted, 1));
        noted.note(if own.running_in_this_thread() { 2 } else { 20 });
    });
    assert!(context.poll().unwrap() > 0);
    guard.reset();
    assert!(!guard.owns_work() && context.is_stopped());
    guard.reset();
    drop(guard);
    assert_eq!(notes.all(), [1, 2, 3]);
}

#[test]
fn a_work_guard_keeps_run_until_it_is_reset_or_dropped() {
    let context = context(1);
    let mut guard = context.work_guard();
    let second = guard.clone();
    assert!(guard.executor() == second.executor());
    let own = context.clone();
    let runner = worker(move || own.run().unwrap());
    runner.asleep();
    guard.reset();
    assert!(!guard.clone().owns_work());
    context.executor().post(|| ());
    thread::sleep(SHORT);
    assert!(!runner.is_done());
    drop(second);
    assert_eq!(runner.join(), 1);
}

#[test]
fn a_job_runs_once_or_is_dropped() {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = || {
        let count = count.clone();
        Job::new(move || _ = count.fetch_add(1, Ordering::SeqCst))
    };
    counting().run();
    drop(counting());
    assert_eq!((count.load(Ordering::SeqCst), Arc::strong_count(&count)), (1, 1));
}

#[test]
fn the_inline_executor_runs_everything_on_the_spot() {
    let notes = Notes::default();
    InlineExecutor.post(noting(&notes, 0));
    InlineExecutor.dispatch(noting(&notes, 1));
    InlineExecutor.defer(noting(&notes, 2));
    assert!(InlineExecutor.running_in_this_thread());
    assert_eq!(notes.all(), [0, 1, 2]);
}

#[test]
fn the_systems_executor_has_threads_of_its_own() {
    let executor = SystemExecutor::new().unwrap();
    let (tell, told) = mpsc::channel();
    for _ in 0..10 {
        let tell = tell.clone();
        executor.post(move || tell.send((thread::current().id(), executor.running_in_this_thread())).unwrap());
    }
    for _ in 0..10 {
        let (id, inside) = told.recv_timeout(LONG).unwrap();
        assert!(id != thread::current().id() && inside);
    }
    assert!(!executor.running_in_this_thread() && executor == SystemExecutor::new().unwrap());
}

// ---- services ----

/// A service that notes its life.
struct Noted<const N: usize>(Notes<(&'static str, usize)>);

thread_local! {
    static LIVES: Notes<(&'static str, usize)> = Notes::default();
}

impl<const N: usize> Service for Noted<N> {
    fn make(executor: &IoExecutor) -> Self {
        if N == 3 {
            executor.use_service::<Noted<4>>();
        }
        let lives = LIVES.with(Clone::clone);
        lives.note(("made", N));
        Noted(lives)
    }

    fn shutdown(&self) {
        self.0.note(("shut down", N));
    }
}

impl<const N: usize> Drop for Noted<N> {
    fn drop(&mut self) {
        self.0.note(("dropped", N));
    }
}

#[test]
fn services_are_one_per_type_and_shut_down_in_reverse_order() {
    let context = IoContext::new(1).unwrap();
    assert!(!context.has_service::<Noted<1>>());
    let one = context.use_service::<Noted<1>>();
    assert!(Arc::ptr_eq(&one, &context.use_service()) && context.has_service::<Noted<1>>());
    context.use_service::<Noted<2>>();
    context.use_service::<Noted<3>>();
    assert!(context.has_service::<Noted<4>>(), "asked for by the third");
    drop(one);
    let lives = LIVES.with(Clone::clone);
    assert_eq!(lives.all(), [("made", 1), ("made", 2), ("made", 4), ("made", 3)]);
    // Handlers are dropped while the services are there, but shut down.
    let noted = lives.clone();
    struct Handler(Notes<(&'static str, usize)>);
    impl Drop for Handler {
        fn drop(&mut self) {
            self.0.note(("handler", 0));
        }
    }
    let handler = Handler(noted);
    context.executor().post(move || drop(handler));
    drop(context);
    let end = ["shut down", "dropped"].map(|what| [3, 4, 2, 1].map(|n| (what, n)));
    assert_eq!(lives.all()[4..], [&end[0][..], &[("handler", 0)], &end[1][..]].concat());
}

#[test]
fn a_service_is_made_once_by_several_threads() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    struct Slow;
    impl Service for Slow {
        fn make(_: &IoExecutor) -> Slow {
            MADE.fetch_add(1, Ordering::SeqCst);
            thread::sleep(SHORT / 3);
            Slow
        }
    }
    let context = context(1);
    let made: Vec<_> = (0..4)
        .map(|_| {
            worker({
                let context = context.clone();
                move || context.use_service::<Slow>()
            })
        })
        .collect();
    let made: Vec<_> = made.into_iter().map(Worker::join).collect();
    assert!(made.iter().all(|service| Arc::ptr_eq(service, &made[0])));
    assert_eq!(MADE.load(Ordering::SeqCst), 1);
}

#[test]
fn a_service_that_cannot_be_made_can_be_asked_for_again() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    struct Fails;
    impl Service for Fails {
        fn make(_: &IoExecutor) -> Fails {
            assert!(ASKED.fetch_add(1, Ordering::SeqCst) > 0, "as planned");
            Fails
        }
    }
    struct Itself;
    impl Service for Itself {
        fn make(executor: &IoExecutor) -> Itself {
            executor.use_service::<Itself>();
            Itself
        }
    }
    let context = context(1);
    panics(|| context.use_service::<Fails>());
    assert!(!context.has_service::<Fails>());
    context.use_service::<Fails>();
    panics(|| context.use_service::<Itself>());
}

// ---- thread pools ----

#[test]
fn join_runs_everything_outstanding() {
    let pool = ThreadPool::new(3).unwrap();
    let notes = Notes::default();
    fn spread(executor: IoExecutor, depth: usize, notes: Notes<usize>) {
        notes.note(depth);
        if depth > 0 {
            for _ in 0..2 {
                let (own, notes) = (executor.clone(), notes.clone());
                executor.post(move || spread(own, depth - 1, notes));
            }
        }
    }
    let (executor, noted) = (pool.executor(), notes.clone());
    pool.executor().post(move || spread(executor, 7, noted));
    pool.join().unwrap();
    assert_eq!(notes.len(), 255);
    assert!(pool.is_stopped());
    pool.join().unwrap();
}

#[test]
fn stop_abandons_what_is_queued() {
    let pool = ThreadPool::new(1).unwrap();
    let (began, go) = (Flag::default(), Flag::default());
    let (own, until) = (began.clone(), go.clone());
    pool.executor().post(move || {
        own.set();
        until.wait();
    });
    began.wait();
    let notes = Notes::default();
    pool.executor().post(noting(&notes, 1));
    pool.stop();
    go.set();
    pool.join().unwrap();
    drop(pool);
    assert_eq!(notes.len(), 0);
}

#[test]
fn an_attached_thread_runs_the_pools_functions_too() {
    let pool = Arc::new(ThreadPool::new(1).unwrap());
    let (began, go) = (Flag::default(), Flag::default());
    let (own, until) = (began.clone(), go.clone());
    pool.executor().post(move || {
        own.set();
        until.wait();
    });
    began.wait();
    let own = pool.clone();
    let attached = worker(move || (thread::current().id(), own.attach().unwrap()));
    let (tell, told) = mpsc::channel();
    pool.executor().post(move || tell.send(thread::current().id()).unwrap());
    let ran_on = told.recv_timeout(LONG).unwrap();
    go.set();
    pool.join().unwrap();
    assert_eq!(attached.join(), (ran_on, 1));
}

#[test]
fn a_pools_threads_survive_panics() {
    let pool = ThreadPool::new(1).unwrap();
    let notes = Notes::default();
    for turn in 0..4 {
        let noted = notes.clone();
        pool.executor().post(move || {
            assert!(turn % 2 == 0, "as planned");
            noted.note(turn);
        });
    }
    pool.join().unwrap();
    assert_eq!(notes.all(), [0, 2]);
}

#[test]
fn a_pool_cannot_be_joined_by_its_own_thread_and_may_be_dropped_there() {
    let pool = Arc::new(ThreadPool::new(2).unwrap());
    let (tell, told) = mpsc::channel();
    let own = pool.clone();
    let (go, until) = {
        let go = Flag::default();
        (go.clone(), go)
    };
    pool.executor().post(move || {
        until.wait();
        let joined = own.join().map_err(|error| error.code());
        drop(own);
        tell.send(joined).unwrap();
    });
    drop(pool);
    go.set();
    assert_eq!(told.recv_timeout(LONG).unwrap(), Err(Code::InvalidParameter));
}

#[test]
fn objects_of_a_pool_complete_in_its_threads() {
    let pool = ThreadPool::new(2).unwrap();
    let socket = UdpSocket::bind(ANY).unwrap();
    pool.associate(&socket).unwrap();
    let (tell, told) = mpsc::channel();
    socket.recv_from(vec![0; 16]).then(move |done| tell.send((thread::current().id(), done.bytes)).unwrap()).unwrap();
    std::net::UdpSocket::bind(ANY).unwrap().send_to(b"datagram", socket.local_addr().unwrap()).unwrap();
    let (id, bytes) = told.recv_timeout(LONG).unwrap();
    assert!(id != thread::current().id() && bytes == 8);
    pool.join().unwrap();
}
