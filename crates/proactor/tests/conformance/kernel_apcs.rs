//! APCs that the kernel itself queues to a thread run in its alertable waits.

use std::cell::Cell;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;
use std::time::Duration;

use proactor::sync::{self, Event, Thread, Waited, alertable};
use proactor::{Code, Outcome};
use windows_sys::Win32::System::Threading::{
    CreateWaitableTimerW, GetCurrentThreadId, OpenThread, QueueUserAPC, SetWaitableTimer, THREAD_SET_CONTEXT,
};

use crate::common::*;

thread_local! {
    static RAN: Cell<usize> = const { Cell::new(0) };
}

unsafe extern "system" fn count(by: usize) {
    RAN.set(RAN.get() + by);
}

/// How many have run since the last question.
fn ran() -> usize {
    RAN.replace(0)
}

/// The calling thread, for others.
fn this_thread() -> OwnedHandle {
    // SAFETY: the number of a thread that runs.
    let thread = unsafe { OpenThread(THREAD_SET_CONTEXT, 0, GetCurrentThreadId()) };
    assert!(!thread.is_null());
    // SAFETY: a new handle, nobody else's.
    unsafe { OwnedHandle::from_raw_handle(thread) }
}

fn queue(thread: &OwnedHandle) {
    // SAFETY: an open thread, and a function that lives as long as the program.
    assert_ne!(unsafe { QueueUserAPC(Some(count), thread.as_raw_handle(), 1) }, 0);
}

type Wait<'a> = (&'a str, &'a dyn Fn() -> Result<Waited, proactor::Error>);

#[test]
fn every_alertable_wait_runs_what_the_kernel_has_queued() {
    let here = this_thread();
    let (event, other) = (Event::auto(), Event::auto());
    let waits: [Wait<'_>; 5] = [
        ("sleep", &|| alertable::sleep(LONG)),
        ("one", &|| alertable::wait_one(&event, LONG)),
        ("any", &|| alertable::wait_any(&[&event, &other], LONG)),
        ("all", &|| alertable::wait_all(&[&event, &other], LONG)),
        ("no time at all", &|| alertable::sleep(Duration::ZERO)),
    ];
    for (name, wait) in waits {
        queue(&here);
        queue(&here);
        assert_eq!((wait(), ran()), (Ok(Waited::Apc), 2), "{name}");
        assert_eq!((alertable::sleep(Duration::ZERO), ran()), (Ok(Waited::TimedOut), 0), "{name}");
    }
}

#[test]
fn a_sleeping_alertable_wait_is_woken_by_the_kernels_apc() {
    let (event, other) = (Event::auto(), Event::auto());
    let waits: [Wait<'_>; 4] = [
        ("sleep", &|| alertable::sleep(LONG)),
        ("one", &|| alertable::wait_one(&event, LONG)),
        ("any", &|| alertable::wait_any(&[&event, &other], LONG)),
        ("all", &|| alertable::wait_all(&[&event, &other], LONG)),
    ];
    for (name, wait) in waits {
        for late in [true, false] {
            let here = this_thread();
            let queues = std::thread::spawn(move || {
                if late {
                    std::thread::sleep(SHORT);
                }
                queue(&here);
            });
            assert_eq!((wait(), ran()), (Ok(Waited::Apc), 1), "{name}");
            queues.join().unwrap();
        }
    }
}

#[test]
fn a_signal_a_timeout_and_the_librarys_apcs_end_such_a_wait_as_ever() {
    let (event, here) = (Event::auto(), Thread::current());
    for late in [true, false].repeat(20) {
        let (theirs, thread) = (event.clone(), here.clone());
        let other = std::thread::spawn(move || {
            if late {
                std::thread::sleep(Duration::from_millis(2));
            }
            theirs.set();
        });
        assert_eq!(alertable::wait_one(&event, LONG), Ok(Waited::Signalled(0)));
        other.join().unwrap();
        let other = std::thread::spawn(move || thread.queue_apc(|| RAN.set(RAN.get() + 1)).unwrap());
        assert_eq!((alertable::wait_one(&event, LONG), ran()), (Ok(Waited::Apc), 1));
        other.join().unwrap();
        assert_eq!(alertable::wait_one(&event, Duration::from_millis(1)), Ok(Waited::TimedOut));
    }
}

