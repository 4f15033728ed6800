//! The packet delivery: the caller's own block travels with the operation and comes back from the port.

use super::modifiers::{Modifiers, launch};
use crate::backend;
use crate::buf::{LoweredBuffers, Project};
use crate::error::{Code, Error, Refused};
use crate::handle::Which;
use crate::home::{Carries, Home};
use crate::op::{Block, Delivery, Operation, Ticket, begin};

impl<C, T, H: Home> Operation<'_, C, T, H> {
    /// Starts the operation; its completion is a packet on the port the object is associated with, and the block comes
    /// back in it.
    ///
    /// The buffers are those the operation's [`within`](crate::within) projections name inside the block. Nothing is
    /// allocated. The packet may be dequeued by any worker as soon as this returns. Once accepted there is exactly one
    /// packet, for failures too; the returned [`Ticket`] cancels it.
    ///
    /// # Errors
    /// A refused operation never started and gives the block back: [`Code::InvalidParameter`] if the object is not
    /// associated with a port, or with one of another block type, or if the arguments make no sense;
    /// [`Code::InvalidHandle`] if the port is closed; [`Code::TooManyOperations`], [`Code::TooManyBytesQueued`] at the
    /// object's [`Limits`](crate::Limits); [`Code::Forked`] in a forked child.
    #[inline]
    pub fn packet<B: 'static>(mut self, mut block: Block<B>) -> Result<Ticket, Refused<Block<B>>>
    where
        C: Project<B>,
        H: Carries<B>,
    {
        let handle = self.handle;
        let modifiers = std::mem::replace(&mut self.modifiers, Modifiers::NONE);
        match self.prepare_packet(&mut block, &modifiers) {
            // SAFETY: prepared and admitted: the block is owned, lowered and holds its object.
            Ok(mut ticket) => unsafe {
                ticket.place = launch(block.into_raw(), handle, modifiers);
                // A close that swept the object before this start would leave the packet pending for ever.
                if handle.home().is_some_and(|home| home.port.is_closed()) {
                    backend::cancel(handle, Which::Packets);
                }
                Ok(ticket)
            },
            Err(error) => Err(Refused { error, back: block }),
        }
    }

    #[inline]
    fn prepare_packet<B: 'static>(self, block: &mut Block<B>, modifiers: &Modifiers) -> Result<Ticket, Error>
    where
        C: Project<B>,
    {
        let Operation { handle, op, cargo, .. } = self;
        let kind = op.kind();
        let Some(home) = handle.home() else {
            return Err(Error::new(Code::InvalidParameter).hint("associate the object with a completion port first").of(kind));
        };
        if home.port.contract().block_type != Some(Block::<B>::block_type()) {
            let hint = "the object's home carries another type of block; use the type its port was made with";
            return Err(Error::new(Code::InvalidParameter).hint(hint).of(kind));
        }
        if home.port.is_closed() {
            return Err(Error::new(Code::InvalidHandle).hint("the completion port is closed").of(kind));
        }
        modifiers.check(handle).map_err(|error| error.of(kind))?;
        let (inner, buffers) = block.parts();
        buffers.clear();
        cargo.project(inner, &mut LoweredBuffers(buffers));
        let budget = super::check_and_admit(handle, &op, buffers)?;
        let header = block.header();
        header.work.budget = budget;
        // SAFETY: `admit` took an operation count of the live object for this block.
        Ok(unsafe { begin(header, op, Some(handle.object()), Delivery::Packet) })
    }
}

impl<B: 'static> Block<B> {
    /// Starts an operation on an object that the block itself holds, and moves the block into it: as
    /// [`Operation::packet`], whose errors these are.
    ///
    /// ```
    /// use proactor::{Block, CompletionPort, net::UdpSocket, within_mut};
    /// struct PerIo { socket: UdpSocket, buf: [u8; 512] }
    /// let port: CompletionPort<PerIo, usize> = CompletionPort::new(1)?;
    /// let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
    /// let addr = socket.local_addr()?;
    /// port.associate(&socket, 7)?;
    /// let io = Block::new(PerIo { socket, buf: [0; 512] });
    /// io.packet(|io| io.socket.recv_from(within_mut(|io: &mut PerIo| &mut io.buf[..])))?;
    /// # std::net::UdpSocket::bind("127.0.0.1:0")?.send_to(b"datagram", addr)?;
    /// assert_eq!(port.get(None)?.packet().unwrap().done.bytes, 8);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn packet<C, T, H>(
        self,
        describe: impl for<'o> FnOnce(&'o B) -> Operation<'o, C, T, H>,
    ) -> Result<Ticket, Refused<Block<B>>>
    where
        C: Project<B>,
        H: Carries<B>,
    {
        let Operation { handle, op, cargo, modifiers, .. } = describe(&self);
        // The block may be consumed, and its handle dropped, before the start has returned.
        let handle = handle.clone();
        let mut operation = Operation::<C, T, H>::new(&handle, op, cargo);
        operation.modifiers = modifiers;
        operation.packet(self)
    }
}
