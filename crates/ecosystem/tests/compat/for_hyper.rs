//! hyper's executor and timer.

use std::sync::mpsc;
use std::task::Context;
use std::time::{Duration, Instant};

use hyper::rt::{Executor as _, Timer as _};
use proactor::compat::hyper::{Executor, Task, Timer};
use proactor::time::Timers;

use super::common::{Bell, LONG};

#[test]
fn the_executor_runs_tasks_on_tokio_and_on_smols() {
    let (tell, told) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let handle = runtime.handle().clone();
    let on_tokio = Executor::new(move |task: Task| drop(handle.spawn(task)));
    let own = tell.clone();
    on_tokio.execute(async move { own.send("tokio").unwrap() });
    assert_eq!(told.recv_timeout(LONG), Ok("tokio"));

    let executor = async_executor::Executor::new();
    let on_smol = Executor::new(|task: Task| executor.spawn(task).detach());
    on_smol.execute(async move { tell.send("smol").unwrap() });
    while executor.try_tick() {}
    assert_eq!(told.try_recv(), Ok("smol"));
}

#[test]
fn a_sleep_ends_at_its_moment_and_not_before() {
    let timer = Timer::new(Timers::new());
    let begin = Instant::now();
    proactor::block_on(timer.sleep(Duration::from_millis(20)));
    assert!(begin.elapsed() >= Duration::from_millis(20));
    proactor::block_on(timer.sleep_until(begin));
    // It may be polled again when it is over, and outlives the timer it came from.
    let mut sleep = timer.sleep(Duration::from_millis(1));
    drop(timer);
    proactor::block_on(sleep.as_mut());
    proactor::block_on(sleep);
}

#[test]
fn a_sleep_that_is_reset_has_its_new_moment_alone() {
    let timer = Timer::default();
    let begin = Instant::now();
    let mut sleep = timer.sleep(Duration::from_secs(3600));
    let (bell, waker) = Bell::waker();
    assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    timer.reset(&mut sleep, begin + Duration::from_millis(10));
    assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() || begin.elapsed() >= Duration::from_millis(10));
    bell.wait();
    assert!(begin.elapsed() >= Duration::from_millis(10));
    proactor::block_on(sleep.as_mut());
    // Also when it is over already, and later as well as sooner.
    timer.reset(&mut sleep, Instant::now() + Duration::from_secs(3600));
    assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    // For ever is far away, and no panic.
    drop(timer.sleep(Duration::MAX));
}
