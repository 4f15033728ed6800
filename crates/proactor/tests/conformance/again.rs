//! The whole suite once more, in children of this same program: where io_uring is not wanted, and where it is forbidden.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// One child at a time: each runs two tests at once already.
static ONE: Mutex<()> = Mutex::new(());

/// Runs every test but these in a child, which checks by itself that its files go to the blocking pool.
fn run(prepare: impl FnOnce(&mut Command)) {
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--skip", "again::", "--test-threads=2"]);
    child.env("PROACTOR_EXPECT_FILES", "blocking pool").env_remove("PROACTOR_BACKEND").stdin(Stdio::null());
    prepare(&mut child);
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("the_backend_is_the_one_that_was_asked_for ... ok"), "the child did not check its backend:\n{text}");
}

#[test]
fn on_epoll_alone() {
    run(|child| {
        child.env("PROACTOR_BACKEND", "epoll");
    });
}

/// As under Docker's default profile.
#[test]
fn where_io_uring_is_forbidden() {
    run(|child| without_io_uring(child, libc::EPERM));
}

/// As on a kernel from before io_uring.
#[test]
fn where_there_is_no_io_uring() {
    run(|child| without_io_uring(child, libc::ENOSYS));
}

fn without_io_uring(child: &mut Command, errno: i32) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // Past the comparisons that are left and the `allow` behind them.
    let is = |call: libc::c_long, to_refusal: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: to_refusal,
        jf: 0,
        k: call as u32,
    };
    let filter = [
        // The number of the call is the first field of what a filter is shown.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        is(libc::SYS_io_uring_setup, 3),
        is(libc::SYS_io_uring_enter, 2),
        is(libc::SYS_io_uring_register, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32),
    ];
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: both calls take numbers, but for the filter, which lives through the second and is only read.
        let installed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
        };
        if installed { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { child.pre_exec(install) };
}
