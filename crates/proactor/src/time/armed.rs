//! A wheel of started operations behind its lock: arm, cancel, expire.
//!
//! Contract: `arm` takes over a begun block; exactly one completion of it follows, out of `cancel` or `expire`. Completions are
//! delivered with the lock free, and by one thread at a time those of a moment, so they go out in the order of their
//! deadlines. Whoever calls keeps an alarm (a timerfd, the end of a wait, a waitable timer), and has `expire` called when it
//! rings: `alarm` says for when, under the lock, so that the latest word is the one that holds.
//!
//! | the alarm is | because |
//! |---|---|
//! | at the earliest deadline, or before it | `arm` brings it forward; a cancel leaves it, and it rings for nothing once |
//! | put off | only by `expire`, to what is next |
//! | left alone by `arm` while somebody expires | who does sets it at the end |

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::wheel::{Wheel, nanos_at, tick_after, tick_at};
use crate::deliver::{self, After, Packets};
use crate::error::{Code, Error};
use crate::handle::{Kept, Object, Which};
use crate::op::{Header, Ticket, Value};
use crate::port::Entry;
use crate::shim::{Mutex, MutexGuard, lock};

/// Where an operation is armed: what its ticket remembers, so that a cancel finds it at once.
pub(crate) type Place = u32;
/// Of an operation that is in no wheel.
pub(crate) const NOWHERE: Place = Place::MAX;
/// A moment that does not come.
pub(crate) const NEVER: u64 = u64::MAX;

/// Most completions delivered between two looks at the lock.
const BATCH: usize = 64;
/// Most steps of the wheel under the lock at once.
const WORK: usize = 1024;
/// Most completions of one call: a port has other things to do.
const MOST: usize = 1024;

/// The moment from which this process counts its nanoseconds.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// A moment in nanoseconds; those before the first are that.
pub(crate) fn nanos_of(moment: Instant) -> u64 {
    u64::try_from(moment.saturating_duration_since(epoch()).as_nanos()).unwrap_or(NEVER)
}

/// The moment of so many nanoseconds, if it comes.
#[allow(dead_code, reason = "for the wait of a ring")]
pub(crate) fn instant_of(nanos: u64) -> Option<Instant> {
    epoch().checked_add(Duration::from_nanos(nanos)).filter(|_| nanos != NEVER)
}

/// Nanoseconds from now until then.
pub(crate) fn until(nanos: u64) -> Duration {
    Duration::from_nanos(nanos.saturating_sub(nanos_of(Instant::now())))
}

/// What is armed: a begun block, or a bare packet and the object whose key it brings, or a deadline and the block it is for. The
/// address is that of the block or object, and says in its low bits which it is.
#[derive(Clone, Copy)]
struct Armer {
    address: NonNull<()>,
    token: usize,
}

// SAFETY: an armed block is the wheel's alone, wherever the wheel is; what it carries is dropped by no code of this file.
unsafe impl Send for Armer {}

enum What {
    Block(NonNull<Header>),
    /// Holds one operation count of the object.
    Post(NonNull<Object>),
    /// Not itself armed: what is begun elsewhere, and to be cancelled then. Taken out before it is over.
    Deadline(NonNull<Header>),
}

impl Armer {
    fn block(header: NonNull<Header>) -> Armer {
        Armer { address: header.cast(), token: 0 }
    }

    fn post(object: NonNull<Object>, token: usize) -> Armer {
        Armer { address: object.cast::<()>().map_addr(|address| address | 1), token }
    }

    fn deadline(header: NonNull<Header>) -> Armer {
        Armer { address: header.cast::<()>().map_addr(|address| address | 2), token: 0 }
    }

    #[inline]
    fn what(self) -> What {
        let address = self.address.as_ptr().map_addr(|address| address & !3);
        match (self.address.addr().get() & 3, NonNull::new(address)) {
            (0, Some(block)) => What::Block(block.cast()),
            (2, Some(block)) => What::Deadline(block.cast()),
            (_, Some(object)) => What::Post(object.cast()),
            (_, None) => unreachable!("neither lies at address 0"),
        }
    }

