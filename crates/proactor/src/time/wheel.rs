//! A hierarchical timing wheel: pure bookkeeping, which never reads a clock.
//!
//! Contract: `insert` and `remove` take constant time, whatever is armed. `advance` takes what is due up to a moment, in
//! order of ticks and within one tick in the order of insertion, at most so much work at a call. Nothing is taken early:
//! a deadline counts from the end of the tick it falls into.
//!
//! Time is in ticks of 2^13 ns (8.2 µs). A level has 64 slots, each a list; an entry lies on the level of the highest
//! digit (of base 64) in which its tick differs from `elapsed`, in the slot of that digit. So the entries of a level all
//! come before those of the next, the first bit of a level's map is its earliest slot, and equal ticks always share a
//! list: their order holds. A slot of a higher level is dealt out to the lower ones when its time begins (a cascade),
//! each entry at most once a level.
//!
//! Entries lie in one array and name one another by index: a place is a number that can be checked, unlike an address.
//! The array grows and is not given back; nothing else allocates.

/// log2 of a tick in nanoseconds.
const TICK: u32 = 13;
/// log2 of the slots of a level.
const DIGIT: u32 = 6;
const SLOTS: usize = 1 << DIGIT;
/// Enough digits for every tick there is: 2^64 ns are 2^51 ticks.
const LEVELS: usize = 9;
/// No entry.
const NONE: u32 = u32::MAX;
/// In the list of no slot: free.
const FREE: u16 = u16::MAX;

/// Where an entry lies, until it is taken out.
pub(super) type Index = u32;

/// The tick at whose beginning a deadline has passed.
pub(super) fn tick_after(nanos: u64) -> u64 {
    (nanos >> TICK) + u64::from(nanos & ((1 << TICK) - 1) != 0)
}

/// The tick that has begun at this moment.
pub(super) fn tick_at(nanos: u64) -> u64 {
    nanos >> TICK
}

/// When a tick begins; the last moment there is for one past it.
pub(super) fn nanos_at(tick: u64) -> u64 {
    tick.saturating_mul(1 << TICK)
}

struct Entry<T> {
    tick: u64,
    item: Option<T>,
    next: u32,
    previous: u32,
    /// How many items have lain here before.
    generation: u32,
    /// Level and slot in one number.
    list: u16,
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

impl List {
    const EMPTY: List = List { head: NONE, tail: NONE };
}

pub(super) struct Wheel<T> {
    entries: Vec<Entry<T>>,
    /// The first free entry; they are linked by `next`.
    free: u32,
    armed: usize,
    /// All before this tick is taken, and of this one what was there.
    elapsed: u64,
    maps: [u64; LEVELS],
    lists: [List; LEVELS * SLOTS],
    /// The slot being dealt out, if that was interrupted: `elapsed` is its beginning.
    cascading: Option<usize>,
}

impl<T: Copy> Wheel<T> {
    pub fn new() -> Wheel<T> {
        Wheel {
            entries: Vec::new(),
            free: NONE,
            armed: 0,
            elapsed: 0,
            maps: [0; LEVELS],
            lists: [List::EMPTY; LEVELS * SLOTS],
            cascading: None,
        }
    }

    pub fn armed(&self) -> usize {
        self.armed
    }

    /// How far places go.
    pub fn places(&self) -> Index {
        self.entries.len() as Index
    }

    /// What lies at a place.
    #[inline]
    pub fn get(&self, at: Index) -> Option<T> {
        self.entries.get(at as usize)?.item
    }

    /// Tells the items of a place apart.
    pub fn generation(&self, at: Index) -> u32 {
        self.entries[at as usize].generation
    }

    /// Puts an item in, for a tick; one that has passed is due at once. `None` if there is no place left.
    #[inline]
    pub fn insert(&mut self, item: T, tick: u64) -> Option<Index> {
        let tick = tick.max(self.elapsed);
        let at = match self.free {
            NONE if self.entries.len() >= NONE as usize => return None,
            NONE => {
                self.entries.push(Entry { tick, item: Some(item), next: NONE, previous: NONE, generation: 0, list: FREE });
                (self.entries.len() - 1) as Index
            }
            at => {
                let entry = &mut self.entries[at as usize];
                self.free = entry.next;
                (entry.tick, entry.item) = (tick, Some(item));
                at
            }
        };
        self.armed += 1;
        self.append(at, self.list_of(tick));
        Some(at)
    }

