//! The coroutine echo server: a thread pool's I/O completions resume the coroutine that waits for them.
//!
//!     cargo run --release --example coroutine_echo_server -- 127.0.0.1:7000
//!
//! Try it with the example `echo_client`. The futures here are driven by the smallest executor there is: each connection's
//! coroutine is a task, and whoever completes its operation puts it on the list of tasks to resume. Any other
//! executor (tokio's, smol's) would do as well.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};

use proactor::net::{TcpListener, TcpStream};

/// A coroutine, and the way back to the list when it can go on.
struct Task {
    coroutine: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    ready: mpsc::Sender<Arc<Task>>,
}

impl Wake for Task {
    fn wake(self: Arc<Task>) {
        let ready = self.ready.clone();
        ready.send(self).unwrap_or(());
    }
}

fn spawn(ready: &mpsc::Sender<Arc<Task>>, coroutine: impl Future<Output = ()> + Send + 'static) {
    let task = Task { coroutine: Mutex::new(Some(Box::pin(coroutine))), ready: ready.clone() };
    Arc::new(task).wake();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);

    let (ready, tasks) = mpsc::channel::<Arc<Task>>();
    spawn(&ready, accept(listener, ready.clone()));
    for task in tasks {
        let waker = Waker::from(task.clone());
        let mut slot = task.coroutine.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(coroutine) = slot.as_mut()
            && coroutine.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            *slot = None;
        }
    }
    Ok(())
}

async fn accept(listener: TcpListener, ready: mpsc::Sender<Arc<Task>>) {
    loop {
        match listener.accept().await.result {
            Ok(accepted) => spawn(&ready, echo(accepted.stream)),
            Err(error) => eprintln!("accept: {error}"),
        }
    }
}

/// One connection's coroutine: it reads like a blocking program, and blocks nobody.
async fn echo(stream: TcpStream) {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        // The operation takes the buffer, and gives it back holding what came.
        let received = stream.recv(buffer).await;
        match received.result {
            Ok(()) if received.bytes == 0 => return,
            Ok(()) => {}
            Err(error) => return eprintln!("receive: {error}"),
        }
        let sent = stream.send(received.buffer).await;
        if let Err(error) = sent.result {
            return eprintln!("send: {error}");
        }
        buffer = sent.buffer;
    }
}
