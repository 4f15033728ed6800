//! Threads as the library knows them.

use std::sync::Arc;

use super::apc::Apc;
use super::current::ThreadState;
use super::object::Core;
use super::waitable::sealed::Sealed;
use crate::error::{Code, Error};

/// A thread (`CreateThread`) that gives a result. Waitable: signalled once it has ended.
///
/// Dropping it lets the thread run on; one that was never resumed ends without having run.
///
/// ```
/// use proactor::sync::{self, Thread, Waited};
/// let thread = Thread::spawn(|| 7)?;
/// assert_eq!(sync::wait_one(&thread, None)?, Waited::Signalled(0));
/// assert_eq!(thread.join().unwrap(), 7);
/// # Ok::<(), proactor::Error>(())
/// ```
pub struct Thread<T> {
    reference: ThreadRef,
    stage: Stage<T>,
}

enum Stage<T> {
    Suspended(Box<dyn FnOnce() -> T + Send>),
    Running(std::thread::JoinHandle<T>),
    /// It could not be started, or was never meant to be.
    Never,
}

impl<T: Send + 'static> Thread<T> {
    /// Starts a thread. What is queued to it before it has begun runs before `run`.
    ///
    /// Errors: those of the system, if it gives no thread.
    pub fn spawn(run: impl FnOnce() -> T + Send + 'static) -> Result<Thread<T>, Error> {
        let mut thread = Thread::suspended(run);
        thread.resume()?;
        Ok(thread)
    }

    /// A thread that has not begun (`CREATE_SUSPENDED`): APCs queued before [`resume`](Thread::resume) run before `run`.
    pub fn suspended(run: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
        Thread { reference: ThreadRef { state: ThreadState::new() }, stage: Stage::Suspended(Box::new(run)) }
    }

    /// Has a suspended thread begin (`ResumeThread`); one that has begun is left alone.
    ///
    /// Errors: those of the system, if it gives no thread; the thread has ended then.
    pub fn resume(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.stage, Stage::Never) {
            Stage::Suspended(run) => {
                let state = self.reference.state.clone();
                let body = move || {
                    state.install();
                    state.drain();
                    run()
                };
                match std::thread::Builder::new().spawn(body) {
                    Ok(handle) => self.stage = Stage::Running(handle),
                    Err(error) => {
                        self.reference.state.never_began();
                        return Err(Error::from_io(&error));
                    }
                }
            }
            stage => self.stage = stage,
        }
        Ok(())
    }

    /// Waits for the thread's end, and gives what it returned, or what it panicked with. A suspended one is resumed first.
    ///
    /// A worker of a port that waits here releases another.
    pub fn join(mut self) -> std::thread::Result<T> {
        let resumed = self.resume();
        let stage = std::mem::replace(&mut self.stage, Stage::Never);
        match (resumed, stage) {
            (Ok(()), Stage::Running(handle)) => {
                let _ = super::wait::any(&[&self.reference], crate::time::Wait::Forever, false);
                handle.join()
            }
            (Err(error), _) => Err(Box::new(error)),
            (Ok(()), _) => Err(Box::new(Error::new(Code::ThreadEnded))),
        }
    }
}

impl Thread<()> {
    /// The calling thread, whoever started it, registered with the library from now on.
    pub fn current() -> ThreadRef {
        ThreadRef { state: ThreadState::current() }
    }
}

impl<T> Thread<T> {
    /// The thread, without its result: to queue APCs to it, to wait for it elsewhere.
    pub fn thread(&self) -> &ThreadRef {
        &self.reference
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Suspended(_)) {
            self.reference.state.never_began();
        }
    }
}

impl<T> Sealed for Thread<T> {
    fn core(&self) -> Result<&Arc<Core>, Error> {
        self.reference.core()
    }
}

impl<T> std::fmt::Debug for Thread<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reference.fmt(f)
    }
}

/// A thread that the library knows. Waitable: signalled once it has ended. Cloning names the same thread.
#[derive(Clone)]
pub struct ThreadRef {
    state: Arc<ThreadState>,
}

impl ThreadRef {
    /// Queues a call for the thread (`QueueUserAPC`): it runs inside the thread's next alertable wait, or ends the one it is
    /// in. In order with others, on that thread only; dropped unrun if the thread ends first.
    ///
    /// ```
    /// use proactor::sync::{Thread, Waited, alertable};
    /// let here = Thread::current();
    /// std::thread::spawn(move || here.queue_apc(|| println!("on the first thread")));
    /// assert_eq!(alertable::sleep(None), Ok(Waited::Apc));
    /// ```
    ///
    /// Errors: [`Code::ThreadEnded`] (31) if the thread has ended; the call is dropped.
    pub fn queue_apc(&self, call: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let apc = Apc::Call { run: Box::new(call), name: 0 };
        self.state.apcs.push(apc).map_err(|_| Error::new(Code::ThreadEnded))
    }

    /// Whether it is the calling thread.
    pub fn is_current(&self) -> bool {
        Arc::ptr_eq(&self.state, &ThreadState::current())
    }
}

impl PartialEq for ThreadRef {
    fn eq(&self, other: &ThreadRef) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }
}

impl Eq for ThreadRef {}

impl Sealed for ThreadRef {
    fn core(&self) -> Result<&Arc<Core>, Error> {
        Ok(&self.state.ended)
    }
}

impl std::fmt::Debug for ThreadRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Thread({})", self.state.number)
    }
}
