//! An unbounded FIFO for any threads at both ends: numbered places in segments, one read-modify-write to push and one to
//! take a whole run. No locks and no allocation but once a segment, and there mostly a lock nobody else wants.
//!
//! Place `i` lies in segment `i / SEGMENT`. A push takes a number from `tail`, writes its place; a take
//! moves `head` over the written places it found, reads and clears them. A segment that is behind `head`
//! and cleared throughout is used again; its small header is never freed before the queue, so one that a late thread
//! still looks at says only that it is another's by now.
//!
//! | atomic | partner |
//! |---|---|
//! | `tail` +1 (SeqCst), then the sleepers are looked at | a sleeper counts itself (SeqCst), then looks at `tail`: one of the two sees the other |
//! | `extra` written, `word` store (Release) | `word` load (Acquire), `extra` read |
//! | `head` compare-exchange | itself: it succeeds only if no other took the places looked at, so their segment was theirs all along |
//! | `extra` read, `word` nulled (Release) | `word` load (Acquire) before the segment is used again |
//! | `number` store (Release) under the lock | `number` load (Acquire): who finds the number of its own place has its segment, because a place that is not consumed holds the segment |
//!
//! A number taken and not yet written holds up all behind it, as order demands: a take waits for it, spinning, then
//! yielding. It is the few instructions between two lines of `push`.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::shim::{AtomicPtr, AtomicU64, Mutex, Ordering, Place, fence_after_rmw, lock, pause};

#[cfg(not(loom))]
const SEGMENT: usize = 256;
#[cfg(loom)]
const SEGMENT: usize = 2;

/// Free segments kept with their memory; what a burst made beyond gives its pages back.
const KEPT: usize = 256;

/// A value of two words: the queue's places hold no more, so that few cache lines travel between its ends.
///
/// # Safety
/// `from_words` of what `into_words` gave is the same value again; nothing is owned twice.
pub(crate) unsafe trait Words: Sized {
    fn into_words(self) -> (NonNull<()>, usize);

    /// # Safety
    /// The words came from `into_words` of this type and are used once.
    unsafe fn from_words(words: (NonNull<()>, usize)) -> Self;
}

struct Slot {
    /// Null: not written yet, or read.
    word: AtomicPtr<()>,
    extra: Place<usize>,
}

#[repr(align(4096))]
struct Slots([Slot; SEGMENT]);

struct Segment {
    /// 0: free.
    number: AtomicU64,
    slots: NonNull<Slots>,
}

impl Segment {
    fn make() -> NonNull<Segment> {
        NonNull::from(Box::leak(Box::new(Segment { number: AtomicU64::new(0), slots: Slots::make() })))
    }

    #[inline]
    fn slot(&self, index: u64) -> &Slot {
        // SAFETY: allocated for as long as the segment.
        unsafe { &self.slots.as_ref().0[index as usize % SEGMENT] }
    }

    /// For a segment whose places were all taken.
    fn is_consumed(&self) -> bool {
        (0..SEGMENT as u64).all(|index| self.slot(index).word.load(Ordering::Acquire).is_null())
    }

    /// For one that is consumed and off the list of the used.
    fn give_pages_back(&self) {
        // SAFETY: nobody writes its places before it is used again, and consumed ones are zeroes, as a late look may find them.
        unsafe { super::epoll::give_pages_back(self.slots.as_ptr().cast(), size_of::<Slots>()) };
    }
}

impl Slots {
    #[cfg(not(loom))]
    fn make() -> NonNull<Slots> {
        let layout = std::alloc::Layout::new::<Slots>();
        // SAFETY: the layout is not empty; all zeros is a place with nothing in it.
        let slots = unsafe { std::alloc::alloc_zeroed(layout) };
        NonNull::new(slots.cast()).unwrap_or_else(|| std::alloc::handle_alloc_error(layout))
    }

