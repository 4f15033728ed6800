//! What an operation carries: an owned buffer, a list of them, nothing, or a projection into a packet's block.

use std::marker::PhantomData;

use super::lowered::Buffers;
use super::pool::BufferPool;
use super::traits::{IoBuf, IoBufMut};
use super::within::{Gather, GatherMut, Within, WithinList, WithinListMut, WithinMut};

/// Owned cargo: travels inside the operation's block and comes back with the result.
pub trait Cargo: Sealed + Send {
    /// What the user gets back.
    type Back;
    /// Tells the kernel's view of it. Called once, after the cargo came to rest in the block.
    #[doc(hidden)]
    fn lower(&mut self, into: &mut LoweredBuffers<'_>);
    /// Gives the buffer back.
    ///
    /// # Safety
    /// The first `bytes` bytes of what `lower` named for filling have been initialized.
    #[doc(hidden)]
    unsafe fn finish(self, bytes: usize) -> Self::Back;
    /// Gives the buffer back as it came: the operation never started.
    #[doc(hidden)]
    fn give_back(self) -> Self::Back;
}

/// A projection of a packet's block `B` to its buffers.
pub trait Project<B>: Sealed {
    /// Names the buffers inside the block. Runs user code.
    #[doc(hidden)]
    fn project(self, block: &mut B, into: &mut LoweredBuffers<'_>);
}

/// Only the library's types may name addresses to the kernel: another implementation could name memory that is gone.
pub trait Sealed {}

impl Sealed for NoBuffer {}
impl Sealed for Multi {}
impl<B> Sealed for Fill<B> {}
impl<B> Sealed for Drain<B> {}
impl<L> Sealed for FillList<L> {}
impl<L> Sealed for DrainList<L> {}
impl<A, B> Sealed for Around<A, B> {}

/// Hides the lowered form from the public traits.
pub struct LoweredBuffers<'a>(pub(crate) &'a mut Buffers);

/// No buffer: readiness, accept without first data, shutdown.
#[derive(Debug)]
pub struct NoBuffer;

impl Cargo for NoBuffer {
    type Back = ();
    fn lower(&mut self, _: &mut LoweredBuffers<'_>) {}
    unsafe fn finish(self, _: usize) {}
    fn give_back(self) {}
}

impl<B> Project<B> for NoBuffer {
    fn project(self, _: &mut B, _: &mut LoweredBuffers<'_>) {}
}

/// An operation of many completions: it brings its buffers with them, and only packets can deliver it.
pub struct Multi(pub(crate) Option<BufferPool>);

impl<B> Project<B> for Multi {
    fn project(self, _: &mut B, into: &mut LoweredBuffers<'_>) {
        into.0.pool = self.0;
    }
}

/// One owned buffer to fill.
pub struct Fill<B>(B);

impl<B: IoBufMut> Cargo for Fill<B> {
    type Back = B;
    fn lower(&mut self, into: &mut LoweredBuffers<'_>) {
        let spare = self.0.spare();
        into.0.push(spare.as_mut_ptr().cast(), spare.len());
    }
    unsafe fn finish(mut self, bytes: usize) -> B {
        // SAFETY: the caller's promise is the one set_filled asks for.
        unsafe { self.0.set_filled(bytes) };
        self.0
    }
    fn give_back(self) -> B {
        self.0
    }
}

/// One owned buffer to send or write.
pub struct Drain<B>(B);

impl<B: IoBuf> Cargo for Drain<B> {
    type Back = B;
    fn lower(&mut self, into: &mut LoweredBuffers<'_>) {
        into.0.push_slice(self.0.as_slice());
    }
    unsafe fn finish(self, _: usize) -> B {
        self.0
    }
    fn give_back(self) -> B {
        self.0
    }
}

/// What goes before a file and what goes after it.
pub struct Around<A, B>(A, B);

impl<A: IoBuf, B: IoBuf> Cargo for Around<A, B> {
    type Back = (A, B);
    fn lower(&mut self, into: &mut LoweredBuffers<'_>) {
        into.0.push_slice(self.0.as_slice());
        into.0.push_slice(self.1.as_slice());
    }
    unsafe fn finish(self, _: usize) -> (A, B) {
        (self.0, self.1)
    }
    fn give_back(self) -> (A, B) {
        (self.0, self.1)
    }
}

/// A list of owned buffers to fill.
pub struct FillList<L>(L);

/// A list of owned buffers to send or write.
pub struct DrainList<L>(L);

macro_rules! lists {
    ($($list:ty, [$($generics:tt)*];)*) => {$(
        impl<T: IoBufMut, $($generics)*> Cargo for FillList<$list> {
            type Back = $list;
            fn lower(&mut self, into: &mut LoweredBuffers<'_>) {
                for buf in &mut self.0 {
                    let spare = buf.spare();
                    into.0.push(spare.as_mut_ptr().cast(), spare.len());
                }
            }
            unsafe fn finish(mut self, mut bytes: usize) -> $list {
                for buf in &mut self.0 {
                    let n = bytes.min(buf.spare().len());
                    // SAFETY: buffers are filled in order, so the first n bytes of this one were initialized.
                    unsafe { buf.set_filled(n) };
                    bytes -= n;
                }
                self.0
            }
            fn give_back(self) -> $list {
                self.0
            }
        }
        impl<T: IoBuf, $($generics)*> Cargo for DrainList<$list> {
            type Back = $list;
            fn lower(&mut self, into: &mut LoweredBuffers<'_>) {
                for buf in &self.0 {
                    into.0.push_slice(buf.as_slice());
                }
            }
            unsafe fn finish(self, _: usize) -> $list {
                self.0
            }
            fn give_back(self) -> $list {
                self.0
            }
        }
        impl<T: IoBufMut + 'static, $($generics)*> FillListTarget for $list {
            type Cargo = FillList<$list>;
            fn into_cargo(self) -> Self::Cargo {
                FillList(self)
            }
        }
        impl<T: IoBuf + 'static, $($generics)*> DrainListTarget for $list {
            type Cargo = DrainList<$list>;
            fn into_cargo(self) -> Self::Cargo {
                DrainList(self)
            }
        }
    )*};
}

/// What `recv` and `read_at` fill: an owned buffer, or [`within_mut`](crate::within_mut) a packet's block.
pub trait FillTarget {
    /// How the operation carries it.
    type Cargo;
    /// Wraps it for the operation.
    fn into_cargo(self) -> Self::Cargo;
}

/// What `send` and `write_at` take: an owned buffer, or [`within`](crate::within) a packet's block.
pub trait DrainTarget {
    /// How the operation carries it.
    type Cargo;
    /// Wraps it for the operation.
    fn into_cargo(self) -> Self::Cargo;
}

/// What vectored receives and reads fill: a list of buffers, or [`within_list_mut`](crate::within_list_mut).
pub trait FillListTarget {
    /// How the operation carries it.
    type Cargo;
    /// Wraps it for the operation.
    fn into_cargo(self) -> Self::Cargo;
}

/// What vectored sends and writes take: a list of buffers, or [`within_list`](crate::within_list).
pub trait DrainListTarget {
    /// How the operation carries it.
    type Cargo;
    /// Wraps it for the operation.
    fn into_cargo(self) -> Self::Cargo;
}

/// What `transmit_file` sends around a file: nothing, `()`; two owned buffers, `(head, tail)`; or
/// [`within_list`](crate::within_list) a packet's block, whose first part goes before the file and whose second goes after it.
pub trait AroundTarget {
    /// How the operation carries it.
    type Cargo;
    /// Wraps it for the operation.
    fn into_cargo(self) -> Self::Cargo;
}

impl AroundTarget for () {
    type Cargo = NoBuffer;
    fn into_cargo(self) -> NoBuffer {
        NoBuffer
    }
}

impl<A: IoBuf + 'static, B: IoBuf + 'static> AroundTarget for (A, B) {
    type Cargo = Around<A, B>;
    fn into_cargo(self) -> Around<A, B> {
        Around(self.0, self.1)
    }
}

lists! {
    Vec<T>, [];
    [T; N], [const N: usize];
}

impl<B: IoBufMut + 'static> FillTarget for B {
    type Cargo = Fill<B>;
    fn into_cargo(self) -> Fill<B> {
        Fill(self)
    }
}

