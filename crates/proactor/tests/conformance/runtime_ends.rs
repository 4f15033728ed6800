//! The runtime's time, its blocking calls, and its end.

use std::future::{Future, pending, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use proactor::Code;
use proactor::net::TcpStream;
use proactor::rt::{self, Handle, MissedTicks, Runtime};

use crate::runtime::{LONG, SHORT, Tell, each_shape, pair, tell};

#[test]
fn a_sleep_is_never_short_and_ends() {
    each_shape(1, |runtime| {
        runtime.block_on(async {
            let tasks: Vec<_> = (0..50)
                .map(|n| {
                    rt::spawn(async move {
                        let (begin, time) = (Instant::now(), Duration::from_micros(n * 100));
                        rt::sleep(time).await;
                        assert!(begin.elapsed() >= time);
                    })
                })
                .collect();
            for task in tasks {
                rt::timeout(LONG, task).await.expect("lost").unwrap();
            }
        });
    });
    let begin = Instant::now();
    proactor::block_on(rt::sleep(SHORT));
    assert!(begin.elapsed() >= SHORT);
}

#[test]
fn a_sleep_may_move_between_runtimes_and_threads() {
    let mut sleep = Box::pin(rt::sleep(SHORT));
    each_shape(1, |runtime| {
        runtime.block_on(async {
            let polled = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_pending())).await;
            assert!(polled || sleep.is_over());
        });
    });
    let begin = Instant::now();
    thread::spawn(move || proactor::block_on(sleep)).join().unwrap();
    assert!(begin.elapsed() < LONG);
    // Dropped elsewhere than where it was armed.
    let runtime = Runtime::per_core().threads(1).build().unwrap();
    runtime.block_on(async {
        let mut sleep = Box::pin(rt::sleep(LONG));
        assert!(poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_pending())).await);
        rt::spawn_blocking(move || drop(sleep)).await.unwrap();
        rt::sleep(Duration::from_millis(1)).await;
    });
}

#[test]
fn a_timeout_gives_the_output_or_says_that_time_is_over() {
    each_shape(1, |runtime| {
        runtime.block_on(async {
            assert_eq!(rt::timeout(LONG, async { 1 }).await, Ok(1));
            assert_eq!(rt::timeout(Duration::ZERO, async { 1 }).await, Ok(1), "a future that is ready wins");
            let begin = Instant::now();
            let elapsed = rt::timeout(SHORT, pending::<()>()).await.unwrap_err();
            assert!(begin.elapsed() >= SHORT && begin.elapsed() < LONG);
            assert_eq!(proactor::Error::from(elapsed).code(), Code::WaitTimeout);
        });
    });
}

#[test]
fn an_interval_does_with_missed_ticks_as_it_was_told() {
    each_shape(1, |runtime| {
        runtime.block_on(async {
            let period = Duration::from_millis(4);
            for missed in [MissedTicks::Burst, MissedTicks::Delay, MissedTicks::Skip] {
                let mut ticks = rt::interval(period).missed_ticks(missed);
                let first = ticks.tick().await;
                thread::sleep(period * 3 + period / 2);
                let late = Instant::now();
                let (second, third) = (ticks.tick().await, ticks.tick().await);
                assert_eq!(second, first + period);
                match missed {
                    MissedTicks::Burst => assert_eq!(third, first + period * 2),
                    MissedTicks::Delay => assert!(third >= late + period),
                    MissedTicks::Skip => {
                        let since = third - first;
                        assert!(since >= period * 4 && since.as_nanos() % period.as_nanos() == 0, "{since:?}");
                    }
                }
                // A tick whose future is dropped is not lost.
                let next = ticks.tick();
                drop(next);
                assert!(ticks.tick().await > third);
            }
        });
    });
}

#[test]
fn blocking_calls_keep_no_task_from_running() {
    each_shape(1, |runtime| {
        runtime.block_on(async {
            let (release, held) = mpsc::channel::<()>();
            let call = rt::spawn_blocking(move || held.recv_timeout(LONG).is_ok());
            assert_eq!(rt::spawn(async { 1 }).await.unwrap(), 1);
            release.send(()).unwrap();
            assert!(call.await.unwrap());
            let error = rt::spawn_blocking(|| panic!("on purpose")).await.unwrap_err();
            assert!(error.is_panic());
        });
    });
}

#[test]
fn blocking_calls_are_bounded_and_those_that_wait_can_be_aborted() {
    let runtime = Runtime::shared().threads(1).blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (release, held) = mpsc::channel::<()>();
        let first = rt::spawn_blocking(move || held.recv_timeout(LONG).is_ok());
        let ran = Arc::new(AtomicBool::new(false));
        let flag = ran.clone();
        let second = rt::spawn_blocking(move || flag.store(true, Ordering::SeqCst));
        second.abort();
        release.send(()).unwrap();
        assert!(first.await.unwrap());
        assert!(second.await.unwrap_err().is_aborted());
        rt::spawn_blocking(|| ()).await.unwrap();
        assert!(!ran.load(Ordering::SeqCst));
    });
}

