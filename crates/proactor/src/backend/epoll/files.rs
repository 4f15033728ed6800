//! Which engine performs file operations, and why: io_uring where the kernel and its filters allow it, a bounded pool
//! of blocking threads elsewhere.

use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use super::super::{Backend, BackendInfo, blocking, cached, raw, uring};
use super::port::Port;
use super::types::Aside;
use crate::deliver::Packets;
use crate::error::{Code, Error};
use crate::handle::{Object, Which};
use crate::op::{Header, Op, Work};

struct Choice {
    uring: Option<uring::Offers>,
    reason: String,
}

static CHOICE: OnceLock<Choice> = OnceLock::new();

/// Chooses for the process, if nothing has chosen yet.
pub(crate) fn set_choice(backend: Backend) -> Result<(), Error> {
    let wanted = decide(backend, "the program asked for it");
    let uring = wanted.uring.is_some();
    if backend == Backend::Uring && !uring {
        return Err(
            Error::new(Code::NotSupported).hint("the system does not offer io_uring; the log says why. Choose epoll, or auto")
        );
    }
    if CHOICE.set(wanted).is_err() && chosen().uring.is_some() != uring {
        return Err(
            Error::new(Code::InvalidParameter).hint("the backend is chosen already; choose it before the first operation")
        );
    }
    Ok(())
}

pub(crate) fn choice() -> BackendInfo {
    let chosen = chosen();
    BackendInfo {
        sockets: "epoll",
        per_thread: if chosen.uring.is_some() { "io_uring" } else { "epoll" },
        files: if chosen.uring.is_some() { "io_uring" } else { "blocking pool" },
        reason: chosen.reason.clone(),
    }
}

fn chosen() -> &'static Choice {
    CHOICE.get_or_init(|| {
        let choice = match std::env::var("PROACTOR_BACKEND").as_deref() {
            Ok("uring") => decide(Backend::Uring, "PROACTOR_BACKEND=uring"),
            Ok("epoll") => decide(Backend::Epoll, "PROACTOR_BACKEND=epoll"),
            Err(_) | Ok("" | "auto") => decide(Backend::Auto, ""),
            Ok(other) => {
                log::warn!("proactor: PROACTOR_BACKEND={other} is neither uring nor epoll; ignored");
                decide(Backend::Auto, "")
            }
        };
        log::info!(
            "proactor: sockets by epoll, files by {}: {}",
            if choice.uring.is_some() { "io_uring" } else { "threads" },
            choice.reason
        );
        choice
    })
}

/// Whether this process uses io_uring.
pub(in crate::backend) fn has_uring() -> bool {
    chosen().uring.is_some()
}

fn decide(backend: Backend, why: &str) -> Choice {
    if backend == Backend::Epoll {
        return Choice { uring: None, reason: why.to_owned() };
    }
    match uring::probe() {
        Ok(offers) if why.is_empty() => Choice { uring: Some(offers), reason: "the kernel offers io_uring".to_owned() },
        Ok(offers) => Choice { uring: Some(offers), reason: why.to_owned() },
        Err(refusal) => {
            if backend == Backend::Uring {
                log::warn!("proactor: io_uring was asked for, but {refusal}");
            }
            Choice { uring: None, reason: refusal }
        }
    }
}

/// A port's engine for files.
pub(super) enum Files {
    Uring(Box<uring::Ring>),
    Blocking,
}

impl Files {
    fn new(port: &Port) -> Files {
        if chosen().uring.is_none() {
            return Files::Blocking;
        }
        match uring::Ring::new().and_then(|ring| port.watch_ring(&ring).map(|()| ring)) {
            Ok(ring) => Files::Uring(Box::new(ring)),
            Err(error) => {
                log::warn!("proactor: no ring for this port, its files go to the blocking pool: {error}");
                Files::Blocking
            }
        }
    }

    /// Takes completions off the ring.
    pub fn reap(&self, packets: &mut impl Packets) {
        if let Files::Uring(ring) = self {
            ring.reap(packets);
        }
    }
}

/// Whether an operation goes elsewhere though there is a ring.
pub(in crate::backend) fn lacks(op: &Op) -> bool {
    matches!(op, Op::SetLen { .. }) && chosen().uring.is_some_and(|offers| !offers.set_len)
}

/// What the starting thread does before an engine has the operation; its result if that was all.
#[inline]
pub(in crate::backend) fn at_once(work: &mut Work, aside: &mut Aside, object: &Object) -> Option<Result<(), Error>> {
    match work.op {
        Op::ReadAt { offset } => {
            let here = chosen().uring.is_some() || work.buffers.total() <= cached::MOST_FOR_POOL;
            (here && cached::read(work, offset, object)).then_some(Ok(()))
        }
        Op::Close => match object.sys.take_file() {
            // Before the start returns, so that whoever starts an operation after it finds no descriptor.
            Some(fd) => {
                *aside = Aside::Closing(fd);
                None
            }
            None => Some(Err(Error::new(Code::InvalidHandle).hint("the file is not open"))),
        },
        _ => None,
    }
}

/// Starts a file operation.
pub(super) fn start(port: &Arc<Port>, object: &Object, header: NonNull<Header>) {
    // SAFETY: a begun block, this call's until an engine has it; an overlapped handle looks at `delivery` only.
    let (work, aside) = unsafe { (&mut (*header.as_ptr()).work, &mut (*header.as_ptr()).sys.aside) };
    match at_once(work, aside, object) {
        // A begun block says already that nothing failed and nothing more was brought.
        Some(Ok(())) => return super::settled(header, port),
        Some(Err(error)) => return super::settle(header, 0, Err(error), port),
        None => {}
    }
    match port.files.get_or_init(|| Files::new(port)) {
        Files::Blocking if matches!(work.op, Op::Raw) => super::settle(header, 0, Err(raw::refused()), port),
        Files::Uring(ring) if !lacks(&work.op) => {
            work.buffers.advance(work.bytes);
            ring.start(header, &mut port.packets());
            port.settled();
        }
        Files::Uring(_) | Files::Blocking => blocking::start(port.clone(), header),
    }
}

/// Cancels file operations, of one object or of all; how many were meant.
pub(super) fn cancel(port: &Port, object: Option<&Object>, which: Which) -> usize {
    let means = |header: &Header| {
        which.means(header) && object.is_none_or(|object| header.object.is_some_and(|own| std::ptr::eq(own.as_ptr(), object)))
    };
    match port.files.get() {
        None => 0,
        Some(Files::Uring(ring)) if chosen().uring.is_some_and(|offers| offers.set_len) => ring.cancel(means),
        Some(Files::Uring(ring)) => ring.cancel(means) + blocking::cancel(port, means),
        Some(Files::Blocking) => blocking::cancel(port, means),
    }
}
