//! Where an object goes to live that is used before it was given a home.

use std::cell::RefCell;
use std::sync::Arc;

use crate::backend;
use crate::error::Error;

thread_local! {
    /// The port of the runtime this thread works for.
    static PORT: RefCell<Option<Arc<backend::Port>>> = const { RefCell::new(None) };
}

/// Where this thread's newcomers went before; they do again when this is dropped.
pub(crate) struct Before(Option<Arc<backend::Port>>);

/// From now on this thread's newcomers go to a port, whose null key is for them.
pub(crate) fn go_to(port: Arc<backend::Port>) -> Before {
    Before(PORT.with(|it| it.replace(Some(port))))
}

impl Drop for Before {
    fn drop(&mut self) {
        let before = self.0.take();
        let left = PORT.try_with(|it| it.replace(before));
        drop(left);
    }
}

/// The port for a newcomer: the runtime's while that is open, or the process's own.
pub(crate) fn port() -> Result<backend::PortRef, Error> {
    let of_runtime = PORT.try_with(|it| it.borrow().clone()).ok().flatten();
    match of_runtime.filter(|port| !port.is_closed()) {
        Some(port) => Ok(port.into()),
        None => backend::process_port().map(Into::into),
    }
}
