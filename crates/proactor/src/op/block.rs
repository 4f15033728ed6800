//! The operation block: one allocation that holds the operation, its delivery and its cargo, and whose address is the
//! kernel's user data.
//!
//! | state | owner | who may touch the header | leaves by |
//! |---|---|---|---|
//! | idle | the user ([`Block`]) | the user's thread | start |
//! | pending | the backend: the lane's owner, the ring, or the kernel | that owner alone | the operation's own terminal completion |
//! | completed, packet | the port's queue | nobody, until `get` pops it | `get` (back to idle), or the port's close (freed) |
//! | completed, handler | the port's queue | nobody, until `get` pops it | `get` (run, and freed), or the port's close (freed) |
//! | completed, overlapped | the handle and the completer, one count each | the handle reads the result; the completer only its own half | the last of both (freed) |
//!
//! Ownership moves by value through these states, never is shared but in the last one, which has its own atomics
//! (`deliver/overlapped.rs`).

use std::alloc::Layout;
use std::any::TypeId;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::value::Value;
use super::{Address, Op, recycle};
use crate::backend;
use crate::buf::Buffers;
use crate::deliver::handler::Run;
use crate::deliver::overlapped::Shared;
use crate::deliver::routine::Pending;
use crate::error::Error;
use crate::handle::Object;
use crate::time::{NOWHERE, Place};

/// Where the one completion goes. The routes are in `deliver/mod.rs`.
#[derive(Default)]
pub(crate) enum Delivery {
    /// Not started.
    #[default]
    None,
    /// A packet on the port of the object's home.
    Packet,
    /// As `Packet`, but one of several of an operation that goes on: a block of the library's own, without cargo.
    Part,
    /// A handle somebody holds, or has dropped.
    Overlapped(Shared),
    /// A closure that the starting thread runs inside an alertable wait.
    Routine(Pending),
    /// A closure, run by whoever takes the completion from the port of the object's home.
    Handler(Run),
}

impl Delivery {
    /// Whether its drop does anything.
    #[inline]
    pub fn holds_something(&self) -> bool {
        matches!(self, Delivery::Overlapped(_) | Delivery::Routine(_))
    }

    /// Whether a completion of it goes through a port's queue, and goes nowhere without one.
    #[inline]
    pub fn is_queued(&self) -> bool {
        matches!(self, Delivery::Packet | Delivery::Handler(_))
    }
}

/// The part of a block that does not depend on what it carries.
#[repr(C)]
pub(crate) struct Header {
    /// The backend's own part; first, because on Windows it is the OVERLAPPED whose address the kernel hands back.
    pub sys: backend::BlockState,
    pub layout: Layout,
    pub drop_cargo: unsafe fn(NonNull<Header>),
    /// One count of the object's operations, held from start until the completion is consumed.
    pub object: Option<NonNull<Object>>,
    /// A posted packet's key, in raw form.
    pub key: usize,
    /// Stands apart from `work`, because an overlapped handle looks at it while the backend works.
    pub delivery: Delivery,
    pub work: Work,
}

/// The operation itself: what the block's present owner alone reads and writes.
pub(crate) struct Work {
    pub op: Op,
    pub buffers: Buffers,
    /// Bytes transferred so far; the final count once completed.
    pub bytes: usize,
    pub result: Result<Value, Error>,
    /// What the operation holds of its object's budget of bytes queued for sending.
    pub budget: usize,
    pub sequence: u64,
}

/// A header with its cargo behind it: what `alloc_block` makes.
#[repr(C)]
pub(crate) struct Layered<C> {
    pub header: Header,
    pub cargo: C,
}

/// Allocates a block around `cargo`.
pub(crate) fn alloc_block<C>(cargo: C) -> NonNull<Header> {
    unsafe fn drop_cargo<C>(header: NonNull<Header>) {
        // SAFETY: only `free_block` calls this, with the header of the Layered<C> that `alloc_block::<C>` made, once.
        unsafe { (&raw mut (*header.cast::<Layered<C>>().as_ptr()).cargo).drop_in_place() }
    }
    let place = recycle::take(Layout::new::<Layered<C>>()).cast::<Layered<C>>();
    let work = Work { op: Op::Post, buffers: Buffers::default(), bytes: 0, result: Ok(Value::None), budget: 0, sequence: 0 };
    // SAFETY: memory of the type's own layout, nobody else's. Part by part: a whole one would be made elsewhere and copied.
    unsafe {
        let header = &raw mut (*place.as_ptr()).header;
        (&raw mut (*header).sys).write(Default::default());
        (&raw mut (*header).work).write(work);
        (&raw mut (*header).object).write(None);
        (&raw mut (*header).delivery).write(Delivery::None);
        (&raw mut (*header).key).write(0);
        (&raw mut (*header).layout).write(Layout::new::<Layered<C>>());
        (&raw mut (*header).drop_cargo).write(drop_cargo::<C>);
        (&raw mut (*place.as_ptr()).cargo).write(cargo);
    }
    place.cast()
}

