//! `shared`: proactor's shared port. One block per connection goes from receive to send to receive; any number of threads
//! take the packets.

use std::io;
use std::net::TcpListener;

use proactor::net::TcpStream;
use proactor::{Batch, Block, CompletionPort, Concurrency, Error, OpKind, Outcome, Packet, Value, within, within_mut};

use super::{Handler, Options};
use crate::linux::sys::no_delay;

/// Accepts in flight.
const ACCEPTS: usize = 16;

struct PerIo {
    /// The connection; none while accepting. Dropping the block closes it.
    stream: Option<TcpStream>,
    buf: Box<[u8]>,
    filled: usize,
}

impl PerIo {
    fn stream(&self) -> &TcpStream {
        self.stream.as_ref().expect("a block receives and sends only after its accept")
    }
}

#[inline]
fn receive(io: Block<PerIo>) {
    // As above.
    let _ = io.packet(|io| io.stream().recv(within_mut(|io: &mut PerIo| &mut io.buf[..])));
}

struct Server<'o> {
    port: CompletionPort<PerIo, usize>,
    listener: proactor::net::TcpListener,
    options: &'o Options,
}

/// Serves for ever.
pub fn serve(listener: TcpListener, options: &Options) -> io::Result<()> {
    let server =
        Server { port: CompletionPort::new(Concurrency::from(options.concurrency))?, listener: listener.into(), options };
    server.port.associate(&server.listener, 0)?;
    (0..ACCEPTS).try_for_each(|_| server.accept())?;
    let server = &server;
    std::thread::scope(|scope| {
        for n in 1..options.threads {
            scope.spawn(move || server.work(options.handler(n)));
        }
        server.work(options.handler(0))
    })?;
    Ok(())
}

impl Server<'_> {
    fn work(&self, mut handler: Handler) -> Result<(), Error> {
        if self.options.batch == 1 {
            loop {
                match self.port.get(None)? {
                    Outcome::Packet(packet) => self.packet(packet, &mut handler)?,
                    Outcome::Failed(packet) => self.failed(packet)?,
                    Outcome::TimedOut | Outcome::Abandoned | Outcome::Apc => {}
                }
            }
        }
        let mut batch = Batch::with_capacity(self.options.batch as usize);
        loop {
            self.port.get_many(&mut batch, None)?;
            for outcome in &mut batch {
                match outcome {
                    Outcome::Packet(packet) => self.packet(packet, &mut handler)?,
                    Outcome::Failed(packet) => self.failed(packet)?,
                    Outcome::TimedOut | Outcome::Abandoned | Outcome::Apc => {}
                }
            }
        }
    }

    #[inline]
    fn packet(&self, packet: Packet<PerIo, usize>, handler: &mut Handler) -> Result<(), Error> {
        let Some(mut io) = packet.block else { return Ok(()) };
        match packet.op {
            OpKind::Recv if packet.done.bytes == 0 => {}
            OpKind::Recv => {
                handler.handle();
                io.filled = packet.done.bytes;
                // A start that is refused drops the block, and with it the connection.
                let _ = io.packet(|io| io.stream().send(within(|io: &mut PerIo| &io.buf[..io.filled])));
            }
            OpKind::Send => receive(io),
            _ => {
                if let Ok(Value::Tcp(accepted)) = packet.done.result {
                    self.accept()?;
                    self.accepted(io, accepted.stream)?;
                }
            }
        }
        Ok(())
    }

    fn accept(&self) -> Result<(), Error> {
        let buf = vec![0; self.options.buffer as usize].into();
        self.listener.accept().packet(Block::new(PerIo { stream: None, buf, filled: 0 }))?;
        Ok(())
    }

    fn accepted(&self, mut io: Block<PerIo>, stream: TcpStream) -> Result<(), Error> {
        if no_delay(&stream).is_ok() {
            self.port.associate(&stream, 1)?;
            io.stream = Some(stream);
            receive(io);
        }
        Ok(())
    }

    /// A connection that failed is over, with its block; an accept that failed is replaced.
    fn failed(&self, packet: Packet<PerIo, usize>) -> Result<(), Error> {
        if packet.op == OpKind::Accept { self.accept() } else { Ok(()) }
    }
}
