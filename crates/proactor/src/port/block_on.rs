//! `LocalPort::block_on`: the executor for one future that a per-thread port is.
//!
//! | atomic | partner |
//! |---|---|
//! | `word` swap WOKEN, then the port's poke | the owner looks at the poke, then swaps `word` to ASLEEP: a wake is seen by that look, or by the next |

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::entry::Entry;
use super::key::Key;
use super::local::LocalPort;
use crate::backend::{self, PortRef};
use crate::error::Code;
use crate::shim::{AtomicU32, Ordering};
use crate::time::Wait;

const ASLEEP: u32 = 0;
const WOKEN: u32 = 1;

/// Wakes the port's thread, from any.
struct Sleeper {
    word: AtomicU32,
    port: backend::Poke,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Sleeper>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Sleeper>) {
        if self.word.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            self.port.poke();
            backend::futex_wake_one(&self.word);
        }
    }
}

/// Packets that came meanwhile, which are not this call's to show. They go back, before all others, also if it panics.
struct Kept<'a> {
    packets: VecDeque<Entry>,
    port: &'a PortRef,
}

impl Kept<'_> {
    fn give_back(&mut self) {
        if !self.packets.is_empty() {
            self.port.give_back(self.packets.drain(..));
        }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<B: 'static, K: Key> LocalPort<B, K> {
    /// Runs a future on this thread, and the port meanwhile: operations of its objects go on and complete, handlers
    /// ([`then`](crate::Operation::then)) are called as they are inside [`get`](LocalPort::get), packets wait for the next
    /// `get`. The thread sleeps in the port while there is nothing to do; wakers may be used on any thread.
    ///
    /// If the port is closed meanwhile the future is run on, and no handlers any more.
    ///
    /// ```
    /// use proactor::{LocalPort, net::UdpSocket};
    /// let port: LocalPort = LocalPort::new()?;
    /// let a = port.associate(UdpSocket::bind("127.0.0.1:0".parse().unwrap())?, 0)?;
    /// let to = a.local_addr()?;
    /// port.block_on(async {
    ///     a.send_to(b"hello", to).await.result?;
    ///     let done = a.recv_from(vec![0; 64]).await;
    ///     assert_eq!(&done.buffer[..], b"hello");
    ///     done.result
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let port = self.port();
        let sleeper = Arc::new(Sleeper { word: AtomicU32::new(WOKEN), port: port.poker() });
        let waker = Waker::from(sleeper.clone());
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        let mut kept = Kept { packets: VecDeque::new(), port };
        loop {
            if sleeper.word.swap(ASLEEP, Ordering::AcqRel) == WOKEN {
                // What is polled may call `get` itself.
                kept.give_back();
                if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                    return output;
                }
                continue;
            }
            match port.get_one(Wait::Forever) {
                Ok((_, Some(entry))) => kept.packets.extend(entry.unless_handler()),
                Ok(_) => {}
                Err(error) => {
                    let is_woken = || sleeper.word.load(Ordering::Acquire) == WOKEN;
                    let sleep = |wait| {
                        backend::while_blocked(|| backend::futex_wait(&sleeper.word, ASLEEP, wait));
                        is_woken()
                    };
                    // Woken or not, it is looked at again.
                    match error.code() {
                        Code::InvalidHandle => port.drive(&is_woken, &sleep, Wait::Forever),
                        _ => sleep(Wait::Forever),
                    };
                }
            }
        }
    }
}