/// Drops a block: its cargo, its result, its hold on the object.
///
/// # Safety
/// `header` came from `alloc_block`, the caller owns it, and no operation is pending on it.
pub(crate) unsafe fn free_block(header: NonNull<Header>) {
    /// The cargo's drop is user code and may panic; the shell goes all the same.
    struct Shell(NonNull<Header>);
    impl Drop for Shell {
        fn drop(&mut self) {
            // SAFETY: the caller of `free_block` owns the block, whose cargo was dropped.
            unsafe { free_shell(self.0) }
        }
    }
    let shell = Shell(header);
    // SAFETY: the caller owns the block; the cargo is dropped once, here.
    unsafe { ((*shell.0.as_ptr()).drop_cargo)(header) }
}

/// Frees a block whose cargo was moved out.
///
/// # Safety
/// As for `free_block`, and the cargo is gone already.
#[inline]
pub(crate) unsafe fn free_shell(header: NonNull<Header>) {
    // SAFETY: the caller owns the block; the header is dropped once and the memory freed with the layout it came with.
    unsafe {
        release_object(header);
        let layout = (*header.as_ptr()).layout;
        header.drop_in_place();
        recycle::give(header.cast(), layout);
    }
}

/// An idle block without cargo, for one completion of several.
pub(crate) fn take_shell() -> NonNull<Header> {
    recycle::take_shell().unwrap_or_else(|| alloc_block(()))
}

/// Gives such a block back. It is kept as it is, ready for the next: these come and go with every piece received.
///
/// # Safety
/// `header` came from `take_shell`, the caller owns it, and its object and result were taken out.
pub(crate) unsafe fn give_shell(header: NonNull<Header>) {
    if !recycle::give_shell(header) {
        // SAFETY: the caller's promise; there is no cargo.
        unsafe { free_shell(header) }
    }
}

/// Gives up the block's hold on its object, if it has one, and on the file it sent. May free either.
///
/// # Safety
/// The caller owns the block, and no operation is pending on it.
#[inline(always)]
pub(crate) unsafe fn release_object(header: NonNull<Header>) {
    // SAFETY: owned by the caller; the header held one operation count of a live object, and forgets it here.
    unsafe {
        if let Op::Transmit(sent) = &mut (*header.as_ptr()).work.op {
            drop(sent.file.take());
        }
        if let Some(object) = (*header.as_ptr()).object.take() {
            Object::operation_ended(object);
        }
    }
}

thread_local! {
    static SEQUENCE: Cell<u64> = const { Cell::new(0) };
}

/// The low bits of a sequence number count operations of one thread; the rest name the thread.
const THREAD_SHIFT: u32 = 40;

#[inline(always)]
fn next_sequence() -> u64 {
    SEQUENCE.with(|cell| {
        let last = if cell.get() == 0 { first_sequence() } else { cell.get() };
        cell.set(last + 1);
        last + 1
    })
}

#[cold]
fn first_sequence() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(1);
    THREADS.fetch_add(1, Ordering::Relaxed) << THREAD_SHIFT
}

/// The number by which operations started on this thread are known.
pub(crate) fn thread_number() -> u64 {
    if SEQUENCE.get() == 0 {
        next_sequence();
    }
    SEQUENCE.get() >> THREAD_SHIFT
}

/// Replaces a value, whose drop is called only if it is one that holds something: most hold nothing, and calls add up.
#[inline(always)]
fn put<T>(place: &mut T, value: T, holds_something: impl Fn(&T) -> bool) {
    if holds_something(place) {
        *place = value;
    } else {
        // SAFETY: a place borrowed exclusively, over which a value of its type may be written.
        unsafe { std::ptr::write(place, value) }
    }
}

/// Makes an owned block ready to start: everything but the buffers, which the caller lowered already.
///
/// # Safety
/// `object`, if given, is alive and the caller hands over one operation count of it.
#[inline(always)]
pub(crate) unsafe fn begin(header: &mut Header, op: Op, object: Option<NonNull<Object>>, delivery: Delivery) -> Ticket {
    debug_assert!(header.object.is_none(), "a block starts one operation at a time");
    header.sys.renew();
    header.object = object;
    put(&mut header.delivery, delivery, Delivery::holds_something);
    let work = &mut header.work;
    put(&mut work.op, op, Op::holds_something);
    work.bytes = 0;
    debug_assert!(matches!(work.result, Ok(Value::None)), "whoever took the last completion took its result");
    work.sequence = next_sequence();
    let sequence = work.sequence;
    Ticket { block: std::ptr::from_ref(header) as usize, sequence, place: NOWHERE }
}

impl Header {
    /// Whether this thread number started the operation.
    pub fn started_by(&self, thread: u64) -> bool {
        self.work.sequence >> THREAD_SHIFT == thread
    }

    pub fn is(&self, ticket: Ticket) -> bool {
        std::ptr::from_ref(self) as usize == ticket.block && self.work.sequence == ticket.sequence
    }
}

