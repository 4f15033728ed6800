//! Cancellation from outside: a token that many operations are bound to.
//!
//! Contract: a member of a [`Tree`] is listed from [`enter`](Tree::enter) to [`leave`](Tree::leave), both called by who has the
//! operation; so what is listed under the lock is alive. A cancel lists what it is to do under the lock and does it without.
//!
//! An operation of a thread's own port is cancelled on that thread alone: another one's cancel is sent there.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::backend::{self, OwnThread};
use crate::handle::{Kept, Object, Which};
use crate::op::{Op, Ticket};

/// What a cancel may leave behind. Who cancels says how much he puts up with; an operation that cannot keep that is left alone.
///
/// | asked for | an operation ends if, cancelled, it | as |
/// |---|---|---|
/// | `Total` | has done all or nothing | a receive, an accept, a wait, a timer |
/// | `Partial` | says what it has done so far | a send, a write, a read of exactly so many bytes |
/// | `Terminal` | may leave its object good for nothing but to be closed | a connect, a disconnect, the closing of half a connection |
///
/// Each asks for those above it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cancellation {
    /// All or nothing.
    Total = 1,
    /// Some may be done, and is reported.
    Partial = 2,
    /// The object may be unusable afterwards.
    Terminal = 3,
}

impl Cancellation {
    fn of(level: u8) -> Option<Cancellation> {
        [Cancellation::Total, Cancellation::Partial, Cancellation::Terminal].into_iter().find(|it| *it as u8 == level)
    }
}

impl Op {
    /// The least that a cancel must put up with to cancel it.
    pub(crate) fn harm(&self) -> Cancellation {
        match self {
            Op::Connect { .. } | Op::Shutdown { .. } | Op::Disconnect { .. } | Op::Raw => Cancellation::Terminal,
            Op::Send | Op::SendTo { .. } | Op::SendMsg(_) | Op::Transmit(_) | Op::WriteAt { .. } | Op::Allocate { .. } => {
                Cancellation::Partial
            }
            Op::Accept | Op::AcceptMulti | Op::RecvMulti | Op::Recv | Op::RecvMessage | Op::RecvFrom => Cancellation::Total,
            Op::RecvMsg | Op::Awaited { .. } => Cancellation::Total,
            Op::PipeConnect | Op::Ready { .. } | Op::ReadAt { .. } | Op::Sync { .. } | Op::Open { .. } => Cancellation::Total,
            Op::Close | Op::SetLen { .. } | Op::Metadata | Op::Timer { .. } | Op::Exited | Op::Post => Cancellation::Total,
        }
    }
}

/// Who is told of a cancel.
enum Member {
    Free(u32),
    Operation { object: NonNull<Object>, ticket: Ticket, harm: Cancellation, owner: Option<OwnThread> },
    Task(Waker),
    Child(Weak<Tree>),
}

// SAFETY: a listed operation's object is alive, and touched by a thread that may.
unsafe impl Send for Member {}

const NO_PLACE: u32 = u32::MAX;

struct Members {
    list: Vec<Member>,
    free: u32,
}

impl Members {
    fn add(&mut self, member: Member) -> u32 {
        let at = self.free;
        match self.list.get_mut(at as usize) {
            Some(place) => {
                if let Member::Free(next) = std::mem::replace(place, member) {
                    self.free = next;
                }
                at
            }
            None => {
                self.list.push(member);
                (self.list.len() - 1) as u32
            }
        }
    }

    fn remove(&mut self, at: u32) -> Member {
        let free = std::mem::replace(&mut self.free, at);
        std::mem::replace(&mut self.list[at as usize], Member::Free(free))
    }
}

/// A token's own part.
pub(crate) struct Tree {
    /// The strongest cancel so far.
    level: AtomicU8,
    members: Mutex<Members>,
    /// Where it is listed.
    parent: Mutex<Option<(Arc<Tree>, u32)>>,
}

