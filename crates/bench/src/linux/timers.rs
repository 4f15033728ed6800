//! `bench timers`: what a timer costs with a million of them armed, and how exactly timers fire, beside tokio's.
//!
//! | contender | armed by | cancelled by |
//! |---|---|---|
//! | tokio, in place | `Sleep`s in one array, made anew and polled once | dropped in place |
//! | tokio, boxed | `Box::pin(sleep(..))`, polled once | dropped |
//! | packets, shared | `.packet(block)`, blocks made before | `cancel(ticket)`, then `get_many` fetches the block |
//! | packets, per-thread | the same on a `LocalPort` | the same |
//! | posts, shared; per-thread | `post_after`: a packet without a block | `cancel(ticket)`: none comes |
//! | handles | `.start()`, a block made for each | dropped |
//!
//! Deadlines lie up to a minute apart, an hour ahead, in no order; timers are cancelled in the order they were armed in.
//! The first pass of a contender is not measured: its memory is there from then on. What our packets need to come back (`get_many`) is part of the cancel. Fire: all are due when they are fetched.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use proactor::time::{Timers, WaitableTimer};
use proactor::{AsObject, Batch, Block, CompletionPort, Concurrency, Local, LocalPort, Ticket};

use super::args::TimersArgs;
use super::board::{Board, Ratio};
use super::{sys, wrong};

/// How far ahead timers lie that are not to fire.
const AHEAD: Duration = Duration::from_secs(3600);
const IN_PLACE: &str = "tokio, in place";

/// Nanoseconds for each timer.
struct Costs {
    arm: f64,
    cancel: f64,
    fire: f64,
}

/// What a thousand due at one moment did.
struct Burst {
    first: Duration,
    last: Duration,
}

type Contender = (&'static str, fn(&[Duration]) -> io::Result<Costs>, Option<fn(u32) -> io::Result<Burst>>);

const CONTENDERS: [Contender; 7] = [
    (IN_PLACE, tokio_in_place, Some(tokio_burst)),
    ("tokio, boxed", tokio_boxed, None),
    ("posts, shared", |spread| posts(Shared::new()?, spread), Some(|count| post_burst(Shared::new()?, count))),
    ("posts, per-thread", |spread| posts(PerThread::new()?, spread), Some(|count| post_burst(PerThread::new()?, count))),
    ("packets, shared", |spread| packets(Shared::new()?, spread), Some(|count| burst(Shared::new()?, count))),
    ("packets, per-thread", |spread| packets(PerThread::new()?, spread), Some(|count| burst(PerThread::new()?, count))),
    ("handles", handles, None),
];

/// Takes turns between the contenders and prints the tables.
pub fn run(args: &TimersArgs) -> io::Result<()> {
    println!("{} timers armed, {} rounds; {} due at one moment", args.timers, args.rounds, args.burst);
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut spread = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        Duration::from_micros(seed % 60_000_000)
    };
    let spread: Vec<_> = (0..args.timers).map(|_| spread()).collect();
    let mut costs = Board::new(&["arm ns", "cancel ns", "arm + cancel ns", "fire ns"]);
    let mut exact = Board::new(&["first after due µs", "spread µs"]);
    for _ in 0..args.rounds {
        for (name, cost, _) in &CONTENDERS {
            let Costs { arm, cancel, fire } = cost(&spread)?;
            costs.add(name, &[arm, cancel, arm + cancel, fire]);
        }
        for _ in 0..args.bursts {
            for (name, _, burst) in &CONTENDERS {
                let Some(burst) = burst else { continue };
                let Burst { first, last } = burst(args.burst)?;
                exact.add(name, &[first.as_nanos() as f64 / 1e3, (last - first).as_nanos() as f64 / 1e3]);
            }
        }
    }
    let ratios = [0, 1, 2, 3].map(|metric| Ratio { metric, base: IN_PLACE });
    println!("{}", costs.table(&ratios));
    let mut late = Board::new(&["median late µs", "p99 late µs"]);
    for _ in 0..args.rounds {
        lateness(&mut late)?;
    }
    println!("{}", exact.table(&[Ratio { metric: 1, base: IN_PLACE }]));
    println!("{}", late.table(&[Ratio { metric: 0, base: "timerfd" }, Ratio { metric: 1, base: "timerfd" }]));
    println!("The least that a timer came after its deadline is the least of `first after due`: below 0 would be early.");
    Ok(())
}

