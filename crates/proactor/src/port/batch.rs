//! Many packets at once.

use std::marker::PhantomData;

use super::entry::{Entry, Fetch, Fetched, Outcome, Packet};
use super::key::Key;
use super::{Carries, contract};
use crate::backend::{self, Got};
use crate::error::{Code, Error};
use crate::home::{Home, Shared};

/// Room for the packets of one [`get_many`](crate::CompletionPort::get_many), used again and again.
///
/// An iterator over what was fetched; it runs the handlers among them. Packets not taken out go back to their port, before all others, when the batch is
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
pub struct Batch<B, K: Key, H: Home = Shared> {
    slots: Box<[Option<Entry>]>,
    at: usize,
    /// Where the packets came from.
    port: Option<backend::WeakRef>,
    carries: PhantomData<Carries<(B, K)>>,
    home: PhantomData<H>,
}

// SAFETY: a shared port's batch refers to that port alone, whose packets any thread may have.
unsafe impl<B: Send, K: Key> Send for Batch<B, K, Shared> {}

impl<B: 'static, K: Key, H: Home> Batch<B, K, H> {
    /// Room for this many packets.
    pub fn with_capacity(packets: usize) -> Batch<B, K, H> {
        Batch { slots: (0..packets).map(|_| None).collect(), at: 0, port: None, carries: PhantomData, home: PhantomData }
    }

    /// How many packets one call may fetch.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How many packets and handlers are left in it.
    pub fn len(&self) -> usize {
        self.slots[self.at..].iter().flatten().count()
    }

    /// Whether every packet was taken out, and every handler run.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its room, empty: what an earlier fetch left goes back first.
    pub(crate) fn fetch(&mut self) -> Result<Fetch<'_>, Error> {
        self.give_back();
        if self.capacity() == 0 {
            return Err(Error::new(Code::InvalidParameter).hint("the batch has no room; make it for at least one packet"));
        }
        Ok(Fetch::new(&mut self.slots))
    }

    /// How a fetch into it ended; whether there are packets. Remembers whose they are, when it is not known or another's.
    pub(crate) fn fetched(
        &mut self,
        got: Got,
        port: impl FnOnce() -> backend::PortRef,
        is_same: impl FnOnce(&backend::WeakRef) -> bool,
    ) -> Result<bool, Error> {
        match got {
            Got::Entries => {
                if !self.port.as_ref().is_some_and(is_same) {
                    self.port = Some(port().downgrade());
                }
                Ok(true)
            }
            Got::TimedOut | Got::Alerted => Ok(false),
            Got::Abandoned => Err(Error::new(Code::Abandoned)),
        }
    }

    /// The same of an alertable fetch.
    pub(crate) fn fetched_alertably(
        &mut self,
        got: Got,
        port: impl FnOnce() -> backend::PortRef,
        is_same: impl FnOnce(&backend::WeakRef) -> bool,
    ) -> Result<Fetched, Error> {
        if got == Got::Alerted {
            return Ok(Fetched::Apc);
        }
        let any = self.fetched(got, port, is_same)?;
        Ok(if any { Fetched::Packets } else { Fetched::TimedOut })
    }
}

/// Each packet carries its own status: [`Outcome::Packet`] or [`Outcome::Failed`]. Handlers
/// ([`then`](crate::Operation::then)) are run where they stand among the packets, and none of them is shown.
impl<B: 'static, K: Key, H: Home> Iterator for Batch<B, K, H> {
    type Item = Outcome<B, K>;

    #[inline]
    fn next(&mut self) -> Option<Outcome<B, K>> {
        loop {
            let entry = self.slots.get_mut(self.at)?.take()?;
            self.at += 1;
            if let Some(entry) = entry.unless_handler() {
                // SAFETY: fetched from a port of this B and K by `get_many`.
                return Some(unsafe { Outcome::of(Packet::from_entry(entry)) });
            }
        }
    }
}

impl<B, K: Key, H: Home> Batch<B, K, H> {
    /// Gives what is left back to its port.
    pub(crate) fn give_back(&mut self) {
        let at = std::mem::take(&mut self.at);
        // A fetch fills without gaps.
        if !matches!(self.slots.get(at), Some(Some(_))) {
            return;
        }
        let left = self.slots[at..].iter_mut().filter_map(Option::take);
        match self.port.as_ref().and_then(backend::WeakRef::upgrade) {
            Some(port) => port.give_back(left),
            None => left.for_each(|entry| entry.discard(&contract::<K>(None))),
        }
    }
}

impl<B, K: Key, H: Home> Drop for Batch<B, K, H> {
    fn drop(&mut self) {
        self.give_back();
    }
}
