//! SIGPIPE: the library never raises it, whatever the program does with it.

use std::time::Duration;

use proactor::fs::{File, OpenOptions};
use proactor::net::TcpStream;
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
