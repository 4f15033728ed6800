//! The concurrency gate against a literal model of its rules (SEMANTICS.md, section 3).
//!
//! A driver makes one step at a time, at random: a worker waits, looks, blocks inside the library, goes on, works for
//! another port, ends; packets are posted. After each step it waits until nothing moves any more, and compares: how
//! many workers were released, which packets they got, who timed out.
//!
//! | compared | when |
//! |---|---|
//! | packets taken, number of threads released, time-outs | always |
//! | which packet | always for one thread; as a set when a step releases several, who then race for the queue |
//! | which thread | always for the one that asked; for a released waiter only if LIFO order is exact, as below |
//!
//! The port promises LIFO order exactly among waiters that came while the gate had room (the kernel wakes the newest in
//! the poll), and among those that came without a slot while all that may run did (the gate's stack). Where waiters of
//! both kinds are there it only approximates, and so it does for a thread that came back over the limit, and for one
//! that was woken for a packet another took. Then another waiter may be released than the model says, and the two
//! change places in the model.
//!
//! `PROACTOR_ORACLE_SEED` repeats a run, `PROACTOR_ORACLE_SECONDS` sets its length (10).

#![cfg(not(loom))]

mod model;
#[path = "../support/threads.rs"]
mod threads;
mod worker;

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use model::{Model, Released, Wait};
use proactor::Settings;
use worker::{Command, Port, Report, Worker};

const THREADS: usize = 4;
const STEPS: usize = 80;
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(1);

fn is_skipped(test: &str) -> bool {
    let wine = cfg!(windows) && std::env::var_os("PROACTOR_WINE").is_some_and(|value| value == "1");
    if wine {
        println!("SKIP {test}: Wine ignores the concurrency limit");
    }
    wine
}

/// The rules know of no sleep outside the library, and yet there are some: a sanitizer's runtime puts a spinning worker
/// to sleep for its own locks. The block monitor would rightly release another then.
fn unwatched(concurrency: u32) -> Settings {
    Settings::new(concurrency).block_monitor(false)
}

/// Xorshift: the same steps for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Runs a handler, or has not begun.
    Run,
    Wait,
    Block,
}

/// Where a waiter stands, as far as the driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It came while the gate had room.
    Poll,
    /// It came without a slot while all that may run did, and they still do.
    Parked,
    Unknown,
}

/// Whom the model expects to hear from after a step.
#[derive(Default, Debug)]
struct Expected {
    /// The thread that was asked.
    asked: Option<(usize, Report)>,
    released: Vec<Released>,
}

struct Driver {
    random: Random,
    port: Arc<Port>,
    other: Arc<Port>,
    workers: Vec<Worker>,
    does: Vec<Does>,
    places: Vec<Place>,
    model: Model,
    next_packet: usize,
    history: Vec<String>,
    seed: u64,
    exactly: usize,
    nearly: usize,
}

impl Driver {
    fn new(seed: u64) -> Driver {
        let mut random = Random(seed | 1);
        let max = 1 + random.below(3);
        let port = Arc::new(Port::new(unwatched(max as u32)).expect("a port"));
        let other = Arc::new(Port::new(unwatched(THREADS as u32)).expect("a port"));
        let workers = (0..THREADS).map(|_| Worker::spawn(port.clone(), other.clone())).collect();
        Driver {
            random,
            port,
            other,
            workers,
            does: vec![Does::Run; THREADS],
            places: vec![Place::Unknown; THREADS],
            model: Model::new(max as i64, THREADS),
            next_packet: 1,
            history: Vec::new(),
            seed,
            exactly: 0,
            nearly: 0,
        }
    }

    fn fail(&self, why: &str) -> ! {
        let from = self.history.len().saturating_sub(25);
        panic!(
            "{why}\nPROACTOR_ORACLE_SEED={}\n{}\n{:?}\nworkers {:?}",
            self.seed,
            self.history[from..].join("\n"),
            self.model,
            self.does
        )
    }

