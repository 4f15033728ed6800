//! The async model: a task for each connection, on threads that block on one executor. The library brings the operations
//! and the wakers; the executor is somebody else's, as any would do.

use std::net::Shutdown;
use std::sync::{Arc, Weak, mpsc};
use std::time::Instant;

use async_executor::Executor;
use proactor::Error;
use proactor::net::{TcpListener, TcpStream};
use proactor::time::Timers;

use super::callbacks::ready;
use super::tally::Tally;
use super::{ACCEPT_PAUSE, Counts, STOP_LIMIT, all_end, is_the_clients_fault, tell_of_shortage};
use crate::args::EchoArgs;
use crate::failure::Failure;
use crate::socket::send_at_once;

/// The running server.
pub struct Server {
    stop: Vec<proactor::Promise<()>>,
    ended: mpsc::Receiver<()>,
    tally: Arc<Tally>,
}

/// Starts the threads and the task that accepts.
pub fn start(listener: TcpListener, args: &EchoArgs) -> Result<Server, Failure> {
    let executor = Arc::new(Executor::new());
    let tally = Arc::new(Tally::default());
    let timers = Timers::new();
    ready(&timers)?;
    executor.spawn(accept(Arc::downgrade(&executor), listener, timers, args.buf as usize, tally.clone())).detach();
    let (tell, ended) = mpsc::channel();
    let mut stop = Vec::new();
    for n in 0..args.threads() {
        let (promise, stopped) = proactor::promise();
        let (executor, tell) = (executor.clone(), tell.clone());
        let run = move || {
            // Ends when the promise is kept; the tasks, and with them the connections, go with the last executor.
            let _ = proactor::block_on(executor.run(stopped));
            drop(executor);
            tell.send(()).unwrap_or(());
        };
        std::thread::Builder::new().name(format!("executor {n}")).spawn(run)?;
        stop.push(promise);
    }
    Ok(Server { stop, ended, tally })
}

impl super::Server for Server {
    fn stop(self: Box<Self>) -> (Counts, bool) {
        self.tally.stop();
        let threads = self.stop.len();
        self.stop.into_iter().for_each(|promise| promise.set(()));
        let all = all_end(&self.ended, threads, Instant::now() + STOP_LIMIT);
        (self.tally.counts(), all)
    }
}

async fn accept(executor: Weak<Executor<'static>>, listener: TcpListener, timers: Timers, buf: usize, tally: Arc<Tally>) {
    loop {
        match listener.accept().await.result {
            Ok(accepted) => {
                let Some(executor) = executor.upgrade() else { return };
                tally.connection();
                executor.spawn(serve(accepted.stream, buf, tally.clone())).detach();
            }
            Err(error) => {
                tally.error();
                if !is_the_clients_fault(&error) {
                    tell_of_shortage(&error);
                    let _ = timers.after(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, buf: usize, tally: Arc<Tally>) {
    send_at_once(&stream);
    if echo(&stream, buf, &tally).await.is_err() {
        tally.error();
    }
}

async fn echo(stream: &TcpStream, buf: usize, tally: &Tally) -> Result<(), Error> {
    let mut buffer = Vec::with_capacity(buf);
    loop {
        let received = stream.recv(buffer).await;
        received.result?;
        if received.bytes == 0 {
            break;
        }
        let sent = stream.send(received.buffer).await;
        sent.result?;
        tally.message(sent.bytes);
        buffer = sent.buffer;
    }
    // The client has been sent everything; this tells it so. That it may have gone already is no fault.
    let _ = stream.shutdown(Shutdown::Write).await;
    Ok(())
}
