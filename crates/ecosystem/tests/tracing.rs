//! The feature `tracing`: what a subscriber is told, in which order, and that all spans close.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "tracing/collector.rs"]
mod collector;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use collector::{Collected, collect};
use proactor::net::UdpSocket;
use proactor::rt::{self, Runtime};
use proactor::sync::alertable;
use proactor::time::Timers;
use proactor::{Block, CompletionPort, within_mut};

fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// The one span of that name and kind.
#[track_caller]
fn only(collected: &Collected, name: &str, kind: &str) -> u64 {
    let all = collected.spans(name, kind);
    assert_eq!(all.len(), 1, "{name} {kind}: {collected:#?}");
    all[0]
}

#[test]
fn an_operation_is_a_span_and_its_end_an_event() {
    let (a, b) = (socket(), socket());
    let collected = collect(|| {
        let request = tracing::trace_span!(target: "mine", "request");
        request.in_scope(|| {
            let receive = b.recv_from(vec![0; 64]).start().unwrap();
            proactor::block_on(async { a.send_to(b"hello", b.local_addr().unwrap()).await.result.unwrap() });
            receive.wait().result.unwrap();
        });
    });
    let receive = only(&collected, "operation", "receive-from");
    let span = &collected.span[&receive];
    assert_eq!(span.target, "proactor::operation");
    assert_eq!(span.fields["delivery"], "handle");
    assert_eq!(collected.span[&span.parent.unwrap()].name, "request");
    assert_eq!(collected.events(receive), ["completed bytes=5 result=ok"]);
    assert_eq!(collected.events(only(&collected, "operation", "send-to")), ["completed bytes=5 result=ok"]);
}

#[test]
fn failures_and_dropped_handles_say_so() {
    let a = socket();
    let collected = collect(|| {
        let receive = a.recv_from(vec![0; 64]).start().unwrap();
        receive.cancel().unwrap();
        assert!(receive.wait().result.is_err());
    });
    assert_eq!(collected.events(only(&collected, "operation", "receive-from")), ["completed bytes=0 result=Cancelled"]);
    let collected = collect(|| drop(a.recv_from(vec![0; 64]).start().unwrap()));
    assert_eq!(collected.events(only(&collected, "operation", "receive-from")), ["completed bytes=0 result=Cancelled"]);
}

#[test]
fn packets_complete_where_they_are_taken_and_posts_are_none() {
    let port: CompletionPort<[u8; 8], usize> = CompletionPort::new(1).unwrap();
    let (a, b) = (socket(), socket());
    port.associate(&b, 1).unwrap();
    let collected = collect(|| {
        b.recv_from(within_mut(|buf: &mut [u8; 8]| &mut buf[..])).packet(Block::new([0; 8])).unwrap();
        a.send_to(b"x", b.local_addr().unwrap()).wait().result.unwrap();
        let packet = port.get(None).unwrap().packet().unwrap();
        port.post(2, 0, packet.block).unwrap();
        assert!(port.get(None).unwrap().packet().is_some());
    });
    let receive = only(&collected, "operation", "receive-from");
    assert_eq!(collected.span[&receive].fields["delivery"], "packet");
    assert_eq!(collected.events(receive), ["completed bytes=1 result=ok"]);
    assert_eq!(collected.spans("operation", "post").len(), 0);
}

/// Creation, completion, entry, exit, as Asio's tracking has them. A chain keeps nothing of what is over.
#[test]
fn a_handler_is_entered_and_exited_and_a_chain_of_them_keeps_nothing() {
    const CHAIN: u32 = 50;
    let port: Arc<CompletionPort> = Arc::new(CompletionPort::new(1).unwrap());
    let timers = Timers::new();
    port.associate(&timers, 0).unwrap();
    fn arm(timers: Timers, port: Arc<CompletionPort>, left: u32) {
        let own = timers.clone();
        let handler = move |_| match left {
            0 => port.post(9, 0, None).unwrap(),
            left => arm(own, port, left - 1),
        };
        timers.after(std::time::Duration::ZERO).then(handler).unwrap();
    }
    let collected = collect(|| {
        arm(timers.clone(), port.clone(), CHAIN);
        assert_eq!(port.get(None).unwrap().packet().unwrap().key, 9);
    });
    let operations = collected.spans("operation", "timer");
    let handlers = collected.spans("handler", "timer");
    assert_eq!((operations.len(), handlers.len()), (CHAIN as usize + 1, CHAIN as usize + 1));
    assert!(collected.most_open <= 8, "{} spans at once", collected.most_open);
    for (at, (operation, handler)) in operations.iter().zip(&handlers).enumerate() {
        let handler = &collected.span[handler];
        assert_eq!((handler.follows, handler.parent), (Some(*operation), None));
        assert_eq!(handler.fields["what"], "handler");
        let parent = at.checked_sub(1).map(|before| handlers[before]);
        assert_eq!(collected.span[operation].parent, parent, "an operation is a child of the handler that started it");
        let (made, over) = (collected.place("new", *operation), collected.place("event", *operation));
        let (entry, exit) = (collected.place("enter", handlers[at]), collected.place("exit", handlers[at]));
        assert!(made < over && over < entry && entry < exit, "{collected:#?}");
    }
}

#[test]
fn a_completion_routine_is_a_span_too() {
    let (a, b) = (socket(), socket());
    let came = Rc::new(Cell::new(0));
    let theirs = came.clone();
    let collected = collect(|| {
        b.recv_from(vec![0; 8]).routine(move |done| theirs.set(done.bytes)).unwrap();
        a.send_to(b"xyz", b.local_addr().unwrap()).wait().result.unwrap();
        alertable::sleep(None).unwrap();
    });
    assert_eq!(came.get(), 3);
    let (receive, routine) = (only(&collected, "operation", "receive-from"), only(&collected, "handler", "receive-from"));
    assert_eq!(collected.span[&receive].fields["delivery"], "routine");
    assert_eq!((collected.span[&routine].follows, &collected.span[&routine].fields["what"][..]), (Some(receive), "routine"));
    assert!(collected.place("event", receive) < collected.place("enter", routine));
}

#[test]
fn a_task_is_a_span_entered_with_every_poll() {
    for runtime in [Runtime::shared(), Runtime::per_core()] {
        let collected = collect(|| {
            let runtime = runtime.threads(1).build().unwrap();
            let begun = tracing::trace_span!(target: "mine", "request");
            let inside = begun.enter();
            runtime.block_on(async {
                let task = rt::spawn(async {
                    rt::yield_now().await;
                    let (a, b) = (socket(), socket());
                    let receive = b.recv_from(vec![0; 8]).start().unwrap();
                    a.send_to(vec![1], b.local_addr().unwrap()).await.result.unwrap();
                    receive.await.result.unwrap();
                });
                task.await.unwrap();
            });
            drop(inside);
            drop(begun);
            drop(runtime);
        });
        let task = collected.named("task")[0];
        assert_eq!(collected.span[&task].parent, None);
        assert_eq!(collected.span[&task].follows, Some(collected.named("request")[0]));
        assert!(collected.times("enter", task) >= 2, "{collected:#?}");
        assert_eq!(collected.times("enter", task), collected.times("exit", task));
        for kind in ["send-to", "receive-from"] {
            assert_eq!(collected.span[&only(&collected, "operation", kind)].parent, Some(task));
        }
    }
}
