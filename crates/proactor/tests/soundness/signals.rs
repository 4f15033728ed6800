//! SIGPIPE: the library never raises it, whatever the program does with it. And what was in place before a signal was caught is
//! so again afterwards.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proactor::fs::{File, OpenOptions};
use proactor::net::TcpStream;
use proactor::signal::{Signal, SignalSet};
use proactor::{Code, Home, LocalPort, Operation};

use crate::alone::alone_on_each_backend;

fn connected() -> TcpStream {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    drop(peer);
    TcpStream::from(ours)
}

/// The file, opened anew.
fn file(path: &std::path::Path) -> File {
    File::open_now(path, &OpenOptions::new().read(true)).unwrap()
}

fn code<C: proactor::Cargo, T: proactor::Brings, H: Home>(operation: Operation<'_, C, T, H>) -> Option<Code> {
    let done = operation.start().map_err(|refused| refused.error).unwrap().wait_timeout(Duration::from_secs(30));
    done.map_err(|refused| refused.error).unwrap().result.err().map(|error| error.code())
}

#[test]
fn a_file_sent_to_nobody_raises_no_signal() {
    alone_on_each_backend("signals::a_file_sent_to_nobody_raises_no_signal", || {
        // SAFETY: a plain call; no handler of Rust's own is replaced by the default one.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let path = std::env::temp_dir().join(format!("proactor-signals-{}", std::process::id()));
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let port = LocalPort::<(), usize>::new().unwrap();
        for turn in 0..20 {
            // Shut down here, or gone at the other end: the call fails in both ways.
            let (shared, local) = (connected(), port.associate(connected(), 1).unwrap());
            let files = (file(&path), port.associate(file(&path), 2).unwrap());
            fails(turn, &shared, &files.0);
            fails(turn, &local, &files.1);
        }
        std::fs::remove_file(&path).unwrap();
    });
}

fn fails<H: Home>(turn: usize, stream: &TcpStream<H>, file: &File<H>) {
    let shut = turn.is_multiple_of(2);
    if shut {
        assert_eq!(code(stream.disconnect()), None);
    }
    let mut codes = (0..200).filter_map(|_| {
        std::thread::sleep(Duration::from_millis(1));
        code(stream.transmit_file(file, .., ()))
    });
    let expected = if shut { Code::Shutdown } else { Code::ConnectionReset };
    for _ in 0..2 {
        assert_eq!(codes.next(), Some(expected), "it fails in the end");
    }
}

static CALLS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn former(_: libc::c_int) {
    CALLS.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn later(_: libc::c_int) {
    CALLS.fetch_add(100, Ordering::SeqCst);
}

#[test]
fn what_a_signal_did_before_it_does_again_when_the_last_set_lets_go() {
    alone_on_each_backend("signals::what_a_signal_did_before_it_does_again_when_the_last_set_lets_go", || {
        // SAFETY: a handler that touches an atomic alone.
        unsafe { libc::signal(libc::SIGUSR1, former as extern "C" fn(libc::c_int) as usize) };
        Signal::User1.raise().unwrap();
        assert_eq!(CALLS.load(Ordering::SeqCst), 1);
        let (one, other) = (SignalSet::new([Signal::User1]).unwrap(), SignalSet::new([Signal::User1]).unwrap());
        for set in [&one, &other] {
            Signal::User1.raise().unwrap();
            assert_eq!(set.wait().wait().result.unwrap(), Signal::User1);
        }
        drop(one);
        Signal::User1.raise().unwrap();
        assert_eq!(CALLS.load(Ordering::SeqCst), 1, "it is still caught");
        other.remove(Signal::User1);
        Signal::User1.raise().unwrap();
        assert_eq!(CALLS.load(Ordering::SeqCst), 2);
        // Caught anew, and then somebody else puts his own in its place, which stays.
        other.add(Signal::User1).unwrap();
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGUSR1, later as extern "C" fn(libc::c_int) as usize) };
        drop(other);
        Signal::User1.raise().unwrap();
        assert_eq!(CALLS.load(Ordering::SeqCst), 102);
    });
}

#[test]
fn signals_from_many_threads_wake_every_set_and_a_fork_leaves_them_alone() {
    alone_on_each_backend("signals::signals_from_many_threads_wake_every_set_and_a_fork_leaves_them_alone", || {
        let sets: Vec<_> = (0..4).map(|_| SignalSet::new([Signal::User2]).unwrap()).collect();
        std::thread::scope(|scope| {
            for set in &sets {
                scope.spawn(move || {
                    for _ in 0..50 {
                        assert_eq!(set.wait().wait().result.unwrap(), Signal::User2);
                    }
                });
            }
            // The system makes one of those that come together: as many are sent as it takes.
            for _ in 0..50 {
                Signal::User2.raise().unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(50));
            (0..50).for_each(|_| {
                Signal::User2.raise().unwrap();
                std::thread::sleep(Duration::from_millis(1));
            });
        });
        // SAFETY: the child makes calls that are fine after a fork, and ends.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::raise(libc::SIGUSR2);
                drop(sets);
                libc::_exit(7);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7);
        }
        Signal::User2.raise().unwrap();
    });
}
