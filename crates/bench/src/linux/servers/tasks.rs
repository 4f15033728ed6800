//! `async-local` and `async-shared`: proactor's runtime, a task per connection, in its two shapes.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use proactor::rt::{self, Runtime};
use proactor::{Error, net};

use super::{Handler, Options};
use crate::linux::sys::no_delay;

/// One core serves for ever.
pub fn local(listener: TcpListener, options: &Options, handler: Handler) -> io::Result<()> {
    let buffer = options.buffer as usize;
    let handler = Rc::new(std::cell::RefCell::new(handler));
    Runtime::per_core().threads(1).build()?.block_on(async {
        let listener = rt::here(net::TcpListener::from(listener))?;
        loop {
            let stream = listener.accept().await.result?.stream;
            if no_delay(&stream).is_ok() {
                let (stream, handler) = (rt::here(stream)?, handler.clone());
                rt::spawn_local(connection(stream, buffer, move || handler.borrow_mut().handle())).detach();
            }
        }
    })
}

/// Workers of one port serve for ever. Its handlers never sleep.
pub fn shared(listener: TcpListener, options: &Options) -> io::Result<()> {
    let buffer = options.buffer as usize;
    Runtime::shared().threads(options.threads as usize).build()?.block_on(async {
        let listener = net::TcpListener::from(listener);
        loop {
            let stream = listener.accept().await.result?.stream;
            if no_delay(&stream).is_ok() {
                rt::spawn(connection(stream, buffer, || {})).detach();
            }
        }
    })
}

/// A client that goes away ends its task; there is nobody to tell.
async fn connection<H: proactor::Home>(stream: net::TcpStream<H>, buffer: usize, mut handle: impl FnMut()) -> Result<(), Error> {
    let mut buf = Vec::with_capacity(buffer);
    loop {
        let received = stream.recv(buf).await;
        received.result?;
        if received.bytes == 0 {
            return Ok(());
        }
        handle();
        let sent = stream.send(received.buffer).await;
        sent.result?;
        buf = sent.buffer;
    }
}
