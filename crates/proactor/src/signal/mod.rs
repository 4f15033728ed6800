//! Signals, as operations: sets of them, shared as they like.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the names of signals, and the set |
//! | `set.rs` | what a set has caught, and who waits for it |
//! | `hub.rs` | which sets have which signals |
//! | `backend/signals.rs`, `backend/iocp/signals.rs` | how the system tells of one |

mod hub;
mod set;

use std::fmt;
use std::sync::Arc;

use crate::backend;
use crate::buf::NoBuffer;
use crate::error::Error;
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{OpKind, Operation, awaited};
use set::Set;

/// A signal, by a name that means the same everywhere. Not every system has every one: `NotSupported` says so.
///
/// | name | Linux | Windows |
/// |---|---|---|
/// | `Interrupt` | SIGINT | Ctrl-C |
/// | `Break` | none | Ctrl-Break |
/// | `Terminate` | SIGTERM | none |
/// | `Hangup` | SIGHUP | the console's window is closed: the process ends some five seconds after its signal |
/// | `Shutdown` | none | the user logs off, or the system goes down (services only): as above |
/// | `Quit`, `User1`, `User2`, `Child`, `Alarm`, `Pipe`, `Window`, `Continue`, `Other` | SIGQUIT … SIGCONT, any by number | none |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Signal {
    /// The user wants the program to stop (Ctrl-C).
    Interrupt,
    /// Ctrl-Break.
    Break,
    /// Somebody wants the program to end.
    Terminate,
    /// The terminal is gone; for a server by custom: read the configuration again.
    Hangup,
    /// The system goes down.
    Shutdown,
    /// As `Interrupt`, with a core dump by default.
    Quit,
    /// For the program's own use.
    User1,
    /// For the program's own use.
    User2,
    /// A child ended, or was stopped.
    Child,
    /// A timer of `alarm` is over.
    Alarm,
    /// A pipe nobody reads was written to. The library raises none.
    Pipe,
    /// The terminal's window has another size.
    Window,
    /// The process was stopped and goes on.
    Continue,
    /// Any other, by the system's number. One that has a name comes as that.
    Other(i32),
}

impl Signal {
    /// Sends the signal to this process, by the calling thread (`raise`): unless that blocks it, it has been caught when this
    /// returns. On Windows it goes to every process of the console's group that this
    /// one leads or belongs to, and only `Interrupt` and `Break` can be sent (`GenerateConsoleCtrlEvent`).
    ///
    /// What nobody catches does what it does by default: most end the process.
    ///
    /// Errors: `NotSupported` if the system has no such signal, `InvalidParameter` for a number that is none.
    pub fn raise(self) -> Result<(), Error> {
        backend::raise_signal(self).map_err(|error| error.of(OpKind::Signal))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Other(number) => write!(f, "signal {number}"),
            named => write!(f, "{named:?}"),
        }
    }
}

/// A set of signals to wait for (Asio's `signal_set`; `sigaction`, `SetConsoleCtrlHandler`).
///
/// Signals may be in several sets: each set that has one gets it. What comes while nobody waits is remembered by the set, each
/// signal as often as it came, and given to the next waits, the lowest first; the system itself makes one of several that come
/// before it delivers them. While a set has a signal, that does not do what it did before; when the last set lets go of it, the
/// former disposition is restored, unless somebody has put another in its place. Nothing is blocked: masks stay as they are.
///
/// Associate it with a port like a socket, or wait and await it without. Cloning shares it; dropping the last handle removes its
/// signals and cancels its waits.
///
/// ```
/// # if cfg!(unix) {
/// use proactor::signal::{Signal, SignalSet};
/// let signals = SignalSet::new([Signal::User1, Signal::Terminate])?;
/// Signal::User1.raise()?;
/// assert_eq!(signals.wait().wait().result?, Signal::User1);
/// # }
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct SignalSet<H: Home = Shared> {
    inner: Opaque<H>,
    set: Arc<Set>,
}

object!(SignalSet, with set);

impl SignalSet {
    /// A set of these signals; none at all will do to begin with. Errors as of [`add`](SignalSet::add).
    pub fn new(signals: impl IntoIterator<Item = Signal>) -> Result<SignalSet, Error> {
        backend::check_fork()?;
        let handle = Handle::new(Kind::Awaited, backend::ObjectState::timers());
        let set = SignalSet { inner: Opaque::new(handle), set: Arc::default() };
        signals.into_iter().try_for_each(|signal| set.add(signal))?;
        Ok(set)
    }
}

impl<H: Home> SignalSet<H> {
    /// Catches this signal, too. Fine if the set has it.
    ///
    /// Errors: `NotSupported` if the system has no such signal; `InvalidParameter` for what cannot be caught (`SIGKILL`,
    /// `SIGSTOP`), or must not be because it means a fault of the thread it comes to (`SIGSEGV`, `SIGBUS`, `SIGFPE`, `SIGILL`);
    /// the system's if it has no descriptor or thread, the first time they are needed.
    pub fn add(&self, signal: Signal) -> Result<(), Error> {
        hub::add(&self.set, signal).map_err(|error| error.of(OpKind::Signal))
    }

    /// Lets go of this signal, and forgets those of it that nobody waited for. Waits go on. Fine if the set has not got it.
    pub fn remove(&self, signal: Signal) {
        hub::remove(&self.set, Some(signal));
    }

    /// Lets go of all of them, likewise.
    pub fn clear(&self) {
        hub::remove(&self.set, None);
    }

    /// Completes with the next signal of the set that comes, or with one that is remembered. Several waits complete in call order,
    /// each with a signal of its own. A packet has it as [`Value::Signal`](crate::Value::Signal).
    ///
    /// `Cancelled` by a cancel, or by the drop of the last handle. A cancel takes no signal along.
    pub fn wait(&self) -> Operation<'_, NoBuffer, Signal, H> {
        Operation::new(self.handle(), awaited(OpKind::Signal, self.set.clone()), NoBuffer)
    }
}
