//! The echo client that compares lengths: it sends messages of growing length, and counts how many receives each took to
//! come back whole.
//!
//!     cargo run --release --example echo_client -- 127.0.0.1:7000 [messages]
//!
//! A stream has no message boundaries: one send may arrive in several pieces, and then one receive is not enough.

use std::net::SocketAddr;

use proactor::net::TcpStream;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let Some(address) = args.next() else {
        return Err("usage: echo_client ADDRESS [MESSAGES]".into());
    };
    let address: SocketAddr = address.parse()?;
    let messages: usize = args.next().as_deref().unwrap_or("12").parse()?;

    let stream = TcpStream::unconnected_for(address)?;
    stream.connect(address).wait().result?;

    let mut split = 0;
    for number in 0..messages {
        let length = 16 << (number % 12);
        let message: Vec<u8> = (0..length).map(|at| (number * 31 + at) as u8).collect();

        // The operation takes the buffer and gives it back with its result.
        let sent = stream.send(message).wait();
        sent.result?;
        let message = sent.buffer;

        let (mut echo, mut receives) = (Vec::with_capacity(length), 0);
        while echo.len() < length {
            let received = stream.recv(Vec::with_capacity(length - echo.len())).wait();
            received.result?;
            if received.bytes == 0 {
                return Err("the server closed the connection before the whole message was back".into());
            }
            echo.extend_from_slice(&received.buffer);
            receives += 1;
        }
        if echo != message {
            return Err(format!("message {number} came back changed").into());
        }
        println!("message {number}: {length} bytes sent, {length} bytes back in {receives} receive(s)");
        split += usize::from(receives > 1);
    }
    println!("{messages} messages, {split} of them in more than one receive");
    Ok(())
}
