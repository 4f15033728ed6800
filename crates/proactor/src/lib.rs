//! I/O completion ports for Rust: real IOCP on Windows, the same promises on Linux over epoll and io_uring.
//!
//! **An operation says what is asked of the kernel; a delivery says where its one completion goes.** Every operation
//! works with every delivery:
//!
//! ```
//! use proactor::{Block, CompletionPort, Concurrency, Outcome, net::{TcpListener, TcpStream}, within, within_mut};
//!
//! struct PerIo { buf: Vec<u8> }
//!
//! let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
//! let accept = listener.accept().start()?;                                  // overlapped: a handle
//! let client = TcpStream::unconnected_v4()?;
//! client.connect(listener.local_addr()?).start()?.wait().result?;
//! let server = accept.wait().result?.stream;
//!
//! let port: CompletionPort<PerIo, usize> = CompletionPort::new(Concurrency::Cores)?;
//! port.associate(&server, 7)?;
//! server.recv(within_mut(|io: &mut PerIo| &mut io.buf[..]))
//!     .packet(Block::new(PerIo { buf: vec![0; 4096] }))?;                   // a packet on the port
//! client.send(b"hello").start()?.wait().result?;
//!
//! let Outcome::Packet(packet) = port.get(None)? else { panic!() };
//! assert_eq!((packet.key, packet.done.bytes), (7, 5));
//! assert_eq!(&packet.block.unwrap().buf[..5], b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `futures-io`, `tokio-io`, `hyper` | the module `compat`: streams as those libraries' I/O, hyper's executor and timer |
//! | `tracing` | spans at level TRACE, as Asio's handler tracking: each operation from its start to where its result is taken (target `proactor::operation`; fields `kind`, `delivery`; when it completed an event with `bytes`, `result`, `micros`), each run of a handler or a completion routine (`proactor::handler`), each task of the runtime (`proactor::task`, entered with every poll). Where no subscriber wants them they cost a look at a flag; without the feature nothing |
//!
//! Which system calls stand behind an operation, and what each promise costs, is in ARCHITECTURE.md.

mod backend;
mod buf;
mod cancel;
pub mod channel;
#[cfg(all(not(loom), any(feature = "futures-io", feature = "tokio-io", feature = "hyper")))]
pub mod compat;
pub mod compose;
pub mod context;
mod deliver;
pub mod dns;
mod error;
pub mod flow;
pub mod fs;
pub mod group;
mod handle;
mod home;
pub mod net;
mod newcomers;
mod op;
pub mod pipe;
pub mod pool;
mod port;
pub mod process;
pub mod rt;
mod shim;
pub mod signal;
pub mod sync;
pub mod time;
#[cfg_attr(not(all(feature = "tracing", not(loom))), path = "trace/off.rs")]
#[cfg_attr(all(feature = "tracing", not(loom)), path = "trace/on.rs")]
mod trace;

#[cfg(all(test, loom))]
mod models;

/// The names of Win32 and of Asio, and what stands for them here.
#[doc = include_str!("../docs/win32.md")]
pub mod win32 {}

/// The names of Boost.Asio, and what stands for them here.
#[doc = include_str!("../docs/asio.md")]
pub mod asio {}

/// The README's code is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub use backend::{Backend, BackendInfo, raw, watch};
pub use buf::{
    Around, AroundTarget, BufferPool, Cargo, Drain, DrainList, DrainListTarget, DrainTarget, Fill, FillList, FillListTarget,
    FillTarget, Gather, GatherMut, IoBuf, IoBufMut, Multi, NoBuffer, PoolBuf, Project, Slice, Within, WithinList, WithinListMut,
    WithinMut, within, within_list, within_list_mut, within_mut,
};
pub use cancel::{CancelToken, Cancellation, Cancelled};
pub use deliver::{Overlapped, Promise, Promised, block_on, promise};
pub use error::{Code, Error, Refused};
pub use handle::{AsObject, Limits};
pub use home::{Carries, Home, Local, Shared};
pub use op::{Accepted, Address, Block, Boxed, Brings, Completion, Datagram, Done, OpKind, Operation, Ticket, Value};
pub use port::{Batch, CompletionPort, Concurrency, Fetched, Key, LocalPort, Outcome, Packet, RefusedPost, RemotePort, Settings};
pub use proactor_macros::{main, test};
pub use time::Wait;

/// Which backend runs in this process, and why. Chooses now if nothing has chosen yet.
///
/// ```
/// let info = proactor::backend();
/// println!("sockets by {}, files by {}, per-thread ports by {}: {}", info.sockets, info.files, info.per_thread, info.reason);
/// ```
pub fn backend() -> BackendInfo {
    backend::choice()
}

/// Chooses the backend for this process. Call it before the first file operation; the default is the environment's
/// `PROACTOR_BACKEND=uring|epoll`, or a probe.
///
/// Errors: [`Code::InvalidParameter`] if another was chosen already, [`Code::NotSupported`] if the system does not offer it.
pub fn set_backend(backend: Backend) -> Result<(), Error> {
    backend::set_choice(backend)
}
