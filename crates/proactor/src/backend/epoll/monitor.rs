//! The block monitor: a worker that blocks outside the library gives its slot to a waiting one, about a millisecond
//! later.
//!
//! One thread for the process. It ticks only while a port has all its slots running and somebody waiting, and sleeps
//! for good once no port has had that for [`CALM`] ticks: an idle server makes no system call. A thread whose word has
//! not moved for a tick is looked up in `/proc`: asleep (not merely preempted) means blocked.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, Weak};
use std::time::Duration;

use super::super::worker::{Seen, Worker};
use super::port::Port;

const TICK: Duration = Duration::from_millis(1);
const CALM: u32 = 50;

static PORTS: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
/// 1 while the thread ticks; the futex it sleeps on.
static TICKING: AtomicU32 = AtomicU32::new(0);

struct Watched {
    port: Weak<Port>,
    calm: u32,
    seen: HashMap<u32, Seen>,
}

fn ports() -> MutexGuard<'static, Vec<Watched>> {
    PORTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Called when a port may need watching: all slots run and a thread waits. One load if it is watched already, or was made
/// not to be.
pub(super) fn watch(port: &Port) {
    if port.watched.load(Ordering::SeqCst) || port.watched.swap(true, Ordering::SeqCst) {
        return;
    }
    ports().push(Watched { port: port.this.clone(), calm: 0, seen: HashMap::new() });
    static START: Once = Once::new();
    START.call_once(|| {
        if let Err(error) = std::thread::Builder::new().name("proactor-monitor".into()).spawn(run) {
            log::error!("proactor: no block monitor, a worker that blocks keeps its slot: {error}");
        }
    });
    if TICKING.swap(1, Ordering::SeqCst) == 0 {
        wake();
    }
}

#[cfg(not(loom))]
fn wake() {
    // SAFETY: the kernel only uses the address as a name.
    unsafe { libc::syscall(libc::SYS_futex, TICKING.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
}

#[cfg(not(loom))]
fn sleep() {
    // SAFETY: a readable word; no timeout.
    unsafe {
        libc::syscall(libc::SYS_futex, TICKING.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0, std::ptr::null::<u8>())
    };
}

#[cfg(loom)]
fn wake() {}

#[cfg(loom)]
fn sleep() {}

fn run() {
    let mut files = HashMap::new();
    loop {
        while TICKING.load(Ordering::SeqCst) == 0 {
            sleep();
        }
        std::thread::sleep(TICK);
        // Strong references are kept past the lock: dropping the last one runs user code.
        let mut kept = Vec::new();
        ports().retain_mut(|watched| {
            let Some(port) = watched.port.upgrade() else { return false };
            watched.calm = if tick(&port, &mut watched.seen, &mut files) { 0 } else { watched.calm + 1 };
            let stay = watched.calm < CALM;
            if !stay {
                port.watched.store(false, Ordering::SeqCst);
            }
            kept.push(port);
            stay
        });
        for port in kept.iter().filter(|port| !port.watched.load(Ordering::SeqCst) && port.needs_monitor()) {
            watch(port);
        }
        if ports().is_empty() {
            files.clear();
            TICKING.store(0, Ordering::SeqCst);
            if !ports().is_empty() {
                TICKING.store(1, Ordering::SeqCst);
            }
        }
    }
}

/// Looks at one port; whether there was anything to look for.
fn tick(port: &Arc<Port>, seen: &mut HashMap<u32, Seen>, files: &mut HashMap<u32, File>) -> bool {
    let members = port.members().clone();
    let mut any_detached = false;
    let needed = port.needs_monitor();
    for member in &members {
        let word = member.look();
        if Worker::is_detached(word) {
            any_detached = true;
            if is_asleep(member.tid, files) == Some(false) {
                // Counted before it may act on having its slot: counted after, it could give up one it has not got yet.
                port.slot_taken();
                if !member.attach(word) {
                    port.slot_freed();
                }
            }
        } else if needed && Worker::is_running(word) {
            let unmoved = seen.insert(member.tid, word) == Some(word);
            if unmoved && is_asleep(member.tid, files) == Some(true) && member.detach(word) {
                any_detached = true;
                port.slot_freed();
            }
        }
    }
    if seen.len() > members.len() * 2 {
        seen.retain(|tid, _| members.iter().any(|member| member.tid == *tid));
    }
    needed || any_detached
}

/// Whether the kernel has the thread asleep; `None` if it cannot be told.
fn is_asleep(tid: u32, files: &mut HashMap<u32, File>) -> Option<bool> {
    let mut text = [0_u8; 512];
    for _ in 0..2 {
        let file = match files.entry(tid) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(File::open(format!("/proc/self/task/{tid}/stat")).ok()?)
            }
        };
        match file.read_at(&mut text, 0) {
            Ok(n) => {
                // The name, in parentheses, may hold anything; the state follows the last one.
                let end = text[..n].iter().rposition(|byte| *byte == b')')?;
                return Some(matches!(text.get(end + 2)?, b'S' | b'D'));
            }
            // The number belongs to a later thread: open its file.
            Err(_) => drop(files.remove(&tid)),
        }
    }
    None
}
