//! Packets, queued and fetched.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::key::Key;
use crate::backend::{Contract, Got};
use crate::error::Error;
use crate::op::{Block, Delivery, Done, Header, Op, OpKind, free_block, give_shell, release_object};

/// A packet as the queue holds it: a block, or a bare post.
pub(crate) struct Entry {
    pub block: Option<NonNull<Header>>,
    /// A bare post's key and bytes; a block has its own.
    pub key: usize,
    pub bytes: usize,
}

// SAFETY: the block in an entry is owned by it; its cargo is Send.
unsafe impl Send for Entry {}

impl Entry {
    pub fn of_block(header: NonNull<Header>) -> Entry {
        Entry { block: Some(header), key: 0, bytes: 0 }
    }

    /// Drops a packet nobody will fetch, with its block and key.
    pub fn discard(self, contract: &Contract) {
        // SAFETY: the entry owns its block, which is over; a posted key is in raw form and dropped once.
        crate::deliver::unharmed(|| unsafe {
            match self.block {
                None => (contract.drop_key)(self.key),
                Some(header) => {
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
    pub fn new(slots: &'a mut [Option<Entry>]) -> Fetch<'a> {
        Fetch { slots, len: 0 }
    }

    /// How many more fit.
    pub fn room(&self) -> usize {
        self.slots.len() - self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an entry in, or gives it back.
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
    /// The entry came from a port of this B and K, and is owned by the caller.
    #[inline]
    pub(crate) unsafe fn from_entry(entry: Entry) -> Packet<B, K> {
        // SAFETY: blocks of this port are `Block<B>`, checked when they started; their operation is over. Keys in raw
        // form are K's. The object is alive until the block's count of it is released, after the key was cloned.
        unsafe {
            let Some(header) = entry.block else {
                let done = Done { bytes: entry.bytes, result: Ok(Default::default()) };
                return Packet { key: K::from_raw(entry.key), block: None, done, op: OpKind::Post, more: false };
            };
            let block = header.as_ptr();
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
    #[inline]
    pub(crate) unsafe fn fetched(got: Got, entry: Option<Entry>) -> Outcome<B, K> {
        match (got, entry) {
            // SAFETY: the caller's promise.
            (Got::Entries, Some(entry)) => unsafe { Outcome::of(Packet::from_entry(entry)) },
            (Got::TimedOut | Got::Entries, _) => Outcome::TimedOut,
            (Got::Abandoned, _) => Outcome::Abandoned,
            (Got::Alerted, _) => Outcome::Apc,
        }
    }

    #[inline]
    pub(crate) fn of(packet: Packet<B, K>) -> Outcome<B, K> {
        match packet.done.result {
            Ok(_) => Outcome::Packet(packet),
            Err(_) => Outcome::Failed(packet),
        }
    }

    /// The packet, of a success or a failure.
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
