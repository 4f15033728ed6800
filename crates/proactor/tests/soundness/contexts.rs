//! Contexts in a storm: functions that post, dispatch and defer, on strands and beside them, that stop the context, panic, and are
//! dropped with it. Each is called once or dropped once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proactor::context::{AnyExecutor, Executor, IoContext, Strand};
use proactor::time::Timers;

const LONG: Duration = Duration::from_secs(60);
const STRANDS: usize = 4;

/// What became of the functions.
#[derive(Default)]
struct Counts {
    made: AtomicUsize,
    called: AtomicUsize,
    gone: AtomicUsize,
    overlaps: AtomicUsize,
    disorder: AtomicUsize,
}

/// What each function holds.
struct Token(Arc<Counts>);

impl Token {
    fn new(counts: &Arc<Counts>) -> Token {
        counts.made.fetch_add(1, Ordering::SeqCst);
        Token(counts.clone())
    }

    fn call(self) {
        self.0.called.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::SeqCst);
    }
}

/// A strand, and what is seen of its rules.
struct Watched {
    strand: Strand<AnyExecutor>,
    busy: AtomicBool,
    /// The last turn of each poster that ran.
    last: [AtomicUsize; 3],
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn post_on(watched: &Arc<Watched>, counts: &Arc<Counts>, poster: usize, turn: usize, chance: u64) {
    let (own, token) = (watched.clone(), Token::new(counts));
    watched.strand.post(move || {
        let counts = token.0.clone();
        if own.busy.swap(true, Ordering::SeqCst) {
            counts.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        if own.last[poster].swap(turn, Ordering::SeqCst) >= turn {
            counts.disorder.fetch_add(1, Ordering::SeqCst);
        }
        token.call();
        if chance == 0 {
            let inner = Token::new(&counts);
            own.strand.dispatch(move || inner.call());
        }
        own.busy.store(false, Ordering::SeqCst);
        assert!(chance != 1, "as planned");
    });
}

fn post_beside(context: &Arc<IoContext>, counts: &Arc<Counts>, chance: u64) {
    let (token, executor, again) = (Token::new(counts), context.executor(), Token::new(counts));
    let weak = Arc::downgrade(context);
    context.executor().post(move || {
        token.call();
        match chance {
            0 => executor.defer(move || again.call()),
            1 => executor.dispatch(move || again.call()),
            2 => {
                executor.post(move || again.call());
                panic!("as planned");
            }
            3 => {
                again.call();
                if let Some(context) = weak.upgrade() {
                    context.stop();
                }
            }
            _ => again.call(),
        }
    });
}

fn storm(seed: u64, each: usize) {
    let counts = Arc::new(Counts::default());
    let context = Arc::new(IoContext::new(3).unwrap());
    let timers = Timers::new();
    context.associate(&timers).unwrap();
    let strands: Vec<_> = (0..STRANDS)
        .map(|n| {
            let below = AnyExecutor::new(context.executor());
            let below = if n % 2 == 0 { below } else { AnyExecutor::new(Strand::new(below)) };
            Arc::new(Watched { strand: Strand::new(below), busy: AtomicBool::default(), last: Default::default() })
        })
        .collect();
    let posting = AtomicUsize::new(2);
    let end = Instant::now() + LONG;
    std::thread::scope(|scope| {
        for poster in 0..2 {
            let (context, counts, strands, posting, timers) = (&context, &counts, &strands, &posting, &timers);
            scope.spawn(move || {
                let mut random = Random(seed * 31 + poster as u64 + 1);
                for turn in 1..=each {
                    let watched = &strands[random.below(STRANDS as u64) as usize];
                    match random.below(8) {
                        0..=3 => post_on(watched, counts, poster, turn, random.below(64)),
                        4 => {
                            let token = Token::new(counts);
                            let due = Duration::from_micros(random.below(200));
                            timers.after(due).on(&watched.strand).then(move |_| token.call()).unwrap();
                        }
                        _ => post_beside(context, counts, random.below(64)),
                    }
                }
                posting.fetch_sub(1, Ordering::SeqCst);
            });
        }
        // All must be called in the end, whatever stops and panics there were.
        for _ in 0..3 {
            scope.spawn(|| {
                let is_over = || {
                    posting.load(Ordering::SeqCst) == 0
                        && counts.gone.load(Ordering::SeqCst) == counts.made.load(Ordering::SeqCst)
                };
                while !is_over() {
                    assert!(Instant::now() < end, "{:?} of {:?} were called", counts.called, counts.made);
                    let _ = catch_unwind(AssertUnwindSafe(|| context.run_for(Duration::from_millis(20)).unwrap()));
                    if context.is_stopped() {
                        context.restart();
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    let [made, called, gone] = [&counts.made, &counts.called, &counts.gone].map(|count| count.load(Ordering::SeqCst));
    assert_eq!((called, gone), (made, made), "seed {seed}");
    assert_eq!((counts.overlaps.load(Ordering::SeqCst), counts.disorder.load(Ordering::SeqCst)), (0, 0), "seed {seed}");
}

#[test]
fn in_a_storm_every_function_is_called_once_and_strands_keep_their_rules() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("as planned") {
            hook(info);
        }
    }));
    (1..=6).for_each(|seed| storm(seed, 2000));
}

#[test]
fn a_context_dropped_in_a_storm_calls_or_drops_every_function_once() {
    for seed in 1..=10 {
        let counts = Arc::new(Counts::default());
        let context = Arc::new(IoContext::new(2).unwrap());
        let (executor, strand) = (context.executor(), Strand::new(context.executor()));
        let go = Arc::new(AtomicBool::new(true));
        let posters: Vec<_> = (0..2)
            .map(|_| {
                let (executor, strand, counts, go) = (executor.clone(), strand.clone(), counts.clone(), go.clone());
                std::thread::spawn(move || {
                    // No more than so many: on a machine with much to do the dropping thread is slow.
                    for _ in (0..20_000).take_while(|_| go.load(Ordering::SeqCst)) {
                        let (one, other) = (Token::new(&counts), Token::new(&counts));
                        executor.post(move || one.call());
                        strand.post(move || other.call());
                    }
                })
            })
            .collect();
        let own = context.clone();
        let runner = std::thread::spawn(move || own.run_for(Duration::from_millis(seed % 5)).unwrap());
        runner.join().unwrap();
        drop(context);
        std::thread::sleep(Duration::from_millis(1));
        go.store(false, Ordering::SeqCst);
        posters.into_iter().for_each(|poster| poster.join().unwrap());
        drop((executor, strand));
        let [made, called, gone] = [&counts.made, &counts.called, &counts.gone].map(|count| count.load(Ordering::SeqCst));
        assert!(gone == made && called <= made, "{made} made, {called} called, {gone} gone");
    }
}
