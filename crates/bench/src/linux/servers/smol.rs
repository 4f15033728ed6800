//! `smol`: an executor of one thread over async-io's epoll, a task per connection.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;

use super::{Handler, Options};
use crate::linux::sys::no_delay;

/// Serves for ever.
pub fn serve(listener: TcpListener, options: &Options, handler: Handler) -> io::Result<()> {
    let buffer = options.buffer as usize;
    let handler = Rc::new(RefCell::new(handler));
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = smol::net::TcpListener::try_from(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            no_delay(&stream)?;
            executor.spawn(connection(stream, buffer, handler.clone())).detach();
        }
    }))
}

/// A client that goes away ends its task; there is nobody to tell.
async fn connection(mut stream: TcpStream, buffer: usize, handler: Rc<RefCell<Handler>>) -> io::Result<()> {
    let mut buf = vec![0; buffer];
    loop {
        let got = stream.read(&mut buf).await?;
        if got == 0 {
            return Ok(());
        }
        handler.borrow_mut().handle();
        stream.write_all(&buf[..got]).await?;
    }
}
