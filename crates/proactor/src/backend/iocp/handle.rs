//! Handles of the user's own that can be waited for: the wait as an operation.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle};
use std::ptr::null_mut;

use windows_sys::Wdk::Foundation::{NtQueryObject, OBJECT_INFORMATION_CLASS, ObjectBasicInformation, ObjectTypeInformation};
use windows_sys::Win32::System::Threading::SYNCHRONIZATION_SYNCHRONIZE;
use windows_sys::Win32::System::WindowsProgramming::{PUBLIC_OBJECT_BASIC_INFORMATION, PUBLIC_OBJECT_TYPE_INFORMATION};

use super::ObjectState;
use super::types::Descriptor;
use crate::buf::NoBuffer;
use crate::error::{Code, Error, Refused};
use crate::handle::{Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{Interest, Op, Operation};

/// Any handle that can be waited for: an event, a semaphore, a waitable timer, a process, a thread, a job, a change notification.
/// The library tells when it is signalled; setting and reading it stays the user's own, through [`AsHandle`].
///
/// On Linux [`watch`](crate::watch) has descriptors instead.
///
/// ```
/// use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
/// use proactor::watch::Handle;
/// use windows_sys::Win32::System::Threading::{CreateEventW, SetEvent};
/// // SAFETY: no pointers; the handle is new.
/// let event = unsafe { OwnedHandle::from_raw_handle(CreateEventW(std::ptr::null(), 0, 0, std::ptr::null())) };
/// let event = Handle::from_owned(event)?;
/// let signalled = event.signalled().start()?;
/// // SAFETY: an event that is open.
/// unsafe { SetEvent(event.as_raw_handle()) };
/// signalled.wait().result?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Handle<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(Handle);

impl Handle {
    /// Takes a handle in; the library closes it with the last of this object's, or gives it [back](Handle::into_handle).
    ///
    /// Refused, with the handle given back: [`Code::NotSupported`] for a mutex, because a thread of the library would own it, and
    /// [`Code::AccessDenied`] for a handle without the right to wait (`SYNCHRONIZE`).
    pub fn from_owned(handle: impl Into<OwnedHandle>) -> Result<Handle, Refused<OwnedHandle>> {
        let handle = handle.into();
        match check(&handle) {
            Ok(()) => Ok(Handle::from_handle(crate::handle::Handle::new(Kind::Watched, ObjectState::waited_for(handle)))),
            Err(error) => Err(Refused { error, back: handle }),
        }
    }
}

impl<H: Home> Handle<H> {
    /// Completes when the object is signalled (`RegisterWaitForSingleObject`, `WaitForSingleObject`), at once if it is already, and
    /// does to it what a wait does: an auto-reset event is reset, a semaphore has one less.
    ///
    /// Each signal of such an object ends one wait; several of one `Handle` end in call order. `Cancelled` by a cancel, or when
    /// the last of this object's handles is dropped: such a wait has consumed nothing, and one that has consumed a signal
    /// says so. (What is started with [`start`](Operation::start) can be waited for together with other objects by
    /// [`sync`](crate::sync).)
    pub fn signalled(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Ready { interest: Interest::Read }, NoBuffer)
    }

    /// Takes the handle out, with nothing of the library left on it. Refused, with the object given back, while operations are in
    /// flight or other handles of it exist.
    pub fn into_handle(self) -> Result<OwnedHandle, Refused<Handle<H>>> {
        match self.inner.0.into_descriptor() {
            Ok(Descriptor::File(handle)) => Ok(handle),
            Ok(Descriptor::Socket(_)) => unreachable!("a handle came in"),
            Err((handle, error)) => Err(Refused { error, back: Handle::from_handle(handle) }),
        }
    }
}

impl<H: Home> AsHandle for Handle<H> {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle().sys.borrow_handle()
    }
}

impl<H: Home> AsRawHandle for Handle<H> {
    fn as_raw_handle(&self) -> RawHandle {
        self.as_handle().as_raw_handle()
    }
}

/// Whether the library can wait for it.
fn check(handle: &OwnedHandle) -> Result<(), Error> {
    // What the system does not tell is found out by the wait itself.
    let may_wait = basics(handle).is_none_or(|basics| basics.GrantedAccess & SYNCHRONIZATION_SYNCHRONIZE != 0);
    if !may_wait {
        return Err(Error::new(Code::AccessDenied).hint("the handle was opened without the right to wait (SYNCHRONIZE)"));
    }
    if is_mutex(handle) {
        let hint = "a thread of the library would own the mutex; wait for it on a thread of your own";
        return Err(Error::new(Code::NotSupported).hint(hint));
    }
    Ok(())
}

/// # Safety
/// `T` is the structure of this class.
unsafe fn query<T>(handle: &OwnedHandle, class: OBJECT_INFORMATION_CLASS, into: &mut T) -> bool {
    // SAFETY: the handle is open, the structure writable for its size.
    unsafe {
        NtQueryObject(handle.as_raw_handle(), class, std::ptr::from_mut(into).cast(), size_of::<T>() as u32, null_mut()) >= 0
    }
}

fn basics(handle: &OwnedHandle) -> Option<PUBLIC_OBJECT_BASIC_INFORMATION> {
    let mut basics = PUBLIC_OBJECT_BASIC_INFORMATION::default();
    // SAFETY: the structure of this class.
    unsafe { query(handle, ObjectBasicInformation, &mut basics) }.then_some(basics)
}

fn is_mutex(handle: &OwnedHandle) -> bool {
    /// The name of the type comes behind the structure.
    #[repr(C)]
    struct Answer {
        kind: PUBLIC_OBJECT_TYPE_INFORMATION,
        name: [u16; 64],
    }
    let mut answer = Answer { kind: PUBLIC_OBJECT_TYPE_INFORMATION::default(), name: [0; 64] };
    // SAFETY: the structure of this class, with room behind it. The name found points into it.
    unsafe {
        query(handle, ObjectTypeInformation, &mut answer) && {
            let name = answer.kind.TypeName;
            let name = std::slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2);
            name.iter().copied().eq("Mutant".encode_utf16())
        }
    }
}
