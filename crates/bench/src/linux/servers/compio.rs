//! `compio`: its io_uring driver, a task per connection.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;

use compio::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::TcpStream;

use super::{Handler, Options};
use crate::linux::sys::no_delay;

/// Serves for ever.
pub fn serve(listener: TcpListener, options: &Options, handler: Handler) -> io::Result<()> {
    let buffer = options.buffer as usize;
    let handler = Rc::new(RefCell::new(handler));
    compio::runtime::Runtime::new()?.block_on(async {
        let listener = compio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            no_delay(&stream)?;
            compio::runtime::spawn(connection(stream, buffer, handler.clone())).detach();
        }
    })
}

/// A client that goes away ends its task; there is nobody to tell.
async fn connection(mut stream: TcpStream, buffer: usize, handler: Rc<RefCell<Handler>>) -> io::Result<()> {
    let mut buf = Vec::with_capacity(buffer);
    loop {
        let BufResult(got, filled) = stream.read(buf).await;
        if got? == 0 {
            return Ok(());
        }
        handler.borrow_mut().handle();
        let BufResult(sent, back) = stream.write_all(filled).await;
        sent?;
        buf = back;
        buf.clear();
    }
}
