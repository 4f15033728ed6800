//! Files: every read and write names its offset; there is no position.

use std::path::Path;

use crate::backend;
use crate::buf::{DrainListTarget, DrainTarget, FillListTarget, FillTarget, NoBuffer};
use crate::error::Error;
use crate::handle::{Handle, Kind, sealed::Opaque};
use crate::home::{Home, Shared};
use crate::net::object;
use crate::op::{Op, Operation};

/// How to open a file.
///
/// ```
/// use proactor::fs::OpenOptions;
/// let options = OpenOptions::new().read(true).write(true).create(true);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
}

impl OpenOptions {
    /// Nothing allowed yet.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Allows reading.
    pub fn read(mut self, yes: bool) -> OpenOptions {
        self.read = yes;
        self
    }

    /// Allows writing.
    pub fn write(mut self, yes: bool) -> OpenOptions {
        self.write = yes;
        self
    }

    /// Empties a file that exists.
    pub fn truncate(mut self, yes: bool) -> OpenOptions {
        self.truncate = yes;
        self
    }

    /// Makes the file if it does not exist.
    pub fn create(mut self, yes: bool) -> OpenOptions {
        self.create = yes;
        self
    }

    /// Makes the file, and fails if it exists.
    pub fn create_new(mut self, yes: bool) -> OpenOptions {
        self.create_new = yes;
        self
    }

    pub(crate) fn to_std(&self) -> std::fs::OpenOptions {
        let mut options = std::fs::OpenOptions::new();
        options.read(self.read).write(self.write).truncate(self.truncate).create(self.create).create_new(self.create_new);
        options
    }
}

/// A file, open or about to be.
///
/// ```
/// use proactor::fs::{File, OpenOptions};
/// let path = std::env::temp_dir().join(format!("proactor-doc-{}", std::process::id()));
/// let file = File::new();
/// file.open(&path, &OpenOptions::new().read(true).write(true).create(true)).start()?.wait().result?;
/// file.write_at(b"hello", 0).start()?.wait().result?;
/// file.sync_data().start()?.wait().result?;
/// let done = file.read_at(vec![0; 16], 1).start()?.wait();
/// assert_eq!(done.buffer, b"ello");
/// std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct File<H: Home = Shared> {
    pub(crate) inner: Opaque<H>,
}

object!(File);

impl Default for File {
    fn default() -> File {
        File::new()
    }
}

impl File {
    /// A file not yet open: give it a home, then [`open`](File::open) it.
    pub fn new() -> File {
        File::from_handle(Handle::new(Kind::File, backend::ObjectState::unopened()))
    }

    /// Opens a file at once, on this thread (`CreateFile`, `open`).
    pub fn open_now(path: impl AsRef<Path>, options: &OpenOptions) -> Result<File, Error> {
        let file = backend::open_now(path.as_ref(), options)?;
        Ok(File::from_handle(Handle::new(Kind::File, file)))
    }
}

impl<H: Home> File<H> {
    /// Opens the file at `path` (`CreateFile`, `openat`). `InvalidParameter` if it is open already.
    pub fn open(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Operation<'_, NoBuffer, (), H> {
        let op = Op::Open { path: path.as_ref().to_owned(), options: options.clone() };
        Operation::new(self.handle(), op, NoBuffer)
    }

    /// Reads into `buf` from `offset` bytes after the file's beginning (`ReadFile`, `pread`). Fewer bytes than asked, down
    /// to 0, mean the end of the file. Cancelling is best effort: a read that runs completes.
    pub fn read_at<T: FillTarget>(&self, buf: T, offset: u64) -> Operation<'_, T::Cargo, (), H> {
        Operation::new(self.handle(), Op::ReadAt { offset }, buf.into_cargo())
    }

    /// As [`read_at`](File::read_at), into a list of buffers, in order (`preadv`).
    pub fn read_at_vectored<T: FillListTarget>(&self, bufs: T, offset: u64) -> Operation<'_, T::Cargo, (), H> {
        Operation::new(self.handle(), Op::ReadAt { offset }, bufs.into_cargo())
    }

    /// Writes all of `buf` from `offset` on (`WriteFile`, `pwrite`); an error reports the bytes written before it.
    pub fn write_at<T: DrainTarget>(&self, buf: T, offset: u64) -> Operation<'_, T::Cargo, (), H> {
        Operation::new(self.handle(), Op::WriteAt { offset }, buf.into_cargo())
    }

    /// As [`write_at`](File::write_at), from a list of buffers, in order (`pwritev`).
    pub fn write_at_vectored<T: DrainListTarget>(&self, bufs: T, offset: u64) -> Operation<'_, T::Cargo, (), H> {
        Operation::new(self.handle(), Op::WriteAt { offset }, bufs.into_cargo())
    }

    /// Brings data and metadata written so far to the device (`FlushFileBuffers`, `fsync`).
    pub fn sync_all(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Sync { data_only: false }, NoBuffer)
    }

    /// Brings the data written so far to the device, with as much metadata as reading it back needs (`fdatasync`).
    pub fn sync_data(&self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Sync { data_only: true }, NoBuffer)
    }
}
