//! Packets, queued and fetched.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::key::Key;
use crate::backend::{Contract, Got};
use crate::deliver::handler::Run;
use crate::error::Error;
use crate::op::{Block, Delivery, Done, Header, Op, OpKind, free_block, give_shell, release_object};

/// A packet as the queue holds it: a block, or a bare post. Two words, so that it travels in registers and few cache lines
/// hold many.
pub(crate) struct Entry {
    /// A block's address, which is a multiple of four; or a bare post's byte count marked in the low bits, or, if that is
    /// absurdly large, a box with it, marked as one.
    word: NonNull<()>,
    /// A bare post's key; a block has its own.
    key: usize,
}

// SAFETY: the block in an entry is owned by it; its cargo is Send.
unsafe impl Send for Entry {}

/// The low bits of a word, and what they say.
const MARK: usize = 3;
const BARE: usize = 1;
const BOXED: usize = 2;

/// What an entry is.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Block(NonNull<Header>),
    Bare { key: usize, bytes: usize },
}

impl Entry {
    #[inline]
    pub fn of_block(header: NonNull<Header>) -> Entry {
        Entry { word: header.cast(), key: 0 }
    }

    /// A post without a block.
    #[inline]
    pub fn bare(key: usize, bytes: usize) -> Entry {
        let (word, mark) = match bytes << 2 >> 2 == bytes {
            true => (std::ptr::without_provenance_mut(bytes << 2), BARE),
            false => (Box::into_raw(Box::new(bytes)).cast::<()>(), BOXED),
        };
        // SAFETY: a mark is not zero.
        Entry { word: unsafe { NonNull::new_unchecked(word.map_addr(|addr| addr | mark)) }, key }
    }

    /// Opens it.
    #[inline]
    pub fn content(self) -> Content {
        let word = self.word.as_ptr();
        match word.addr() & MARK {
            0 => Content::Block(self.word.cast()),
            BARE => Content::Bare { key: self.key, bytes: word.addr() >> 2 },
            _ => {
                let boxed = word.map_addr(|addr| addr & !MARK).cast::<usize>();
                // SAFETY: from `into_raw` in `bare`, and this entry's alone.
                Content::Bare { key: self.key, bytes: unsafe { *Box::from_raw(boxed) } }
            }
        }
    }

    /// For a queue of words.
    #[allow(dead_code, reason = "the packets of Windows are in its kernel's queue")]
    #[inline]
    pub fn into_words(self) -> (NonNull<()>, usize) {
        (self.word, self.key)
    }

    /// # Safety
    /// The words came from `into_words`, and are used once.
    #[allow(dead_code, reason = "the packets of Windows are in its kernel's queue")]
    #[inline]
    pub unsafe fn from_words((word, key): (NonNull<()>, usize)) -> Entry {
        Entry { word, key }
    }

    /// The function to run it with, if it is a handler's and not a packet.
    #[inline]
    fn handler(&self) -> Option<(Run, NonNull<Header>)> {
        if self.word.as_ptr().addr() & MARK != 0 {
            return None;
        }
        let header = self.word.cast::<Header>();
        // SAFETY: the entry owns its block, which is over.
        match unsafe { &(*header.as_ptr()).delivery } {
            Delivery::Handler(run) => Some((*run, header)),
            _ => None,
        }
    }

    /// Whether it may only be dropped where its port's packets are, whatever those carry.
    pub fn is_handler(&self) -> bool {
        self.handler().is_some()
    }

    /// Runs it if it is a handler's, or gives the packet back.
    #[inline]
    pub fn unless_handler(self) -> Option<Entry> {
        let Some((run, header)) = self.handler() else { return Some(self) };
        // SAFETY: the entry owned the block, whose operation is over.
        unsafe { run(header) };
        None
    }

    /// Drops a packet nobody will fetch, with its block and key.
    pub fn discard(self, contract: &Contract) {
        // SAFETY: the entry owns its block, which is over; a posted key is in raw form and dropped once.
        crate::deliver::unharmed(|| unsafe {
            match self.content() {
                Content::Bare { key, .. } => (contract.drop_key)(key),
                Content::Block(header) => {
                    if matches!((*header.as_ptr()).work.op, Op::Post) {
                        (contract.drop_key)((*header.as_ptr()).key);
                    }
                    free_block(header);
                }
            }
        });
    }
}

/// Room for the packets of one `get`.
pub(crate) struct Fetch<'a> {
    slots: &'a mut [Option<Entry>],
    len: usize,
}