#[test]
fn the_end_of_a_runtime_drops_every_task_and_cancels_its_operations() {
    each_shape(2, |runtime| {
        let (send, dropped) = mpsc::channel();
        let (near, far) = pair();
        let handle = runtime.handle();
        runtime.block_on(async {
            for n in 0..20 {
                let (token, far) = (Tell(Some(send.clone())), far.clone());
                rt::spawn(async move {
                    let _token = token;
                    match n % 4 {
                        0 => drop(far.recv(vec![0; 8]).await),
                        1 => rt::sleep(LONG).await,
                        2 => pending().await,
                        _ => loop {
                            rt::yield_now().await;
                        },
                    }
                })
                .detach();
            }
            rt::sleep(Duration::from_millis(2)).await;
        });
        drop((send, far));
        drop(runtime);
        assert_eq!(dropped.iter().count(), 20, "each is dropped, once, before the drop of the runtime returns");
        assert!(proactor::block_on(handle.spawn(async {})).unwrap_err().is_aborted());
        // The last handle of the far end went with the tasks.
        assert_eq!(near.recv(vec![0; 8]).wait().bytes, 0);
    });
}

#[test]
fn a_runtime_may_be_dropped_in_its_own_task() {
    for builder in [Runtime::shared(), Runtime::per_core()] {
        let runtime = builder.threads(2).build().unwrap();
        let handle = runtime.handle();
        let (token, dropped) = tell();
        handle
            .spawn(async move {
                let _token = token;
                drop(runtime);
                pending::<()>().await;
            })
            .detach();
        dropped.recv_timeout(LONG).expect("the task went with its runtime");
        let end = Instant::now() + LONG;
        while !proactor::block_on(handle.spawn(async {})).is_err_and(|error| error.is_aborted()) {
            assert!(Instant::now() < end, "the runtime goes on");
        }
    }
}

#[test]
fn a_shutdown_waits_no_longer_than_it_may() {
    each_shape(2, |runtime| {
        let (release, held) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel();
        runtime
            .handle()
            .spawn(async move {
                began.send(()).unwrap();
                let _ = held.recv_timeout(LONG);
            })
            .detach();
        // The core that has it may be the first, which is nobody's now; then it is gone at once.
        let _ = begun.recv_timeout(Duration::from_secs(1));
        let begin = Instant::now();
        let ended = runtime.shutdown_timeout(SHORT);
        assert!(begin.elapsed() < LONG / 2);
        assert!(!ended, "a task blocks one of its threads");
        drop(release);
    });
}

#[test]
fn a_waker_kept_past_the_runtimes_end_does_nothing() {
    each_shape(2, |runtime| {
        let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let keep = kept.clone();
        runtime.block_on(async {
            let task = rt::spawn(poll_fn(move |cx| {
                keep.lock().unwrap().push(cx.waker().clone());
                Poll::<()>::Pending
            }));
            let end = Instant::now() + LONG;
            while kept.lock().unwrap().is_empty() && Instant::now() < end {
                rt::sleep(Duration::from_millis(1)).await;
            }
            task.detach();
        });
        drop(runtime);
        let wakers = std::mem::take(&mut *kept.lock().unwrap());
        assert!(!wakers.is_empty());
        let threads: Vec<_> = wakers.into_iter().map(|waker| thread::spawn(move || waker.wake())).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_future_woken_by_its_own_drop_at_the_end_is_no_trouble() {
    each_shape(1, |runtime| {
        struct WakesWhenDropped(Mutex<Option<Waker>>);
        impl Drop for WakesWhenDropped {
            fn drop(&mut self) {
                self.0.lock().unwrap().take().unwrap().wake();
                if let Ok(handle) = Handle::current() {
                    drop(handle.spawn(async {}));
                }
            }
        }
        runtime.block_on(async {
            let wakes = WakesWhenDropped(Mutex::default());
            let task = rt::spawn(async move {
                let wakes = wakes;
                poll_fn(|cx| {
                    *wakes.0.lock().unwrap() = Some(cx.waker().clone());
                    Poll::<()>::Pending
                })
                .await;
            });
            rt::sleep(Duration::from_millis(1)).await;
            task.detach();
        });
        drop(runtime);
    });
}

#[test]
fn outside_a_runtime_what_needs_one_says_so() {
    assert_eq!(Handle::current().unwrap_err().code(), Code::NotSupported);
    assert_eq!(rt::here(TcpStream::unconnected_v4().unwrap()).unwrap_err().error.code(), Code::NotSupported);
    assert_eq!(rt::on_each_core(|_| async {}).unwrap_err().code(), Code::NotSupported);
    assert!(std::panic::catch_unwind(|| drop(rt::spawn(async {}))).is_err());
    let runtime = Runtime::shared().threads(1).build().unwrap();
    runtime.block_on(async {
        assert_eq!(rt::here(TcpStream::unconnected_v4().unwrap()).unwrap_err().error.code(), Code::NotSupported);
        assert!(std::panic::catch_unwind(|| Runtime::shared().threads(1).build().unwrap().block_on(async {})).is_err());
    });
    assert_eq!(Runtime::shared().threads(0).build().unwrap_err().code(), Code::InvalidParameter);
}
