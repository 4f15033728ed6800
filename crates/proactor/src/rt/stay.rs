//! A value that belongs to one core's thread, inside a future that may move.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::core::Way;
use super::cores::start_on;

/// A value of one thread. On another thread it cannot be reached, and its drop is sent home.
pub(super) struct Stay<T: 'static> {
    way: Arc<Way>,
    value: ManuallyDrop<T>,
}

// SAFETY: the value is reached on its own thread alone, dropped there, or never.
unsafe impl<T> Send for Stay<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Stay<T> {}

impl<T> Stay<T> {
    /// On the core's thread.
    pub fn new(way: Arc<Way>, value: T) -> Stay<T> {
        debug_assert!(way.is_here());
        Stay { way, value: ManuallyDrop::new(value) }
    }

    /// The value, on its thread, while this core takes its turns there.
    pub fn get(&mut self, here: &Arc<Way>) -> Option<&mut T> {
        (Arc::ptr_eq(&self.way, here) && self.way.is_here()).then(|| &mut *self.value)
    }
}

impl<T> Drop for Stay<T> {
    fn drop(&mut self) {
        // SAFETY: taken here alone, and dropped on its own thread alone.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        let carried = Carried(ManuallyDrop::new(value));
        if self.way.is_here() {
            return carried.let_go();
        }
        // If that core is no more, neither is what would complete it: its memory is left.
        start_on(&self.way, move || {
            carried.let_go();
            std::future::ready(())
        })
        .detach();
    }
}

/// A value on its way home. If it does not arrive it is never dropped.
struct Carried<T>(ManuallyDrop<T>);

// SAFETY: nothing is done with it but on its own thread.
unsafe impl<T> Send for Carried<T> {}

impl<T> Carried<T> {
    /// On its own thread.
    fn let_go(self) {
        drop(ManuallyDrop::into_inner(self.0));
    }
}
