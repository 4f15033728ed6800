//! Who waits for objects of the kernel's that are signalled: processes, and whatever a user hands over.
//!
//! Threads of the library's, each of which waits for up to 63 objects. An object has its seat with one of them from its first wait
//! on, and keeps it: so the same thread sees all waits for it, gives each signal to one of them, the oldest, and takes the cancels
//! in turn with the signals. (A wait registered with the system's pool would be no thread of ours: one that is taken back at the
//! moment at which it ends has consumed the signal, and says nothing of it.)
//!
//! | who | does | when |
//! |---|---|---|
//! | `begin`, under the lane's lock | asks the object's thread to wait | the operation is started |
//! | `end`, under the lane's lock | asks it to stop | a cancel, or the close; `ended` is set before the lock is released |
//! | the thread | concludes the operation | whichever it sees first |
//!
//! A block is named by its address and its sequence: it is the operation's own as long as the thread has it in its list.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{NonNull, null};
use std::sync::OnceLock;

use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects, WaitForSingleObject};

use super::lanes::Core;
use super::object::{conclude, object_of};
use super::{codes, process};
use crate::error::{Code, Error};
use crate::op::{Header, Op, Value};
use crate::shim::{Arc, Mutex, lock};

/// MAXIMUM_WAIT_OBJECTS, of which one wakes the thread.
const MOST: usize = 64;

/// One operation that waits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Waiting {
    header: NonNull<Header>,
    sequence: u64,
    handle: HANDLE,
}

// SAFETY: a started operation, whose block any thread may work on under its lane's lock; the handle is a number.
unsafe impl Send for Waiting {}

enum Ask {
    Begin(Waiting),
    End(Waiting),
}

struct Watcher {
    /// Set when there is something in the inbox.
    wake: OwnedHandle,
    inbox: Mutex<Vec<Ask>>,
}

/// An object's place with one of the threads.
pub(super) struct Seat(Arc<Watcher>);

/// The threads, and how many objects each has.
static WATCHERS: Mutex<Vec<(Arc<Watcher>, usize)>> = Mutex::new(Vec::new());

impl Seat {
    fn take() -> Result<Seat, Error> {
        let mut watchers = lock(&WATCHERS);
        if let Some((watcher, seats)) = watchers.iter_mut().find(|(_, seats)| *seats < MOST - 1) {
            *seats += 1;
            return Ok(Seat(watcher.clone()));
        }
        // SAFETY: no pointers; the handle returned is new and ours alone.
        let wake = unsafe {
            let wake = CreateEventW(null(), 0, 0, null());
            if wake.is_null() {
                return Err(Error::last_os_error());
            }
            OwnedHandle::from_raw_handle(wake)
        };
        let watcher = Arc::new(Watcher { wake, inbox: Mutex::default() });
        let own = watcher.clone();
        // It stays, for the next objects.
        std::thread::Builder::new()
            .name("proactor-wait".into())
            .spawn(move || own.run())
            .map_err(|error| Error::from_io(&error))?;
        watchers.push((watcher.clone(), 1));
        Ok(Seat(watcher))
    }
}

impl Drop for Seat {
    /// No operation of the object is left.
    fn drop(&mut self) {
        if let Some((_, seats)) = lock(&WATCHERS).iter_mut().find(|(watcher, _)| Arc::ptr_eq(watcher, &self.0)) {
            *seats -= 1;
        }
    }
}

/// What is known of a started operation under its lane's lock.
///
/// # Safety
/// The block is alive, and its lane locked.
unsafe fn waiting(header: NonNull<Header>) -> Waiting {
    // SAFETY: as the caller promises.
    unsafe {
        let handle = object_of(header).sys.core.handle();
        Waiting { header, sequence: (*header.as_ptr()).work.sequence, handle }
    }
}