impl<'a> Fetch<'a> {
    #[inline]
    pub fn new(slots: &'a mut [Option<Entry>]) -> Fetch<'a> {
        Fetch { slots, len: 0 }
    }

    /// How many more fit.
    #[inline]
    pub fn room(&self) -> usize {
        self.slots.len() - self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an entry in, or gives it back.
    #[inline]
    pub fn push(&mut self, entry: Entry) -> Option<Entry> {
        match self.slots.get_mut(self.len) {
            Some(slot) => {
                *slot = Some(entry);
                self.len += 1;
                None
            }
            None => Some(entry),
        }
    }
}

/// One completion packet.
#[derive(Debug)]
pub struct Packet<B, K> {
    /// The key of the object, or the one posted.
    pub key: K,
    /// The block that travelled with the operation; none for a post without one.
    pub block: Option<Block<B>>,
    /// Bytes transferred, and what the operation brought or its error.
    pub done: Done,
    /// Which operation it was.
    pub op: OpKind,
    /// The operation goes on: more packets follow, and the last one brings the block.
    pub more: bool,
}

impl<B: 'static, K: Key> Packet<B, K> {
    /// # Safety
    /// The entry came from a port of this B and K, is owned by the caller, and is no handler's (`Entry::unless_handler`).
    #[inline(always)]
    pub(crate) unsafe fn from_entry(entry: Entry) -> Packet<B, K> {
        // SAFETY: blocks of this port are `Block<B>`, checked when they started; their operation is over. Keys in raw
        // form are K's. The object is alive until the block's count of it is released, after the key was cloned.
        unsafe {
            let header = match entry.content() {
                Content::Block(header) => header,
                Content::Bare { key, bytes } => {
                    let done = Done { bytes, result: Ok(Default::default()) };
                    return Packet { key: K::from_raw(key), block: None, done, op: OpKind::Post, more: false };
                }
            };
            let block = header.as_ptr();
            debug_assert!(!matches!((*block).delivery, Delivery::Handler(_)), "a handler's block is no packet");
            let op = (*block).work.op.kind();
            let done = Done::take(&mut (*block).work);
            let key = match (*block).object.and_then(|object| (*object.as_ptr()).home().map(|home| home.key)) {
                Some(raw) => K::clone(&ManuallyDrop::new(K::from_raw(raw))),
                None => K::from_raw((*block).key),
            };
            release_object(header);
            let more = matches!((*block).delivery, Delivery::Part);
            let block = if more {
                give_shell(header);
                None
            } else {
                Some(Block::from_raw(header))
            };
            Packet { key, block, done, op, more }
        }
    }

    /// The error of a failed operation.
    pub fn error(&self) -> Option<Error> {
        self.done.result.as_ref().err().copied()
    }
}

/// How a wait on a port ended.
pub enum Outcome<B, K> {
    /// An operation succeeded, or a post arrived.
    Packet(Packet<B, K>),
    /// An operation failed; key, block and bytes are there all the same, `done.result` is the error.
    Failed(Packet<B, K>),
    /// The wait ended first (258). Nothing was taken.
    TimedOut,
    /// The port was closed during the wait (735).
    Abandoned,
    /// An alertable wait ran completion routines instead (192).
    Apc,
}

/// How an alertable fetch of many packets ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The batch has packets.
    Packets,
    /// The wait ended first (258). Nothing was taken.
    TimedOut,
    /// It ran APCs instead (192). Nothing was taken.
    Apc,
}

impl<B: 'static, K: Key> Outcome<B, K> {
    /// How a fetch of one packet ended.
    ///
    /// # Safety
    /// As for `Packet::from_entry`.
    #[inline(always)]
    pub(crate) unsafe fn fetched(got: Got, entry: Option<Entry>) -> Outcome<B, K> {
        match (got, entry) {
            // SAFETY: the caller's promise.
            (Got::Entries, Some(entry)) => unsafe { Outcome::of(Packet::from_entry(entry)) },
            (Got::TimedOut | Got::Entries, _) => Outcome::TimedOut,
            (Got::Abandoned, _) => Outcome::Abandoned,
            (Got::Alerted, _) => Outcome::Apc,
        }
    }

    #[inline(always)]
    pub(crate) fn of(packet: Packet<B, K>) -> Outcome<B, K> {
        match packet.done.result {
            Ok(_) => Outcome::Packet(packet),
            Err(_) => Outcome::Failed(packet),
        }
    }

    /// The packet, of a success or a failure.
    #[inline]
    pub fn packet(self) -> Option<Packet<B, K>> {
        match self {
            Outcome::Packet(packet) | Outcome::Failed(packet) => Some(packet),
            Outcome::TimedOut | Outcome::Abandoned | Outcome::Apc => None,
        }
    }
}

impl<B, K> fmt::Debug for Outcome<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Packet(packet) => write!(f, "Packet({}, {} bytes)", packet.op, packet.done.bytes),
            Outcome::Failed(packet) => write!(f, "Failed({}, {} bytes, {:?})", packet.op, packet.done.bytes, packet.done.result),
            Outcome::TimedOut => f.write_str("TimedOut"),
            Outcome::Abandoned => f.write_str("Abandoned"),
            Outcome::Apc => f.write_str("Apc"),
        }
    }
}
