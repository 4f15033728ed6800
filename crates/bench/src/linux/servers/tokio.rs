//! `tokio`: the current-thread runtime, a task per connection. `tokio-multi`: its multi-thread runtime.

use std::io;
use std::net::TcpListener;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Handler, Options};
use crate::linux::sys::no_delay;

thread_local! {
    /// The thread's handler: tasks of a current-thread runtime all run here.
    static HANDLER: std::cell::RefCell<Option<Handler>> = const { std::cell::RefCell::new(None) };
}

/// Serves for ever.
pub fn serve(listener: TcpListener, options: &Options, handler: Handler) -> io::Result<()> {
    HANDLER.set(Some(handler));
    let buffer = options.buffer as usize;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            no_delay(&stream)?;
            tokio::spawn(connection(stream, buffer));
        }
    })
}

/// Serves with workers for ever. Its handlers never sleep.
pub fn serve_shared(listener: TcpListener, options: &Options) -> io::Result<()> {
    let buffer = options.buffer as usize;
    let threads = options.threads as usize;
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_io().build()?.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            no_delay(&stream)?;
            tokio::spawn(connection(stream, buffer));
        }
    })
}

/// A client that goes away ends its task; there is nobody to tell.
async fn connection(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buf = vec![0; buffer];
    loop {
        let got = stream.read(&mut buf).await?;
        if got == 0 {
            return Ok(());
        }
        HANDLER.with_borrow_mut(|handler| handler.as_mut().map(Handler::handle));
        stream.write_all(&buf[..got]).await?;
    }
}
