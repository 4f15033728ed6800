//! Completion keys: one machine word per associated object, given back with each of its packets.

use std::sync::Arc;

/// A completion key: a value that fits one machine word, as Win32's `ULONG_PTR` does.
///
/// Use an integer, `()`, or an `Arc<T>` of whatever belongs to the connection, in an `Option` if not every object has one. A packet's key is a clone; the port's own
/// copy is dropped when the object is gone and its last packet is fetched or dropped.
///
/// An `Arc` key must not own the object it is the key of: the object keeps its key, so neither would ever go. Keep the
/// stream in the block, or elsewhere.
///
/// # Safety
/// `from_raw` of what `into_raw` gave must be the same value, and `into_raw` must forget it: the library calls
/// `from_raw` once for each `into_raw`, on any thread, and between them lends the value to `clone`.
pub unsafe trait Key: Clone + Send + Sync + 'static {
    /// The value as a word; forgets the value.
    fn into_raw(self) -> usize;

    /// The value again.
    ///
    /// # Safety
    /// `raw` came from `into_raw` of this type and is used once.
    unsafe fn from_raw(raw: usize) -> Self;
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        // SAFETY: plain numbers no wider than a word; nothing to own.
        unsafe impl Key for $integer {
            fn into_raw(self) -> usize {
                self as usize
            }
            unsafe fn from_raw(raw: usize) -> $integer {
                raw as $integer
            }
        }
    )*};
}

integers!(usize, isize, u32, i32, u16, u8);

// SAFETY: nothing to own or tell apart.
unsafe impl Key for () {
    fn into_raw(self) -> usize {
        0
    }
    unsafe fn from_raw(_: usize) {}
}

// SAFETY: Arc's own raw form, which is never null, or null for none; given back once.
unsafe impl<T: Send + Sync + 'static> Key for Option<Arc<T>> {
    fn into_raw(self) -> usize {
        self.map_or(0, Key::into_raw)
    }
    unsafe fn from_raw(raw: usize) -> Option<Arc<T>> {
        // SAFETY: as the caller promises.
        (raw != 0).then(|| unsafe { <Arc<T> as Key>::from_raw(raw) })
    }
}

// SAFETY: Arc's own raw form, given back once.
unsafe impl<T: Send + Sync + 'static> Key for Arc<T> {
    fn into_raw(self) -> usize {
        Arc::into_raw(self).expose_provenance()
    }
    unsafe fn from_raw(raw: usize) -> Arc<T> {
        // SAFETY: as the caller promises, this is an Arc::into_raw of this type that was not yet taken back.
        unsafe { Arc::from_raw(std::ptr::with_exposed_provenance(raw)) }
    }
}