impl Ticket {
    /// Has the processor fetch what every operation touches of the block, if that is there still.
    #[inline]
    pub(crate) fn prefetch(self) {
        use std::mem::offset_of;
        let work = self.block + offset_of!(Header, work);
        recycle::prefetch(self.block + offset_of!(Header, object));
        recycle::prefetch(work + offset_of!(Work, result));
        recycle::prefetch(work + offset_of!(Work, sequence));
    }
}

impl Work {
    /// Records the outcome: bytes transferred in all, and what the operation brought.
    #[inline(always)]
    pub fn settle(&mut self, bytes: usize, result: Result<Value, Error>) {
        self.bytes = bytes;
        put(&mut self.result, result, |old| !matches!(old, Ok(Value::None)));
        if self.op.holds_something() {
            self.let_go();
        }
    }

    /// What needs dropping goes; the kind stays.
    #[cold]
    fn let_go(&mut self) {
        let sequence = self.sequence;
        match &mut self.op {
            Op::Connect { to } | Op::SendTo { to } => *to = Address::Unnamed,
            Op::Open { path, .. } => *path = Default::default(),
            Op::RecvMulti => self.buffers.pool = None,
            Op::Awaited { source, .. } => {
                if let Some(source) = source.take() {
                    source.over(sequence);
                }
            }
            _ => {}
        }
    }
}

/// Names a started operation, weakly: it keeps nothing alive, and after the completion it names nothing.
///
/// Given to `cancel` of the object the operation was started on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    pub(crate) block: usize,
    pub(crate) sequence: u64,
    /// Where a timer is armed; a cancel that does not know it searches.
    pub(crate) place: Place,
}

/// A packet's block: the caller's own struct, with its buffer inside, that travels through the kernel and comes back
/// with the packet. One allocation for its whole life; starting an operation moves it, so it cannot be used twice at
/// once.
///
/// ```
/// use proactor::Block;
/// struct PerIo { buf: Vec<u8>, turn: u32 }
/// let mut block = Block::new(PerIo { buf: vec![0; 4096], turn: 0 });
/// block.turn += 1;
/// assert_eq!(block.into_inner().turn, 1);
/// ```
pub struct Block<B> {
    header: NonNull<Header>,
    owns: PhantomData<Box<B>>,
}

// SAFETY: a Block is an owning pointer to its B and to a header of plain data that is idle while a Block exists.
unsafe impl<B: Send> Send for Block<B> {}
// SAFETY: a shared Block gives out only `&B`.
unsafe impl<B: Sync> Sync for Block<B> {}

impl<B: 'static> Block<B> {
    /// Allocates a block around `inner`.
    pub fn new(inner: B) -> Block<B> {
        Block { header: alloc_block(inner), owns: PhantomData }
    }

    /// Takes the struct out and frees the block.
    pub fn into_inner(self) -> B {
        let this = ManuallyDrop::new(self);
        // SAFETY: this Block owned an idle Layered<B>; the cargo is read out once and the shell freed.
        unsafe {
            let inner = (&raw const (*this.header.cast::<Layered<B>>().as_ptr()).cargo).read();
            free_shell(this.header);
            inner
        }
    }

    pub(crate) fn block_type() -> TypeId {
        TypeId::of::<B>()
    }

    pub(crate) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).header
    }

    /// # Safety
    /// `header` came from `into_raw` of a `Block<B>`, and its ownership is handed over with no operation pending.
    pub(crate) unsafe fn from_raw(header: NonNull<Header>) -> Block<B> {
        Block { header, owns: PhantomData }
    }

    /// The struct and the list of lowered buffers, both at once.
    pub(crate) fn parts(&mut self) -> (&mut B, &mut Buffers) {
        // SAFETY: an idle Layered<B>, borrowed exclusively; the two fields are disjoint.
        unsafe {
            let layered = self.header.cast::<Layered<B>>().as_ptr();
            (&mut (*layered).cargo, &mut (*layered).header.work.buffers)
        }
    }

    pub(crate) fn header(&mut self) -> &mut Header {
        // SAFETY: the block is idle and borrowed exclusively.
        unsafe { self.header.as_mut() }
    }
}

impl<B> Deref for Block<B> {
    type Target = B;
    fn deref(&self) -> &B {
        // SAFETY: an idle Layered<B>, borrowed.
        unsafe { &(*self.header.cast::<Layered<B>>().as_ptr()).cargo }
    }
}

impl<B> DerefMut for Block<B> {
    fn deref_mut(&mut self) -> &mut B {
        // SAFETY: an idle Layered<B>, borrowed exclusively.
        unsafe { &mut (*self.header.cast::<Layered<B>>().as_ptr()).cargo }
    }
}

impl<B> Drop for Block<B> {
    fn drop(&mut self) {
        // SAFETY: this Block owns an idle block.
        unsafe { free_block(self.header) }
    }
}

impl<B: Default + 'static> Default for Block<B> {
    fn default() -> Block<B> {
        Block::new(B::default())
    }
}

impl<B: fmt::Debug> fmt::Debug for Block<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Block").field(&**self).finish()
    }
}
