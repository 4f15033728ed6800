//! Files: every read and write names its offset; there is no position.

mod alignment;
mod metadata;

use std::path::Path;

pub(crate) use alignment::alignment_hint;
pub use metadata::Metadata;

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
    pub(crate) direct: bool,
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

    /// Reads and writes past the system's cache (`FILE_FLAG_NO_BUFFERING`, `O_DIRECT`): for programs that cache by themselves.
    ///
    /// Address and length of every buffer, and every offset, must then be multiples of what the file wants, in bytes: 512 or
    /// 4096, so 4096 fits nearly everywhere. [`BufferPool::aligned`](crate::BufferPool::aligned) gives such buffers; a request
    /// that does not fit fails with `InvalidParameter`, whose words name the alignment where the system tells it, or succeeds
    /// where the file system takes any. A read may meet the file's end within its buffer and brings what is there. A write is
    /// whole blocks: write the last one padded, then [`set_len`](File::set_len).
    ///
    /// Opening fails with `NotSupported` where the file system offers no direct I/O.
    ///
    /// ```
    /// use proactor::{BufferPool, Code, fs::{File, OpenOptions}};
    /// # let path = std::env::temp_dir().join(format!("proactor-doc-direct-{}", std::process::id()));
    /// std::fs::write(&path, vec![7; 10_000])?;
    /// let pool = BufferPool::aligned(8, 4096, 4096)?;
    /// match File::open_now(&path, &OpenOptions::new().read(true).direct(true)) {
    ///     Ok(file) => {
    ///         assert_eq!(file.read_at(pool.take()?, 4096).start()?.wait().bytes, 4096);
    ///         assert_eq!(file.read_at(pool.take()?, 8192).start()?.wait().bytes, 10_000 - 8192);
    ///     }
    ///     Err(error) => assert_eq!(error.code(), Code::NotSupported),
    /// }
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn direct(mut self, yes: bool) -> OpenOptions {
        self.direct = yes;
        self
    }

    /// All but `direct`, which is the backends' to add.
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
    ///
    /// On Linux what the system's cache holds is copied before the start returns (`preadv2` with `RWF_NOWAIT`), for files not
    /// opened for [direct](OpenOptions::direct) I/O; the completion is delivered as any other.
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

    /// Reserves space for the `len` bytes from `offset` on (`fallocate`): writes there will not fail for lack of it. The
    /// file grows to the range's end if it was shorter; what it holds stays, what is new reads as zeros.
    ///
    /// Completes when the file system has reserved the space. Errors: `InvalidParameter` (a length of 0, a range past
    /// 2^63 − 1) refuses the start; `InsufficientResources` if the space is not there, `NotSupported` if the file system
    /// cannot reserve, an error if the file was not opened for writing. A cancelled one has reserved all or nothing.
    ///
    /// Windows reserves whole files, not ranges: a file shorter than the range's end is extended to it (`SetEndOfFile`), which
    /// reserves its space unless it is sparse or compressed; one that is longer is left as it is. The two steps are not one:
    /// have no write in flight there that extends the file.
    ///
    /// ```
    /// # use proactor::fs::{File, OpenOptions};
    /// # let path = std::env::temp_dir().join(format!("proactor-doc-allocate-{}", std::process::id()));
    /// let file = File::open_now(&path, &OpenOptions::new().read(true).write(true).create(true))?;
    /// file.allocate(0, 1 << 20).start()?.wait().result?;
    /// assert_eq!(file.metadata().start()?.wait().result?.len, 1 << 20);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn allocate(&self, offset: u64, len: u64) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Allocate { offset, len }, NoBuffer)
    }

    /// Cuts the file to `len` bytes, or extends it with zeros that take no space (`SetEndOfFile`, `ftruncate`). Completes when
    /// the file has that length. Errors: `InvalidParameter` for a length past 2^63 − 1, or if the file was not opened for
    /// writing (on Windows that is `AccessDenied`).
    ///
    /// ```
    /// # use proactor::fs::{File, OpenOptions};
    /// # let path = std::env::temp_dir().join(format!("proactor-doc-len-{}", std::process::id()));
    /// let file = File::open_now(&path, &OpenOptions::new().read(true).write(true).create(true))?;
    /// file.write_at(b"hello world", 0).start()?.wait().result?;
    /// file.set_len(5).start()?.wait().result?;
    /// assert_eq!(file.read_at(vec![0; 16], 0).start()?.wait().buffer, b"hello");
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_len(&self, len: u64) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::SetLen { len }, NoBuffer)
    }

    /// Asks what the file is: its length, the space it takes, its times (`GetFileInformationByHandle`, `statx`). Completes
    /// with the answer; a packet has it as [`Value::Metadata`](crate::Value::Metadata).
    ///
    /// ```
    /// # use proactor::fs::{File, OpenOptions};
    /// # let path = std::env::temp_dir().join(format!("proactor-doc-metadata-{}", std::process::id()));
    /// let file = File::open_now(&path, &OpenOptions::new().write(true).create(true))?;
    /// file.write_at(b"hello", 0).start()?.wait().result?;
    /// let metadata = file.metadata().start()?.wait().result?;
    /// assert_eq!((metadata.len, metadata.is_dir), (5, false));
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn metadata(&self) -> Operation<'_, NoBuffer, Metadata, H> {
        Operation::new(self.handle(), Op::Metadata, NoBuffer)
    }

    /// Closes the file (`CloseHandle`, `close`). Dropping the last handle does too, but tells nobody when it is done, nor
    /// the error that some file systems keep until then.
    ///
    /// Completes when the descriptor is closed, with the file system's error if it had one. From the start on the file is
    /// not open: operations fail with `InvalidHandle`, and it may be [opened](File::open) again, on the home it has.
    ///
    /// Refused with `InvalidParameter` while other operations of the file are in flight (those completed but not yet fetched
    /// included), or other handles of it exist: a descriptor somebody uses or borrows is never closed under him.
    /// Not open: `InvalidHandle`. Cancelling it changes nothing; dropping its handle does not either: the descriptor is closed.
    ///
    /// ```
    /// # use proactor::{Code, fs::{File, OpenOptions}};
    /// # let path = std::env::temp_dir().join(format!("proactor-doc-close-{}", std::process::id()));
    /// let options = OpenOptions::new().read(true).write(true).create(true);
    /// let mut file = File::open_now(&path, &options)?;
    /// file.write_at(b"hello", 0).start()?.wait().result?;
    /// file.close().start()?.wait().result?;
    /// assert_eq!(file.sync_all().start()?.wait().result.unwrap_err().code(), Code::InvalidHandle);
    /// file.open(&path, &options).start()?.wait().result?;
    /// assert_eq!(file.read_at(vec![0; 5], 0).start()?.wait().buffer, b"hello");
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&mut self) -> Operation<'_, NoBuffer, (), H> {
        Operation::new(self.handle(), Op::Close, NoBuffer)
    }
}
