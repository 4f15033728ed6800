//! A hundred thousand tasks of each shape, spawned, aborted and joined at random with their operations in flight: every buffer
//! comes back or is freed, once; every task is accounted for; no descriptor is left.
//!
//! `PROACTOR_SEED` repeats a run; the seed is printed.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::rt::{self, JoinHandle, Runtime};
use proactor::{AsObject, Home, IoBuf, IoBufMut};

use crate::live::{Census, Dice, Live};

/// On Windows, where starting an overlapped operation is a hand-over between threads, a tenth of it.
const TASKS: usize = if cfg!(windows) { 10_000 } else { 100_000 };
/// Handles kept at once.
const KEPT: usize = 300;
const PAIRS: usize = 4;
const CORES: usize = 2;
const MOST: Duration = Duration::from_secs(200);
const LONG: Duration = Duration::from_secs(20);

/// A buffer that is counted while it is alive. Freed twice it is counted under zero.
struct Counted {
    bytes: Vec<u8>,
    _live: Live,
}

// SAFETY: those of the Vec, which alone is handed out.
unsafe impl IoBuf for Counted {
    fn as_slice(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Counted {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        self.bytes.spare()
    }

    unsafe fn set_filled(&mut self, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.bytes.set_filled(n) }
    }
}

/// What tasks work on, and what is counted.
struct World<H: Home> {
    streams: Vec<(TcpStream<H>, TcpStream<H>)>,
    datagrams: Vec<UdpSocket<H>>,
    listener: TcpListener<H>,
    books: Arc<Books>,
}

#[derive(Default)]
struct Books {
    buffers: Census,
    /// Futures that are alive.
    futures: Census,
    made: AtomicUsize,
    returned: AtomicUsize,
    finished: AtomicUsize,
    aborted: AtomicUsize,
}

impl Books {
    fn buffer(&self, room: usize) -> Counted {
        self.made.fetch_add(1, Ordering::Relaxed);
        Counted { bytes: vec![7; room], _live: self.buffers.one() }
    }

    fn back(&self, buffer: Counted) {
        self.returned.fetch_add(1, Ordering::Relaxed);
        drop(buffer);
    }
}

/// A connected pair of descriptors.
fn pair() -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client.into(), listener.accept().unwrap().0.into())
}

impl<H: Home> World<H> {
    fn new(
        books: Arc<Books>,
        stream: impl Fn(TcpStream) -> TcpStream<H>,
        datagram: impl Fn(UdpSocket) -> UdpSocket<H>,
        listener: impl Fn(TcpListener) -> TcpListener<H>,
    ) -> World<H> {
        let any = "127.0.0.1:0".parse().unwrap();
        let streams = (0..PAIRS).map(|_| pair()).map(|(near, far)| (stream(near), stream(far))).collect();
        let datagrams = (0..PAIRS).map(|_| datagram(UdpSocket::bind(any).unwrap())).collect();
        World { streams, datagrams, listener: listener(TcpListener::bind(any).unwrap()), books }
    }

    /// One task's life: whatever it was doing, it may be dropped at each of its waits.
    async fn live(&self, mut dice: Dice) {
        let books = &self.books;
        for _ in 0..=dice.roll(2) {
            let (near, far) = &self.streams[dice.roll(PAIRS as u64) as usize];
            let datagram = &self.datagrams[dice.roll(PAIRS as u64) as usize];
            match dice.roll(9) {
                0 | 1 => books.back(far.recv(books.buffer(64)).await.buffer),
                2 | 3 => books.back(near.send(books.buffer(1 + dice.roll(64) as usize)).await.buffer),
                4 => books.back(datagram.recv_from(books.buffer(64)).await.buffer),
                5 => {
                    let to = self.datagrams[dice.roll(PAIRS as u64) as usize].local_addr().unwrap();
                    books.back(datagram.send_to(books.buffer(8), to).await.buffer);
                }
                6 => {
                    let time = Duration::from_micros(dice.roll(300));
                    if let Ok(done) = rt::timeout(time, far.recv(books.buffer(64)).into_future()).await {
                        books.back(done.buffer);
                    }
                }
                7 => drop(self.listener.accept().await),
                _ => rt::sleep(Duration::from_micros(dice.roll(300))).await,
            }
        }
    }
}

