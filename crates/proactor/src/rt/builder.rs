//! How a runtime is to be, and its start.

use std::sync::mpsc;
use std::thread;

use super::core::Core;
use super::cores::Cores;
use super::handle::Inner;
use super::runtime::Runtime;
use super::shared::Shared;
use crate::error::{Code, Error};

#[derive(Clone, Copy, Debug)]
enum Shape {
    Shared,
    PerCore,
}

/// How a [`Runtime`] is to be: made by [`Runtime::shared`] and [`Runtime::per_core`].
#[derive(Clone, Debug)]
pub struct Builder {
    shape: Shape,
    threads: Option<usize>,
    blocking: usize,
    name: String,
}

impl Builder {
    pub(super) fn shared() -> Builder {
        Builder { shape: Shape::Shared, threads: None, blocking: 512, name: "proactor-rt".to_owned() }
    }

    pub(super) fn per_core() -> Builder {
        Builder { shape: Shape::PerCore, ..Builder::shared() }
    }

    /// How many threads run tasks: as many as the process has processors by default. On a per-core runtime the thread in
    /// [`block_on`](Runtime::block_on) is one of them.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Builder {
        self.threads = Some(threads);
        self
    }

    /// How many threads [`spawn_blocking`](super::spawn_blocking) may use: 512 by default.
    #[must_use]
    pub fn blocking_threads(mut self, threads: usize) -> Builder {
        self.blocking = threads;
        self
    }

    /// What the runtime's threads are called, with a number behind it: "proactor-rt" by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = name.into();
        self
    }

    /// Starts the runtime.
    ///
    /// Errors: [`Code::InvalidParameter`] for no threads, or more than 1,000,000; [`Code::TooManyDescriptors`],
    /// [`Code::InsufficientResources`] from the system; [`Code::Forked`] in a forked child.
    pub fn build(self) -> Result<Runtime, Error> {
        let processors = || thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.unwrap_or_else(processors);
        if !(1..=1_000_000).contains(&threads) || self.blocking == 0 {
            let hint = "a runtime needs from 1 to 1,000,000 threads, and at least one for what blocks";
            return Err(Error::new(Code::InvalidParameter).hint(hint));
        }
        match self.shape {
            Shape::Shared => self.start_shared(threads),
            Shape::PerCore => self.start_cores(threads),
        }
    }

    fn thread(&self, number: usize) -> thread::Builder {
        thread::Builder::new().name(format!("{} {number}", self.name))
    }

    fn start_shared(self, threads: usize) -> Result<Runtime, Error> {
        let shared = Shared::new(threads as u32, self.blocking)?;
        let mut runtime = Runtime::of(Inner::Shared(shared.clone()));
        for number in 0..threads {
            let worker = shared.clone();
            match self.thread(number).spawn(move || worker.work()) {
                Ok(thread) => runtime.threads.push(thread),
                Err(error) => {
                    shared.never_began(threads - number);
                    return Err(Error::from_io(&error));
                }
            }
        }
        Ok(runtime)
    }

    fn start_cores(self, threads: usize) -> Result<Runtime, Error> {
        let cores = Cores::new(threads, self.blocking);
        let mut runtime = Runtime::of(Inner::Cores(cores.clone()));
        let (tell, told) = mpsc::channel();
        for number in 1..threads {
            let (cores, tell) = (cores.clone(), tell.clone());
            let work = move || {
                let core = match Core::new(&cores) {
                    Ok(core) => core,
                    Err(error) => {
                        let _ = tell.send(Err(error));
                        return;
                    }
                };
                let seat = cores.seat(number, &core);
                // Who builds the runtime may have given up: then it is stopping.
                let _ = tell.send(Ok(()));
                drop(tell);
                core.run(|| cores.is_stopping());
                drop(seat);
            };
            match self.thread(number).spawn(work) {
                Ok(thread) => runtime.threads.push(thread),
                Err(error) => return Err(Error::from_io(&error)),
            }
        }
        drop(tell);
        // An error drops the runtime, which stops those that are there.
        told.iter().collect::<Result<(), Error>>()?;
        Ok(runtime)
    }
}
