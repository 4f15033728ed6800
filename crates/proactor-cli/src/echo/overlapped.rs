//! The overlapped model: an operation is started, and waited for when its result is needed. Two overlap: the next receive is
//! under way while a send runs.

use std::net::Shutdown;

use proactor::Error;
use proactor::net::TcpStream;

use super::Counts;

/// Serves one connection.
pub fn serve(stream: &TcpStream, buf: usize, counts: &mut Counts) -> Result<(), Error> {
    let mut other = vec![0; buf];
    let mut sending = None;
    let mut receiving = stream.recv(vec![0; buf]).start()?;
    loop {
        let received = receiving.wait();
        // Before the receive's result is looked at: what the send did counts even if the receive failed. Its buffer is
        // the next receive's; in the first round nothing is being sent, and the other buffer is free.
        let next = match sending.take() {
            Some(send) => finish(send, counts)?,
            None => std::mem::take(&mut other),
        };
        received.result?;
        if received.bytes == 0 {
            break;
        }
        receiving = stream.recv(next).start()?;
        sending = Some(stream.send(received.buffer).start()?);
    }
    // The client has been sent everything; this tells it so. That it may have gone already is no fault.
    let _ = stream.shutdown(Shutdown::Write).start()?.wait();
    Ok(())
}

/// A send under way.
type Sending = proactor::Overlapped<<Vec<u8> as proactor::DrainTarget>::Cargo, ()>;

fn finish(send: Sending, counts: &mut Counts) -> Result<Vec<u8>, Error> {
    let sent = send.wait();
    sent.result?;
    counts.message(sent.bytes);
    Ok(sent.buffer)
}
