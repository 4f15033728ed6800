//! The blocking model: each operation is waited for where it is written.

use std::net::Shutdown;

use proactor::Error;
use proactor::net::TcpStream;

use super::Counts;

/// Serves one connection.
pub fn serve(stream: &TcpStream, buf: usize, counts: &mut Counts) -> Result<(), Error> {
    let mut buffer = Vec::with_capacity(buf);
    loop {
        let received = stream.recv(buffer).wait();
        received.result?;
        if received.bytes == 0 {
            break;
        }
        let sent = stream.send(received.buffer).wait();
        sent.result?;
        counts.message(sent.bytes);
        buffer = sent.buffer;
    }
    // The client has been sent everything; this tells it so. That it may have gone already is no fault.
    let _ = stream.shutdown(Shutdown::Write).wait();
    Ok(())
}
