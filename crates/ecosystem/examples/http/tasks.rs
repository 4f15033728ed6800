//! Threads that run tasks.

use std::future::Future;

use async_executor::Executor;

static EXECUTOR: Executor<'static> = Executor::new();

/// Runs `main` to its end, and with it what it spawns, on so many threads.
pub fn run<T>(threads: usize, main: impl Future<Output = T>) -> T {
    for _ in 1..threads {
        std::thread::spawn(|| proactor::block_on(EXECUTOR.run(std::future::pending::<()>())));
    }
    proactor::block_on(EXECUTOR.run(main))
}

pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    EXECUTOR.spawn(task).detach();
}
