//! File operations by blocking calls on a bounded pool of threads: the arm for systems and filters without io_uring.
//!
//! Contract: `start` takes a begun block over and returns at once; a pool thread performs it and delivers. Cancelling
//! ends an operation that has not begun, but never a close; one in its system call runs to its real result. Threads are started as needed,
//! up to [`MOST`], and end after [`IDLE`] without work.

use std::collections::VecDeque;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::{Aside, Port, RawBuf, direct};
use crate::error::{Code, Error};
use crate::fs::Metadata;
use crate::op::{Header, Op, Value, Work};

const MOST: usize = 8;
/// The most bytes Linux moves in one call.
const MOST_BYTES: usize = 0x7fff_f000;
const IDLE: Duration = Duration::from_secs(5);

struct Job {
    port: Arc<Port>,
    header: NonNull<Header>,
}

// SAFETY: the block is the job's alone until it is delivered, and its cargo is Send.
unsafe impl Send for Job {}

struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    /// Blocks inside a system call: only their address and identity are used, under the lock.
    running: Vec<Job>,
    threads: usize,
    idle: usize,
}

static POOL: Pool =
    Pool { state: Mutex::new(State { queue: VecDeque::new(), running: Vec::new(), threads: 0, idle: 0 }), work: Condvar::new() };

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Takes over a begun block.
pub(super) fn start(port: Arc<Port>, header: NonNull<Header>) {
    port.pool_begins();
    let mut state = POOL.lock();
    state.queue.push_back(Job { port, header });
    if state.idle >= state.queue.len() || state.threads == MOST {
        POOL.work.notify_one();
        return;
    }
    match std::thread::Builder::new().name("proactor-file".into()).spawn(run) {
        Ok(_) => state.threads += 1,
        Err(error) if state.threads == 0 => {
            // Nobody would ever do it.
            let Some(job) = state.queue.pop_back() else { return };
            drop(state);
            job.finish(0, Err(Error::from_io(&error)));
        }
        Err(_) => POOL.work.notify_one(),
    }
}

/// Ends the queued operations `means` names; how many it named, those already running included.
pub(super) fn cancel(port: &Port, means: impl Fn(&Header) -> bool) -> usize {
    let mut state = POOL.lock();
    let meant = |job: &Job| {
        // SAFETY: queued and running blocks are alive while they are in the lists; only fixed parts are read.
        std::ptr::eq(Arc::as_ptr(&job.port), port) && means(unsafe { job.header.as_ref() })
    };
    let running = state.running.iter().filter(|job| meant(job)).count();
    // SAFETY: queued, so alive; the operation does not change while it waits.
    let closes = |job: &Job| unsafe { matches!((*job.header.as_ptr()).work.op, Op::Close) };
    let (ended, kept): (VecDeque<_>, VecDeque<_>) = state.queue.drain(..).partition(|job| meant(job) && !closes(job));
    state.queue = kept;
    drop(state);
    let count = running + ended.len();
    for job in ended {
        // SAFETY: out of the queue, so this call's.
        let bytes = unsafe { (*job.header.as_ptr()).work.bytes };
        job.finish(bytes, Err(Error::new(Code::Cancelled)));
    }
    count
}

impl Job {
    fn finish(self, bytes: usize, result: Result<Value, Error>) {
        super::settle(self.header, bytes, result, &self.port);
        self.port.pool_ended();
    }
}

