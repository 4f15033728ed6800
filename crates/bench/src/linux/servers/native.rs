//! The servers in C and C++: compiled once, when the compiler and the library are installed, and run in this process's
//! place with the listener as an inherited descriptor.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Options;
use crate::linux::wrong;

/// One such server.
pub struct Native {
    /// Of its executable.
    name: &'static str,
    source: &'static str,
    compiler: &'static str,
    /// What the compiler is told.
    language: &'static [&'static str],
    link: &'static [&'static str],
    /// What to install.
    package: &'static str,
}

/// `asio`: io_context with handlers, on one thread or several; a connection has one operation in flight, which orders it.
pub const ASIO: Native = Native {
    name: "asio",
    source: include_str!("../../../native/asio.cpp"),
    compiler: "c++",
    language: &["-xc++", "-std=c++17"],
    link: &["-lpthread"],
    package: "g++ libasio-dev",
};

/// `libuv`: its loop, on one thread.
pub const LIBUV: Native = Native {
    name: "libuv",
    source: include_str!("../../../native/libuv.c"),
    compiler: "cc",
    language: &["-xc"],
    link: &["-luv"],
    package: "gcc libuv1-dev",
};

impl Native {
    /// The executable, made now if it is not there or older than this program.
    pub fn executable(&self) -> io::Result<PathBuf> {
        let this = std::env::current_exe()?;
        let made = this.with_file_name(format!("bench-native-{}", self.name));
        if is_newer(&made, &this) {
            return Ok(made);
        }
        // Under another name first: two programs may be at it.
        let fresh = made.with_extension(std::process::id().to_string());
        let mut compiler = Command::new(self.compiler)
            .args(["-O2", "-DNDEBUG", "-o"])
            .arg(&fresh)
            .args(self.language)
            .arg("-")
            .args(self.link)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|_| self.missing())?;
        if let Some(mut stdin) = compiler.stdin.take() {
            // A compiler that fails closes it early, and says so by its status.
            let _ = io::Write::write_all(&mut stdin, self.source.as_bytes());
        }
        if !compiler.wait()?.success() {
            return Err(self.missing());
        }
        std::fs::rename(&fresh, &made)?;
        Ok(made)
    }

    fn missing(&self) -> io::Error {
        wrong(format!("{} cannot be compiled here; install {}", self.name, self.package))
    }

    /// Becomes that server; returns only with an error.
    pub fn serve(&self, listener: TcpListener, options: &Options) -> io::Result<()> {
        let executable = self.executable()?;
        let fd = listener.as_raw_fd();
        // SAFETY: a plain call on an open descriptor: the new program inherits it.
        unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
        let number = |n: u32| n.to_string();
        let sleep = [number(options.slow_one_in), options.slow_ms.to_string()];
        Err(Command::new(executable).args([fd.to_string(), number(options.threads), number(options.buffer)]).args(sleep).exec())
    }
}

fn is_newer(made: &Path, than: &Path) -> bool {
    let when = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    matches!((when(made), when(than)), (Some(made), Some(than)) if made >= than)
}