fn each(since: Instant, count: usize) -> f64 {
    since.elapsed().as_nanos() as f64 / count as f64
}

/// Nanoseconds from a deadline; an early one is an error.
fn after(due: Instant) -> io::Result<Duration> {
    Instant::now().checked_duration_since(due).ok_or_else(|| wrong("a timer fired early"))
}

// ---- tokio ----

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().build()
}

/// Arms it: the first poll registers it.
fn arm(sleep: Pin<&mut tokio::time::Sleep>) -> io::Result<()> {
    match sleep.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Ok(()),
        Poll::Ready(()) => Err(wrong("a timer of tokio's fired early")),
    }
}

fn tokio_in_place(spread: &[Duration]) -> io::Result<Costs> {
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let mut sleeps = Vec::with_capacity(spread.len());
    // The memory is there before: what a program that keeps its timers would have.
    sleeps.extend(spread.iter().map(|_| tokio::time::sleep(AHEAD)));
    sleeps.clear();
    let begin = Instant::now();
    for more in spread {
        sleeps.push(tokio::time::sleep(AHEAD + *more));
        if let Some(sleep) = sleeps.last_mut() {
            // SAFETY: there is room for all, so none moves; they are dropped where they lie.
            arm(unsafe { Pin::new_unchecked(sleep) })?;
        }
    }
    let arm_cost = each(begin, spread.len());
    let begin = Instant::now();
    sleeps.clear();
    let cancel = each(begin, spread.len());
    for more in spread {
        sleeps.push(tokio::time::sleep(*more / 1000));
        if let Some(sleep) = sleeps.last_mut() {
            // SAFETY: as above.
            let _ = unsafe { Pin::new_unchecked(sleep) }.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
    std::thread::sleep(Duration::from_millis(70));
    let begin = Instant::now();
    // One turn of the driver fires all; then each is looked at.
    runtime.block_on(tokio::task::yield_now());
    for sleep in &mut sleeps {
        // SAFETY: as above.
        runtime.block_on(unsafe { Pin::new_unchecked(sleep) });
    }
    Ok(Costs { arm: arm_cost, cancel, fire: each(begin, spread.len()) })
}

fn tokio_boxed(spread: &[Duration]) -> io::Result<Costs> {
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let mut sleeps = Vec::with_capacity(spread.len());
    let (mut arm_cost, mut cancel) = (0.0, 0.0);
    for _ in 0..2 {
        let begin = Instant::now();
        for more in spread {
            let mut sleep = Box::pin(tokio::time::sleep(AHEAD + *more));
            arm(sleep.as_mut())?;
            sleeps.push(sleep);
        }
        arm_cost = each(begin, spread.len());
        let begin = Instant::now();
        sleeps.clear();
        cancel = each(begin, spread.len());
    }
    for more in spread {
        let mut sleep = Box::pin(tokio::time::sleep(*more / 1000));
        let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        sleeps.push(sleep);
    }
    std::thread::sleep(Duration::from_millis(70));
    let begin = Instant::now();
    runtime.block_on(tokio::task::yield_now());
    for sleep in &mut sleeps {
        runtime.block_on(sleep.as_mut());
    }
    Ok(Costs { arm: arm_cost, cancel, fire: each(begin, spread.len()) })
}

fn tokio_burst(count: u32) -> io::Result<Burst> {
    let due = Instant::now() + Duration::from_millis(20);
    runtime()?.block_on(async {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                tokio::spawn(async move {
                    tokio::time::sleep_until(due.into()).await;
                    after(due)
                })
            })
            .collect();
        let mut burst: Option<Burst> = None;
        for task in tasks {
            let at = pin!(task).await.map_err(io::Error::other)??;
            let Burst { first, last } = burst.unwrap_or(Burst { first: at, last: at });
            burst = Some(Burst { first: first.min(at), last: last.max(at) });
        }
        burst.ok_or_else(|| wrong("no timers"))
    })
}

// ---- ours ----

/// A port of either kind, and timers on it.
trait Ours {
    fn after(&self, delay: Duration, block: Block<()>) -> io::Result<Ticket>;
    fn at(&self, due: Instant, block: Block<()>) -> io::Result<()>;
    fn post_after(&self, delay: Duration) -> io::Result<Ticket>;
    fn post_at(&self, due: Instant) -> io::Result<Ticket>;
    fn cancel(&self, ticket: Ticket) -> io::Result<()>;
    /// Fetches what is there, at least one packet, and gives their blocks back; how many.
    fn fetch(&mut self, each: impl FnMut(Option<Block<()>>)) -> io::Result<usize>;
}