/// Has the operation's object waited for.
///
/// # Safety
/// As `start::issue`.
pub(super) unsafe fn begin(header: NonNull<Header>, core: &Core) -> Result<(), Error> {
    let seat: &OnceLock<Seat> = &core.seat;
    if seat.get().is_none() {
        let _ = seat.set(Seat::take()?);
    }
    match seat.get() {
        // SAFETY: as the caller promises.
        Some(seat) => seat.0.ask(Ask::Begin(unsafe { waiting(header) })),
        None => unreachable!("just set"),
    }
    Ok(())
}

/// Has an operation's wait ended.
///
/// # Safety
/// The operation waits, nobody asked it to end before, and the caller holds its lane's lock and says so under it.
pub(super) unsafe fn end(header: NonNull<Header>, core: &Core) {
    match core.seat.get() {
        // SAFETY: as the caller promises.
        Some(seat) => seat.0.ask(Ask::End(unsafe { waiting(header) })),
        None => unreachable!("an operation that waits has its seat"),
    }
}

impl Watcher {
    fn ask(&self, ask: Ask) {
        lock(&self.inbox).push(ask);
        // SAFETY: our own event.
        unsafe { SetEvent(self.wake.as_raw_handle()) };
    }

    fn run(&self) {
        // In the order of their starts.
        let mut waits: Vec<Waiting> = Vec::new();
        let mut asked = Vec::new();
        loop {
            let mut handles = [self.wake.as_raw_handle(); MOST];
            let mut count = 1;
            for wait in &waits {
                // Each once: the kernel takes no handle twice.
                if !handles[1..count].contains(&wait.handle) {
                    handles[count] = wait.handle;
                    count += 1;
                }
            }
            // SAFETY: so many handles, all kept by their operations' objects.
            let which = unsafe { WaitForMultipleObjects(count as u32, handles.as_ptr(), 0, INFINITE) };
            match which as usize {
                0 => {
                    std::mem::swap(&mut *lock(&self.inbox), &mut asked);
                    for ask in asked.drain(..) {
                        match ask {
                            Ask::Begin(wait) => waits.push(wait),
                            Ask::End(wait) => {
                                if let Some(at) = waits.iter().position(|other| *other == wait) {
                                    // SAFETY: it is in the list, so the operation's wait is this thread's to conclude.
                                    unsafe { cancelled(waits.remove(at)) };
                                }
                            }
                        }
                    }
                }
                which if which < count => signalled(&mut waits, handles[which], Ok(())),
                _ => {
                    // One of them cannot be waited for, and the kernel does not say which.
                    for &handle in &handles[1..count] {
                        // SAFETY: as above.
                        match unsafe { WaitForSingleObject(handle, 0) } {
                            WAIT_TIMEOUT => {}
                            WAIT_FAILED => signalled(&mut waits, handle, Err(Error::last_os_error())),
                            _ => signalled(&mut waits, handle, Ok(())),
                        }
                    }
                }
            }
        }
    }
}

/// The oldest wait for an object is over.
fn signalled(waits: &mut Vec<Waiting>, handle: HANDLE, result: Result<(), Error>) {
    let Some(at) = waits.iter().position(|wait| wait.handle == handle) else { return };
    let header = waits.remove(at).header;
    // SAFETY: it was in the list, so the operation is pending, and this thread's to conclude, with the lane locked. A cancel that
    // was asked for meanwhile came too late.
    unsafe {
        let core = object_of(header).sys.core.clone();
        let list = core.lock((*header.as_ptr()).sys.lane);
        let result = result.map(|()| match (*header.as_ptr()).work.op {
            Op::Exited => Value::Exited(process::exited(handle)),
            _ => Value::None,
        });
        conclude(list, header, 0, result);
    }
}

/// An operation ends as it was asked to.
///
/// # Safety
/// It is pending, and the calling thread's to conclude.
unsafe fn cancelled(wait: Waiting) {
    // SAFETY: as the caller promises; `ended` was set under the lock under which this was asked.
    unsafe {
        let core = object_of(wait.header).sys.core.clone();
        let list = core.lock((*wait.header.as_ptr()).sys.lane);
        let code = (*wait.header.as_ptr()).sys.ended.unwrap_or(Code::Cancelled);
        conclude(list, wait.header, 0, Err(codes::of_end(code)));
    }
}
