//! The backend's part of an object, and the four verbs on one of a shared port: start, cancel, close, take the descriptor
//! out.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};

use super::super::{cached, pipe};
use super::lane::Slot;
use super::{Timing, files, types};
use crate::error::Error;
use crate::handle::{Kind, Object, Which};
use crate::op::{Header, Lane};
use crate::time::{NOWHERE, Place};

const NO_FD: i32 = -1;

/// A descriptor, and its place in its port.
///
/// `fd` is closed by whoever closes the slot; an object without a slot closes it itself. A file being opened has none
/// yet.
pub(crate) struct ObjectState {
    fd: AtomicI32,
    /// Its place in a shared port's slab, which is that port's and stays where it is.
    place: AtomicPtr<Slot>,
    /// Its place in a per-thread port's.
    index: OnceLock<u32>,
    /// Whether events can come already: an unconnected stream socket would only report HUP.
    connected: bool,
    /// O_NONBLOCK was set here on a descriptor that came without it, and is taken back when it goes out.
    made_nonblocking: AtomicBool,
    /// O_NONBLOCK was taken off here, because a ring answers with EAGAIN where it stands; it is put back likewise.
    made_blocking: AtomicBool,
    /// Whether the file's reads are tried at once.
    pub(in crate::backend) tried: cached::Tried,
    /// Of timers, which have no descriptor.
    timing: Option<Arc<Timing>>,
    /// Of an instance of a named pipe's server: where its clients come.
    pub(in crate::backend) pipe: Option<Arc<pipe::Listener>>,
}

impl ObjectState {
    /// Takes a descriptor in. Calls that have no flag of their own against blocking (accept, connect) need O_NONBLOCK:
    /// `must_not_block` sets it for as long as the library has the descriptor.
    pub fn new(fd: OwnedFd, connected: bool, must_not_block: bool) -> ObjectState {
        let made_nonblocking = must_not_block && set_nonblocking(&fd, true);
        ObjectState {
            fd: AtomicI32::new(fd.into_raw_fd()),
            place: AtomicPtr::default(),
            index: OnceLock::new(),
            connected,
            made_nonblocking: AtomicBool::new(made_nonblocking),
            made_blocking: AtomicBool::new(false),
            tried: cached::Tried::default(),
            timing: None,
            pipe: None,
        }
    }

    /// A file that an open operation will provide with its descriptor.
    pub fn unopened() -> ObjectState {
        ObjectState {
            fd: AtomicI32::new(NO_FD),
            place: AtomicPtr::default(),
            index: OnceLock::new(),
            connected: true,
            made_nonblocking: AtomicBool::new(false),
            made_blocking: AtomicBool::new(false),
            tried: cached::Tried::default(),
            timing: None,
            pipe: None,
        }
    }

    /// Timers, none armed.
    pub fn timers() -> ObjectState {
        let mut state = ObjectState::unopened();
        state.timing = Some(Arc::new(Timing::new()));
        state
    }

    /// What is armed, if these are timers.
    #[inline]
    pub fn timing(&self) -> Option<&Arc<Timing>> {
        self.timing.as_ref()
    }

    /// The number, −1 before a file is open.
    pub fn raw(&self) -> i32 {
        self.fd.load(Ordering::Acquire)
    }

    pub fn borrow(&self) -> BorrowedFd<'_> {
        assert!(self.raw() != NO_FD, "the file is not open yet: wait for its open operation");
        // SAFETY: open as long as a user's handle exists, and this borrow is one's.
        unsafe { BorrowedFd::borrow_raw(self.raw()) }
    }

    /// Whether events can come already.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Index of its place in its home, a per-thread port.
    #[inline]
    pub fn index(&self) -> Option<u32> {
        self.index.get().copied()
    }

    pub fn set_index(&self, index: u32) {
        let _ = self.index.set(index);
    }

    fn has_place(&self) -> bool {
        self.index.get().is_some() || !self.place.load(Ordering::Acquire).is_null()
    }

    /// Takes O_NONBLOCK off until the descriptor goes out.
    pub fn make_blocking(&self) {
        if set_nonblocking(&self.borrow(), false) && !self.made_nonblocking.swap(false, Ordering::Relaxed) {
            self.made_blocking.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the descriptor out; the object has none from now on.
    pub fn take_fd(&self) -> Option<OwnedFd> {
        let fd = self.fd.swap(NO_FD, Ordering::AcqRel);
        // SAFETY: taken out of the object here; the caller takes it out of its place in the port.
        (fd != NO_FD).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Undoes what was done to a descriptor that goes out.
    pub fn restore(&self, fd: &OwnedFd) {
        if self.made_nonblocking.load(Ordering::Relaxed) {
            set_nonblocking(fd, false);
        }
        if self.made_blocking.load(Ordering::Relaxed) {
            set_nonblocking(fd, true);
        }
    }

    /// Takes a file's descriptor out, to close it; the file may be opened again.
    pub fn take_file(&self) -> Option<OwnedFd> {
        self.tried.forget();
        match self.fd.swap(NO_FD, Ordering::AcqRel) {
            NO_FD => None,
            // SAFETY: taken out of the object, which owned it: a file has no slot.
            fd => Some(unsafe { OwnedFd::from_raw_fd(fd) }),
        }
    }

    /// Gives an opening file its descriptor. False, and the descriptor closed, if it has one.
    pub fn provide(&self, fd: OwnedFd) -> bool {
        let provided = self.fd.compare_exchange(NO_FD, fd.as_raw_fd(), Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if provided {
            let _ = fd.into_raw_fd();
        }
        provided
    }
}

impl Drop for ObjectState {
    fn drop(&mut self) {
        if !self.has_place() && *self.fd.get_mut() != NO_FD {
            // SAFETY: no slot closes it, and this was its last owner.
            drop(unsafe { OwnedFd::from_raw_fd(*self.fd.get_mut()) });
        }
    }
}

impl fmt::Debug for ObjectState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fd {}", self.raw())
    }
}

/// Sets or clears O_NONBLOCK; whether that changed anything.
fn set_nonblocking(fd: &impl AsRawFd, on: bool) -> bool {
    // SAFETY: plain calls on an open descriptor.
    unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        let wanted = if on { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
        flags >= 0 && flags != wanted && libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, wanted) == 0
    }
}

