//! Operations awaited in other libraries' executors: tokio's on many threads and on one, smol's, and one that polls inside
//! the wake itself.

#![cfg(all(not(loom), target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use proactor::net::{TcpListener, TcpStream};
use proactor::{Code, CompletionPort};

const CLIENTS: usize = 16;
const MESSAGES: usize = 50;

/// Echoes until the client closes.
async fn serve(stream: TcpStream) -> usize {
    let mut buffer = vec![0; 256];
    let mut total = 0;
    loop {
        let done = stream.recv(buffer).await;
        done.result.unwrap();
        if done.bytes == 0 {
            return total;
        }
        total += done.bytes;
        buffer = stream.send(done.buffer).await.buffer;
        buffer.resize(256, 0);
    }
}

async fn client(address: std::net::SocketAddr, seed: usize) {
    let stream = TcpStream::unconnected_v4().unwrap();
    stream.connect(address).await.result.unwrap();
    for message in 0..MESSAGES {
        let data = vec![(seed * 7 + message) as u8; 100];
        let data = stream.send(data).await.buffer;
        let mut back: Vec<u8> = Vec::new();
        while back.len() < data.len() {
            let done = stream.recv(vec![0; 128]).await;
            back.extend(&done.buffer[..done.bytes]);
        }
        assert_eq!(back, data);
    }
}

#[test]
fn tokio_with_many_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..CLIENTS).map(|seed| tokio::spawn(client(address, seed))).collect();
        let mut servers = Vec::new();
        for _ in 0..CLIENTS {
            servers.push(tokio::spawn(serve(listener.accept().await.result.unwrap().stream)));
        }
        for client in clients {
            client.await.unwrap();
        }
        for server in servers {
            assert_eq!(server.await.unwrap(), MESSAGES * 100);
        }
    });
}

/// Its timer wins a `select!`; the operation is cancelled and awaited, and nothing is lost.
#[test]
fn tokio_with_one_thread_and_a_timeout() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let peer = TcpStream::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let ours = listener.accept().await.result.unwrap().stream;
        let mut op = ours.recv(vec![0; 64]).start().unwrap();
        let done = tokio::select! {
            done = &mut op => done,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                let _ = op.cancel();
                op.await
            }
        };
        assert_eq!(done.result.unwrap_err().code(), Code::Cancelled);
        let receive = tokio::spawn(async move { ours.recv(done.buffer).await.bytes });
        peer.send(b"after").await.result.unwrap();
        assert_eq!(receive.await.unwrap(), 5);
    });
}

#[test]
fn smol_with_several_threads() {
    let executor = Arc::new(smol::Executor::new());
    let (stop, stopped) = smol::channel::unbounded::<()>();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (executor, stopped) = (executor.clone(), stopped.clone());
            std::thread::spawn(move || {
                let _ = smol::block_on(executor.run(stopped.recv()));
            })
        })
        .collect();
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Vec<_> = (0..CLIENTS).map(|seed| executor.spawn(client(address, seed))).collect();
        let mut servers = Vec::new();
        for _ in 0..CLIENTS {
            servers.push(executor.spawn(serve(listener.accept().await.result.unwrap().stream)));
        }
        for client in clients {
            client.await;
        }
        for server in servers {
            assert_eq!(server.await, MESSAGES * 100);
        }
    });
    drop(stop);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
}

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls its future inside `wake`, on whatever thread that is: the library must hold nothing there.
struct Inline {
    future: Mutex<Option<Boxed>>,
    again: AtomicBool,
}

impl Inline {
    fn run(future: impl Future<Output = ()> + Send + 'static) {
        Arc::new(Inline { future: Mutex::new(Some(Box::pin(future))), again: AtomicBool::new(false) }).wake();
    }
}

impl Wake for Inline {
    fn wake(self: Arc<Inline>) {
        self.again.store(true, Ordering::SeqCst);
        while self.again.load(Ordering::SeqCst) {
            // Another poll is at it, which will see `again`.
            let Ok(mut slot) = self.future.try_lock() else { return };
            self.again.store(false, Ordering::SeqCst);
            let waker = Waker::from(self.clone());
            if slot.as_mut().is_some_and(|future| future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()) {
                *slot = None;
            }
        }
    }
}

/// Each task cancels on the very lane its wake came from.
#[test]
fn an_executor_that_polls_inside_the_wake_may_call_back() {
    for on_a_port in [false, true] {
        let port: CompletionPort = CompletionPort::new(1).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        let mut peers = Vec::new();
        for _ in 0..CLIENTS {
            peers.push(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let stream = TcpStream::from(listener.accept().unwrap().0);
            if on_a_port {
                port.associate(&stream, 1).unwrap();
            }
            let ended = ended.clone();
            Inline::run(async move {
                let other = stream.recv(vec![0; 8]).start().unwrap();
                for _ in 0..MESSAGES {
                    let mut op = stream.recv(vec![0; 8]).start().unwrap();
                    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(Pin::new(&mut op).poll(cx))).await;
                    if polled.is_pending() {
                        let _ = op.cancel();
                        let _ = op.await;
                    }
                    let _ = stream.cancel_all();
                }
                drop(other);
                assert!(stream.recv(vec![0; 8]).await.result.is_ok());
                let _ = stream.cancel_all();
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        let end = Instant::now() + Duration::from_secs(30);
        for peer in &mut peers {
            std::io::Write::write_all(peer, b"x").unwrap();
        }
        while ended.load(Ordering::SeqCst) < CLIENTS {
            assert!(Instant::now() < end, "{} of {CLIENTS} tasks ended", ended.load(Ordering::SeqCst));
            if on_a_port {
                port.get(Duration::from_millis(1)).unwrap();
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
