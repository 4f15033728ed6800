//! `local-multi` and `local-one`: proactor's per-thread port. With `multi` the kernel goes on receiving into leased buffers,
//! and each echo is sent from the lease; with `one` a block per connection goes from receive to send to receive.

use std::io;
use std::net::TcpListener;

use proactor::net::TcpStream;
use proactor::{Block, BufferPool, Error, Local, LocalPort, OpKind, Outcome, Packet, PoolBuf, Value, within, within_mut};

use super::{Handler, Options};
use crate::linux::sys::no_delay;

/// Few enough to stay in the cache, more than most batches take.
const BUFFERS: usize = 128;

#[derive(Default)]
struct PerIo {
    /// What `multi` sends.
    lease: Option<PoolBuf>,
    /// What `one` receives into and sends from.
    buf: Box<[u8]>,
    filled: usize,
}

struct Server {
    port: LocalPort<PerIo, usize>,
    listener: proactor::net::TcpListener<Local>,
    /// By key.
    streams: Vec<Option<TcpStream<Local>>>,
    free: Vec<usize>,
    pool: Option<BufferPool>,
    buffer: usize,
    handler: Handler,
    /// Blocks between two sends.
    spare: Vec<Block<PerIo>>,
}

/// Serves with receives of many, for ever.
pub fn multi(listener: TcpListener, options: &Options, handler: Handler) -> io::Result<()> {
    serve(listener, options, handler, Some(BufferPool::new(BUFFERS, options.buffer as usize)))
}

/// Serves with a receive for each message, for ever.
pub fn one(listener: TcpListener, options: &Options, handler: Handler) -> io::Result<()> {
    serve(listener, options, handler, None)
}

fn serve(listener: TcpListener, options: &Options, handler: Handler, pool: Option<BufferPool>) -> io::Result<()> {
    let port = LocalPort::new()?;
    let listener = port.associate(proactor::net::TcpListener::from(listener), usize::MAX)?;
    let buffer = options.buffer as usize;
    let mut server = Server { port, listener, streams: Vec::new(), free: Vec::new(), pool, buffer, handler, spare: Vec::new() };
    server.accept()?;
    loop {
        if let Outcome::Packet(packet) | Outcome::Failed(packet) = server.port.get(None)? {
            server.packet(packet)?;
        }
    }
}

impl Server {
    #[inline]
    fn packet(&mut self, packet: Packet<PerIo, usize>) -> Result<(), Error> {
        let Packet { key, block, done, op, .. } = packet;
        match (op, done.result, block) {
            (OpKind::RecvMulti, Ok(Value::Buffer(bytes)), _) => {
                self.handler.handle();
                let mut io = self.spare.pop().unwrap_or_else(|| Block::new(PerIo::default()));
                io.lease = Some(bytes);
                if let Some(stream) = &self.streams[key] {
                    // A start that is refused drops the block; the receive is told, too.
                    let _ = stream.send(within(|io: &mut PerIo| io.lease.as_deref().unwrap_or_default())).packet(io);
                }
            }
            (OpKind::RecvMulti, Err(error), Some(io)) if error.code() == proactor::Code::InsufficientResources => {
                self.receive(key, io);
            }
            (OpKind::Recv, Ok(_), Some(mut io)) if done.bytes > 0 => {
                self.handler.handle();
                io.filled = done.bytes;
                if let Some(stream) = &self.streams[key] {
                    let _ = stream.send(within(|io: &mut PerIo| &io.buf[..io.filled])).packet(io);
                }
            }
            (OpKind::Send, _, Some(mut io)) if self.pool.is_some() => {
                io.lease = None;
                self.spare.push(io);
            }
            (OpKind::Send, Ok(_), Some(io)) => self.receive(key, io),
            (OpKind::AcceptMulti, Ok(Value::Tcp(accepted)), _) => self.accepted(accepted.stream)?,
            (OpKind::AcceptMulti, _, _) => self.accept()?,
            _ => self.close(key),
        }
        Ok(())
    }

    fn accept(&self) -> Result<(), Error> {
        self.listener.accept_multi().packet(Block::new(PerIo::default()))?;
        Ok(())
    }

    fn accepted(&mut self, stream: TcpStream) -> Result<(), Error> {
        if no_delay(&stream).is_err() {
            return Ok(());
        }
        let key = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        self.streams[key] = Some(self.port.associate(stream, key)?);
        let len = if self.pool.is_some() { 0 } else { self.buffer };
        self.receive(key, Block::new(PerIo { buf: vec![0; len].into(), ..PerIo::default() }));
        Ok(())
    }

    fn receive(&self, key: usize, io: Block<PerIo>) {
        let Some(stream) = &self.streams[key] else { return };
        // As above.
        let _ = match &self.pool {
            Some(pool) => stream.recv_multi(pool).packet(io),
            None => stream.recv(within_mut(|io: &mut PerIo| &mut io.buf[..])).packet(io),
        };
    }

    /// The connection is over: once, for its last packets may be two.
    fn close(&mut self, key: usize) {
        if self.streams.get_mut(key).and_then(Option::take).is_some() {
            self.free.push(key);
        }
    }
}
