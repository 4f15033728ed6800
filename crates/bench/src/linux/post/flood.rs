//! Flood: some threads post as fast as they can, as many others take.

use std::io;
use std::sync::Barrier;
use std::time::Instant;

use proactor::Batch;

use super::{Measure, Port};
use crate::linux::{cpu, wrong};

/// Who is measured with one poster and one taker.
pub const ONE_TO_ONE: &[(&str, Measure)] =
    &[("crossbeam", |items| crossbeam(1, items)), ("get", |items| get(1, items)), ("get_many 16", |items| get_many(1, items))];

/// And with two of each.
pub const TWO_TO_TWO: &[(&str, Measure)] =
    &[("crossbeam", |items| crossbeam(2, items)), ("get", |items| get(2, items)), ("get_many 16", |items| get_many(2, items))];

/// The last item of each taker.
const END: usize = usize::MAX;

/// Runs `pairs` posters and takers; of a pair each has a core of its own. `take_all` takes until it has an `END`, and adds up.
/// Nanoseconds per item.
fn measure(pairs: usize, items: u64, post: impl Fn(usize) + Sync, take_all: impl Fn() -> u64 + Sync) -> io::Result<f64> {
    let (first, last) = cpu::first_and_last();
    let start = &Barrier::new(2 * pairs);
    let (post, take_all) = (&post, &take_all);
    std::thread::scope(|scope| {
        let run = |pair: usize| {
            let (ours, other) = if pair.is_multiple_of(2) { (first, last) } else { (last, first) };
            let taker = scope.spawn(move || {
                cpu::pin(&[other])?;
                start.wait();
                let sum = take_all();
                Ok::<_, io::Error>((sum, Instant::now()))
            });
            let poster = scope.spawn(move || {
                cpu::pin(&[ours])?;
                start.wait();
                let begun = Instant::now();
                (pair..items as usize).step_by(pairs).for_each(post);
                Ok::<_, io::Error>(begun)
            });
            (poster, taker)
        };
        let (posters, takers): (Vec<_>, Vec<_>) = (0..pairs).map(run).unzip();
        let mut begun = Instant::now();
        for poster in posters {
            begun = begun.min(poster.join().map_err(|_| wrong("a poster panicked"))??);
        }
        (0..pairs).for_each(|_| post(END));
        let (mut sum, mut ended) = (0, begun);
        for taker in takers {
            let (taken, end) = taker.join().map_err(|_| wrong("a taker panicked"))??;
            (sum, ended) = (sum + taken, ended.max(end));
        }
        if sum != items * items.saturating_sub(1) / 2 {
            return Err(wrong("an item was lost or doubled"));
        }
        Ok((ended - begun).as_nanos() as f64 / items as f64)
    })
}

fn crossbeam(pairs: usize, items: u64) -> io::Result<f64> {
    let (sender, receiver) = crossbeam_channel::unbounded::<usize>();
    measure(
        pairs,
        items,
        |item| sender.send(item).expect("the receiver lives"),
        || receiver.iter().take_while(|item| *item != END).map(|item| item as u64).sum(),
    )
}

fn get(pairs: usize, items: u64) -> io::Result<f64> {
    let port = Port::new()?;
    let take_all = || std::iter::repeat_with(|| port.get()).take_while(|item| *item != END).map(|item| item as u64).sum();
    measure(pairs, items, |item| port.post(item), take_all)
}

fn get_many(pairs: usize, items: u64) -> io::Result<f64> {
    let port = Port::new()?;
    let take_all = || {
        let mut batch = Batch::with_capacity(16);
        let mut sum = 0;
        loop {
            port.port.get_many(&mut batch, None).expect("the port is open");
            for packet in batch.by_ref().filter_map(|outcome| outcome.packet()) {
                if packet.key == END {
                    return sum;
                }
                sum += packet.key as u64;
            }
        }
    };
    measure(pairs, items, |item| port.post(item), take_all)
}
