//! What is chosen when a port is made.

use crate::backend;

/// How many workers of a port may run at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// As many as the process has processors (Win32's 0).
    #[default]
    Cores,
    /// This many; at least one, at most 1,000,000.
    Threads(u32),
}

impl From<u32> for Concurrency {
    /// Zero means the number of processors, as in `CreateIoCompletionPort`.
    fn from(n: u32) -> Concurrency {
        if n == 0 { Concurrency::Cores } else { Concurrency::Threads(n) }
    }
}

/// The settings of a [`CompletionPort`](crate::CompletionPort), fixed for its life. A [`Concurrency`] or a number stands
/// for settings that leave the rest as it is by default.
///
/// ```
/// use proactor::{CompletionPort, Concurrency, Settings};
/// let port: CompletionPort = CompletionPort::new(4)?;
/// let port: CompletionPort = CompletionPort::new(Concurrency::Cores)?;
/// let port: CompletionPort = CompletionPort::new(Settings::new(4).block_monitor(false))?;
/// # Ok::<(), proactor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    concurrency: Concurrency,
    block_monitor: bool,
}

impl Settings {
    /// So many workers at once, and everything else as it is by default.
    #[must_use]
    pub fn new(concurrency: impl Into<Concurrency>) -> Settings {
        Settings { concurrency: concurrency.into(), block_monitor: true }
    }

    /// Whether a worker that blocks *outside* the library (a lock, a sleep, a blocking call) gives its place to a waiting
    /// one, one to two milliseconds later; `true` by default. A worker that blocks inside the library, in
    /// [`Overlapped::wait`](crate::Overlapped::wait) or on an [`Event`](crate::sync::Event), always does, at once.
    ///
    /// With `false` such a worker keeps its place while it blocks, as if it ran; if all that may run block so, packets wait.
    /// That suits handlers that only ever block for a moment, programs under a sanitizer or a debugger, which put threads
    /// to sleep for reasons of their own, and tests that must know exactly who runs.
    ///
    /// On Windows it does nothing: the kernel sees by itself that a worker blocks, and always releases another.
    #[must_use]
    pub fn block_monitor(mut self, on: bool) -> Settings {
        self.block_monitor = on;
        self
    }

    /// With nothing left to look up.
    pub(super) fn plan(&self) -> backend::Plan {
        let concurrency = match self.concurrency {
            Concurrency::Cores => std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            Concurrency::Threads(n) => n.clamp(1, 1_000_000),
        };
        backend::Plan { concurrency, block_monitor: self.block_monitor, crew: false }
    }
}

impl Default for Settings {
    /// As many workers as processors, and the block monitor.
    fn default() -> Settings {
        Settings::new(Concurrency::Cores)
    }
}

impl From<Concurrency> for Settings {
    fn from(concurrency: Concurrency) -> Settings {
        Settings::new(concurrency)
    }
}

impl From<u32> for Settings {
    /// Zero means the number of processors, as in `CreateIoCompletionPort`.
    fn from(n: u32) -> Settings {
        Settings::new(n)
    }
}