impl super::Port {
    /// Gives an object its place in this port. Called once, before the object's home is set.
    pub fn attach(&self, object: &Object) -> Result<(), Error> {
        types::check_fork()?;
        if self.is_closed() {
            return Err(Error::new(crate::Code::InvalidHandle).hint("the completion port is closed"));
        }
        if let Some(timing) = object.sys.timing() {
            return self.watch_timers(timing);
        }
        if matches!(object.kind, Kind::File | Kind::Raw) {
            return Ok(());
        }
        let slot = self.lodge(object.sys.raw(), object.kind)?;
        let connected = object.sys.connected || !object.kind.is_stream();
        slot.connected.store(connected.into(), crate::shim::Ordering::SeqCst);
        if let Some(pipe) = &object.sys.pipe {
            slot.connected.store(pipe::LISTENING, crate::shim::Ordering::SeqCst);
            slot.listener.store(pipe.raw().cast_unsigned(), crate::shim::Ordering::SeqCst);
        }
        if connected && let Err(error) = self.watch(slot) {
            // Nobody has seen the slot yet: it closes empty, without its descriptor.
            slot.fd.store(u32::MAX, crate::shim::Ordering::Relaxed);
            slot.close(self, &mut self.packets());
            return Err(error);
        }
        object.sys.place.store(std::ptr::from_ref(slot).cast_mut(), Ordering::Release);
        Ok(())
    }

    /// A socket's place here.
    #[inline]
    fn slot_of(&self, object: &Object) -> Option<&Slot> {
        // SAFETY: `attach` put a slot of this port's slab there, which stays while the port lives, or nothing.
        unsafe { object.sys.place.load(Ordering::Acquire).as_ref() }
    }

    /// Takes over a begun block, as `backend::start` has it.
    #[inline]
    pub fn start(self: &Arc<Self>, object: &Object, header: NonNull<Header>) -> Place {
        // SAFETY: begun, and this backend's now.
        match unsafe { (*header.as_ptr()).work.op.lane() } {
            Lane::Timer => return self.arm(object, header),
            Lane::File => files::start(self, object, header),
            side => match self.slot_of(object) {
                Some(slot) => slot.start(side, header, self, &mut self.packets()),
                None => unreachable!("a socket at home has its slot"),
            },
        }
        NOWHERE
    }

    pub fn cancel(&self, object: &Object, which: Which) -> usize {
        if let Some(timing) = object.sys.timing() {
            return timing.armed.cancel(which, &mut self.packets());
        }
        match self.slot_of(object) {
            Some(slot) => [Lane::Read, Lane::Write].map(|side| slot.cancel(side, which, self, &mut self.packets())).iter().sum(),
            None => files::cancel(self, Some(object), which),
        }
    }

    /// The last user's handle went.
    pub fn close_object(&self, object: &Object) {
        if let Some(timing) = object.sys.timing() {
            self.unwatch_timers(timing);
            timing.armed.cancel(Which::All, &mut self.packets());
            return self.settled();
        }
        match self.slot_of(object) {
            Some(slot) => slot.close(self, &mut self.packets()),
            None => {
                files::cancel(self, Some(object), Which::All);
            }
        }
    }

    /// The descriptor was taken out of the object, with nothing in flight on it.
    pub fn release(&self, object: &Object, fd: &OwnedFd) {
        if let Some(slot) = self.slot_of(object) {
            self.unwatch(fd.as_raw_fd());
            slot.fd.store(u32::MAX, crate::shim::Ordering::Relaxed);
        }
    }
}

/// Closes a slot's descriptor, if it still has it.
pub(super) fn close_fd(fd: libc::c_int) {
    if fd != NO_FD {
        // SAFETY: the slot was the descriptor's owner and has just given it up.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}
