//! The library's thread for moments: it sleeps until the next one of a registered sleeper, and tells that.
//!
//! Contract: a sleeper is registered for at most one moment, which it names again to change it. It is told once its moment
//! has come and is registered no longer then; what it was told of may have been taken back meanwhile, so it looks. It is told
//! on the library's thread with no lock of this file held. Nothing runs before the first moment is registered.
//!
//! The clock is a parameter: the real one is `backend::Clock`, the tests' stands where they put it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use crate::backend;
use crate::deliver::unharmed;
use crate::error::Error;
use crate::shim::{Mutex, lock};

/// A point in time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Of the clock that only goes forward: since this process's beginning.
    Steady(u64),
    /// Of the time of day, which may be set: since 1970.
    Wall(u64),
}

/// Nanoseconds since 1970; before it, 0.
pub(crate) fn wall_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What reads both clocks and can be told when to wake the service's thread.
pub(crate) trait Clock: Send + Sync {
    fn steady(&self) -> u64;
    fn wall(&self) -> u64;
    /// From now on these are the next moments of each clock, if there are any.
    fn set(&self, steady: Option<u64>, wall: Option<u64>);
}

/// Who is told.
pub(crate) trait Sleeper: Send + Sync {
    /// Its moment has come.
    fn wake(self: Arc<Self>, moment: Moment);
}

type Queue = BTreeMap<(u64, usize), Weak<dyn Sleeper>>;

#[derive(Default)]
struct Queues {
    steady: Queue,
    wall: Queue,
}

pub(crate) struct Service {
    pub clock: Box<dyn Clock>,
    queues: Mutex<Queues>,
}

impl Service {
    pub fn new(clock: Box<dyn Clock>) -> Service {
        Service { clock, queues: Mutex::new(Queues::default()) }
    }

    /// Registers a sleeper for another moment than before, or for none. Its number is its own among all.
    pub fn set(&self, number: usize, before: Option<Moment>, now: Option<(Moment, Weak<dyn Sleeper>)>) {
        let mut queues = lock(&self.queues);
        let first = queues.first();
        match before {
            Some(Moment::Steady(at)) => drop(queues.steady.remove(&(at, number))),
            Some(Moment::Wall(at)) => drop(queues.wall.remove(&(at, number))),
            None => {}
        }
        match now {
            Some((Moment::Steady(at), sleeper)) => drop(queues.steady.insert((at, number), sleeper)),
            Some((Moment::Wall(at), sleeper)) => drop(queues.wall.insert((at, number), sleeper)),
            None => {}
        }
        if queues.first() != first {
            let (steady, wall) = queues.first();
            self.clock.set(steady, wall);
        }
    }

    /// Tells all whose moment has come, and has the thread woken at the next.
    pub fn turn(&self) {
        loop {
            let due = {
                let mut queues = lock(&self.queues);
                let (steady, wall) = queues.first();
                let is_due = |at: Option<u64>, now: u64| at.is_some_and(|at| at <= now);
                if is_due(steady, self.clock.steady()) {
                    queues.steady.pop_first().map(|((at, _), sleeper)| (Moment::Steady(at), sleeper))
                } else if is_due(wall, self.clock.wall()) {
                    queues.wall.pop_first().map(|((at, _), sleeper)| (Moment::Wall(at), sleeper))
                } else {
                    self.clock.set(steady, wall);
                    None
                }
            };
            let Some((moment, sleeper)) = due else { return };
            // Its last hold may go here.
            unharmed(|| {
                if let Some(sleeper) = sleeper.upgrade() {
                    sleeper.wake(moment);
                }
            });
        }
    }
}

impl Queues {
    fn first(&self) -> (Option<u64>, Option<u64>) {
        let of = |queue: &Queue| queue.first_key_value().map(|((at, _), _)| *at);
        (of(&self.steady), of(&self.wall))
    }
}

/// The process's own, with its thread.
pub(crate) fn service() -> Result<&'static Arc<Service>, Error> {
    static SERVICE: OnceLock<Result<Arc<Service>, Error>> = OnceLock::new();
    let made = SERVICE.get_or_init(|| {
        let alarm = Arc::new(backend::AlarmClock::new()?);
        let service = Arc::new(Service::new(Box::new(Real(alarm.clone()))));
        let served = service.clone();
        std::thread::Builder::new()
            .name("proactor-timer".into())
            .spawn(move || {
                loop {
                    alarm.sleep();
                    served.turn();
                }
            })
            .map_err(|error| Error::from_io(&error))?;
        Ok(service)
    });
    made.as_ref().map_err(|error| *error)
}

struct Real(Arc<backend::AlarmClock>);

impl Clock for Real {
    fn steady(&self) -> u64 {
        super::nanos_of(std::time::Instant::now())
    }

    fn wall(&self) -> u64 {
        wall_nanos(SystemTime::now())
    }

    fn set(&self, steady: Option<u64>, wall: Option<u64>) {
        self.0.set(steady.map(super::until), wall);
    }
}
