//! The process's own port, and the library's thread that starts overlapped operations.
//!
//! Windows cancels an operation with an event when the thread that started it ends, also one of a handle that has a port:
//! only operations without an event are exempt there. So a thread that never ends makes
//! the starting calls of all of them, each for a thread that waits for it: when `start` returns, the kernel has the
//! operation. Packet operations, which survive their thread, are started where they are called.
//!
//! Who waits holds a lane's lock, so this thread takes none and runs no user code.
//!
//! | atomic | partner |
//! |---|---|
//! | `Job::done` store (Release), with `issued` written before | the load (Acquire) of the thread that waits |

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Win32::System::IO::OVERLAPPED_ENTRY;

use super::super::{Contract, Plan};
use super::futex::{futex_wait, futex_wake_one};
use super::object::object_of;
use super::owner::Serves;
use super::port::Port;
use super::start::{self, Issued};
use super::sys::Dequeued;
use crate::error::Error;
use crate::op::Header;
use crate::shim::{Arc, AtomicU32, Ordering};
use crate::time::Wait;

/// Looks of a waiting thread before it sleeps: the call takes a few microseconds.
const SPINS: u32 = 200;

/// One starting call, on the stack of the thread that waits for it.
struct Job {
    header: NonNull<Header>,
    issued: UnsafeCell<Option<Issued>>,
    done: AtomicU32,
}

/// The port of objects that are on no user's port. No handle is associated with it: it carries jobs.
pub(crate) fn process_port() -> Result<Arc<Port>, Error> {
    process().cloned()
}

fn process() -> Result<&'static Arc<Port>, Error> {
    static PROCESS: OnceLock<Result<Arc<Port>, Error>> = OnceLock::new();
    let made = PROCESS.get_or_init(|| {
        let port = Port::make(Plan::ALONE, Contract::NO_PACKETS, Serves::Process)?;
        let served = port.clone();
        std::thread::Builder::new()
            .name("proactor-io".into())
            .spawn(move || run(&served))
            .map_err(|error| Error::from_io(&error))?;
        Ok(port)
    });
    made.as_ref().map_err(|error| *error)
}

/// Makes an operation's starting call on the library's thread, and waits for it.
///
/// # Safety
/// As `start::issue`: the caller holds the lane's lock, for the thread that makes the call too.
pub(super) unsafe fn on_its_thread(header: NonNull<Header>) -> Issued {
    let job = Job { header, issued: UnsafeCell::new(None), done: AtomicU32::new(0) };
    if let Err(error) = process().and_then(|port| port.iocp().post(0, 0, (&raw const job).cast())) {
        return Issued::Done(0, Err(error));
    }
    let mut spins = 0;
    while job.done.load(Ordering::Acquire) == 0 {
        spins += 1;
        if spins < SPINS { std::hint::spin_loop() } else { futex_wait(&job.done, 0, Wait::Forever) }
    }
    match job.issued.into_inner() {
        Some(issued) => issued,
        None => unreachable!("a job that is done has its answer"),
    }
}

fn run(port: &Port) {
    loop {
        let mut entries = [OVERLAPPED_ENTRY::default(); 32];
        match port.iocp().dequeue(&mut entries, Wait::Forever) {
            Dequeued::Entries(count) => {
                for job in entries[..count].iter().filter_map(|entry| NonNull::new(entry.lpOverlapped.cast::<Job>())) {
                    // SAFETY: only `on_its_thread` posts here: jobs whose threads wait, and hold the lane's lock for this one.
                    unsafe { serve(job) };
                }
            }
            Dequeued::TimedOut | Dequeued::Alerted => {}
            Dequeued::Failed(error) => {
                // The port is never closed: the system must be out of memory.
                log::error!("proactor: operations cannot be started: {error}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// # Safety
/// The job is waited for, and not yet done.
unsafe fn serve(job: NonNull<Job>) {
    // SAFETY: as the caller promises; after `done` is stored the job may be gone, and its address is only a name.
    unsafe {
        let job = job.as_ptr();
        let header = (*job).header;
        *(*job).issued.get() = Some(start::issue(header, object_of(header)));
        let done = &raw const (*job).done;
        (*done).store(1, Ordering::Release);
        futex_wake_one(done);
    }
}
