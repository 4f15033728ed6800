//! Whether a thread sits in a port or waits for something of the library's, which nothing in the library's interface shows.

/// The calling thread's number, where `waits` needs one.
pub fn own_number() -> u32 {
    let own = std::fs::read_link("/proc/thread-self").ok();
    own.and_then(|path| path.file_name()?.to_str()?.parse().ok()).unwrap_or(0)
}

/// Whether a thread of this process waits in the library: in a poll, or for a word to change and with an end to the wait.
/// `None` where that cannot be seen.
///
/// A thread on its way there may sleep for a lock of the library's, the allocator's or a sanitizer's runtime, but locks
/// are waited for without an end: it is not taken for one that has arrived. One that was woken does not wait, from that
/// moment on, whether or not it runs already.
#[cfg(target_os = "linux")]
pub fn waits(number: u32) -> Option<bool> {
    const POLLS: &[libc::c_long] = &[
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
    ];
    match std::fs::read_to_string(format!("/proc/self/task/{number}/syscall")) {
        // The number of the call and its arguments; or "running", or -1 in a page fault.
        Ok(text) => {
            let mut words = text.split_ascii_whitespace();
            let call: Option<libc::c_long> = words.next().and_then(|word| word.parse().ok());
            Some(match call {
                Some(libc::SYS_futex) => words.nth(3).is_some_and(|timeout| timeout != "0x0"),
                Some(call) => POLLS.contains(&call),
                None => false,
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => Some(false),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn waits(_number: u32) -> Option<bool> {
    None
}
