//! ASIO.md: what panics and drops do to a context, its objects and its handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use proactor::Code;
use proactor::context::{Executor, IoExecutor, WorkGuard};
use proactor::time::Timers;

use super::contexts::{Notes, context, noting, udp_of};
use crate::common::*;

#[test]
fn a_panic_leaves_run_and_loses_nothing() {
    let context = context(1);
    let notes = Notes::default();
    let executor = context.executor();
    for turn in 0..6 {
        let (noted, deferring) = (notes.clone(), executor.clone());
        executor.post(move || {
            deferring.defer(noting(&noted, turn + 100));
            assert!(turn % 2 == 0, "as planned");
            noted.note(turn);
        });
    }
    let mut panicked = 0;
    loop {
        match catch_unwind(AssertUnwindSafe(|| context.run())) {
            Ok(ran) => break assert!(ran.unwrap() > 0),
            Err(_) => panicked += 1,
        }
        assert!(!context.is_stopped(), "no restart is needed");
    }
    assert_eq!(panicked, 3);
    assert_eq!(notes.all(), [0, 2, 4, 100, 101, 102, 103, 104, 105]);
}

#[test]
fn dropping_an_object_cancels_its_operations_and_calls_their_handlers() {
    let context = context(1);
    let notes = Notes::default();
    let socket = udp_of(&context);
    let timers = Timers::new();
    context.associate(&timers).unwrap();
    let noted = notes.clone();
    socket.recv_from(vec![0; 16]).then(move |done| noted.note(done.result.unwrap_err().code())).unwrap();
    let noted = notes.clone();
    timers.after(LONG * 100).then(move |done| noted.note(done.result.unwrap_err().code())).unwrap();
    drop((socket, timers));
    assert_eq!(notes.len(), 0, "only inside run");
    assert_eq!(context.run().unwrap(), 2);
    assert_eq!(notes.all(), [Code::Cancelled, Code::Cancelled]);
}

/// Notes its own end.
struct Ends(Notes<usize>, usize);

impl Ends {
    /// Says that it was called, by that a handler holds all of it.
    fn call(self, called: &Notes<usize>) {
        called.note(self.1);
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

#[test]
fn dropping_the_context_drops_pending_handlers_uncalled_the_last_first() {
    let context = context(1);
    let (notes, called) = (Notes::default(), Notes::<usize>::default());
    for turn in 0..4 {
        let (ends, called) = (Ends(notes.clone(), turn), called.clone());
        context.executor().post(move || ends.call(&called));
    }
    let (socket, timers) = (udp_of(&context), Timers::new());
    context.associate(&timers).unwrap();
    let (ends, received) = (Ends(notes.clone(), 10), called.clone());
    socket.recv_from(vec![0; 16]).then(move |_| ends.call(&received)).unwrap();
    let (ends, due) = (Ends(notes.clone(), 10), called.clone());
    timers.after(LONG * 100).then(move |_| ends.call(&due)).unwrap();
    let executor = context.executor();
    drop(context);
    assert_eq!(called.len(), 0, "none was called");
    assert_eq!(notes.all(), [3, 2, 1, 0, 10, 10]);

    // What outlives the context.
    let ends = Ends(notes.clone(), 20);
    executor.post(move || drop(ends));
    assert_eq!(notes.all().last(), Some(&20), "dropped at once");
    let refused = socket.recv_from(vec![7; 16]).then(|_| ()).unwrap_err();
    assert_eq!((refused.error.code(), refused.back), (Code::InvalidHandle, vec![7; 16]));
    assert_eq!(code(&finish(start(timers.after(Duration::ZERO)))), None);
    drop(WorkGuard::new(executor));
}

#[test]
fn handlers_that_post_when_they_are_dropped_do_not_keep_the_context() {
    struct Posts(IoExecutor, Notes<usize>);
    impl Drop for Posts {
        fn drop(&mut self) {
            self.1.note(1);
            if self.1.len() < 10 {
                let next = Posts(self.0.clone(), self.1.clone());
                self.0.post(move || drop(next));
            }
        }
    }
    let context = context(1);
    let notes = Notes::default();
    let posts = Posts(context.executor(), notes.clone());
    context.executor().post(move || drop(posts));
    drop(context);
    assert_eq!(notes.len(), 10);
}
