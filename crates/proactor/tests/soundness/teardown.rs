//! Everything dropped while the kernel reads into buffers: none is freed before the kernel has let go of it.
//!
//! The buffers' memory is never given back. A buffer that is dropped poisons its memory, and whatever writes there later was told
//! of the address too long. Direct reads, because they are the ones the device writes at its own time.
//!
//! Seen to catch: a cancel of the ring's that drops the cargo of an operation in flight; one of the pool's that does so to an
//! operation inside its system call; an overlapped handle that does so when it is dropped.

use std::alloc::{Layout, alloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proactor::fs::{File, OpenOptions};
use proactor::{Block, Code, CompletionPort, Fill, IoBuf, IoBufMut, Overlapped, within_mut};

const READS: usize = 32;
const SIZE: usize = 1 << 20;
const IN_THE_FILE: u8 = 0x11;
const POISON: u8 = 0xDD;
static POISONED: [u8; SIZE] = [POISON; SIZE];

/// Remembers what is never given back, so that it is not taken for a leak.
pub fn forever<T>(start: *mut T) {
    static ALL: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    ALL.lock().unwrap().push(start.expose_provenance());
}

/// Memory that outlives every buffer made of it.
#[derive(Clone, Copy)]
pub struct Place {
    start: *mut u8,
    freed: &'static AtomicBool,
}

// SAFETY: the memory is never given back; who writes it is what the test is about.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl Place {
    pub fn new() -> Place {
        let layout = Layout::from_size_align(SIZE, 4096).unwrap();
        // SAFETY: the layout has a size.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        let freed: &'static AtomicBool = Box::leak(Box::default());
        // Kept for ever, and where a leak detector sees that.
        forever(start);
        forever(std::ptr::from_ref(freed).cast_mut());
        Place { start, freed }
    }

    pub fn buffer(self) -> Buffer {
        // SAFETY: SIZE bytes that nothing uses now.
        unsafe { self.start.write_bytes(0, SIZE) };
        self.freed.store(false, Ordering::SeqCst);
        Buffer(self)
    }

    pub fn is_freed(self) -> bool {
        self.freed.load(Ordering::SeqCst)
    }

    pub fn is_poisoned(self) -> bool {
        // SAFETY: SIZE initialized bytes. If something writes them meanwhile the test is about to fail.
        let bytes = unsafe { std::slice::from_raw_parts(std::hint::black_box(self.start), SIZE) };
        bytes == POISONED
    }
}

pub struct Buffer(Place);

impl Buffer {
    pub fn whole(&mut self) -> &mut [u8] {
        // SAFETY: SIZE initialized bytes, this value's own while it lives.
        unsafe { std::slice::from_raw_parts_mut(self.0.start, SIZE) }
    }
}

// SAFETY: the memory stays where it is and is this value's own while it lives.
unsafe impl IoBuf for Buffer {
    fn as_slice(&self) -> &[u8] {
        // SAFETY: as in `whole`.
        unsafe { std::slice::from_raw_parts(self.0.start, SIZE) }
    }
}

// SAFETY: as above; initialized throughout.
unsafe impl IoBufMut for Buffer {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: as in `whole`; initialized bytes may be seen as uninitialized ones.
        unsafe { std::slice::from_raw_parts_mut(self.0.start.cast(), SIZE) }
    }

    unsafe fn set_filled(&mut self, _: usize) {}
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.whole().fill(POISON);
        self.0.freed.store(true, Ordering::SeqCst);
    }
}

