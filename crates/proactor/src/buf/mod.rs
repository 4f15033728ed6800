//! Buffers an operation may own, projections into a packet's block, and a bounded pool.
//!
//! Contract: an operation owns its buffer (or the block the buffer lies in) from start to terminal completion. The
//! kernel's addresses are taken once, after the owner came to rest in the operation's block, and nobody else touches
//! the bytes until the completion gives the owner back.

mod cargo;
mod lowered;
mod pool;
mod traits;
mod within;

pub use cargo::{
    Around, AroundTarget, Cargo, Drain, DrainList, DrainListTarget, DrainTarget, Fill, FillList, FillListTarget, FillTarget,
    Multi, NoBuffer, Project,
};
pub(crate) use cargo::{LoweredBuffers, Sealed};
pub(crate) use lowered::Buffers;
pub(crate) use pool::none_free;
pub use pool::{BufferPool, PoolBuf};
pub use traits::{IoBuf, IoBufMut, Slice};
pub use within::{
    Gather, GatherMut, Within, WithinList, WithinListMut, WithinMut, within, within_list, within_list_mut, within_mut,
};