impl<B: IoBuf + 'static> DrainTarget for B {
    type Cargo = Drain<B>;
    fn into_cargo(self) -> Drain<B> {
        Drain(self)
    }
}

macro_rules! projections {
    ($($within:ident, $target:ident;)*) => {$(
        impl<B, F> Sealed for $within<B, F> {}
        impl<B, F> $target for $within<B, F> {
            type Cargo = $within<B, F>;
            fn into_cargo(self) -> Self {
                self
            }
        }
    )*};
}

projections! {
    WithinMut, FillTarget;
    Within, DrainTarget;
    WithinListMut, FillListTarget;
    WithinList, DrainListTarget;
}

impl<B, F> AroundTarget for WithinList<B, F> {
    type Cargo = WithinList<B, F>;
    fn into_cargo(self) -> Self {
        self
    }
}

impl<B, F: FnOnce(&mut B) -> &mut [u8]> Project<B> for WithinMut<B, F> {
    fn project(self, block: &mut B, into: &mut LoweredBuffers<'_>) {
        let bytes = (self.0)(block);
        into.0.push(bytes.as_mut_ptr(), bytes.len());
    }
}

impl<B, F: FnOnce(&mut B) -> &[u8]> Project<B> for Within<B, F> {
    fn project(self, block: &mut B, into: &mut LoweredBuffers<'_>) {
        into.0.push_slice((self.0)(block));
    }
}

impl<B, F: for<'a> FnOnce(&'a mut B, &mut GatherMut<'a>)> Project<B> for WithinListMut<B, F> {
    fn project(self, block: &mut B, into: &mut LoweredBuffers<'_>) {
        (self.0)(block, &mut GatherMut { into: into.0, borrow: PhantomData });
    }
}

impl<B, F: for<'a> FnOnce(&'a mut B, &mut Gather<'a>)> Project<B> for WithinList<B, F> {
    fn project(self, block: &mut B, into: &mut LoweredBuffers<'_>) {
        (self.0)(block, &mut Gather { into: into.0, borrow: PhantomData });
    }
}