/// What a cancel found.
#[derive(Default)]
struct Found {
    operations: Vec<(Kept, Ticket)>,
    tasks: Vec<Waker>,
    owners: Vec<OwnThread>,
    children: Vec<Arc<Tree>>,
}

impl Tree {
    fn new(level: u8, parent: Option<(Arc<Tree>, u32)>) -> Tree {
        let members = Members { list: Vec::new(), free: NO_PLACE };
        Tree { level: AtomicU8::new(level), members: Mutex::new(members), parent: Mutex::new(parent) }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn level(&self) -> u8 {
        self.level.load(Ordering::SeqCst)
    }

    /// Whether it is cancelled so that an operation of this harm ends.
    pub fn cancels(&self, harm: Cancellation) -> bool {
        self.level() >= harm as u8
    }

    /// Lists an operation; `None`: it is cancelled already.
    ///
    /// Contract: the object is alive until `leave`, and `owner` is who alone may touch it.
    pub fn enter(&self, object: NonNull<Object>, ticket: Ticket, harm: Cancellation, owner: Option<OwnThread>) -> Option<u32> {
        let mut members = self.lock();
        (!self.cancels(harm)).then(|| members.add(Member::Operation { object, ticket, harm, owner }))
    }

    pub fn leave(&self, at: u32) {
        let left = self.lock().remove(at);
        // A waker's drop is user code.
        drop(left);
    }

    /// One that is cancelled already, for what only wants its delivery.
    pub fn cancelled() -> &'static Arc<Tree> {
        static CANCELLED: OnceLock<Arc<Tree>> = OnceLock::new();
        CANCELLED.get_or_init(|| Arc::new(Tree::new(Cancellation::Terminal as u8, None)))
    }

    /// Cancels it and its children.
    fn cancel(self: &Arc<Tree>, level: u8) {
        let mut trees = VecDeque::from([self.clone()]);
        while let Some(tree) = trees.pop_front() {
            let mut found = Found::default();
            {
                let mut members = tree.lock();
                if tree.level() >= level {
                    continue;
                }
                tree.level.store(level, Ordering::SeqCst);
                members.find(level, &mut found);
            }
            fence(Ordering::SeqCst);
            trees.extend(found.children);
            for (object, ticket) in found.operations {
                backend::cancel(&object, Which::One(ticket));
            }
            for owner in found.owners {
                owner.call(tree.clone());
            }
            found.tasks.into_iter().for_each(Waker::wake);
        }
    }

    /// Cancels what is the calling thread's own: another one cancelled the token.
    pub fn cancel_own(&self) {
        let mut found = Found::default();
        self.lock().find(self.level(), &mut found);
        for (object, ticket) in found.operations {
            backend::cancel(&object, Which::One(ticket));
        }
    }
}