    fn step(&mut self) {
        let thread = self.random.below(THREADS);
        let mut expected = Expected::default();
        let what = self.random.below(12);
        let said = match (self.does[thread], what) {
            (_, 0..=2) => self.post(thread, what, &mut expected),
            (Does::Run, 3..=7) => self.get(thread, Command::Get, &mut expected),
            (Does::Run, 8) if self.random.below(4) > 0 => self.get(thread, Command::GetNow, &mut expected),
            (Does::Run, 8) => self.get(thread, Command::GetSoon, &mut expected),
            (Does::Run, 9 | 10) => {
                expected.released.extend(self.model.block(thread));
                self.does[thread] = Does::Block;
                self.workers[thread].command(Command::Block);
                "blocks"
            }
            (Does::Run, _) if self.random.below(2) == 0 => {
                expected.released.extend(self.model.leave(thread));
                self.workers[thread].exit();
                self.workers[thread] = Worker::spawn(self.port.clone(), self.other.clone());
                "ends, and another begins"
            }
            (Does::Run, _) => {
                expected.asked = Some((thread, Report::TimedOut));
                expected.released.extend(self.model.leave(thread));
                self.workers[thread].command(Command::Elsewhere);
                "looks into another port"
            }
            (Does::Block, _) => {
                expected.asked = Some((thread, Report::Done));
                self.model.unblock(thread);
                self.does[thread] = Does::Run;
                self.workers[thread].unblock();
                "goes on"
            }
            (Does::Wait, _) => return,
        };
        self.history.push(format!("{thread} {said}; the model releases {:?}, asked {:?}", expected.released, expected.asked));
        self.settle(expected);
    }