fn run() {
    let mut state = POOL.lock();
    loop {
        if let Some(job) = state.queue.pop_front() {
            let header = job.header;
            state.running.push(Job { port: job.port.clone(), header });
            drop(state);
            // SAFETY: the block is this thread's until it is delivered; cancel only reads its fixed parts.
            let (bytes, result) = unsafe {
                let block = header.as_ptr();
                let object = (*block).object.map(|object| &*object.as_ptr());
                perform(&mut (*block).work, &mut (*block).sys.aside, object)
            };
            state = POOL.lock();
            state.running.retain(|running| running.header != header);
            drop(state);
            job.finish(bytes, result);
            state = POOL.lock();
            continue;
        }
        state.idle += 1;
        let (woken, timeout) = POOL.work.wait_timeout(state, IDLE).unwrap_or_else(|poisoned| poisoned.into_inner());
        state = woken;
        state.idle -= 1;
        if timeout.timed_out() && state.queue.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}

/// The one match of this backend.
pub(super) fn perform(
    work: &mut Work,
    aside: &mut Aside,
    object: Option<&crate::handle::Object>,
) -> (usize, Result<Value, Error>) {
    let Some(object) = object else { return (0, Err(Error::new(Code::InvalidHandle))) };
    match &work.op {
        Op::Open { path, options } => {
            return (0, options.open(path).and_then(|file| adopt(file, object)));
        }
        Op::Close => return (0, close(std::mem::take(aside))),
        _ => {}
    }
    let raw = object.sys.raw();
    if raw < 0 {
        return (0, Err(Error::new(Code::InvalidHandle).hint("the file is not open")));
    }
    // SAFETY: the operation holds the object, and with it the descriptor, until it is delivered; it is not closed here.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(raw) });
    let plain = |result: std::io::Result<()>| (0, result.map(|()| Value::None).map_err(|error| Error::from_io(&error)));
    match work.op {
        Op::ReadAt { offset } => read(&file, work, offset),
        Op::WriteAt { offset } => {
            let total = work.buffers.total();
            let mut done = 0;
            loop {
                match transfer(&file, &work.buffers, done, offset.saturating_add(done as u64), libc::pwritev) {
                    Ok(n) => done += n,
                    Err(error) => return (done, Err(error)),
                }
                if done >= total {
                    return (done, Ok(Value::None));
                }
            }
        }
        Op::Sync { data_only: true } => plain(file.sync_data()),
        Op::Sync { data_only: false } => plain(file.sync_all()),
        Op::Allocate { offset, len } => plain(allocate(&file, offset, len)),
        Op::SetLen { len } => plain(file.set_len(len)),
        Op::Metadata => (0, file.metadata().and_then(|found| metadata(&found)).map_err(|error| Error::from_io(&error))),
        Op::Open { .. }
        | Op::Close
        | Op::Post
        | Op::Timer { .. }
        | Op::Awaited { .. }
        | Op::Accept
        | Op::AcceptMulti
        | Op::RecvMulti
        | Op::Connect { .. }
        | Op::Recv
        | Op::Send
        | Op::RecvMessage
        | Op::PipeConnect
        | Op::RecvFrom
        | Op::SendTo { .. }
        | Op::RecvMsg
        | Op::SendMsg(_)
        | Op::Ready { .. }
        | Op::Shutdown { .. }
        | Op::Disconnect { .. }
        | Op::Transmit(_)
        | Op::Exited
        | Op::Raw => unreachable!("not a file operation"),
    }
}

/// Gives an object the file opened for it.
fn adopt(file: File, object: &crate::handle::Object) -> Result<Value, Error> {
    match object.sys.provide(OwnedFd::from(file)) {
        true => Ok(Value::None),
        false => Err(Error::new(Code::InvalidParameter).hint("the file is open already")),
    }
}

fn close(aside: Aside) -> Result<Value, Error> {
    let Aside::Closing(fd) = aside else { unreachable!("a close starts with its descriptor") };
    // SAFETY: the descriptor is given up here, whatever the call reports.
    match unsafe { libc::close(fd.into_raw_fd()) } {
        0 => Ok(Value::None),
        _ => match Error::last_os_error() {
            // A signal interrupted the flush, not the closing.
            error if error.raw_os_error() == Some(libc::EINTR) => Ok(Value::None),
            error => Err(error),
        },
    }
}

/// Until the buffers are full or the file ends: one call takes only so many of them, and so many bytes. Begins behind what
/// was cached.
fn read(file: &File, work: &Work, offset: u64) -> (usize, Result<Value, Error>) {
    let total = work.buffers.total();
    let mut done = work.bytes;
    loop {
        let asked = work.buffers.with_rest(done, |bufs| bufs.iter().map(RawBuf::len).sum::<usize>().min(MOST_BYTES));
        match transfer(file, &work.buffers, done, offset.saturating_add(done as u64), libc::preadv) {
            Ok(n) => {
                done += n;
                if n < asked || done >= total {
                    return (done, Ok(Value::None));
                }
            }
            Err(error) => return (done, Err(error)),
        }
    }
}

fn allocate(file: &File, offset: u64, len: u64) -> std::io::Result<()> {
    // `Op::check_numbers` saw that they fit.
    let (offset, len) = (offset.cast_signed(), len.cast_signed());
    loop {
        // SAFETY: no pointers.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, offset, len) } == 0 {
            return Ok(());
        }
        let error = std::io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}

fn metadata(found: &std::fs::Metadata) -> std::io::Result<Value> {
    Ok(Value::Metadata(Box::new(Metadata {
        len: found.len(),
        allocated: found.blocks() * 512,
        modified: found.modified()?,
        accessed: found.accessed()?,
        created: found.created().ok(),
        is_file: found.is_file(),
        is_dir: found.is_dir(),
    })))
}

type Transfer = unsafe extern "C" fn(libc::c_int, *const libc::iovec, libc::c_int, libc::off_t) -> isize;

/// One positioned call on what lies behind the first `done` bytes.
fn transfer(file: &File, buffers: &crate::buf::Buffers, done: usize, offset: u64, call: Transfer) -> Result<usize, Error> {
    let Ok(offset) = libc::off_t::try_from(offset) else {
        return Err(Error::new(Code::InvalidParameter).hint("the offset is past the largest the system knows"));
    };
    loop {
        // SAFETY: the block owns the buffers until its operation is delivered, after this call.
        let n = buffers
            .with_rest(done, |bufs| unsafe { call(file.as_raw_fd(), RawBuf::iovecs(bufs), bufs.len() as libc::c_int, offset) });
        match usize::try_from(n) {
            Ok(n) => return Ok(n),
            Err(_) => {
                let error = Error::last_os_error();
                if error.raw_os_error() != Some(libc::EINTR) {
                    return Err(direct::explain(error, file.as_raw_fd()));
                }
            }
        }
    }
}