impl Members {
    fn find(&mut self, level: u8, found: &mut Found) {
        for member in &mut self.list {
            match member {
                Member::Operation { object, ticket, harm, owner } if *harm as u8 <= level => match &*owner {
                    Some(owner) if !owner.is_here() => {
                        if !found.owners.iter().any(|other| other.is(owner)) {
                            found.owners.push(owner.clone());
                        }
                    }
                    // SAFETY: listed, so alive, and this thread may touch it.
                    _ => found.operations.push((unsafe { Kept::new(*object) }, *ticket)),
                },
                Member::Task(waker) => found.tasks.push(std::mem::replace(waker, Waker::noop().clone())),
                Member::Child(child) => found.children.extend(child.upgrade()),
                Member::Operation { .. } | Member::Free(_) => {}
            }
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // One after the other: a long line of children goes without recursion.
        let mut next = self.parent.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        while let Some((parent, at)) = next {
            parent.leave(at);
            next =
                Arc::into_inner(parent).and_then(|mut last| last.parent.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// Cancels operations from anywhere: all that were bound to it ([`Operation::cancel_on`](crate::Operation::cancel_on)), and to its
/// children. A clone is the same token.
///
/// It is weak: it keeps no operation, object or port alive, and dropping it cancels nothing. An operation that was cancelled still
/// completes, with [`Code::Cancelled`](crate::Code::Cancelled) or with its real result if that won. A cancelled token stays so.
///
/// ```
/// use proactor::{CancelToken, Code, net::UdpSocket};
/// let (server, connection) = { let server = CancelToken::new(); let child = server.child(); (server, child) };
/// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// let op = socket.recv_from(vec![0; 64]).cancel_on(&connection).start()?;
/// std::thread::spawn(move || server.cancel());
/// assert_eq!(op.wait().result.unwrap_err().code(), Code::Cancelled);
/// assert!(connection.is_cancelled());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct CancelToken(Arc<Tree>);

impl Default for CancelToken {
    fn default() -> CancelToken {
        CancelToken::new()
    }
}

impl CancelToken {
    /// A token, not cancelled.
    pub fn new() -> CancelToken {
        CancelToken(Arc::new(Tree::new(0, None)))
    }

    /// A token that is cancelled with this one, and can be alone.
    ///
    /// ```
    /// let parent = proactor::CancelToken::new();
    /// let (one, other) = (parent.child(), parent.child());
    /// one.cancel();
    /// assert!(!parent.is_cancelled() && !other.is_cancelled());
    /// parent.cancel();
    /// assert!(other.is_cancelled() && other.child().is_cancelled());
    /// ```
    pub fn child(&self) -> CancelToken {
        let mut members = self.0.lock();
        // Linked under the lock, so that no cancel is missed.
        let child = Arc::new(Tree::new(self.0.level(), None));
        let at = members.add(Member::Child(Arc::downgrade(&child)));
        drop(members);
        *child.parent.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.0.clone(), at));
        CancelToken(child)
    }

    /// Cancels everything bound to it: [`Cancellation::Terminal`].
    pub fn cancel(&self) {
        self.cancel_with(Cancellation::Terminal);
    }

    /// Cancels what can keep this promise; the rest goes on, and what is started on the token later is treated alike. A
    /// stronger cancel may follow.
    ///
    /// ```
    /// use proactor::{CancelToken, Cancellation, net::UdpSocket};
    /// let token = CancelToken::new();
    /// token.cancel_with(Cancellation::Total);
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// let to = socket.local_addr()?;
    /// assert!(socket.send_to(b"sent all the same", to).cancel_on(&token).wait().result.is_ok());
    /// assert!(socket.recv_from(vec![0; 64]).cancel_on(&token).wait().result.is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn cancel_with(&self, cancellation: Cancellation) {
        // A forked child's copies are not looked at.
        if backend::check_fork().is_ok() {
            self.0.cancel(cancellation as u8);
        }
    }

    /// Whether it was cancelled, in whatever way.
    pub fn is_cancelled(&self) -> bool {
        self.0.level() != 0
    }

    /// The strongest cancel so far.
    pub fn cancellation(&self) -> Option<Cancellation> {
        Cancellation::of(self.0.level())
    }

    /// Completes once it is cancelled, in whatever way. Dropping the future is fine.
    ///
    /// ```
    /// let token = proactor::CancelToken::new();
    /// let other = token.clone();
    /// std::thread::spawn(move || other.cancel());
    /// proactor::block_on(token.cancelled());
    /// ```
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { tree: self.0.clone(), listed: None }
    }

    pub(crate) fn tree(&self) -> &Arc<Tree> {
        &self.0
    }
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelToken").field("cancellation", &self.cancellation()).finish_non_exhaustive()
    }
}

/// What [`CancelToken::cancelled`] gives.
#[must_use = "a future does nothing unless it is polled"]
pub struct Cancelled {
    tree: Arc<Tree>,
    listed: Option<u32>,
}

impl Cancelled {
    fn unlist(&mut self) {
        if let Some(at) = self.listed.take() {
            self.tree.leave(at);
        }
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.unlist();
        let waker = Member::Task(cx.waker().clone());
        let mut members = this.tree.lock();
        if this.tree.level() != 0 {
            drop(members);
            return Poll::Ready(());
        }
        this.listed = Some(members.add(waker));
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.unlist();
    }
}