#[test]
fn no_other_wait_runs_them_and_a_signalled_object_beats_them() {
    let (here, event) = (this_thread(), Event::manual());
    queue(&here);
    assert_eq!(sync::sleep(SHORT), Ok(Waited::TimedOut));
    assert_eq!(sync::wait_one(&event, SHORT), Ok(Waited::TimedOut));
    event.set();
    assert_eq!((alertable::wait_one(&event, LONG), ran()), (Ok(Waited::Signalled(0)), 0));
    event.reset();
    assert_eq!((alertable::wait_one(&event, LONG), ran()), (Ok(Waited::Apc), 1));
}

#[test]
fn an_alertable_get_runs_them_and_says_so() {
    let port = port(1);
    let here = this_thread();
    assert!(matches!(port.get_alertable(Duration::ZERO), Ok(Outcome::TimedOut)));
    queue(&here);
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
    assert_eq!(ran(), 1);
    let queues = std::thread::spawn(move || {
        std::thread::sleep(SHORT);
        queue(&here);
    });
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
    assert_eq!(ran(), 1);
    queues.join().unwrap();
    assert!(matches!(port.get_alertable(SHORT), Ok(Outcome::TimedOut)));
    // In one that is not alertable the kernel may run it; then the next alertable wait tells of it.
    queue(&this_thread());
    assert!(matches!(port.get(SHORT), Ok(Outcome::TimedOut)));
    assert_eq!((alertable::sleep(LONG), ran()), (Ok(Waited::Apc), 1));
    assert_eq!(alertable::sleep(Duration::ZERO), Ok(Waited::TimedOut));
}

#[test]
fn a_waitable_timers_routine_runs_in_an_alertable_sleep() {
    unsafe extern "system" fn routine(by: *const std::ffi::c_void, _: u32, _: u32) {
        RAN.set(RAN.get() + by.addr());
    }
    // SAFETY: no pointers but those of null; the handle is new. The due time is readable.
    let timer = unsafe {
        let timer = OwnedHandle::from_raw_handle(CreateWaitableTimerW(null(), 0, null()));
        let due = -50_000_i64;
        let by = std::ptr::without_provenance(3);
        assert_ne!(SetWaitableTimer(timer.as_raw_handle(), &raw const due, 0, Some(routine), by, 0), 0);
        timer
    };
    assert_eq!((alertable::sleep(LONG), ran()), (Ok(Waited::Apc), 3));
    drop(timer);
}

#[test]
fn an_apc_of_the_kernels_may_wait_itself() {
    unsafe extern "system" fn waits(_: usize) {
        let (event, thread) = (Event::auto(), Thread::current());
        assert_eq!(alertable::wait_one(&event, Duration::from_millis(1)), Ok(Waited::TimedOut));
        thread.queue_apc(|| RAN.set(RAN.get() + 10)).unwrap();
        assert_eq!(alertable::wait_one(&event, LONG), Ok(Waited::Apc));
        RAN.set(RAN.get() + 1);
    }
    let here = this_thread();
    // SAFETY: as in `queue`.
    assert_ne!(unsafe { QueueUserAPC(Some(waits), here.as_raw_handle(), 0) }, 0);
    assert_eq!((alertable::sleep(LONG), ran()), (Ok(Waited::Apc), 11));
    let port = port(1);
    // SAFETY: as above.
    assert_ne!(unsafe { QueueUserAPC(Some(waits), here.as_raw_handle(), 0) }, 0);
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Apc)));
    assert_eq!(ran(), 11);
    assert_eq!(port.post(0, 0, None).map_err(|refused| refused.error.code()), Ok::<(), Code>(()));
    assert!(matches!(port.get_alertable(LONG), Ok(Outcome::Packet(_))), "the alarm finds the thread in the port as before");
}