    /// One packet from the driver or from a running worker; or several at once.
    fn post(&mut self, thread: usize, what: usize, expected: &mut Expected) -> &'static str {
        let count = if what == 0 { 2 + self.random.below(2) } else { 1 };
        for _ in 0..count {
            let packet = self.next_packet;
            self.next_packet += 1;
            expected.released.extend(self.model.insert(packet));
            if what == 1 && self.does[thread] == Does::Run {
                expected.asked = Some((thread, Report::Done));
                self.workers[thread].command(Command::Post(packet));
            } else {
                self.port.post(packet, 0, None).expect("the port is open");
            }
        }
        if count > 1 {
            self.places.fill(Place::Unknown);
        }
        match count {
            1 => "or the driver posts",
            _ => "or rather the driver posts several",
        }
    }

    fn get(&mut self, thread: usize, command: Command, expected: &mut Expected) -> &'static str {
        let is_fresh = !self.model.is_bound(thread);
        match self.model.wait(thread) {
            Wait::Took(packet) => expected.asked = Some((thread, Report::Packet(packet))),
            Wait::Joined if command == Command::Get => {
                self.does[thread] = Does::Wait;
                self.places[thread] = match (self.model.has_room(), is_fresh) {
                    (true, _) => Place::Poll,
                    (false, true) => Place::Parked,
                    (false, false) => Place::Unknown,
                };
            }
            Wait::Joined => {
                self.model.timeout(thread);
                expected.asked = Some((thread, Report::TimedOut));
            }
        }
        self.workers[thread].command(command);
        match command {
            Command::Get => "waits",
            Command::GetNow => "looks",
            _ => "waits a little",
        }
    }

    /// Waits until the workers have done what the model says, and nothing moves.
    fn settle(&mut self, mut expected: Expected) {
        let end = Instant::now() + PATIENCE;
        let mut came: Vec<Released> = Vec::new();
        loop {
            for thread in 0..THREADS {
                let Some(report) = self.workers[thread].report() else { continue };
                match (expected.asked, report) {
                    (Some((asked, wanted)), _) if asked == thread => {
                        if report != wanted {
                            self.fail(&format!("worker {thread}: {report:?} instead of {wanted:?}"));
                        }
                        expected.asked = None;
                    }
                    (_, Report::Packet(packet)) if self.does[thread] == Does::Wait => came.push((thread, packet)),
                    _ => self.fail(&format!("worker {thread} reports {report:?}")),
                }
            }
            let all_came = expected.asked.is_none() && came.len() >= expected.released.len();
            // A thread that was woken shows as running from then on: if all sleep that should, nothing is on its way.
            let all_sleep = || {
                (0..THREADS).all(|thread| {
                    self.does[thread] == Does::Run || came.iter().any(|(t, _)| *t == thread) || self.workers[thread].sleeps()
                })
            };
            // One may wake another between the looks at the two: only if the next look finds the same, nothing moves.
            let is_quiet = || {
                all_sleep() && {
                    std::thread::sleep(PAUSE);
                    all_sleep()
                }
            };
            if all_came && is_quiet() && is_quiet() {
                break;
            }
            if Instant::now() > end {
                self.fail(&format!("after {PATIENCE:?}: {came:?} came, {expected:?} is wanted"));
            }
            std::thread::yield_now();
        }
        self.compare(&expected.released, &came);
    }

    fn compare(&mut self, wanted: &[Released], came: &[Released]) {
        let packets = |released: &[Released]| {
            let mut packets: Vec<_> = released.iter().map(|(_, packet)| *packet).collect();
            packets.sort_unstable();
            packets
        };
        if packets(wanted) != packets(came) {
            self.fail(&format!("{came:?} came, {wanted:?} is wanted"));
        }
        let mut places = (0..THREADS).filter(|thread| self.does[*thread] == Does::Wait).map(|thread| self.places[thread]);
        let first = places.next();
        let is_exact = first != Some(Place::Unknown) && places.all(|place| Some(place) == first);
        if is_exact && wanted != came {
            self.fail(&format!("{came:?} came, {wanted:?} is wanted: not the newest waiter"));
        }
        match is_exact {
            true => self.exactly += wanted.len(),
            false => self.nearly += wanted.len(),
        }
        let mut other: Vec<_> = came.iter().map(|(thread, _)| *thread).collect();
        let mut missing: Vec<_> = wanted.iter().map(|(thread, _)| *thread).collect();
        other.retain(|thread| !wanted.iter().any(|(t, _)| t == thread));
        missing.retain(|thread| !came.iter().any(|(t, _)| t == thread));
        for (released, instead_of) in other.into_iter().zip(missing) {
            self.model.exchange(released, instead_of);
            self.places[instead_of] = Place::Unknown;
        }
        for (thread, _) in came {
            self.does[*thread] = Does::Run;
        }
        if self.model.has_room() {
            // Parked threads may have been let into the poll.
            self.places.iter_mut().filter(|place| **place == Place::Parked).for_each(|place| *place = Place::Unknown);
        }
        if !self.model.is_settled() {
            self.fail("the model itself has a packet and a waiter for it");
        }
    }

    /// Closes the port: every waiter is told, and nobody else.
    fn finish(mut self) -> (usize, usize) {
        self.history.push("the port is closed".into());
        self.port.close();
        let end = Instant::now() + PATIENCE;
        for thread in (0..THREADS).filter(|thread| self.does[*thread] == Does::Wait) {
            loop {
                match self.workers[thread].report() {
                    Some(Report::Abandoned) => break,
                    Some(other) => self.fail(&format!("worker {thread}: {other:?} from a closed port")),
                    None if Instant::now() > end => self.fail(&format!("worker {thread} was not told of the close")),
                    None => std::thread::yield_now(),
                }
            }
        }
        for thread in 0..THREADS {
            if self.does[thread] == Does::Block {
                self.workers[thread].unblock();
            }
            self.workers[thread].exit();
        }
        (self.exactly, self.nearly)
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_gate_does_what_the_rules_say() {
    if is_skipped("oracle") {
        return;
    }
    let once = setting("PROACTOR_ORACLE_SEED");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |t| t.as_nanos() as u64);
    let mut seeds = Random(once.unwrap_or(now) | 1);
    let length = Duration::from_secs(setting("PROACTOR_ORACLE_SECONDS").unwrap_or(10));
    let began = Instant::now();
    let (mut runs, mut exactly, mut nearly) = (0, 0, 0);
    // A slow machine makes few runs in that time: it goes on until both kinds of order were seen, if they come at all.
    let lacks = |exactly, nearly| once.is_none() && (exactly == 0 || nearly == 0);
    while began.elapsed() < length || (lacks(exactly, nearly) && began.elapsed() < 10 * length) {
        let seed = once.unwrap_or_else(|| seeds.below(usize::MAX) as u64);
        println!("PROACTOR_ORACLE_SEED={seed}");
        let mut driver = Driver::new(seed);
        (0..STEPS).for_each(|_| driver.step());
        let (exact, near) = driver.finish();
        (runs, exactly, nearly) = (runs + 1, exactly + exact, nearly + near);
    }
    println!("{runs} runs of {STEPS} steps; {exactly} threads released in exact order, {nearly} in approximate order");
    assert!(!lacks(exactly, nearly), "the steps did not reach both kinds of order");
}