pub struct Scratch(pub PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

type Read = Overlapped<Fill<Buffer>, ()>;
type Port = CompletionPort<Buffer, usize>;

/// Drops what it is given, in an order of its own.
type Order = (&'static str, fn(Vec<Read>, File, Port));

const ORDERS: [Order; 6] = [
    ("handles, file, port", |handles, file, port| each((handles, file, port))),
    ("handles, port, file", |handles, file, port| each((handles, port, file))),
    ("file, handles, port", |handles, file, port| each((file, handles, port))),
    ("file, port, handles", |handles, file, port| each((file, port, handles))),
    ("port, handles, file", |handles, file, port| each((port, handles, file))),
    ("port, file, handles", |handles, file, port| each((port, file, handles))),
];

/// A tuple's fields are dropped in their order.
fn each<A, B, C>(in_order: (A, B, C)) {
    drop(in_order);
}

/// Waits until every buffer is dropped, and looks for a while whether one is written after that.
pub fn assert_untouched(places: &[Place], order: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    let held = || (0..places.len()).filter(|n| !places[*n].is_freed()).collect::<Vec<_>>();
    while !held().is_empty() {
        assert!(Instant::now() < end, "{order}: buffers {:?} are never freed", held());
        std::thread::sleep(Duration::from_millis(1));
    }
    let end = Instant::now() + Duration::from_millis(50);
    while Instant::now() < end {
        assert!(places.iter().all(|place| place.is_poisoned()), "{order}: a buffer was written after it was freed");
    }
}

fn everything_dropped_in_every_order(name: &str) {
    let scratch = Scratch(std::env::temp_dir().join(format!("proactor-teardown-{}-{name}", std::process::id())));
    std::fs::write(&scratch.0, vec![IN_THE_FILE; READS * SIZE]).unwrap();
    std::fs::File::options().write(true).open(&scratch.0).unwrap().sync_all().unwrap();
    let open = || File::open_now(&scratch.0, &OpenOptions::new().read(true).direct(true));
    if let Err(error) = open() {
        assert_eq!(error.code(), Code::NotSupported, "{error}");
        println!("SKIP {name}: the file system of the temporary directory has no direct I/O");
        return;
    }
    let places: Vec<Place> = (0..READS).map(|_| Place::new()).collect();
    let at = |n: usize| (n * SIZE) as u64;
    let mut pending = 0;
    // Overlapped, on a user's port and on the process's own.
    for (homed, (order, drop_all)) in [true, false].into_iter().flat_map(|homed| ORDERS.map(|order| (homed, order))) {
        let (file, port) = (open().unwrap(), Port::new(1).unwrap());
        if homed {
            port.associate(&file, 7).unwrap();
        }
        let reads: Vec<Read> =
            places.iter().enumerate().map(|(n, place)| file.read_at(place.buffer(), at(n)).start().unwrap()).collect();
        pending += reads.iter().filter(|read| !read.is_complete()).count();
        drop_all(reads, file, port);
        assert_untouched(&places, order);
    }
    println!("{name}: {pending} of {} overlapped reads were pending when everything was dropped", 12 * READS);
    if pending <= READS {
        assert!(
            std::env::var_os("PROACTOR_WINE").is_some(),
            "the reads were over before anything was dropped: this shows nothing"
        );
        println!("SKIP {name}: Wine reads most of a file within the call that starts the read");
    }
    // Packets; started on a thread that ends before they do.
    for file_first in [true, false] {
        let (file, port) = (open().unwrap(), Port::new(1).unwrap());
        port.associate(&file, 7).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (n, place) in places.iter().enumerate() {
                    let block = Block::new(place.buffer());
                    file.read_at(within_mut(|buffer: &mut Buffer| buffer.whole()), at(n)).packet(block).unwrap();
                }
            });
        });
        match file_first {
            true => each((file, port, ())),
            false => each((port, file, ())),
        }
        assert_untouched(&places, if file_first { "packets: file, port" } else { "packets: port, file" });
    }
}

#[test]
fn no_buffer_is_freed_under_the_kernel() {
    everything_dropped_in_every_order("no_buffer_is_freed_under_the_kernel");
}

/// The same where io_uring is not wanted; in a child, because a process chooses once.
#[cfg(target_os = "linux")]
#[test]
fn no_buffer_is_freed_under_the_pool() {
    super::alone::alone("teardown::no_buffer_is_freed_under_the_pool", || {
        proactor::set_backend(proactor::Backend::Epoll).unwrap();
        everything_dropped_in_every_order("no_buffer_is_freed_under_the_pool");
    });
}
