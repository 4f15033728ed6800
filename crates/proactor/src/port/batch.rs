//! Many packets at once.

use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use super::contract;
use super::entry::{Entry, Fetch, Outcome, Packet};
use super::key::Key;
use crate::backend;

/// Room for the packets of one [`get_many`](crate::CompletionPort::get_many), used again and again.
///
/// An iterator over what was fetched. Packets not taken out go back to their port, before all others, when the batch is
/// dropped or filled again: a panic in one handler does not lose the rest.
///
/// ```
/// use proactor::{Batch, CompletionPort, Concurrency, Outcome};
/// let port: CompletionPort = CompletionPort::new(Concurrency::Threads(1))?;
/// for key in 0..3 {
///     port.post(key, 0, None)?;
/// }
/// let mut batch = Batch::with_capacity(16);
/// assert!(port.get_many(&mut batch, None)?);
/// for outcome in &mut batch {
///     let Outcome::Packet(packet) = outcome else { panic!("{outcome:?}") };
///     assert!(packet.key < 3);
/// }
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct Batch<B, K: Key> {
    slots: Box<[Option<Entry>]>,
    at: usize,
    port: Weak<backend::Port>,
    carries: PhantomData<fn() -> (B, K)>,
}

impl<B: Send + 'static, K: Key> Batch<B, K> {
    /// Room for this many packets.
    pub fn with_capacity(packets: usize) -> Batch<B, K> {
        Batch { slots: (0..packets).map(|_| None).collect(), at: 0, port: Weak::new(), carries: PhantomData }
    }

    /// How many packets one call may fetch.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How many packets are left in it.
    pub fn len(&self) -> usize {
        self.slots[self.at..].iter().flatten().count()
    }

    /// Whether every packet was taken out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn fetch(&mut self) -> Fetch<'_> {
        self.at = 0;
        Fetch::new(&mut self.slots)
    }

    pub(crate) fn fetched_from(&mut self, port: &Arc<backend::Port>) {
        if !std::ptr::eq(self.port.as_ptr(), Arc::as_ptr(port)) {
            self.port = Arc::downgrade(port);
        }
    }
}

/// Each packet carries its own status: [`Outcome::Packet`] or [`Outcome::Failed`].
impl<B: Send + 'static, K: Key> Iterator for Batch<B, K> {
    type Item = Outcome<B, K>;

    fn next(&mut self) -> Option<Outcome<B, K>> {
        let entry = self.slots.get_mut(self.at)?.take()?;
        self.at += 1;
        // SAFETY: fetched from a port of this B and K by `get_many`.
        Some(unsafe { Outcome::of(Packet::from_entry(entry)) })
    }
}

impl<B, K: Key> Batch<B, K> {
    /// Gives what is left back to its port.
    pub(crate) fn give_back(&mut self) {
        let at = std::mem::take(&mut self.at);
        if self.slots[at.min(self.slots.len())..].iter().all(Option::is_none) {
            return;
        }
        let left = self.slots[at..].iter_mut().filter_map(Option::take);
        match self.port.upgrade() {
            Some(port) => port.give_back(left),
            None => left.for_each(|entry| entry.discard(&contract::<K>(None))),
        }
    }
}

impl<B, K: Key> Drop for Batch<B, K> {
    fn drop(&mut self) {
        self.give_back();
    }
}
