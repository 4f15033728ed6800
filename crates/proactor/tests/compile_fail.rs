//! Programs the compiler must refuse: each would give the kernel memory that is not the operation's, lose an operation,
//! or use one block twice. The messages compared are those of one compiler; `TRYBUILD=overwrite` writes them again.

#![cfg(not(any(loom, miri)))]

/// The compiler whose messages are kept here; others word them otherwise.
const MESSAGES_OF: &str = "rustc 1.95.";

#[test]
fn unsound_programs_do_not_compile() {
    // The messages name paths and impls as this system has them, and a foreign target's programs cannot be built here.
    if cfg!(not(target_os = "linux")) {
        println!("SKIP compile_fail: it runs on Linux");
        return;
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output().expect("the compiler tells its version");
    let version = String::from_utf8_lossy(&version.stdout);
    if !version.starts_with(MESSAGES_OF) {
        println!("SKIP compile_fail: the messages are those of {MESSAGES_OF}x, this is {version}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