    /// Whether a cancel means it.
    ///
    /// # Safety
    /// In the wheel, whose lock the caller has.
    unsafe fn is_meant(self, which: Which) -> bool {
        match (self.what(), which) {
            // SAFETY: what lies in the wheel is alive, and changes hands only under the lock.
            (What::Block(header), which) => which.means(unsafe { header.as_ref() }),
            (What::Post(_), Which::All | Which::Packets) => true,
            (What::Post(_), Which::One(_) | Which::Thread(_)) | (What::Deadline(_), _) => false,
        }
    }
}

const _: () = assert!(align_of::<Header>() > 3 && align_of::<Object>() > 3);

struct State {
    wheel: Wheel<Armer>,
    /// Completed from elsewhere, to be delivered by whoever expires; out of the wheel, their results in their blocks.
    ready: VecDeque<Armer>,
    alarm: u64,
    expiring: bool,
}

impl State {
    /// Whether this is what the ticket means.
    ///
    /// # Safety
    /// In the wheel, under the lock.
    unsafe fn is_named(&self, armer: Armer, ticket: Ticket) -> bool {
        match armer.what() {
            // SAFETY: what lies in the wheel is alive, and changes hands only under the lock.
            What::Block(header) => unsafe { header.as_ref() }.is(ticket),
            What::Post(object) => {
                let generation = self.wheel.generation(ticket.place);
                object.as_ptr().addr() == ticket.block && ticket.sequence == generation.into()
            }
            What::Deadline(_) => false,
        }
    }
}

pub(crate) struct Armed {
    state: Mutex<State>,
}