    #[cfg(loom)]
    fn make() -> NonNull<Slots> {
        let slot = |_| Slot { word: AtomicPtr::new(std::ptr::null_mut()), extra: Place::new(0) };
        NonNull::from(Box::leak(Box::new(Slots(std::array::from_fn(slot)))))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: made by `Slots::make` with the global allocator, and this segment's alone.
        drop(unsafe { Box::from_raw(self.slots.as_ptr()) });
    }
}

/// One end of the queue, on cache lines of its own.
#[repr(align(128))]
struct End {
    index: AtomicU64,
    /// The segment of that index, or where it was not long ago.
    segment: AtomicPtr<Segment>,
}

impl End {
    fn new() -> End {
        End { index: AtomicU64::new(SEGMENT as u64), segment: AtomicPtr::new(std::ptr::null_mut()) }
    }

    #[inline]
    fn segment(&self) -> &Segment {
        // SAFETY: set before the queue is shared, and segments live as long as the queue.
        unsafe { &*self.segment.load(Ordering::Acquire) }
    }
}

struct List {
    /// Those in use, oldest first; their numbers have no gaps.
    used: VecDeque<NonNull<Segment>>,
    free: Vec<NonNull<Segment>>,
    /// The number after the last one in use.
    next: u64,
}

impl List {
    /// The number of the oldest segment in use.
    fn first(&self) -> u64 {
        self.next - self.used.len() as u64
    }
}

/// The queue. What is left in it when it is dropped is not: its owner takes all first.
pub(crate) struct Segments<T> {
    tail: End,
    head: End,
    list: Mutex<List>,
    values: PhantomData<T>,
}

// SAFETY: values are handed from thread to thread, and nothing else of the pointers is not atomic or locked.
unsafe impl<T: Send> Send for Segments<T> {}
// SAFETY: as above; no `&T` is given out.
unsafe impl<T: Send> Sync for Segments<T> {}

impl<T: Words> Segments<T> {
    pub fn new() -> Segments<T> {
        let (mut used, mut free) = (VecDeque::new(), Vec::new());
        // A short queue never allocates again: one segment is read while the next is written, and one may lag behind.
        used.reserve(4);
        free.reserve(4);
        if cfg!(not(loom)) {
            free.extend([Segment::make(), Segment::make()]);
        }
        let list = List { used, free, next: 1 };
        let queue = Segments { tail: End::new(), head: End::new(), list: Mutex::new(list), values: PhantomData };
        let first = queue.grown(1);
        queue.tail.segment.store(first.as_ptr(), Ordering::Release);
        queue.head.segment.store(first.as_ptr(), Ordering::Release);
        queue
    }

    /// Appends, and is a fence between that and a look at who sleeps.
    #[inline]
    pub fn push(&self, value: T) {
        let (word, extra) = value.into_words();
        let index = self.tail.index.fetch_add(1, Ordering::SeqCst);
        fence_after_rmw();
        let number = index / SEGMENT as u64;
        let mut segment = self.tail.segment();
        if segment.number.load(Ordering::Acquire) != number {
            // SAFETY: segments live as long as the queue.
            segment = unsafe { self.grown(number).as_ref() };
        }
        let slot = segment.slot(index);
        // SAFETY: the number was given to this thread alone, the segment is the number's and was read throughout before
        // it was used again; nobody reads the place before its word is there.
        unsafe { slot.extra.write(extra) };
        slot.word.store(word.as_ptr(), Ordering::Release);
    }

