//! System calls of the user's own, joined to a port: entries of io_uring on Linux, overlapped calls on Windows.

#[cfg(target_os = "linux")]
mod entries {
    use std::io::{PipeReader, PipeWriter, Read, Write};
    use std::os::fd::AsRawFd;

    use proactor::fs::{File, OpenOptions};
    use proactor::raw::Ring;
    use proactor::raw::io_uring::{opcode, squeue, types};
    use proactor::{Block, Code, Home, Operation};

    use crate::common::*;

    /// A way into a ring; none where there is no io_uring, which it must say.
    fn ring() -> Option<Ring> {
        let has_ring = proactor::backend().files == "io_uring";
        match Ring::new() {
            Ok(ring) => {
                assert!(has_ring);
                Some(ring)
            }
            Err(error) => {
                assert!(!has_ring, "{error}");
                assert_eq!(error.code(), Code::NotSupported);
                assert!(error.to_string().contains("io_uring"), "it says what is missing: {error}");
                None
            }
        }
    }

    fn fd(of: &impl AsRawFd) -> types::Fd {
        types::Fd(of.as_raw_fd())
    }

    /// A read of a pipe, in memory of its own.
    fn read<H: Home>(
        ring: &Ring<H>,
        reader: PipeReader,
    ) -> Operation<'_, impl proactor::Cargo<Back = (PipeReader, [u8; 16])> + use<H>, (), H> {
        // SAFETY: descriptor and buffer are in the entry's memory.
        unsafe { ring.entry((reader, [0; 16]), |(reader, buf)| opcode::Read::new(fd(reader), buf.as_mut_ptr(), 16).build()) }
    }

    fn silent() -> (PipeReader, PipeWriter) {
        std::io::pipe().unwrap()
    }

    #[test]
    fn an_entry_brings_the_kernels_answer_and_its_memory_back() {
        let Some(ring) = ring() else { return };
        let ring = somewhere(ring);
        let (reader, mut writer) = silent();
        let pending = pending(start(read(&ring, reader)));
        writer.write_all(b"hello").unwrap();
        let done = finish(pending);
        done.result.unwrap();
        assert_eq!((done.bytes, &done.buffer.1[..5]), (5, &b"hello"[..]));
        // SAFETY: it names nothing.
        let nothing = run(unsafe { ring.entry((), |()| opcode::Nop::new().build()) });
        assert!(matches!((nothing.bytes, nothing.result), (0, Ok(()))));
    }

    #[test]
    fn an_entry_that_fails_brings_the_errno() {
        let Some(ring) = ring() else { return };
        let ring = somewhere(ring);
        let (reader, _writer) = silent();
        // SAFETY: the descriptor is in the entry's memory, and advice touches no other.
        let done =
            run(unsafe { ring.entry(reader, |reader| opcode::Fadvise::new(fd(reader), 0, libc::POSIX_FADV_WILLNEED).build()) });
        assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::ESPIPE));
        // "Not now" is an answer, too, of whoever does not want to wait.
        let (reader, _writer) = silent();
        // SAFETY: descriptor and buffer are in the entry's memory.
        let done = run(unsafe {
            ring.entry((reader, [0; 16]), |(reader, buf)| {
                opcode::Read::new(fd(reader), buf.as_mut_ptr(), 16).rw_flags(libc::RWF_NOWAIT).build()
            })
        });
        assert_eq!(done.result.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    }

    #[test]
    fn an_entry_is_a_packet_with_the_ports_key() {
        let Some(ring) = ring() else { return };
        struct Pipes {
            from: PipeReader,
            to: PipeWriter,
        }
        let port = port_of::<Pipes, usize>();
        let ring = port.home(ring, 7);
        let (from, mut writer) = silent();
        let (mut reader, to) = silent();
        writer.write_all(b"hello").unwrap();
        // SAFETY: both descriptors are in the block.
        let splice =
            unsafe { ring.entry_within(|io: &mut Pipes| opcode::Splice::new(fd(&io.from), -1, fd(&io.to), -1, 64).build()) };
        packet(splice, Block::new(Pipes { from, to }));
        let packet = success(&port);
        assert_eq!((packet.key, packet.done.bytes, packet.block.is_some()), (7, 5, true));
        let mut buf = [0; 5];
        reader.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"hello");
    }

    #[test]
    fn the_memory_of_an_entry_may_be_the_packets_block() {
        let Some(ring) = ring() else { return };
        let port = port_of::<types::Timespec, usize>();
        let ring = port.home(ring, 3);
        for _ in 0..3 {
            let block = Block::new(types::Timespec::new().nsec(1_000_000));
            // SAFETY: the time is in the block.
            packet(unsafe { ring.entry_within(|time: &mut types::Timespec| opcode::Timeout::new(time).build()) }, block);
            let (packet, _) = failure(&port);
            assert_eq!(packet.error().unwrap().raw_os_error(), Some(libc::ETIME), "that is how a time tells that it is up");
        }
    }

    #[test]
    fn a_pending_entry_is_cancelled() {
        let Some(ring) = ring() else { return };
        let ring = somewhere(ring);
        let hour = || types::Timespec::new().sec(3600);
        let (reader, _writer) = silent();
        // SAFETY: what they name is in their memory.
        let (poll, timeout) = unsafe {
            let poll = ring.entry(reader, |reader| opcode::PollAdd::new(fd(reader), libc::POLLIN as u32).build());
            (start(poll), start(ring.entry(hour(), |time| opcode::Timeout::new(time).build())))
        };
        let (reader, _writer2) = silent();
        let read = start(read(&ring, reader));
        let (poll, timeout, read) = (pending(poll), pending(timeout), pending(read));
        poll.cancel().unwrap();
        assert_eq!(code(&finish(poll)), Some(Code::Cancelled));
        ring.cancel_all().unwrap();
        assert_eq!(code(&finish(timeout)), Some(Code::Cancelled));
        assert_eq!(code(&finish(read)), Some(Code::Cancelled));
        assert_eq!(ring.cancel_all().unwrap_err().code(), Code::NotFound);
    }

    #[test]
    fn a_packets_entry_is_cancelled_by_its_ticket() {
        let Some(ring) = ring() else { return };
        let port = port_of::<(PipeReader, [u8; 4]), usize>();
        let ring = port.home(ring, 7);
        let (reader, _writer) = silent();
        // SAFETY: descriptor and buffer are in the block.
        let read = unsafe {
            ring.entry_within(|(reader, buf): &mut (PipeReader, [u8; 4])| {
                opcode::Read::new(fd(reader), buf.as_mut_ptr(), 4).build()
            })
        };
        let ticket = packet(read, Block::new((reader, [0; 4])));
        nothing(&port);
        ring.cancel(ticket).unwrap();
        let (packet, code) = failure(&port);
        assert_eq!((code, packet.done.bytes, packet.block.is_some()), (Code::Cancelled, 0, true));
    }

    #[test]
    fn the_last_handles_drop_cancels_its_entries() {
        let Some(ring) = ring() else { return };
        let ring = somewhere(ring);
        let (reader, _writer) = silent();
        let read = start(read(&ring, reader));
        drop(ring);
        assert_eq!(code(&finish(read)), Some(Code::Cancelled));
    }

    #[test]
    fn entries_that_wait_keep_no_file_from_going_on() {
        let Some(ring) = ring() else { return };
        let ring = somewhere(ring);
        let (reader, mut writer) = silent();
        // SAFETY: each has a duplicate of the descriptor.
        let poll = || unsafe {
            ring.entry(reader.try_clone().unwrap(), |reader| opcode::PollAdd::new(fd(reader), libc::POLLIN as u32).build())
        };
        let waiting: Vec<_> = (0..600).map(|_| start(poll())).collect();
        let scratch = Scratch::new("beside-entries");
        let file = somewhere(File::open_now(&scratch.0, &OpenOptions::new().write(true).create(true)).unwrap());
        assert_eq!(run(file.write_at(b"hello", 0)).bytes, 5);
        assert!(waiting.iter().all(|poll| !poll.is_complete()));
        writer.write_all(b"x").unwrap();
        for poll in waiting {
            let done = finish(poll);
            done.result.unwrap();
            assert_ne!(done.bytes & libc::POLLIN as usize, 0, "the answer is the events");
        }
    }

    #[test]
    fn flags_that_would_touch_entries_of_others_are_refused() {
        let Some(ring) = ring() else { return };
        let ring = somewhere(ring);
        use squeue::Flags;
        for flags in [Flags::IO_LINK, Flags::IO_HARDLINK, Flags::IO_DRAIN, Flags::SKIP_SUCCESS, Flags::FIXED_FILE] {
            // SAFETY: it names nothing.
            let done = run(unsafe { ring.entry((), move |()| opcode::Nop::new().build().flags(flags)) });
            assert_eq!(code(&done), Some(Code::InvalidParameter), "{flags:?}");
        }
        // SAFETY: as above.
        let done = run(unsafe { ring.entry((), |()| opcode::Nop::new().build().flags(Flags::ASYNC)) });
        done.result.unwrap();
    }

    #[test]
    fn a_send_without_copying_keeps_its_memory_until_the_kernel_is_through() {
        let Some(ring) = ring() else { return };
        let ring = somewhere(ring);
        let (ours, peer) = homeless();
        let reader = reader(peer);
        let data = pattern(100_000, 1);
        // SAFETY: the memory has a handle of the socket, and the data.
        let send = unsafe {
            ring.entry((ours, data), |(socket, data)| opcode::SendZc::new(fd(socket), data.as_ptr(), data.len() as u32).build())
        };
        let done = finish(start(send));
        done.result.unwrap();
        assert!(done.bytes > 0);
        let sent = done.bytes;
        drop(done.buffer);
        assert_eq!(reader.join(), pattern(100_000, 1)[..sent]);
    }
}