/// Room for one, two workers in the poll. One gets a packet, runs long enough for the block monitor to lose interest,
/// and then sleeps where the library cannot see it; the packet posted then must wake the other all the same.
#[test]
fn a_worker_that_falls_asleep_late_outside_the_library_releases_another() {
    if is_skipped("late sleeper") {
        return;
    }
    let port = Arc::new(Port::new(1).expect("a port"));
    let (took, taken) = mpsc::channel();
    let (wake, sleeper) = mpsc::channel::<()>();
    let sleeper = Arc::new(Mutex::new(sleeper));
    let workers = [0; 2].map(|_| {
        let (port, took, sleeper) = (port.clone(), took.clone(), sleeper.clone());
        std::thread::spawn(move || {
            let packet = port.get(2 * PATIENCE).expect("an open port").packet().map(|packet| packet.key);
            if packet == Some(1) {
                let end = Instant::now() + Duration::from_millis(150);
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
            }
            took.send(packet).expect("the test listens");
            if packet == Some(1) {
                let _ = sleeper.lock().map(|sleeper| sleeper.recv());
            }
        })
    });
    // Long enough for both to wait, and later for the one to fall asleep; had it not, the test would only prove less.
    std::thread::sleep(Duration::from_millis(50));
    port.post(1, 0, None).expect("an open port");
    assert_eq!(taken.recv(), Ok(Some(1)));
    std::thread::sleep(Duration::from_millis(100));
    port.post(2, 0, None).expect("an open port");
    assert_eq!(taken.recv_timeout(PATIENCE), Ok(Some(2)), "nobody took the packet");
    drop(wake);
    for worker in workers {
        worker.join().expect("no panic");
    }
}

/// Room for two: one worker polls, one runs, one came too late and is parked. The running one blocks, and two packets
/// come: the parked one must get the second.
#[test]
fn a_parked_worker_takes_the_place_of_the_one_that_polled() {
    if is_skipped("parked worker") {
        return;
    }
    let (port, other) = [(); 2].map(|()| Arc::new(Port::new(unwatched(2)).expect("a port"))).into();
    let mut workers: Vec<_> = (0..3).map(|_| Worker::spawn(port.clone(), other.clone())).collect();
    let hear = |worker: &Worker| {
        let end = Instant::now() + PATIENCE;
        loop {
            match worker.report() {
                Some(report) => return Some(report),
                None if Instant::now() > end => return None,
                None => std::thread::yield_now(),
            }
        }
    };
    let asleep = |worker: &Worker| while !worker.sleeps() {};
    for (key, worker) in workers.iter().enumerate().take(2) {
        port.post(key, 0, None).expect("an open port");
        worker.command(Command::Get);
        assert_eq!(hear(worker), Some(Report::Packet(key)));
    }
    workers[2].command(Command::Get);
    asleep(&workers[2]);
    workers[0].command(Command::Get);
    asleep(&workers[0]);
    workers[1].command(Command::Block);
    asleep(&workers[1]);
    port.post(7, 0, None).expect("an open port");
    port.post(8, 0, None).expect("an open port");
    let mut got = [hear(&workers[0]), hear(&workers[2])];
    got.sort_by_key(|report| *report == Some(Report::Packet(8)));
    assert_eq!(got, [Some(Report::Packet(7)), Some(Report::Packet(8))]);
    workers[1].unblock();
    assert_eq!(hear(&workers[1]), Some(Report::Done));
    workers.iter_mut().for_each(Worker::exit);
}
