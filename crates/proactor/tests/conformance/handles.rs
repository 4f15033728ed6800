//! Handles of the kernel's that are signalled, as operations.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;

use proactor::sync::{self, Event, Waited};
use proactor::watch::Handle;
use proactor::{Code, NoBuffer, OpKind, Overlapped};
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Threading::{
    CreateEventW, CreateMutexW, CreateSemaphoreW, CreateWaitableTimerW, GetCurrentThreadId, OpenThread, ReleaseSemaphore,
    SetEvent, SetWaitableTimer, THREAD_QUERY_LIMITED_INFORMATION, WaitForSingleObject,
};

use crate::common::*;

fn owned(handle: HANDLE) -> OwnedHandle {
    assert!(!handle.is_null(), "{}", std::io::Error::last_os_error());
    // SAFETY: a new handle, nobody else's.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

fn event(manual: bool) -> Handle {
    // SAFETY: no pointers.
    Handle::from_owned(owned(unsafe { CreateEventW(null(), manual.into(), 0, null()) })).unwrap()
}

fn semaphore() -> Handle {
    // SAFETY: no pointers.
    Handle::from_owned(owned(unsafe { CreateSemaphoreW(null(), 0, 99, null()) })).unwrap()
}

fn set(event: &impl AsRawHandle) {
    // SAFETY: an open event.
    assert_ne!(unsafe { SetEvent(event.as_raw_handle()) }, 0);
}

fn release(semaphore: &impl AsRawHandle, count: i32) {
    // SAFETY: an open semaphore; no count is asked back.
    assert_ne!(unsafe { ReleaseSemaphore(semaphore.as_raw_handle(), count, std::ptr::null_mut()) }, 0);
}

/// Whether it is signalled; that is consumed.
fn is_signalled(handle: &impl AsRawHandle) -> bool {
    // SAFETY: an open handle.
    unsafe { WaitForSingleObject(handle.as_raw_handle(), 0) == 0 }
}

#[test]
fn each_signal_of_an_auto_reset_event_ends_one_wait_the_oldest() {
    let event = somewhere(event(false));
    let first = pending(start(event.signalled()));
    let second = start(event.signalled());
    set(&event);
    finish(first).result.unwrap();
    let second = pending(second);
    set(&event);
    finish(second).result.unwrap();
    assert!(!is_signalled(&event), "the waits consumed both signals");
    set(&event);
    run(event.signalled()).result.unwrap();
}

#[test]
fn a_manual_reset_event_ends_every_wait_and_stays() {
    let event = somewhere(event(true));
    let waits: Vec<_> = (0..5).map(|_| start(event.signalled())).collect();
    set(&event);
    waits.into_iter().for_each(|wait| finish(wait).result.unwrap());
    run(event.signalled()).result.unwrap();
    assert!(is_signalled(&event));
}

#[test]
fn a_semaphore_has_one_less_for_each_wait() {
    let semaphore = somewhere(semaphore());
    let waits: Vec<_> = (0..3).map(|_| start(semaphore.signalled())).collect();
    release(&semaphore, 5);
    waits.into_iter().for_each(|wait| finish(wait).result.unwrap());
    assert_eq!([(); 3].map(|()| is_signalled(&semaphore)), [true, true, false]);
}

#[test]
fn waitable_timers_and_threads_are_waited_for() {
    // SAFETY: no pointers.
    let timer = somewhere(Handle::from_owned(owned(unsafe { CreateWaitableTimerW(null(), 0, null()) })).unwrap());
    let due = -10_000_i64;
    // SAFETY: an open timer, and a readable due time.
    assert_ne!(unsafe { SetWaitableTimer(timer.as_raw_handle(), &raw const due, 0, None, null(), 0) }, 0);
    run(timer.signalled()).result.unwrap();
    let flag = Flag::default();
    let go = flag.clone();
    let thread = std::thread::spawn(move || go.wait());
    let handle = somewhere(Handle::from_owned(OwnedHandle::from(thread)).unwrap());
    let ended = pending(start(handle.signalled()));
    flag.set();
    finish(ended).result.unwrap();
}

#[test]
fn a_signal_is_a_packet_with_the_ports_key() {
    let port = port(1);
    let event = port.home(event(false), 7);
    packet(event.signalled(), block(1, 0));
    packet(event.signalled(), block(2, 0));
    nothing(&port);
    for tag in [1, 2] {
        set(&event);
        let packet = success(&port);
        assert_eq!((packet.key, packet.op, packet.block.unwrap().tag), (7, OpKind::Ready, tag));
    }
}

#[test]
fn a_cancelled_wait_consumes_nothing() {
    let event = event(false);
    // A cancel of a wait that has ended says so: whichever was first, no signal is lost or doubled.
    for _ in 0..200 {
        let wait = event.signalled().start().unwrap();
        let other = event.clone();
        let setter = std::thread::spawn(move || set(&other));
        let _ = wait.cancel();
        let done = wait.wait();
        setter.join().unwrap();
        match &done.result {
            Ok(()) => assert!(!is_signalled(&event), "one signal, two waits"),
            Err(error) => {
                assert_eq!(error.code(), Code::Cancelled);
                assert!(is_signalled(&event), "a cancelled wait has eaten the signal");
            }
        }
    }
}

#[test]
fn cancels_name_one_wait_or_all() {
    let port = port(1);
    let event = port.home(event(false), 7);
    let first = packet(event.signalled(), block(1, 0));
    packet(event.signalled(), block(2, 0));
    event.cancel(first).unwrap();
    let (cancelled, code) = failure(&port);
    assert_eq!((code, cancelled.block.unwrap().tag), (Code::Cancelled, 1));
    assert_eq!(event.cancel(first).unwrap_err().code(), Code::NotFound);
    set(&event);
    assert_eq!(success(&port).block.unwrap().tag, 2);
    packet(event.signalled(), block(3, 0));
    event.cancel_all().unwrap();
    assert_eq!(failure(&port).1, Code::Cancelled);
}

#[test]
fn the_last_handles_drop_cancels_what_waits() {
    let event = somewhere(event(false));
    let wait = pending(start(event.signalled()));
    drop(event);
    assert_eq!(code(&finish(wait)), Some(Code::Cancelled));
}

#[test]
fn two_hundred_objects_are_waited_for_at_once() {
    let events: Vec<_> = (0..200).map(|_| event(false)).collect();
    let waits: Vec<Overlapped<NoBuffer, ()>> = events.iter().map(|event| event.signalled().start().unwrap()).collect();
    events.iter().rev().for_each(set);
    for wait in waits {
        wait.wait_timeout(LONG).unwrap_or_else(|_| panic!("a signal was lost")).result.unwrap();
    }
    assert!(!events.iter().any(is_signalled));
}

#[test]
fn a_wait_is_one_of_several_objects_of_a_wait() {
    let kernels = event(false);
    let wait = kernels.signalled().start().unwrap();
    let ours = Event::auto();
    assert_eq!(sync::wait_any(&[&wait, &ours], SHORT).unwrap(), Waited::TimedOut);
    set(&kernels);
    assert_eq!(sync::wait_any(&[&wait, &ours], LONG).unwrap(), Waited::Signalled(0));
}

#[test]
fn mutexes_and_handles_that_may_not_be_waited_for_are_refused_and_given_back() {
    // SAFETY: no pointers.
    let mutex = owned(unsafe { CreateMutexW(null(), 0, null()) });
    let number = mutex.as_raw_handle();
    let refused = Handle::from_owned(mutex).unwrap_err();
    assert_eq!((refused.error.code(), refused.back.as_raw_handle()), (Code::NotSupported, number));
    // SAFETY: the number of a thread that runs.
    let thread = owned(unsafe { OpenThread(THREAD_QUERY_LIMITED_INFORMATION, 0, GetCurrentThreadId()) });
    assert_eq!(Handle::from_owned(thread).unwrap_err().error.code(), Code::AccessDenied);
}

#[test]
fn the_handle_comes_back_as_it_was() {
    let port = port(1);
    let event = port.home(event(false), 7);
    packet(event.signalled(), block(1, 0));
    nothing(&port);
    let refused = event.into_handle().unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    set(&refused.back);
    success(&port);
    let handle = refused.back.into_handle().unwrap();
    set(&handle);
    assert!(is_signalled(&handle));
    let again = somewhere(Handle::from_owned(handle).unwrap());
    let wait = pending(start(again.signalled()));
    set(&again);
    finish(wait).result.unwrap();
}