#[cfg(windows)]
mod overlapped_calls {
    use std::fs::OpenOptions;
    use std::os::windows::fs::OpenOptionsExt;
    use std::os::windows::io::{AsRawHandle, OwnedHandle, OwnedSocket, RawHandle};
    use std::path::PathBuf;
    use std::ptr::{null, null_mut};

    use proactor::raw::{Handle, OVERLAPPED, Started};
    use proactor::{Block, Code, Error};
    use windows_sys::Win32::Networking::WinSock::TransmitFile;
    use windows_sys::Win32::Storage::FileSystem::{
        FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OVERLAPPED, FILE_LIST_DIRECTORY, FILE_NOTIFY_CHANGE_FILE_NAME,
        FILE_NOTIFY_INFORMATION, ReadDirectoryChangesW,
    };

    use crate::common::*;

    /// A directory of one's own, removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("proactor-own-calls-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Directory(path)
        }

        fn open(&self, flags: u32) -> OwnedHandle {
            let mut options = OpenOptions::new();
            options.access_mode(FILE_LIST_DIRECTORY).custom_flags(FILE_FLAG_BACKUP_SEMANTICS | flags);
            options.open(&self.0).unwrap().into()
        }

        fn handle(&self) -> Handle {
            Handle::from_owned(self.open(FILE_FLAG_OVERLAPPED)).unwrap()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Aligned as the kernel wants it.
    struct Changes([u32; 256]);

    impl Changes {
        fn new() -> Changes {
            Changes([0; 256])
        }

        /// The first name.
        fn name(&self) -> String {
            // SAFETY: the kernel wrote a record, whose name lies behind its length.
            unsafe {
                let record: *const FILE_NOTIFY_INFORMATION = self.0.as_ptr().cast();
                let len = (*record).FileNameLength as usize / 2;
                let name = std::slice::from_raw_parts((&raw const (*record).FileName).cast::<u16>(), len);
                String::from_utf16(name).unwrap()
            }
        }
    }

    fn watch(directory: RawHandle, overlapped: *mut OVERLAPPED, into: &mut Changes) -> Started {
        // SAFETY: the buffer and the OVERLAPPED stay until the kernel reports the call.
        Started::win32(unsafe {
            let (buf, len) = (into.0.as_mut_ptr().cast(), size_of_val(&into.0) as u32);
            ReadDirectoryChangesW(directory, buf, len, 0, FILE_NOTIFY_CHANGE_FILE_NAME, null_mut(), overlapped.cast(), None)
        })
    }

    #[test]
    fn an_overlapped_call_brings_its_bytes_and_its_memory_back() {
        let directory = Directory::new("overlapped");
        let watched = somewhere(directory.handle());
        // SAFETY: `watch` makes one call, with its own memory.
        let changes = pending(start(unsafe { watched.call(Changes::new(), watch) }));
        std::fs::write(directory.0.join("new"), b"").unwrap();
        let done = finish(changes);
        done.result.unwrap();
        assert!(done.bytes > 12, "a record: {}", done.bytes);
        assert_eq!(done.buffer.name(), "new");
    }

    #[test]
    fn an_overlapped_call_is_a_packet_with_the_ports_key() {
        let directory = Directory::new("packet");
        let port = port_of::<Changes, usize>();
        let watched = port.home(directory.handle(), 7);
        let mut block = Block::new(Changes::new());
        for name in ["first", "second"] {
            // SAFETY: as above, with the block.
            packet(unsafe { watched.call_within(watch) }, block);
            std::fs::write(directory.0.join(name), b"").unwrap();
            let packet = success(&port);
            assert_eq!(packet.key, 7);
            block = packet.block.unwrap();
            assert_eq!(block.name(), name);
        }
    }

    #[test]
    fn a_pending_call_is_cancelled() {
        let directory = Directory::new("cancel");
        let watched = somewhere(directory.handle());
        // SAFETY: as above.
        let changes = pending(start(unsafe { watched.call(Changes::new(), watch) }));
        changes.cancel().unwrap();
        assert_eq!(code(&finish(changes)), Some(Code::Cancelled));
        // SAFETY: as above.
        let changes = start(unsafe { watched.call(Changes::new(), watch) });
        drop(watched);
        assert_eq!(code(&finish(changes)), Some(Code::Cancelled));
    }

    #[test]
    fn a_call_dropped_in_flight_keeps_its_memory_until_its_completion() {
        /// Says when it goes.
        struct Kept(Changes, Flag);
        impl Drop for Kept {
            fn drop(&mut self) {
                self.1.set();
            }
        }
        let directory = Directory::new("dropped");
        let watched = directory.handle();
        let gone = Flag::default();
        // SAFETY: as above.
        drop(start(unsafe {
            watched.call(Kept(Changes::new(), gone.clone()), |handle, overlapped, kept| watch(handle, overlapped, &mut kept.0))
        }));
        gone.wait();
    }

    #[test]
    fn a_call_the_kernel_does_not_take_is_over_with_its_error() {
        let directory = Directory::new("failed");
        let port = port_of::<Changes, usize>();
        let watched = port.home(directory.handle(), 7);
        // A filter of nothing is refused.
        let wrong = |directory: RawHandle, overlapped: *mut OVERLAPPED, into: &mut Changes| {
            // SAFETY: as in `watch`.
            Started::win32(unsafe {
                let (buf, len) = (into.0.as_mut_ptr().cast(), size_of_val(&into.0) as u32);
                ReadDirectoryChangesW(directory, buf, len, 0, 0, null_mut(), overlapped.cast(), None)
            })
        };
        // SAFETY: one call, or none.
        unsafe {
            packet(watched.call_within(wrong), Block::new(Changes::new()));
            assert_eq!(failure(&port).1, Code::InvalidParameter);
            let never = |_: RawHandle, _: *mut OVERLAPPED, _: &mut Changes| Started::failed(Error::new(Code::AccessDenied));
            packet(watched.call_within(never), Block::new(Changes::new()));
            assert_eq!(failure(&port).1, Code::AccessDenied);
        }
    }

    #[test]
    fn a_handle_that_is_not_for_overlapped_calls_is_given_back() {
        let directory = Directory::new("synchronous");
        let refused = Handle::from_owned(directory.open(0)).unwrap_err();
        assert_eq!(refused.error.code(), Code::NotSupported);
        let handle = directory.handle();
        let raw = handle.as_raw_handle();
        assert_eq!(handle.into_handle().unwrap().as_raw_handle(), raw);
    }

    #[test]
    fn a_socket_sends_a_file_by_a_call_of_ones_own() {
        let scratch = Scratch::new("transmitted");
        std::fs::write(&scratch.0, pattern(10_000, 3)).unwrap();
        let file = std::fs::File::open(&scratch.0).unwrap();
        let listener = std::net::TcpListener::bind(ANY).unwrap();
        let peer = reader(peer_of(listener.local_addr().unwrap()));
        let socket = somewhere(Handle::from_socket(OwnedSocket::from(listener.accept().unwrap().0)));
        let transmit = |socket: RawHandle, overlapped: *mut OVERLAPPED, file: &mut std::fs::File| {
            // SAFETY: the file is the call's memory.
            Started::win32(unsafe { TransmitFile(socket as usize, file.as_raw_handle(), 0, 0, overlapped.cast(), null(), 0) })
        };
        // SAFETY: one call, with the file of its memory.
        let done = run(unsafe { socket.call(file, transmit) });
        done.result.unwrap();
        assert_eq!(done.bytes, 10_000);
        drop(socket);
        assert_eq!(peer.join(), pattern(10_000, 3));
    }
}
