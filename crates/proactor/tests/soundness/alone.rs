//! A test body in a process of its own.

use std::process::Command;

const INSIDE: &str = "PROACTOR_ALONE";

/// Runs `body` in a child process made of this test binary, or, inside that child, runs it here.
pub fn alone(test: &str, body: impl FnOnce()) {
    match std::env::var(INSIDE).as_deref() == Ok(test) {
        true => body(),
        false => child(test, |_| {}),
    }
}

/// The same once with io_uring, if there is such a thing here, and once without.
#[cfg(target_os = "linux")]
pub fn alone_on_each_backend(test: &str, body: impl FnOnce()) {
    if std::env::var(INSIDE).as_deref() == Ok(test) {
        return body();
    }
    child(test, |command| {
        command.env_remove("PROACTOR_BACKEND");
    });
    child(test, |command| {
        command.env("PROACTOR_BACKEND", "epoll");
    });
}

fn child(test: &str, prepare: impl FnOnce(&mut Command)) {
    let mut command = Command::new(std::env::current_exe().expect("the test's own path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, test);
    prepare(&mut command);
    let output = command.output().expect("the child runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} alone: {}\n{text}", output.status);
    assert!(text.contains("1 passed"), "{test} alone ran nothing:\n{text}");
    for line in text.lines().filter(|line| line.contains("SKIP")) {
        println!("{line}");
    }
}
