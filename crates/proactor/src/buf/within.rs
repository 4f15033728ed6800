//! Projections: where in a packet's block the buffer lies.
//!
//! A projection runs once, while the library holds the block. The borrow it returns is held, in effect, until the
//! completion: nobody reaches the block in between, so the addresses stay true.

use std::marker::PhantomData;

use super::lowered::Buffers;

/// The buffer to send from, inside the packet's block. Made by [`within`].
pub struct Within<B, F>(pub(super) F, PhantomData<fn(&mut B)>);

/// The buffer to fill, inside the packet's block. Made by [`within_mut`].
pub struct WithinMut<B, F>(pub(super) F, PhantomData<fn(&mut B)>);

/// Several buffers to send from, inside the packet's block. Made by [`within_list`].
pub struct WithinList<B, F>(pub(super) F, PhantomData<fn(&mut B)>);

/// Several buffers to fill, inside the packet's block. Made by [`within_list_mut`].
pub struct WithinListMut<B, F>(pub(super) F, PhantomData<fn(&mut B)>);

/// Names the bytes inside the block that a send or write takes.
///
/// ```
/// # use proactor::within;
/// struct PerIo { buf: Vec<u8>, len: usize }
/// let whole_message = within(|io: &mut PerIo| &io.buf[..io.len]);
/// # let _ = whole_message;
/// ```
pub fn within<B, F: FnOnce(&mut B) -> &[u8]>(f: F) -> Within<B, F> {
    Within(f, PhantomData)
}

/// Names the bytes inside the block that a receive or read fills.
///
/// ```
/// # use proactor::within_mut;
/// struct PerIo { buf: Vec<u8> }
/// let buffer = within_mut(|io: &mut PerIo| &mut io.buf[..]);
/// # let _ = buffer;
/// ```
pub fn within_mut<B, F: FnOnce(&mut B) -> &mut [u8]>(f: F) -> WithinMut<B, F> {
    WithinMut(f, PhantomData)
}

/// Names several ranges inside the block that a vectored send or write takes, in order.
///
/// ```
/// # use proactor::within_list;
/// struct PerIo { head: [u8; 4], body: Vec<u8> }
/// let message = within_list(|io: &mut PerIo, list| {
///     list.push(&io.head);
///     list.push(&io.body);
/// });
/// # let _ = message;
/// ```
pub fn within_list<B, F: for<'a> FnOnce(&'a mut B, &mut Gather<'a>)>(f: F) -> WithinList<B, F> {
    WithinList(f, PhantomData)
}

/// Names several ranges inside the block that a vectored receive or read fills, in order.
///
/// ```
/// # use proactor::within_list_mut;
/// struct PerIo { head: [u8; 4], body: Vec<u8> }
/// let message = within_list_mut(|io: &mut PerIo, list| {
///     list.push(&mut io.head);
///     list.push(&mut io.body);
/// });
/// # let _ = message;
/// ```
pub fn within_list_mut<B, F: for<'a> FnOnce(&'a mut B, &mut GatherMut<'a>)>(f: F) -> WithinListMut<B, F> {
    WithinListMut(f, PhantomData)
}

/// The list a [`within_list`] projection fills.
pub struct Gather<'a> {
    pub(super) into: &'a mut Buffers,
    pub(super) borrow: PhantomData<&'a [u8]>,
}

impl<'a> Gather<'a> {
    /// Appends one range of the block.
    pub fn push(&mut self, bytes: &'a [u8]) {
        self.into.push_slice(bytes);
    }
}

/// The list a [`within_list_mut`] projection fills.
pub struct GatherMut<'a> {
    pub(super) into: &'a mut Buffers,
    pub(super) borrow: PhantomData<&'a mut [u8]>,
}

impl<'a> GatherMut<'a> {
    /// Appends one range of the block.
    pub fn push(&mut self, bytes: &'a mut [u8]) {
        self.into.push(bytes.as_mut_ptr(), bytes.len());
    }
}