/// Spawns, aborts, joins and lets go of tasks, so many.
macro_rules! storm {
    ($world:expr, $pointer:ident, $spawn:path, $dice:expr, $tasks:expr) => {{
        let (world, mut dice, tasks) = ($world, $dice, $tasks);
        let books = world.books.clone();
        let world = $pointer::new(world);
        let end = Instant::now() + MOST;
        let mut kept: VecDeque<JoinHandle<()>> = VecDeque::new();
        for n in 0..tasks {
            assert!(Instant::now() < end, "too slow: {n} tasks");
            let (own, counted) = (world.clone(), books.futures.one());
            let seed = dice.roll(u64::MAX);
            let task = $spawn(async move {
                let _counted = counted;
                own.live(Dice::new(seed)).await;
            });
            match dice.roll(8) {
                0 => task.detach(),
                1 => {
                    task.abort();
                    kept.push_back(task);
                }
                _ => kept.push_back(task),
            }
            if kept.len() > KEPT || dice.roll(50) == 0 {
                let some = dice.roll(KEPT as u64) as usize;
                for task in kept.drain(..some.min(kept.len())) {
                    if dice.roll(2) == 0 {
                        task.abort();
                    }
                    // What waits for others is let go of after a while.
                    let mut task = task;
                    if rt::timeout(Duration::from_micros(200), &mut task).await.is_err() {
                        task.abort();
                        match rt::timeout(LONG, task).await.expect("an aborted task ends") {
                            Ok(()) => books.finished.fetch_add(1, Ordering::Relaxed),
                            Err(error) => {
                                assert!(error.is_aborted(), "{error}");
                                books.aborted.fetch_add(1, Ordering::Relaxed)
                            }
                        };
                    }
                }
            }
        }
        // The rest, and what was let go of, ends with the runtime.
    }};
}

fn seed() -> u64 {
    let from_clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(7, |since| since.as_nanos() as u64);
    let seed = std::env::var("PROACTOR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(from_clock);
    println!("seed {seed}: repeat with PROACTOR_SEED={seed}");
    seed
}

/// Nothing is left, once the runtime has gone.
fn settle(books: &Books) {
    books.futures.assert_empty("tasks");
    books.buffers.assert_empty("buffers");
    let (made, returned) = (books.made.load(Ordering::Relaxed), books.returned.load(Ordering::Relaxed));
    assert!(returned > 0 && returned < made, "{returned} of {made} buffers came back: some do, and some do not");
    assert!(books.aborted.load(Ordering::Relaxed) > 0);
}

fn shared() {
    let seed = seed();
    let books = Arc::new(Books::default());
    let runtime = Runtime::shared().threads(CORES).build().unwrap();
    let world = World::new(books.clone(), |it| it, |it| it, |it| it);
    runtime.block_on(async { storm!(world, Arc, rt::spawn, Dice::new(seed), TASKS) });
    drop(runtime);
    settle(&books);
}

fn here<O: AsObject>(object: O) -> O::OnLocal {
    rt::here(object).map_err(|refused| refused.error).unwrap()
}

fn per_core() {
    use std::rc::Rc;
    let seed = seed();
    let books = Arc::new(Books::default());
    let runtime = Runtime::per_core().threads(CORES).build().unwrap();
    let own = books.clone();
    runtime.block_on(async move {
        let storms = rt::on_each_core(move |core| {
            let books = own.clone();
            async move {
                let world = World::new(books, here, here, here);
                storm!(world, Rc, rt::spawn_local, Dice::new(seed ^ (core as u64) << 40), TASKS / CORES);
            }
        });
        for storm in storms.unwrap() {
            storm.await.unwrap();
        }
    });
    drop(runtime);
    settle(&books);
}

#[cfg(target_os = "linux")]
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The library's own threads keep theirs: a first, small use has them there before counting.
#[cfg(target_os = "linux")]
fn leaves_no_descriptor(storm: fn()) {
    let warm = |builder: proactor::rt::Builder| {
        builder.threads(1).build().unwrap().block_on(async {
            let (near, far) = pair();
            near.send([1; 8]).await.result.unwrap();
            far.recv(vec![0; 8]).await.result.unwrap();
            rt::sleep(Duration::from_micros(10)).await;
        });
    };
    warm(Runtime::shared());
    warm(Runtime::per_core());
    let (near, far) = pair();
    proactor::block_on(async {
        drop(far.recv(vec![0; 8]).start());
        near.send([1; 8]).await.result.unwrap();
    });
    drop((near, far));
    let before = descriptors();
    storm();
    let end = Instant::now() + LONG;
    while descriptors() > before {
        assert!(Instant::now() < end, "{} descriptors are left, {before} were there before", descriptors());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_thousand_tasks_on_a_shared_port() {
    crate::alone::alone_on_each_backend("tasks::a_hundred_thousand_tasks_on_a_shared_port", || leaves_no_descriptor(shared));
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_thousand_tasks_on_cores() {
    crate::alone::alone_on_each_backend("tasks::a_hundred_thousand_tasks_on_cores", || leaves_no_descriptor(per_core));
}

#[cfg(not(target_os = "linux"))]
#[test]
fn a_hundred_thousand_tasks_on_a_shared_port() {
    shared();
}

#[cfg(not(target_os = "linux"))]
#[test]
fn a_hundred_thousand_tasks_on_cores() {
    per_core();
}
