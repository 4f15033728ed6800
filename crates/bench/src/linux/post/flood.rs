//! Flood: one thread posts as fast as it can, another takes.

use std::io;
use std::sync::Barrier;
use std::time::Instant;

use proactor::Batch;

use super::{Measure, Port};
use crate::linux::{cpu, wrong};

/// Who is measured.
pub const CONTENDERS: &[(&str, Measure)] = &[("crossbeam", crossbeam), ("get", get), ("get_many 16", get_many)];

/// Runs the two halves on two cores; nanoseconds per item.
fn measure(items: u64, post: impl Fn(usize) + Send, take_all: impl FnOnce(u64) -> u64 + Send) -> io::Result<f64> {
    let (first, last) = cpu::first_and_last();
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let taker = scope.spawn(|| {
            cpu::pin(&[last])?;
            start.wait();
            let sum = take_all(items);
            Ok::<_, io::Error>((sum, Instant::now()))
        });
        let poster = scope.spawn(|| {
            cpu::pin(&[first])?;
            start.wait();
            let begun = Instant::now();
            (0..items as usize).for_each(post);
            Ok::<_, io::Error>(begun)
        });
        let begun = poster.join().map_err(|_| wrong("the poster panicked"))??;
        let (sum, ended) = taker.join().map_err(|_| wrong("the taker panicked"))??;
        if sum != items * items.saturating_sub(1) / 2 {
            return Err(wrong("an item was lost or doubled"));
        }
        Ok((ended - begun).as_nanos() as f64 / items as f64)
    })
}

fn crossbeam(items: u64) -> io::Result<f64> {
    let (sender, receiver) = crossbeam_channel::unbounded::<usize>();
    measure(
        items,
        move |item| sender.send(item).expect("the receiver lives"),
        move |items| (0..items).map(|_| receiver.recv().expect("the sender has more") as u64).sum(),
    )
}

fn get(items: u64) -> io::Result<f64> {
    let port = Port::new()?;
    measure(items, |item| port.post(item), |items| (0..items).map(|_| port.get() as u64).sum())
}

fn get_many(items: u64) -> io::Result<f64> {
    let port = Port::new()?;
    let take_all = |items| {
        let mut batch = Batch::with_capacity(16);
        let (mut taken, mut sum) = (0, 0);
        while taken < items {
            port.port.get_many(&mut batch, None).expect("the port is open");
            for packet in batch.by_ref().filter_map(|outcome| outcome.packet()) {
                taken += 1;
                sum += packet.key as u64;
            }
        }
        sum
    };
    measure(items, |item| port.post(item), take_all)
}
