//! `LocalPort::block_on`: the executor for one future that a per-thread port is.
//!
//! | atomic | partner |
//! |---|---|
//! | `word` swap WOKEN, then the thread's alarm, if another thread wakes | the owner swaps `word` to ASLEEP, and looks at it before each sleep that the alarm ends |

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::entry::{Entry, Fetch};
use super::key::Key;
use super::local::LocalPort;
use crate::backend::{self, Alarm, Alert, PortRef};
use crate::error::Error;
use crate::op::thread_number;
use crate::shim::{AtomicU32, Ordering};
use crate::sync::current::ThreadState;
use crate::time::Wait;

const ASLEEP: u32 = 0;
const WOKEN: u32 = 1;

/// How long the word is not looked at where nothing could wake the thread for it.
const GLANCE: Duration = Duration::from_millis(1);

/// Wakes the port's thread, from any.
struct Sleeper {
    word: AtomicU32,
    owner: u64,
    alarm: Option<Arc<Alarm>>,
}

impl Sleeper {
    fn new() -> Sleeper {
        // Without an alarm the word is looked at now and then.
        let alarm =
            ThreadState::current().alarm().cloned().inspect_err(|error| log::warn!("proactor: wakers will be slow: {error}"));
        Sleeper { word: AtomicU32::new(WOKEN), owner: thread_number(), alarm: alarm.ok() }
    }

    fn is_woken(&self) -> bool {
        self.word.load(Ordering::Acquire) == WOKEN
    }

    /// Takes an entry of the port, until it is woken.
    fn get(&self, port: &PortRef) -> Result<Option<Entry>, Error> {
        let Some(alarm) = &self.alarm else {
            return port.get_one(Wait::from(GLANCE)).map(|(_, entry)| entry);
        };
        let mut slots = [None];
        let alert = Alert { alarm: Some(alarm), is_up: &|| self.is_woken() };
        port.get_alertable(&mut Fetch::new(&mut slots), Wait::Forever, &alert)?;
        let [entry] = slots;
        Ok(entry)
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Sleeper>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Sleeper>) {
        // The owner itself does not sleep: it looks again before it does.
        if self.word.swap(WOKEN, Ordering::AcqRel) == ASLEEP && thread_number() != self.owner {
            if let Some(alarm) = &self.alarm {
                alarm.ring();
            }
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
        let port = &self.inner;
        let sleeper = Arc::new(Sleeper::new());
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
            match sleeper.get(port) {
                Ok(entry) => kept.packets.extend(entry.and_then(Entry::unless_handler)),
                // Closed, or the process has forked: what still ends does so without packets.
                Err(_) => {
                    let alarm = sleeper.alarm.as_ref();
                    if !backend::drives() {
                        backend::while_blocked(|| backend::futex_wait(&sleeper.word, ASLEEP, Wait::Forever));
                    } else {
                        backend::drive(&|| sleeper.is_woken(), Wait::Forever, alarm);
                    }
                }
            }
        }
    }
}
