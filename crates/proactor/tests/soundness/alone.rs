//! A test body in a process of its own.

use std::process::Command;

/// Runs `body` in a child process made of this test binary, or, inside that child, runs it here.
pub fn alone(test: &str, body: impl FnOnce()) {
    const INSIDE: &str = "PROACTOR_ALONE";
    if std::env::var(INSIDE).as_deref() == Ok(test) {
        return body();
    }
    let output = Command::new(std::env::current_exe().expect("the test's own path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, test)
        .output()
        .expect("the child runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} alone: {}\n{text}", output.status);
    assert!(text.contains("1 passed"), "{test} alone ran nothing:\n{text}");
    for line in text.lines().filter(|line| line.contains("SKIP")) {
        println!("{line}");
    }
}
