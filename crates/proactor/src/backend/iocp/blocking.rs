//! File operations by blocking calls on the system's thread pool: those without an overlapped form, and everything on a
//! file that was not opened for overlapped I/O.
//!
//! Contract: `submit` takes a pending block under its lane's lock and returns at once. Cancelling ends an operation that
//! has not begun, but never a close; one in its system call runs to its real result.

use std::ffi::c_void;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::{AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};
use std::ptr::{NonNull, null};

use windows_sys::Win32::Foundation::CloseHandle;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_NO_BUFFERING, FILE_FLAG_OVERLAPPED, FILE_STANDARD_INFO, FileStandardInfo, GetFileInformationByHandleEx,
};
use windows_sys::Win32::System::Threading::{CallbackMayRunLong, PTP_CALLBACK_INSTANCE, TrySubmitThreadpoolCallback};

use super::object::{conclude, object_of};
use super::types::{Aside, RawBuf, Stage};
use super::{codes, finish, sys};
use crate::error::{Code, Error};
use crate::fs::{Metadata, OpenOptions};
use crate::handle::Object;
use crate::op::{Header, Op, Value, Work};

/// Leaves an operation to a thread of the pool.
pub(super) fn submit(header: NonNull<Header>) -> Result<(), Error> {
    // SAFETY: the block is pending until `run` concludes it.
    match unsafe { TrySubmitThreadpoolCallback(Some(run), header.as_ptr().cast(), null()) } {
        0 => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Opens a file for overlapped I/O.
pub(super) fn open(path: &std::path::Path, options: &OpenOptions) -> Result<OwnedHandle, Error> {
    let mut std = options.to_std();
    std.custom_flags(FILE_FLAG_OVERLAPPED | if options.direct { FILE_FLAG_NO_BUFFERING } else { 0 });
    std.open(path).map(OwnedHandle::from).map_err(|error| Error::from_io(&error))
}

unsafe extern "system" fn run(instance: PTP_CALLBACK_INSTANCE, context: *mut c_void) {
    let Some(header) = NonNull::new(context.cast::<Header>()) else { return };
    // SAFETY: `submit` left this pending block to this call alone; it holds its object, `core` outlives both. Its parts
    // that others read are written under the lock.
    unsafe {
        CallbackMayRunLong(instance);
        let object = object_of(header);
        let core = object.sys.core.clone();
        let block = header.as_ptr();
        let list = core.lock((*block).sys.lane);
        if let (Some(code), false) = ((*block).sys.ended, matches!((*block).work.op, Op::Close)) {
            return conclude(list, header, 0, Err(codes::of_end(code)));
        }
        (*block).sys.stage = Stage::Running;
        drop(list);
        let (bytes, result) = perform(&(*block).work, (*block).sys.aside.get(), object);
        conclude(core.lock((*block).sys.lane), header, bytes, result);
    }
}

/// # Safety
/// The block whose parts these are is the caller's alone.
unsafe fn perform(work: &Work, aside: *mut Aside, object: &Object) -> (usize, Result<Value, Error>) {
    let plain = |result: std::io::Result<()>| (0, result.map(|()| Value::None).map_err(|error| Error::from_io(&error)));
    match &work.op {
        Op::Open { path, options } => {
            let opened = open(path, options).and_then(|file| adopt(file, object));
            return (0, opened.map(|()| Value::None));
        }
        Op::Close => {
            // SAFETY: as the caller promises.
            let Aside::Closing(file) = (unsafe { std::mem::take(&mut *aside) }) else {
                unreachable!("a close starts with its handle")
            };
            // SAFETY: the handle is given up here, whatever the call reports.
            return match unsafe { CloseHandle(file.into_raw_handle()) } {
                0 => (0, Err(Error::last_os_error())),
                _ => (0, Ok(Value::None)),
            };
        }
        _ => {}
    }
    if !object.sys.core.is_open() {
        return (0, Err(Error::new(Code::InvalidHandle).hint("the file is not open")));
    }
    // SAFETY: the operation holds the object, and with it the handle, until it is over; it is not closed here.
    let file = ManuallyDrop::new(unsafe { File::from_raw_handle(object.sys.core.handle()) });
    match &work.op {
        Op::Sync { data_only: true } => plain(file.sync_data()),
        Op::Sync { data_only: false } => plain(file.sync_all()),
        Op::ReadAt { offset } => transfer(work, *offset, &file, |buf, at| {
            // SAFETY: the operation's buffers are writable until it is over; only what the call wrote is counted.
            let bytes = unsafe { std::slice::from_raw_parts_mut(buf.ptr(), buf.len()) };
            file.seek_read(bytes, at)
        }),
        Op::WriteAt { offset } => transfer(work, *offset, &file, |buf, at| {
            // SAFETY: the operation's buffers are readable until it is over.
            let bytes = unsafe { std::slice::from_raw_parts(buf.ptr(), buf.len()) };
            file.seek_write(bytes, at)
        }),
        // Windows reserves no ranges: a file made longer reserves what it grows by.
        Op::Allocate { offset, len } => plain(file.metadata().and_then(|found| {
            let end = offset.saturating_add(*len);
            if found.len() < end { file.set_len(end) } else { Ok(()) }
        })),
        Op::SetLen { len } => plain(file.set_len(*len)),
        Op::Metadata => (0, metadata(&file).map_err(|error| Error::from_io(&error))),
        op => unreachable!("{op:?} has an overlapped form"),
    }
}

fn metadata(file: &File) -> std::io::Result<Value> {
    let found = file.metadata()?;
    let mut standard = FILE_STANDARD_INFO::default();
    // SAFETY: the structure is writable for its size, and is what this class asks for.
    let known = unsafe {
        let (into, size) = ((&raw mut standard).cast(), size_of::<FILE_STANDARD_INFO>() as u32);
        GetFileInformationByHandleEx(file.as_raw_handle(), FileStandardInfo, into, size)
    };
    if known == 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(Value::Metadata(Box::new(Metadata {
        len: found.len(),
        allocated: standard.AllocationSize.unsigned_abs(),
        modified: found.modified()?,
        accessed: found.accessed()?,
        created: found.created().ok(),
        is_file: found.is_file(),
        is_dir: found.is_dir(),
    })))
}

/// Buffer after buffer, until all is moved or the file ends.
fn transfer(
    work: &Work,
    offset: u64,
    file: &File,
    call: impl Fn(RawBuf, u64) -> std::io::Result<usize>,
) -> (usize, Result<Value, Error>) {
    let (total, mut done) = (work.buffers.total(), 0);
    while done < total {
        let next = work.buffers.with_rest(done, |rest| rest.iter().copied().find(|buf| buf.len() > 0));
        let Some(next) = next else { break };
        match call(next, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) => {
                let error = sys::explain(Error::from_io(&error), file.as_raw_handle());
                return (done, if finish::is_end_of_file(&error) { Ok(Value::None) } else { Err(error) });
            }
        }
    }
    (done, Ok(Value::None))
}

/// Gives an object the file opened for it, on the port that is its home.
fn adopt(file: OwnedHandle, object: &Object) -> Result<(), Error> {
    let already = || Error::new(Code::InvalidParameter).hint("the file is open already");
    if object.sys.core.is_open() {
        return Err(already());
    }
    if let Some(home) = object.home() {
        home.port.associate(file.as_raw_handle())?;
    }
    if object.sys.provide(file) { Ok(()) } else { Err(already()) }
}