struct Shared {
    port: CompletionPort<(), usize>,
    timers: Timers,
    batch: Batch<(), usize>,
}

struct PerThread {
    port: LocalPort<(), usize>,
    timers: <Timers as AsObject>::OnLocal,
    batch: Batch<(), usize, Local>,
}

impl Shared {
    fn new() -> io::Result<Shared> {
        let (port, timers) = (CompletionPort::new(Concurrency::Threads(1))?, Timers::new());
        port.associate(&timers, 0)?;
        Ok(Shared { port, timers, batch: Batch::with_capacity(64) })
    }
}

impl PerThread {
    fn new() -> io::Result<PerThread> {
        let port = LocalPort::new()?;
        let timers = port.associate(Timers::new(), 0).map_err(|refused| refused.error)?;
        Ok(PerThread { port, timers, batch: Batch::with_capacity(64) })
    }
}

macro_rules! ours {
    ($name:ident) => {
        impl Ours for $name {
            #[inline]
            fn after(&self, delay: Duration, block: Block<()>) -> io::Result<Ticket> {
                Ok(self.timers.after(delay).packet(block).map_err(|refused| refused.error)?)
            }

            fn at(&self, due: Instant, block: Block<()>) -> io::Result<()> {
                self.timers.at(due).packet(block).map_err(|refused| refused.error)?;
                Ok(())
            }

            #[inline]
            fn post_after(&self, delay: Duration) -> io::Result<Ticket> {
                Ok(self.timers.post_after(delay, 0)?)
            }

            fn post_at(&self, due: Instant) -> io::Result<Ticket> {
                Ok(self.timers.post_at(due, 0)?)
            }

            #[inline]
            fn cancel(&self, ticket: Ticket) -> io::Result<()> {
                Ok(self.timers.cancel(ticket)?)
            }

            #[inline]
            fn fetch(&mut self, mut each: impl FnMut(Option<Block<()>>)) -> io::Result<usize> {
                self.port.get_many(&mut self.batch, Duration::from_secs(10))?;
                let mut count = 0;
                for packet in &mut self.batch {
                    each(packet.packet().and_then(|packet| packet.block));
                    count += 1;
                }
                if count == 0 { Err(wrong("no packets")) } else { Ok(count) }
            }
        }
    };
}

ours!(Shared);
ours!(PerThread);

fn packets(mut ours: impl Ours, spread: &[Duration]) -> io::Result<Costs> {
    let mut blocks = Vec::with_capacity(spread.len());
    let mut tickets = Vec::with_capacity(spread.len());
    let mut back: Vec<_> = spread.iter().map(|_| Block::new(())).collect();
    let (mut arm, mut cancel) = (0.0, 0.0);
    for _ in 0..2 {
        std::mem::swap(&mut blocks, &mut back);
        let begin = Instant::now();
        for (more, block) in spread.iter().zip(blocks.drain(..)) {
            tickets.push(ours.after(AHEAD + *more, block)?);
        }
        arm = each(begin, spread.len());
        let begin = Instant::now();
        for some in tickets.chunks(64) {
            for ticket in some {
                ours.cancel(*ticket)?;
            }
            let mut left = some.len();
            while left > 0 {
                left -= ours.fetch(|block| back.extend(block))?;
            }
        }
        cancel = each(begin, spread.len());
        tickets.clear();
    }
    for (more, block) in spread.iter().zip(back.drain(..)) {
        ours.after(*more / 1000, block)?;
    }
    std::thread::sleep(Duration::from_millis(70));
    let begin = Instant::now();
    let mut left = spread.len();
    while left > 0 {
        left -= ours.fetch(|block| back.extend(block))?;
    }
    Ok(Costs { arm, cancel, fire: each(begin, spread.len()) })
}

fn posts(mut ours: impl Ours, spread: &[Duration]) -> io::Result<Costs> {
    let mut tickets = Vec::with_capacity(spread.len());
    let mut costs = (0.0, 0.0);
    for _ in 0..2 {
        let begin = Instant::now();
        for more in spread {
            tickets.push(ours.post_after(AHEAD + *more)?);
        }
        costs.0 = each(begin, spread.len());
        let begin = Instant::now();
        for ticket in tickets.drain(..) {
            ours.cancel(ticket)?;
        }
        costs.1 = each(begin, spread.len());
    }
    for more in spread {
        ours.post_after(*more / 1000)?;
    }
    std::thread::sleep(Duration::from_millis(70));
    let begin = Instant::now();
    let mut left = spread.len();
    while left > 0 {
        left -= ours.fetch(|_| ())?;
    }
    Ok(Costs { arm: costs.0, cancel: costs.1, fire: each(begin, spread.len()) })
}

