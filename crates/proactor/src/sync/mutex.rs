//! Mutexes of the kernel's kind.

use std::sync::Arc;

use super::current::{self, ThreadState};
use super::object::{Core, Kind};
use super::waitable::sealed::Sealed;
use crate::error::{Code, Error};

/// A mutex (`CreateMutex`): owned by the thread whose wait it satisfied, as often as it did, until that thread has released
/// it as often. Cloning shares it.
///
/// It guards no data: it is for waits with other objects, and for knowing of an owner that ended without releasing it. The
/// next wait gets it as [`Waited::Abandoned`](crate::sync::Waited::Abandoned), once.
///
/// ```
/// use proactor::sync::{self, Mutex, Waited};
/// let mutex = Mutex::new();
/// assert_eq!(sync::wait_one(&mutex, None)?, Waited::Signalled(0));
/// mutex.release()?;
/// # Ok::<(), proactor::Error>(())
/// ```
#[derive(Clone)]
pub struct Mutex {
    core: Arc<Core>,
}

impl Mutex {
    /// A mutex that nobody owns.
    #[expect(clippy::new_without_default, reason = "it is made on purpose, like its kin")]
    pub fn new() -> Mutex {
        Mutex { core: Core::new(Kind::Mutex { owner: None, depth: 0, abandoned: false }) }
    }

    /// Gives one ownership up (`ReleaseMutex`); the last one lets another thread have it.
    ///
    /// Errors: [`Code::NotOwner`] (288) if the calling thread does not own it.
    pub fn release(&self) -> Result<(), Error> {
        let thread = ThreadState::current().number;
        let is_free = self.core.change(|kind| match kind {
            Kind::Mutex { owner, depth, .. } if *owner == Some(thread) => {
                *depth -= 1;
                if *depth == 0 {
                    *owner = None;
                }
                Ok(*depth == 0)
            }
            _ => Err(Error::new(Code::NotOwner)),
        })?;
        if is_free {
            current::note_mutex(&self.core, false);
        }
        Ok(())
    }
}

impl Sealed for Mutex {
    fn core(&self) -> Result<&Arc<Core>, Error> {
        Ok(&self.core)
    }

    fn signal(&self) -> Result<(), Error> {
        self.release()
    }
}

impl std::fmt::Debug for Mutex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_owned = self.core.look(|kind| matches!(kind, Kind::Mutex { owner: Some(_), .. }));
        f.debug_struct("Mutex").field("owned", &is_owned).finish()
    }
}
