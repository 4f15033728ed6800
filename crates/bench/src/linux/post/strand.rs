//! Functions of a context, and what a strand adds: one thread posts them and runs them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use proactor::context::{AnyExecutor, Executor, IoContext, Strand};

use super::Measure;
use crate::linux::{cpu, wrong};

/// Posted 64 at a time, then run.
pub const BURSTS: &[(&str, Measure)] = &[
    ("post", |items| bursts(items, |context| context.executor())),
    ("post, erased", |items| bursts(items, |context| AnyExecutor::new(context.executor()))),
    ("strand", |items| bursts(items, |context| Strand::new(context.executor()))),
    ("strand, erased", |items| bursts(items, |context| AnyExecutor::new(Strand::new(AnyExecutor::new(context.executor()))))),
    ("strand over strand", |items| bursts(items, |context| Strand::new(Strand::new(context.executor())))),
];

/// Each posts the next; a hop is a function of the context that has its work done on a strand.
pub const CHAINS: &[(&str, Measure)] = &[
    ("post", |items| chain(items, |context| [context.executor(), context.executor()])),
    ("strand", |items| {
        chain(items, |context| {
            let strand = Strand::new(context.executor());
            [strand.clone(), strand]
        })
    }),
    ("strand, and another", |items| chain(items, |context| [Strand::new(context.executor()), Strand::new(context.executor())])),
    ("hop to the strand", |items| {
        chain(items, |context| [AnyExecutor::new(context.executor()), AnyExecutor::new(Strand::new(context.executor()))])
    }),
];

const BURST: u64 = 64;

fn bursts<E: Executor>(items: u64, executor: impl Fn(&IoContext) -> E) -> io::Result<f64> {
    let (first, _) = cpu::first_and_last();
    cpu::pin(&[first])?;
    let context = IoContext::new(1)?;
    let (executor, _guard) = (executor(&context), context.work_guard());
    let sum = Arc::new(AtomicU64::new(0));
    let run = |bursts: u64| {
        for _ in 0..bursts {
            for _ in 0..BURST {
                let sum = sum.clone();
                executor.post(move || _ = sum.fetch_add(1, Ordering::Relaxed));
            }
            context.poll()?;
        }
        Ok::<_, io::Error>(())
    };
    run(16)?;
    let begun = Instant::now();
    run(items / BURST)?;
    let elapsed = begun.elapsed();
    match sum.load(Ordering::Relaxed) == (items / BURST + 16) * BURST {
        true => Ok(elapsed.as_nanos() as f64 / (items / BURST * BURST) as f64),
        false => Err(wrong("a function was lost or doubled")),
    }
}

/// Goes back and forth between two executors.
fn chain<E: Executor>(items: u64, executors: impl Fn(&IoContext) -> [E; 2]) -> io::Result<f64> {
    fn step<E: Executor>(here: &E, there: &E, left: u64, end: Arc<AtomicU64>) {
        let (next, after) = (there.clone(), here.clone());
        here.post(move || match left {
            0 => end.store(1, Ordering::Relaxed),
            _ => step(&next, &after, left - 1, end),
        });
    }
    let (first, _) = cpu::first_and_last();
    cpu::pin(&[first])?;
    let context = IoContext::new(1)?;
    let [one, other] = executors(&context);
    let end = Arc::new(AtomicU64::new(0));
    step(&one, &other, 1000, end.clone());
    context.run()?;
    context.restart();
    let begun = Instant::now();
    let [one, other] = executors(&context);
    step(&one, &other, items, end.clone());
    context.run()?;
    let elapsed = begun.elapsed();
    match end.load(Ordering::Relaxed) {
        1 => Ok(elapsed.as_nanos() as f64 / items as f64),
        _ => Err(wrong("the chain broke")),
    }
}