    /// Takes an item out.
    #[inline]
    pub fn remove(&mut self, at: Index) -> Option<T> {
        let entry = self.entries.get_mut(at as usize)?;
        let item = entry.item.take()?;
        let (list, next, previous) = (usize::from(entry.list), entry.next, entry.previous);
        (entry.list, entry.next, entry.generation) = (FREE, self.free, entry.generation.wrapping_add(1));
        self.free = at;
        self.armed -= 1;
        match previous {
            NONE => self.lists[list].head = next,
            previous => self.entries[previous as usize].next = next,
        }
        match next {
            NONE => self.lists[list].tail = previous,
            next => self.entries[next as usize].previous = previous,
        }
        if self.lists[list].head == NONE {
            self.maps[list / SLOTS] &= !(1 << (list % SLOTS));
        }
        Some(item)
    }

    /// The list a tick belongs to.
    #[inline]
    fn list_of(&self, tick: u64) -> usize {
        if let Some(list) = self.cascading {
            // Behind those of its tick that are still to be dealt out.
            let shift = DIGIT * (list / SLOTS) as u32;
            if tick >> shift == self.elapsed >> shift {
                return list;
            }
        }
        let differs = (tick ^ self.elapsed) | (SLOTS as u64 - 1);
        let level = (u64::BITS - 1 - differs.leading_zeros()) / DIGIT;
        level as usize * SLOTS + ((tick >> (level * DIGIT)) as usize & (SLOTS - 1))
    }

    #[inline]
    fn append(&mut self, at: Index, list: usize) {
        let last = std::mem::replace(&mut self.lists[list].tail, at);
        let entry = &mut self.entries[at as usize];
        (entry.list, entry.next, entry.previous) = (list as u16, NONE, last);
        match last {
            NONE => {
                self.lists[list].head = at;
                self.maps[list / SLOTS] |= 1 << (list % SLOTS);
            }
            last => self.entries[last as usize].next = at,
        }
    }

    /// The list with the earliest entries.
    fn first(&self) -> Option<usize> {
        let level = self.maps.iter().position(|map| *map != 0)?;
        Some(level * SLOTS + self.maps[level].trailing_zeros() as usize)
    }

    /// When a list's time begins.
    fn begin_of(&self, list: usize) -> u64 {
        let (level, slot) = ((list / SLOTS) as u32, (list % SLOTS) as u64);
        let shift = level * DIGIT;
        // The digits above are those of `elapsed`.
        let above = self.elapsed >> shift >> DIGIT << DIGIT;
        (above | slot) << shift
    }

    /// When there is something to do: the earliest entry's tick, or that of a cascade before it.
    pub fn next(&self) -> Option<u64> {
        if self.cascading.is_some() {
            return Some(self.elapsed);
        }
        self.first().map(|list| self.look_at(list))
    }

    /// When there is something to do about this entry.
    #[inline]
    pub fn look_for(&self, at: Index) -> u64 {
        self.look_at(usize::from(self.entries[at as usize].list))
    }

    fn look_at(&self, list: usize) -> u64 {
        let List { head, tail } = self.lists[list];
        // One alone needs no cascade.
        if head == tail && head != NONE { self.entries[head as usize].tick } else { self.begin_of(list) }
    }

    /// Hands out what is due at `now`, until `out` takes no more or `work` steps are done; whether that was all.
    pub fn advance(&mut self, now: u64, mut work: usize, mut out: impl FnMut(T) -> bool) -> bool {
        loop {
            let list = match self.cascading {
                Some(list) => list,
                None => match self.first() {
                    Some(list) if self.begin_of(list) <= now => list,
                    _ => break,
                },
            };
            if list >= SLOTS {
                if !self.deal_out(list, &mut work) {
                    return false;
                }
                continue;
            }
            self.elapsed = self.begin_of(list);
            while self.lists[list].head != NONE {
                if work == 0 {
                    return false;
                }
                work -= 1;
                let head = self.lists[list].head;
                let Some(item) = self.remove(head) else { unreachable!("a list holds what is armed") };
                if !out(item) {
                    return false;
                }
            }
        }
        self.elapsed = self.elapsed.max(now);
        true
    }

    /// Moves a slot's entries to the levels below; false if the work ran out before.
    fn deal_out(&mut self, list: usize, work: &mut usize) -> bool {
        if self.cascading.is_none() {
            self.elapsed = self.begin_of(list);
            self.cascading = Some(list);
        }
        loop {
            let head = self.lists[list].head;
            if head == NONE {
                break;
            }
            if *work == 0 {
                return false;
            }
            *work -= 1;
            let Entry { tick, next, .. } = self.entries[head as usize];
            self.lists[list].head = next;
            match next {
                NONE => self.lists[list].tail = NONE,
                next => self.entries[next as usize].previous = NONE,
            }
            self.cascading = None;
            let below = self.list_of(tick);
            self.cascading = Some(list);
            self.append(head, below);
        }
        self.maps[list / SLOTS] &= !(1 << (list % SLOTS));
        self.cascading = None;
        true
    }
}

#[cfg(all(test, not(loom)))]
#[path = "wheel_tests.rs"]
mod tests;
