//! A system call of the program's own, joined to a completion port: what Asio's `overlapped_ptr` does.
//!
//! The library has no operation that watches a directory. On Windows `ReadDirectoryChangesW` is given the OVERLAPPED of an
//! operation; on Linux an entry of io_uring reads an inotify descriptor, or, where io_uring is refused, the port tells when
//! that is readable. Either way a packet comes out of `get`, with the key and the block it was started with.

use std::{error::Error, path::Path};

use proactor::{Block, CompletionPort};

/// What travels with the call: the kernel writes its records here, aligned as it wants them.
type PerCall = [u64; 64];

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("overlapped-call-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let port: CompletionPort<PerCall, usize> = CompletionPort::new(1)?;
    let watch = system::Watch::new(&directory, &port)?;
    let mut block = Block::new([0; 64]);
    for name in ["first", "second", "third"] {
        watch.start(block)?;
        std::fs::write(directory.join(name), b"")?;
        let packet = port.get(None)?.packet().ok_or("a packet was due")?;
        packet.done.result?;
        block = packet.block.ok_or("a call brings its block back")?;
        println!("key {}: created {}", packet.key, watch.name(&mut block));
    }
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use proactor::raw::io_uring::{opcode, types};
    use proactor::{raw::Ring, watch::Descriptor};

    use super::*;

    pub struct Watch(Option<Ring>, Descriptor);

    impl Watch {
        pub fn new(directory: &Path, port: &CompletionPort<PerCall, usize>) -> Result<Watch, Box<dyn Error>> {
            let path = std::ffi::CString::new(directory.to_str().ok_or("a path of UTF-8")?)?;
            // SAFETY: the path ends with a zero, the descriptor is new.
            let inotify = unsafe {
                let fd = libc::inotify_init1(libc::IN_CLOEXEC);
                if fd < 0 || libc::inotify_add_watch(fd, path.as_ptr(), libc::IN_CREATE) < 0 {
                    return Err(std::io::Error::last_os_error().into());
                }
                Descriptor::from_owned(OwnedFd::from_raw_fd(fd))?
            };
            let ring = Ring::new().ok();
            ring.as_ref().map_or_else(|| port.associate(&inotify, 7), |ring| port.associate(ring, 7))?;
            Ok(Watch(ring, inotify))
        }

        pub fn start(&self, block: Block<PerCall>) -> Result<(), proactor::Error> {
            let Watch(Some(ring), inotify) = self else { return Ok(self.1.readable().packet(block).map(drop)?) };
            let fd = types::Fd(inotify.as_raw_fd());
            let describe = move |io: &mut PerCall| opcode::Read::new(fd, io.as_mut_ptr().cast(), 512).build();
            // SAFETY: `self` outlives the call, so the descriptor stays open, and the buffer is in the block.
            Ok(unsafe { ring.entry_within(describe) }.packet(block).map(drop)?)
        }

        /// The name in the first record: 16 bytes of numbers before it, zeros behind it.
        pub fn name(&self, io: &mut PerCall) -> String {
            if self.0.is_none() {
                // It is readable, which is all that was asked: the call is this program's.
                // SAFETY: the buffer is writable for its length.
                unsafe { libc::read(self.1.as_raw_fd(), io.as_mut_ptr().cast(), 512) };
            }
            let bytes = io.iter().flat_map(|word| word.to_ne_bytes()).skip(16);
            bytes.take_while(|byte| *byte != 0).map(char::from).collect()
        }
    }
}

#[cfg(windows)]
mod system {
    use std::os::windows::fs::OpenOptionsExt;

    use proactor::raw::{Handle, OVERLAPPED, Started};
    use windows_sys::Win32::Storage::FileSystem as fs;

    use super::*;

    pub struct Watch(Handle);

    impl Watch {
        pub fn new(directory: &Path, port: &CompletionPort<PerCall, usize>) -> Result<Watch, Box<dyn Error>> {
            let mut options = std::fs::OpenOptions::new();
            options.access_mode(fs::FILE_LIST_DIRECTORY);
            options.custom_flags(fs::FILE_FLAG_BACKUP_SEMANTICS | fs::FILE_FLAG_OVERLAPPED);
            let watch = Watch(Handle::from_owned(options.open(directory)?.into())?);
            port.associate(&watch.0, 7)?;
            Ok(watch)
        }

        pub fn start(&self, block: Block<PerCall>) -> Result<(), proactor::Error> {
            let call = |handle, overlapped: *mut OVERLAPPED, io: &mut PerCall| {
                let (into, none) = (io.as_mut_ptr().cast(), std::ptr::null_mut());
                let what = fs::FILE_NOTIFY_CHANGE_FILE_NAME;
                // SAFETY: the buffer and the OVERLAPPED stay until the kernel reports the call.
                Started::win32(unsafe { fs::ReadDirectoryChangesW(handle, into, 512, 0, what, none, overlapped, None) })
            };
            // SAFETY: one call with this OVERLAPPED, into the block.
            Ok(unsafe { self.0.call_within(call) }.packet(block).map(drop)?)
        }

        /// The name in the first record: its length is the third number, and it lies behind that, in UTF-16.
        pub fn name(&self, io: &mut PerCall) -> String {
            let bytes: Vec<u8> = io.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let units = bytes[12..12 + io[1] as u32 as usize].chunks(2);
            String::from_utf16_lossy(&units.map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect::<Vec<_>>())
        }
    }
}
