//! Where an object lives, in its type: on a port any thread may use, or on one thread's own.

use std::marker::PhantomData;

/// The home of an object that any thread may use: a [`CompletionPort`](crate::CompletionPort), or the process's own
/// port. The default.
#[derive(Clone, Copy, Debug)]
pub struct Shared;

/// The home of an object that belongs to one thread: its [`LocalPort`](crate::LocalPort). Such an object, its operations
/// and its handles stay on that thread, and the compiler sees to it.
///
/// ```compile_fail
/// fn moves<T: Send>(_: T) {}
/// fn to_another_thread(stream: proactor::net::TcpStream<proactor::Local>) {
///     moves(stream);
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Local(PhantomData<*const ()>);

/// [`Shared`] or [`Local`].
pub trait Home: sealed::Sealed + Sized + Unpin + 'static {}

impl Home for Shared {}
impl Home for Local {}

/// The homes whose packets may carry a block of `B`: a shared port hands it to any thread, so `B` must be `Send`.
pub trait Carries<B>: Home {}

impl<B: Send + 'static> Carries<B> for Shared {}
impl<B: 'static> Carries<B> for Local {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Shared {}
    impl Sealed for super::Local {}
}