impl Armed {
    pub fn new() -> Armed {
        Armed { state: Mutex::new(State { wheel: Wheel::new(), ready: VecDeque::new(), alarm: NEVER, expiring: false }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes over a begun block until `deadline`. `None`: there is no room, and the block is still the caller's.
    #[inline]
    pub fn arm(&self, header: NonNull<Header>, deadline: u64, alarm: impl FnOnce(u64)) -> Option<Place> {
        self.insert(Armer::block(header), deadline, alarm).map(|(place, _)| place)
    }

    /// Arms a bare packet, and takes over an operation count of the object whose key it brings. Its ticket; `None`: there is
    /// no room, and the count is still the caller's.
    #[inline]
    pub fn post(&self, object: NonNull<Object>, token: usize, deadline: u64, alarm: impl FnOnce(u64)) -> Option<Ticket> {
        let (place, generation) = self.insert(Armer::post(object, token), deadline, alarm)?;
        Some(Ticket { block: object.as_ptr().addr(), sequence: generation.into(), place })
    }

    #[inline]
    fn insert(&self, armer: Armer, deadline: u64, alarm: impl FnOnce(u64)) -> Option<(Place, u32)> {
        self.lock().insert(armer, deadline, alarm)
    }

    /// Guards a begun block, which has something attached, from `deadline` on. Without room its time has passed at once.
    pub fn guard(&self, header: NonNull<Header>, deadline: u64, alarm: impl FnOnce(u64)) {
        let mut state = self.lock();
        let place = state.insert(Armer::deadline(header), deadline, alarm).map_or(NOWHERE, |(place, _)| place);
        // SAFETY: the lock is held.
        *unsafe { deliver::guarded(header) }.0 = place;
    }

    /// Guards it no longer, if it did. How often its time has passed.
    pub fn release(&self, header: NonNull<Header>) -> u32 {
        let mut state = self.lock();
        // SAFETY: the lock is held.
        let (place, times) = unsafe { deliver::guarded(header) };
        if *place != NOWHERE {
            state.wheel.remove(*place);
        }
        *times
    }

    /// Whether somebody is delivering what was due.
    #[allow(dead_code, reason = "a port of Linux delivers inside its own calls")]
    pub fn is_expiring(&self) -> bool {
        self.lock().expiring
    }

    /// For when the alarm is; [`NEVER`] for none.
    #[allow(dead_code, reason = "as above")]
    pub fn alarm(&self) -> u64 {
        self.lock().alarm
    }

    /// Cancels what `which` means; how many.
    #[inline]
    pub fn cancel(&self, which: Which, packets: &mut impl Packets) -> usize {
        if let Which::One(ticket) = which
            && ticket.place != NOWHERE
        {
            // It is long since the block was touched, and what is fetched after the lock waits for that.
            ticket.prefetch();
            let mut state = self.lock();
            let Some(armer) = state.wheel.get(ticket.place) else { return 0 };
            // SAFETY: the lock is held.
            if !unsafe { state.is_named(armer, ticket) } {
                return 0;
            }
            state.wheel.remove(ticket.place);
            drop(state);
            // SAFETY: taken out of the wheel here.
            return unsafe { cancelled(armer, packets) };
        }
        let (mut at, mut count) = (0, 0);
        loop {
            let mut batch = Batch::new();
            let mut state = self.lock();
            let end = state.wheel.places();
            while at < end && batch.len < BATCH {
                // SAFETY: the lock is held.
                if let Some(armer) = state.wheel.get(at).filter(|armer| unsafe { armer.is_meant(which) }) {
                    state.wheel.remove(at);
                    batch.push(armer);
                }
                at += 1;
            }
            let over = at >= end || state.wheel.armed() == 0;
            drop(state);
            // SAFETY: taken out of the wheel here.
            count += batch.each().map(|armer| unsafe { cancelled(armer, packets) }).sum::<usize>();
            if over {
                break;
            }
        }
        // What has its result already keeps it; nobody may come to expire once a port is closed.
        if !matches!(which, Which::One(_) | Which::Thread(_)) {
            self.deliver_ready(packets);
        }
        count
    }

    /// Completes an operation before its moment, with what it brings: at once, or, with nobody to give it to, when `expire` is next
    /// called; the caller sees to that. The result comes back if the ticket names nothing.
    pub fn fulfil(
        &self,
        ticket: Ticket,
        result: Result<Value, Error>,
        packets: Option<&mut impl Packets>,
    ) -> Result<(), Result<Value, Error>> {
        let mut state = self.lock();
        let named = state.wheel.get(ticket.place).filter(|armer| {
            // SAFETY: the lock is held.
            unsafe { state.is_named(*armer, ticket) }
        });
        let Some((armer, What::Block(header))) = named.map(|armer| (armer, armer.what())) else { return Err(result) };
        state.wheel.remove(ticket.place);
        match packets {
            Some(packets) => {
                drop(state);
                // SAFETY: taken out of the wheel here.
                unsafe { settle(header, result, packets) };
            }
            None => {
                // SAFETY: taken out of the wheel here; nobody looks at it before it is delivered.
                unsafe { (*header.as_ptr()).work.result = result };
                state.ready.push_back(armer);
                state.alarm = 0;
            }
        }
        Ok(())
    }

    /// Delivers what was completed from elsewhere.
    fn deliver_ready(&self, packets: &mut impl Packets) -> usize {
        let mut count = 0;
        loop {
            let Some(armer) = self.lock().ready.pop_front() else { return count };
            if let What::Block(header) = armer.what() {
                // SAFETY: taken out of the wheel when its result was set, and of the list here.
                unsafe {
                    let result = std::mem::replace(&mut (*header.as_ptr()).work.result, Ok(Value::None));
                    settle(header, result, packets);
                }
            }
            count += 1;
        }
    }

    /// Completes what is due, and says for when the alarm is to be next.
    pub fn expire(&self, packets: &mut impl Packets, alarm: impl FnOnce(u64)) {
        let mut state = self.lock();
        if state.expiring {
            return;
        }
        state.expiring = true;
        let mut count = 0;
        loop {
            if !state.ready.is_empty() {
                drop(state);
                count += self.deliver_ready(packets);
                state = self.lock();
            }
            let (mut batch, now) = (Batch::new(), tick_at(nanos_of(Instant::now())));
            let whole = state.wheel.advance(now, WORK, |armer| batch.push(armer));
            if whole && batch.len == 0 && state.ready.is_empty() {
                break;
            }
            let passed = state.again(&batch);
            drop(state);
            // SAFETY: taken out of the wheel here.
            count += batch.each().map(|armer| unsafe { fired(armer, packets) }).sum::<usize>();
            passed.into_iter().for_each(|(object, ticket)| packets.after(After::Cancel(object, ticket)));
            state = self.lock();
            if count >= MOST {
                break;
            }
        }
        state.expiring = false;
        state.alarm = if state.ready.is_empty() { state.wheel.next().map_or(NEVER, nanos_at) } else { 0 };
        if state.alarm != NEVER {
            alarm(state.alarm);
        }
    }
}

impl State {
    #[inline]
    fn insert(&mut self, armer: Armer, deadline: u64, alarm: impl FnOnce(u64)) -> Option<(Place, u32)> {
        let place = self.wheel.insert(armer, tick_after(deadline))?;
        if !self.expiring {
            let look = nanos_at(self.wheel.look_for(place));
            if look < self.alarm {
                self.alarm = look;
                alarm(look);
            }
        }
        Some((place, self.wheel.generation(place)))
    }

    /// What deadlines of a batch ask for. They are armed again, until the operations they guard are over: one may not have been
    /// started yet, or be where no cancel finds it.
    fn again(&mut self, batch: &Batch) -> Vec<(Kept, Ticket)> {
        let mut asked = Vec::new();
        for armer in batch.each() {
            let What::Deadline(header) = armer.what() else { continue };
            // SAFETY: the lock is held, under which it would have been taken out before its operation was over.
            unsafe {
                let (object, ticket, next) = deliver::passed(header, nanos_of(Instant::now()));
                *deliver::guarded(header).0 = self.wheel.insert(armer, tick_after(next)).unwrap_or(NOWHERE);
                asked.push((object, ticket));
            }
        }
        asked
    }
}

/// Blocks taken out of the wheel, to be delivered with its lock free.
struct Batch {
    armers: [Option<Armer>; BATCH],
    len: usize,
}

impl Batch {
    fn new() -> Batch {
        Batch { armers: [None; BATCH], len: 0 }
    }

    /// Whether there is room for another.
    fn push(&mut self, armer: Armer) -> bool {
        self.armers[self.len] = Some(armer);
        self.len += 1;
        self.len < BATCH
    }

    fn each(&self) -> impl Iterator<Item = Armer> {
        self.armers[..self.len].iter().flatten().copied()
    }
}

/// Its time has come. Counts 1.
///
/// # Safety
/// Taken out of the wheel by the caller.
#[inline]
unsafe fn fired(armer: Armer, packets: &mut impl Packets) -> usize {
    match armer.what() {
        // SAFETY: the block is pending, and the caller's alone.
        What::Block(header) => unsafe { settle(header, Ok(Value::None), packets) },
        // SAFETY: the post's count keeps the object; it is given up with the last use.
        What::Post(object) => unsafe {
            let key = object.as_ref().home().map(|home| (home.port.contract().copy_key)(home.key));
            Object::operation_ended(object);
            match key {
                Some(key) => packets.packet(Entry::bare(key, armer.token)),
                None => unreachable!("a post is armed on an object with a home"),
            }
        },
        // Dealt with under the lock.
        What::Deadline(_) => {}
    }
    1
}

/// It ends before its time: an operation completes, a bare packet does not come. Counts 1.
///
/// # Safety
/// As `fired`.
#[inline]
unsafe fn cancelled(armer: Armer, packets: &mut impl Packets) -> usize {
    // SAFETY: as in `fired`.
    unsafe {
        match armer.what() {
            What::Block(header) => settle(header, Err(Error::new(Code::Cancelled)), packets),
            What::Post(object) => Object::operation_ended(object),
            What::Deadline(_) => {}
        }
    }
    1
}

/// # Safety
/// As `fired`.
#[inline]
unsafe fn settle(header: NonNull<Header>, result: Result<Value, Error>, packets: &mut impl Packets) {
    // SAFETY: as in `fired`.
    unsafe {
        (*header.as_ptr()).work.settle(0, result);
        deliver::complete(header, packets);
    }
}