fn post_burst(ours: impl Ours, count: u32) -> io::Result<Burst> {
    let due = Instant::now() + Duration::from_millis(20);
    for _ in 0..count {
        ours.post_at(due)?;
    }
    fetch_burst(ours, due, count)
}

fn burst(ours: impl Ours, count: u32) -> io::Result<Burst> {
    let due = Instant::now() + Duration::from_millis(20);
    for _ in 0..count {
        ours.at(due, Block::new(()))?;
    }
    fetch_burst(ours, due, count)
}

fn fetch_burst(mut ours: impl Ours, due: Instant, count: u32) -> io::Result<Burst> {
    let (mut first, mut last, mut left) = (None, Duration::ZERO, count as usize);
    let mut early = false;
    while left > 0 {
        left -= ours.fetch(|_| match after(due) {
            Ok(at) => {
                first.get_or_insert(at);
                last = at;
            }
            Err(_) => early = true,
        })?;
    }
    match (first, early) {
        (Some(first), false) => Ok(Burst { first, last }),
        _ => Err(wrong("a timer fired early")),
    }
}

fn handles(spread: &[Duration]) -> io::Result<Costs> {
    let (port, timers) = (CompletionPort::<(), usize>::new(Concurrency::Threads(1))?, Timers::new());
    port.associate(&timers, 0)?;
    let mut armed = Vec::with_capacity(spread.len());
    let (mut arm, mut cancel) = (0.0, 0.0);
    for _ in 0..2 {
        let begin = Instant::now();
        for more in spread {
            armed.push(timers.after(AHEAD + *more).start().map_err(|refused| refused.error)?);
        }
        arm = each(begin, spread.len());
        let begin = Instant::now();
        armed.clear();
        cancel = each(begin, spread.len());
    }
    let soon: Vec<_> = spread.iter().map(|more| Instant::now() + *more / 1000).collect();
    for due in soon {
        armed.push(timers.at(due).start().map_err(|refused| refused.error)?);
    }
    let begin = Instant::now();
    for timer in armed {
        timer.wait().result?;
    }
    Ok(Costs { arm, cancel, fire: each(begin, spread.len()) })
}

// ---- one timer, waited for ----

/// Waits until a moment.
type WaitUntil<'a> = Box<dyn FnMut(Instant) -> io::Result<()> + 'a>;

/// How late one thread is that waits for one timer, by turns with each.
fn lateness(board: &mut Board) -> io::Result<()> {
    let waitable = WaitableTimer::auto()?;
    let mut shared = Shared::new()?;
    let mut per_thread = PerThread::new()?;
    let bare = sys::timerfd()?;
    let mut waits: [(&str, WaitUntil); 5] = [
        ("timerfd", Box::new(|due| sys::wait_timerfd(&bare, due))),
        ("clock_nanosleep", Box::new(sys::nanosleep)),
        (
            "WaitableTimer",
            Box::new(|due| {
                waitable.set(due)?;
                proactor::sync::wait_one(&waitable, None)?;
                Ok(())
            }),
        ),
        (
            "a timer, shared port",
            Box::new(|due| {
                shared.post_at(due)?;
                shared.fetch(|_| ()).map(drop)
            }),
        ),
        (
            "a timer, per-thread port",
            Box::new(|due| {
                per_thread.post_at(due)?;
                per_thread.fetch(|_| ()).map(drop)
            }),
        ),
    ];
    let mut taken = [const { Vec::new() }; 5];
    for turn in 0..100 {
        for ((_, wait), taken) in waits.iter_mut().zip(&mut taken) {
            let due = Instant::now() + Duration::from_micros(400 + turn * 17 % 1000);
            wait(due)?;
            taken.push(after(due)?);
        }
    }
    for ((name, _), taken) in waits.iter().zip(&mut taken) {
        taken.sort();
        let at = |share: f64| taken[((taken.len() - 1) as f64 * share).round() as usize].as_nanos() as f64 / 1e3;
        board.add(name, &[at(0.5), at(0.99)]);
    }
    Ok(())
}
