//! The runtime for async/await, in both its shapes: what tasks, their handles, timers and the runtime's end promise.

use std::cell::Cell;
use std::collections::HashSet;
use std::future::pending;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use std::thread;
use std::time::{Duration, Instant};

use proactor::net::{TcpListener, TcpStream};
use proactor::rt::{self, Runtime};
use proactor::{Code, CompletionPort, Concurrency, Local};

/// What must come comes within this time.
pub const LONG: Duration = Duration::from_secs(20);
pub const SHORT: Duration = Duration::from_millis(20);

/// Both shapes, of so many threads.
pub fn each_shape(threads: usize, mut test: impl FnMut(Runtime)) {
    for builder in [Runtime::shared(), Runtime::per_core()] {
        test(builder.threads(threads).build().unwrap());
    }
}

/// A connected pair that has no home yet.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client.into(), listener.accept().unwrap().0.into())
}

/// Says when it is dropped.
pub struct Tell(pub Option<mpsc::Sender<thread::ThreadId>>);

impl Drop for Tell {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            let _ = tell.send(thread::current().id());
        }
    }
}

pub fn tell() -> (Tell, mpsc::Receiver<thread::ThreadId>) {
    let (send, receive) = mpsc::channel();
    (Tell(Some(send)), receive)
}

#[test]
fn a_handle_gives_the_tasks_output() {
    each_shape(2, |runtime| {
        let sum = runtime.block_on(async {
            let tasks: Vec<_> = (0..100).map(|n| rt::spawn(async move { n })).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, 4950);
    });
}

#[test]
fn a_task_goes_on_when_its_handle_is_dropped() {
    each_shape(2, |runtime| {
        let (promise, promised) = proactor::promise();
        runtime.block_on(async {
            drop(rt::spawn(async move {
                rt::yield_now().await;
                promise.set(7);
            }));
            assert_eq!(promised.await.unwrap(), 7);
        });
    });
}

#[test]
fn an_aborted_task_is_dropped_and_its_handle_says_so() {
    each_shape(2, |runtime| {
        runtime.block_on(async {
            let (token, dropped) = tell();
            let task = rt::spawn(async move {
                let _token = token;
                pending::<()>().await;
            });
            rt::sleep(Duration::from_millis(1)).await;
            task.abort();
            task.abort();
            let error = task.await.unwrap_err();
            assert!(error.is_aborted() && !error.is_panic() && error.into_panic().is_err());
            dropped.try_recv().expect("the future was dropped before the handle said that it was aborted");
        });
    });
}

#[test]
fn aborting_a_task_that_is_over_keeps_its_output() {
    each_shape(2, |runtime| {
        runtime.block_on(async {
            let task = rt::spawn(async { 5 });
            let end = Instant::now() + LONG;
            while !task.is_finished() && Instant::now() < end {
                rt::sleep(Duration::from_millis(1)).await;
            }
            task.abort();
            assert_eq!(task.await.unwrap(), 5);
        });
    });
}

#[test]
fn an_aborted_task_cancels_its_operation_and_loses_no_later_byte() {
    each_shape(2, |runtime| {
        runtime.block_on(async {
            let (near, far) = pair();
            let far = Arc::new(far);
            let receiver = far.clone();
            let task = rt::spawn(async move { receiver.recv(vec![0; 16]).await.bytes });
            rt::sleep(Duration::from_millis(2)).await;
            task.abort();
            assert!(task.await.unwrap_err().is_aborted());
            near.send(b"later").await.result.unwrap();
            // A result that had arrived would have been lost; this came after the receive was over.
            assert_eq!(&far.recv(Vec::with_capacity(16)).await.buffer[..], b"later");
        });
    });
}

#[test]
fn a_panic_is_the_tasks_own() {
    each_shape(1, |runtime| {
        runtime.block_on(async {
            let error = rt::spawn(async { panic!("on purpose") }).await.unwrap_err();
            assert!(error.is_panic() && error.to_string().contains("on purpose"), "{error}");
            assert_eq!(*error.into_panic().unwrap().downcast_ref::<&str>().unwrap(), "on purpose");
            // In a drop, too: of a future, and of an output nobody takes.
            struct Bomb;
            impl Drop for Bomb {
                fn drop(&mut self) {
                    panic!("on purpose, in a drop");
                }
            }
            let task = rt::spawn(async {
                let _bomb = Bomb;
                pending::<()>().await;
            });
            rt::yield_now().await;
            task.abort();
            assert!(task.await.unwrap_err().is_aborted());
            drop(rt::spawn(async { Bomb }));
            // The one worker is there still.
            assert_eq!(rt::spawn(async { 1 }).await.unwrap(), 1);
        });
    });
}

#[test]
fn tasks_run_in_the_order_they_were_woken_in() {
    each_shape(1, |runtime| {
        let order = Arc::new(Mutex::new(Vec::new()));
        runtime.block_on(async {
            let spawn = |n: usize| {
                let order = order.clone();
                rt::spawn(async move {
                    for round in 0..3 {
                        order.lock().unwrap().push((round, n));
                        rt::yield_now().await;
                    }
                })
            };
            let tasks: Vec<_> = rt::spawn(async move {}).await.map(|()| (0..10).map(spawn).collect()).unwrap();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let order = order.lock().unwrap();
        for round in 0..3 {
            let of_round: Vec<_> = order.iter().filter(|it| it.0 == round).map(|it| it.1).collect();
            assert_eq!(of_round, (0..10).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_task_that_yields_for_ever_starves_neither_tasks_nor_operations() {
    each_shape(1, |runtime| {
        runtime.block_on(async {
            let spinner = rt::spawn(async {
                loop {
                    rt::yield_now().await;
                }
            });
            let (near, far) = pair();
            for _ in 0..20 {
                let receive = rt::spawn({
                    let far = far.clone();
                    async move { far.recv(vec![0; 8]).await.bytes }
                });
                near.send(b"x").await.result.unwrap();
                assert_eq!(rt::timeout(LONG, receive).await.expect("starved").unwrap(), 1);
                rt::timeout(LONG, rt::sleep(Duration::from_micros(10))).await.expect("starved");
            }
            spinner.abort();
        });
    });
}

#[test]
fn work_behind_a_long_poll_is_taken_by_an_idle_worker() {
    let runtime = Runtime::shared().threads(2).build().unwrap();
    runtime.block_on(async {
        for _ in 0..20 {
            let (promise, promised) = proactor::promise();
            let ran = Arc::new(AtomicBool::new(false));
            let seen = ran.clone();
            // Wakes a task, and does not return before that has run: on the same worker it never would.
            let long = rt::spawn(async move {
                let woken = rt::spawn(async move {
                    ran.store(true, Ordering::SeqCst);
                    promise.set(());
                });
                let end = Instant::now() + LONG;
                while !seen.load(Ordering::SeqCst) {
                    assert!(Instant::now() < end, "the task behind a long poll waited for its end");
                    std::hint::spin_loop();
                }
                woken.await.unwrap();
            });
            promised.await.unwrap();
            long.await.unwrap();
        }
    });
}

#[test]
fn completions_that_came_together_are_shared_among_the_workers() {
    let runtime = Runtime::shared().threads(2).build().unwrap();
    runtime.block_on(async {
        let (near, far): (Vec<_>, Vec<_>) = (0..2).map(|_| pair()).unzip();
        let met = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = far
            .into_iter()
            .map(|far| {
                let met = met.clone();
                rt::spawn(async move {
                    far.recv(vec![0; 8]).await.result.unwrap();
                    met.fetch_add(1, Ordering::SeqCst);
                    let end = Instant::now() + LONG;
                    // Both run at once, or neither gets on.
                    while met.load(Ordering::SeqCst) < 2 {
                        assert!(Instant::now() < end, "one worker kept both");
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        rt::sleep(Duration::from_millis(2)).await;
        for near in &near {
            near.send(b"x").await.result.unwrap();
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn local_tasks_need_not_be_send_and_stay_on_their_core() {
    let runtime = Runtime::per_core().threads(2).build().unwrap();
    runtime.block_on(async {
        let threads = rt::on_each_core(|core| async move {
            let mine = Rc::new(Cell::new(0));
            let home = thread::current().id();
            let tasks: Vec<_> = (0..10)
                .map(|_| {
                    let mine = mine.clone();
                    rt::spawn_local(async move {
                        for _ in 0..10 {
                            mine.set(mine.get() + 1);
                            rt::yield_now().await;
                            rt::sleep(Duration::from_micros(20)).await;
                            assert_eq!(thread::current().id(), home);
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(mine.get(), 100);
            (core, home)
        })
        .unwrap();
        let mut seen = HashSet::new();
        for (number, task) in threads.into_iter().enumerate() {
            let (core, home) = task.await.unwrap();
            assert_eq!(core, number);
            seen.insert(home);
        }
        assert_eq!(seen.len(), 2, "each core is a thread of its own");
    });
}

#[test]
fn a_local_task_is_woken_from_other_threads_at_home() {
    let runtime = Runtime::per_core().threads(1).build().unwrap();
    runtime.block_on(async {
        let home = thread::current().id();
        for n in 0..50 {
            let (promise, promised) = proactor::promise();
            let task = rt::spawn_local(async move {
                let value = promised.await.unwrap();
                assert_eq!(thread::current().id(), home);
                Rc::new(value)
            });
            rt::yield_now().await;
            thread::spawn(move || promise.set(n));
            assert_eq!(*task.await.unwrap(), n);
        }
    });
}

#[test]
fn a_handle_to_a_local_task_aborts_it_from_another_thread_and_it_is_dropped_at_home() {
    let runtime = Runtime::per_core().threads(1).build().unwrap();
    runtime.block_on(async {
        let (token, dropped) = tell();
        let task = rt::spawn_local(async move {
            let _token = (token, Rc::new(()));
            pending::<()>().await;
        });
        rt::yield_now().await;
        let ended = rt::spawn_blocking(move || {
            task.abort();
            proactor::block_on(task)
        });
        assert!(ended.await.unwrap().unwrap_err().is_aborted());
        assert_eq!(dropped.recv_timeout(LONG).unwrap(), thread::current().id());
    });
}

#[test]
fn objects_given_to_here_work_on_their_core() {
    let runtime = Runtime::per_core().threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks = rt::on_each_core(|_| async {
            let listener = rt::here(TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
            let addr = listener.local_addr().unwrap();
            let server = rt::spawn_local(async move {
                let stream = rt::here(listener.accept().await.result.unwrap().stream).unwrap();
                let mut buffer = Vec::with_capacity(64);
                loop {
                    let received = stream.recv(buffer).await;
                    if received.result.is_err() || received.bytes == 0 {
                        return;
                    }
                    buffer = stream.send(received.buffer).await.buffer;
                }
            });
            let client: TcpStream<Local> = rt::here(TcpStream::unconnected_v4().unwrap()).unwrap();
            client.connect(addr).await.result.unwrap();
            for _ in 0..100 {
                client.send(b"hello").await.result.unwrap();
                assert_eq!(&client.recv(Vec::with_capacity(64)).await.buffer[..], b"hello");
            }
            drop(client);
            server.await.unwrap();
        })
        .unwrap();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn an_object_first_used_in_a_shared_runtime_lives_on_its_port() {
    let runtime = Runtime::shared().threads(1).build().unwrap();
    let (near, far) = pair();
    runtime.block_on(async {
        let task = rt::spawn(async move {
            let echo = far.recv(Vec::with_capacity(8)).await;
            far.send(echo.buffer).await.result.unwrap();
            far
        });
        near.send(b"hi").await.result.unwrap();
        assert_eq!(&near.recv(Vec::with_capacity(8)).await.buffer[..], b"hi");
        let far = task.await.unwrap();
        let port = CompletionPort::<(), usize>::new(Concurrency::Cores).unwrap();
        assert_eq!(port.associate(&far, 1).unwrap_err().code(), Code::InvalidParameter);
        // It is nobody's to send packets to that port.
        let block = proactor::Block::new(());
        assert_eq!(
            far.send(proactor::within(|(): &mut ()| &b""[..])).packet(block).unwrap_err().error.code(),
            Code::InvalidParameter
        );
    });
}

#[test]
fn what_lives_on_a_runtime_goes_on_after_its_end() {
    let (near, far) = pair();
    let runtime = Runtime::shared().threads(1).build().unwrap();
    let receive = runtime.block_on(async { [near.recv(vec![0; 8]).start().unwrap()] });
    let [receive] = receive;
    drop(runtime);
    far.send(b"late").wait().result.unwrap();
    assert_eq!(receive.wait().bytes, 4);
    near.send(b"more").wait().result.unwrap();
    assert_eq!(proactor::block_on(far.recv(vec![0; 8]).into_future()).bytes, 4);
}

#[test]
fn operations_of_a_runtimes_task_can_be_awaited_with_any_executor() {
    let (near, far) = pair();
    each_shape(1, |runtime| {
        let receive = runtime.block_on(async { [near.recv(vec![0; 8]).start().unwrap()] });
        let [receive] = receive;
        proactor::block_on(async {
            far.send(b"x").await.result.unwrap();
            assert_eq!(receive.await.bytes, 1);
        });
        drop(runtime);
    });
}

mod attributes {
    use super::*;

    #[proactor::test]
    async fn a_test_runs_in_a_shared_runtime() {
        assert_eq!(rt::spawn(async { 3 }).await.unwrap(), 3);
    }

    #[proactor::test(shape = "per-core", threads = 1)]
    async fn a_test_runs_on_cores() -> Result<(), proactor::Error> {
        assert_eq!(*rt::spawn_local(async { Rc::new(3) }).await.unwrap(), 3);
        rt::here(TcpStream::unconnected_v4()?)?;
        Ok(())
    }
}

/// Futures that are `Send` whatever bytes they send, those of the program's text, too.
#[test]
fn a_task_may_send_bytes_that_live_for_ever() {
    Runtime::shared().threads(2).build().unwrap().block_on(async {
        let (one, other) = pair();
        let sent = rt::spawn(async move {
            one.send(b"array").await.result?;
            one.send("text").await.result?;
            one.send(&b"slice"[..]).await.result?;
            one.send_vectored(["a", "list"]).await.result
        });
        sent.await.unwrap().unwrap();
        let mut came = Vec::new();
        while came.len() < 19 {
            came.extend(other.recv(Vec::with_capacity(64)).await.buffer);
        }
        assert_eq!(came, b"arraytextslicealist");
    });
}
