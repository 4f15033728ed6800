//! Waiting for a word to change: WaitOnAddress.

use windows_sys::Win32::System::Threading::{WaitOnAddress, WakeByAddressAll, WakeByAddressSingle};

use super::sys::millis;
use crate::shim::AtomicU32;
use crate::time::Wait;

/// Sleeps while `word` is `seen`, until woken or until `wait` ends. May return for no reason.
pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, wait: Wait) {
    // SAFETY: both words are readable for the call.
    unsafe { WaitOnAddress(word.as_ptr().cast(), (&raw const seen).cast(), size_of::<u32>(), millis(wait)) };
}

pub(crate) fn futex_wake_one(word: *const AtomicU32) {
    // SAFETY: the address is only a name.
    unsafe { WakeByAddressSingle(word.cast()) }
}

pub(crate) fn futex_wake_all(word: *const AtomicU32) {
    // SAFETY: the address is only a name.
    unsafe { WakeByAddressAll(word.cast()) }
}
