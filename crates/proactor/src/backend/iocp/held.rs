//! Operations held back for those before them in their lane: a shutdown behind pending sends, and what comes behind it.
//!
//! A thread of the library starts them when their turn has come. It begins with the first that is held, is told when an
//! operation is taken out of such a lane, and looks by itself now and then: an operation may be over whose packet nobody
//! fetches.
//!
//! | atomic | partner |
//! |---|---|
//! | `NEWS` +1 after a lane or a port was listed, or an operation taken out | the thread's load before it looks at the lanes, which it waits on |

use std::sync::OnceLock;
use std::time::Duration;

use super::attend::{self, Round};
use super::futex::{futex_wait, futex_wake_one};
use super::lanes::Core;
use super::object::release;
use crate::error::Error;
use crate::op::Lane;
use crate::shim::{Arc, AtomicU32, Mutex, MutexGuard, Ordering, lock};
use crate::time::Wait;

const LOOK: Duration = Duration::from_millis(5);

static LANES: Mutex<Vec<(Arc<Core>, Lane)>> = Mutex::new(Vec::new());
static NEWS: AtomicU32 = AtomicU32::new(0);

fn lanes() -> MutexGuard<'static, Vec<(Arc<Core>, Lane)>> {
    lock(&LANES)
}

fn thread() -> Result<(), Error> {
    static THREAD: OnceLock<Result<(), Error>> = OnceLock::new();
    let spawn = || std::thread::Builder::new().name("proactor-held".into()).spawn(run);
    *THREAD.get_or_init(|| spawn().map(drop).map_err(|error| Error::from_io(&error)))
}

/// Has the thread look at the ports of `attend.rs`.
pub(super) fn wake() -> Result<(), Error> {
    thread()?;
    tell();
    Ok(())
}

/// Lists a lane in which an operation is held. Called under the lane's lock.
pub(super) fn list(core: &Arc<Core>, lane: Lane) -> Result<(), Error> {
    thread()?;
    let mut lanes = lanes();
    if !lanes.iter().any(|(known, side)| Arc::ptr_eq(known, core) && *side == lane) {
        lanes.push((core.clone(), lane));
    }
    drop(lanes);
    tell();
    Ok(())
}

/// Something changed in a lane that holds operations back.
pub(super) fn tell() {
    NEWS.fetch_add(1, Ordering::SeqCst);
    futex_wake_one(&NEWS);
}

fn run() {
    loop {
        let news = NEWS.load(Ordering::SeqCst);
        let now = lanes().clone();
        for (core, lane) in &now {
            release(core, *lane);
            // What is listed holds something: under the lane's lock nothing can come to be held meanwhile.
            let list = core.lock(*lane);
            if list.held == 0 {
                lanes().retain(|(known, side)| !(Arc::ptr_eq(known, core) && side == lane));
            }
        }
        drop(now);
        let wait = match attend::round() {
            Round::Busy => continue,
            Round::NoPorts if lanes().is_empty() => Wait::Forever,
            Round::Quiet | Round::NoPorts => Wait::from(LOOK),
        };
        futex_wait(&NEWS, news, wait);
    }
}
