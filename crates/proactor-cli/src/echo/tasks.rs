//! The async model: a task for each connection, in the library's runtime. Shared, any worker runs any task; per thread, each
//! has a listener, a port and its tasks for itself.

use std::net::Shutdown;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use proactor::net::{TcpListener, TcpStream};
use proactor::rt::{self, Runtime};
use proactor::{Error, Home};

use super::tally::Tally;
use super::{ACCEPT_PAUSE, Counts, STOP_LIMIT, all_end, is_the_clients_fault, tell_of_shortage};
use crate::args::{EchoArgs, Sharing};
use crate::failure::Failure;
use crate::socket::send_at_once;

/// The running server.
pub struct Server {
    stop: proactor::Promise<()>,
    ended: mpsc::Receiver<()>,
    tally: Arc<Tally>,
}

/// Starts the runtime, and the tasks that accept: one for each listener.
pub fn start(listeners: Vec<TcpListener>, args: &EchoArgs) -> Result<Server, Failure> {
    let tally = Arc::new(Tally::default());
    let builder = match args.sharing {
        Sharing::Shared => Runtime::shared(),
        Sharing::PerThread => Runtime::per_core(),
    };
    let runtime = builder.threads(args.threads()).name("worker").build()?;
    let (stop, stopped) = proactor::promise();
    let (tell, ended) = mpsc::channel();
    let (ready, readied) = mpsc::channel();
    let (sharing, buf, counts) = (args.sharing, args.buf as usize, tally.clone());
    let run = move || {
        runtime.block_on(async {
            let begun = match sharing {
                Sharing::Shared => {
                    listeners.into_iter().for_each(|listener| rt::spawn(accept(listener, buf, counts.clone())).detach());
                    Ok(())
                }
                Sharing::PerThread => on_cores(listeners, buf, &counts).await,
            };
            // Whoever starts the server may have given up.
            let _ = ready.send(begun);
            // Kept when the server stops, or broken when it goes.
            let _ = stopped.await;
        });
        // The tasks, and with them the connections.
        drop(runtime);
        tell.send(()).unwrap_or(());
    };
    std::thread::Builder::new().name("worker 0".to_owned()).spawn(run)?;
    readied.recv().map_err(|_| Failure::Wrong("the runtime ended at its start".to_owned()))??;
    Ok(Server { stop, ended, tally })
}

/// Gives each core its listener.
async fn on_cores(listeners: Vec<TcpListener>, buf: usize, tally: &Arc<Tally>) -> Result<(), Error> {
    let listeners: Arc<[_]> = listeners.into_iter().map(|listener| std::sync::Mutex::new(Some(listener))).collect();
    let tally = tally.clone();
    let begin = move |core: usize| {
        let own = listeners[core].lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        let tally = tally.clone();
        async move {
            let Some(listener) = own else { return Ok(()) };
            rt::spawn_local(accept_here(rt::here(listener)?, buf, tally)).detach();
            Ok::<(), Error>(())
        }
    };
    for begun in rt::on_each_core(begin)? {
        begun.await.unwrap_or(Ok(()))?;
    }
    Ok(())
}

impl super::Server for Server {
    fn stop(self: Box<Self>) -> (Counts, bool) {
        self.tally.stop();
        self.stop.set(());
        let all = all_end(&self.ended, 1, Instant::now() + STOP_LIMIT);
        (self.tally.counts(), all)
    }
}

async fn accept(listener: TcpListener, buf: usize, tally: Arc<Tally>) {
    loop {
        if let Some(stream) = next(&listener, &tally).await {
            rt::spawn(serve(stream, buf, tally.clone())).detach();
        }
    }
}

async fn accept_here(listener: TcpListener<proactor::Local>, buf: usize, tally: Arc<Tally>) {
    loop {
        match next(&listener, &tally).await.map(rt::here) {
            Some(Ok(stream)) => rt::spawn_local(serve(stream, buf, tally.clone())).detach(),
            Some(Err(_)) => tally.error(),
            None => {}
        }
    }
}

/// The next connection, if the accept did not fail.
async fn next<H: Home>(listener: &TcpListener<H>, tally: &Tally) -> Option<TcpStream> {
    match listener.accept().await.result {
        Ok(accepted) => {
            tally.connection();
            send_at_once(&accepted.stream);
            Some(accepted.stream)
        }
        Err(error) => {
            tally.error();
            if !is_the_clients_fault(&error) {
                tell_of_shortage(&error);
                rt::sleep(ACCEPT_PAUSE).await;
            }
            None
        }
    }
}

async fn serve<H: Home>(stream: TcpStream<H>, buf: usize, tally: Arc<Tally>) {
    if echo(&stream, buf, &tally).await.is_err() {
        tally.error();
    }
}

async fn echo<H: Home>(stream: &TcpStream<H>, buf: usize, tally: &Tally) -> Result<(), Error> {
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