    /// Takes what is there, in order, `room` at most; how many.
    #[inline]
    pub fn take(&self, room: usize, mut put: impl FnMut(T)) -> usize {
        let mut tries = 0;
        loop {
            let first = self.head.index.load(Ordering::Acquire);
            let number = first / SEGMENT as u64;
            let segment = self.head.segment();
            let is_its = segment.number.load(Ordering::Acquire) == number;
            if is_its {
                let most = room.min(SEGMENT - first as usize % SEGMENT) as u64;
                let mut end = first;
                while end < first + most && !segment.slot(end).word.load(Ordering::Acquire).is_null() {
                    end += 1;
                }
                if end > first {
                    if self.head.index.compare_exchange(first, end, Ordering::SeqCst, Ordering::Relaxed).is_err() {
                        continue;
                    }
                    for index in first..end {
                        let slot = segment.slot(index);
                        if let Some(word) = NonNull::new(slot.word.load(Ordering::Acquire)) {
                            // SAFETY: the exchange gave these places to this thread alone; they were written.
                            put(unsafe { T::from_words((word, slot.extra.read())) });
                            slot.word.store(std::ptr::null_mut(), Ordering::Release);
                        }
                    }
                    if end.is_multiple_of(SEGMENT as u64) {
                        self.retire();
                    }
                    return (end - first) as usize;
                }
            }
            if room == 0 || self.tail.index.load(Ordering::SeqCst) == first {
                return 0;
            }
            if !is_its {
                self.advance(number);
            }
            // Taken by another, or about to be written.
            if self.head.index.load(Ordering::Acquire) == first {
                pause(&mut tries);
            }
        }
    }

    /// Whether all that was pushed is taken.
    #[inline]
    pub fn is_empty(&self) -> bool {
        let head = self.head.index.load(Ordering::SeqCst);
        self.tail.index.load(Ordering::SeqCst) == head
    }

    /// Whether the next place is written, as far as one look tells: without the line all pushers write to.
    #[inline]
    pub fn is_hot(&self) -> bool {
        let first = self.head.index.load(Ordering::Acquire);
        !self.head.segment().slot(first).word.load(Ordering::Acquire).is_null()
    }

    /// The segment of a place that was given to the caller, made if need be.
    #[cold]
    fn grown(&self, number: u64) -> NonNull<Segment> {
        let mut made = None;
        loop {
            let mut list = lock(&self.list);
            while list.next <= number
                && let Some(segment) = list.free.pop().or_else(|| made.take())
            {
                // SAFETY: segments live as long as the queue.
                unsafe { segment.as_ref() }.number.store(list.next, Ordering::Release);
                list.used.push_back(segment);
                list.next += 1;
                self.tail.segment.store(segment.as_ptr(), Ordering::Release);
            }
            if list.next > number {
                let segment = list.used[(number - list.first()) as usize];
                list.free.extend(made);
                return segment;
            }
            drop(list);
            made = Some(Segment::make());
        }
    }

    /// Points the head's end at a segment, if that is in use.
    #[cold]
    fn advance(&self, number: u64) {
        let list = lock(&self.list);
        if let Some(segment) = number.checked_sub(list.first()).and_then(|at| list.used.get(at as usize)) {
            self.head.segment.store(segment.as_ptr(), Ordering::Release);
        }
    }

    /// After a segment's last place was taken: the head moves on, and the oldest segments that were read throughout are
    /// free. Looked through without the lock: others want it.
    #[cold]
    fn retire(&self) {
        loop {
            let (oldest, number) = {
                let list = lock(&self.list);
                let number = self.head.index.load(Ordering::Acquire) / SEGMENT as u64;
                let first = list.first();
                if let Some(segment) = list.used.get((number - first) as usize) {
                    self.head.segment.store(segment.as_ptr(), Ordering::Release);
                }
                match list.used.front() {
                    Some(oldest) if first < number => (*oldest, first),
                    _ => return,
                }
            };
            // SAFETY: segments live as long as the queue.
            let segment = unsafe { oldest.as_ref() };
            if !segment.is_consumed() {
                return;
            }
            let mut list = lock(&self.list);
            if list.first() != number {
                // Another was faster.
                continue;
            }
            list.used.pop_front();
            segment.number.store(0, Ordering::Release);
            if list.free.len() >= KEPT {
                drop(list);
                segment.give_pages_back();
                list = lock(&self.list);
            }
            list.free.push(oldest);
        }
    }
}

impl<T> Drop for Segments<T> {
    fn drop(&mut self) {
        let mut list = lock(&self.list);
        let all: Vec<_> = list.used.drain(..).collect();
        for segment in all.into_iter().chain(list.free.drain(..)) {
            // SAFETY: leaked from a box in `make`, once, and nobody uses the queue any more.
            drop(unsafe { Box::from_raw(segment.as_ptr()) });
        }
    }
}
