//! The timer that prints periodically, until Ctrl-C: a waitable timer whose completion routine runs in the main thread's
//! alertable waits.
//!
//!     cargo run --release --example periodic_timer -- [PERIOD IN MILLISECONDS] [TICKS]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proactor::sync::{Event, Waited, alertable};
use proactor::time::WaitableTimer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let period = Duration::from_millis(args.next().as_deref().unwrap_or("1000").parse()?);
    let most: u64 = args.next().as_deref().unwrap_or("18446744073709551615").parse()?;

    // The console's handler runs on another thread: it sets an event, for which this one waits.
    let stop = Event::manual();
    let signal = stop.clone();
    ctrlc::set_handler(move || signal.set())?;

    // CreateWaitableTimer and SetWaitableTimer: due after one period, then periodically, with a completion routine.
    let timer = WaitableTimer::auto()?;
    let (ticks, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let count = ticks.clone();
    timer.set_routine(period, period, move || {
        let tick = count.fetch_add(1, Ordering::Relaxed) + 1;
        println!("tick {tick} after {:.1?}", start.elapsed());
    })?;

    println!("a tick every {period:?}; Ctrl-C ends");
    while ticks.load(Ordering::Relaxed) < most {
        // WaitForSingleObjectEx: the event ends the loop, a routine that ran goes round.
        if let Waited::Signalled(_) = alertable::wait_one(&stop, None)? {
            break;
        }
    }
    timer.cancel();
    println!("{} ticks", ticks.load(Ordering::Relaxed));
    Ok(())
}
