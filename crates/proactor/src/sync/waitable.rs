//! What a wait takes.

/// An object that can be waited for, by itself or with others, by the functions of [`sync`](crate::sync).
///
/// Sealed and object safe: objects of several kinds go into one list, `&[&dyn Waitable]`.
pub trait Waitable: sealed::Sealed {}

impl<W: sealed::Sealed + ?Sized> Waitable for W {}

pub(crate) mod sealed {
    use std::sync::Arc;

    use crate::error::{Code, Error};
    use crate::sync::object::Core;

    /// How an object is waited for. No user code.
    pub trait Sealed {
        /// The part that is waited for, the same at each call.
        #[doc(hidden)]
        fn core(&self) -> Result<&Arc<Core>, Error>;

        /// Somebody waits for it now: what keeps it going while nobody else does.
        #[doc(hidden)]
        fn wait_begins(&self) {}

        /// As often as `wait_begins`.
        #[doc(hidden)]
        fn wait_ended(&self) {}

        /// Signals it, as the first half of a signal-and-wait.
        #[doc(hidden)]
        fn signal(&self) -> Result<(), Error> {
            Err(Error::new(Code::InvalidHandle).hint("only an event, a semaphore and a mutex can be signalled"))
        }
    }
}
