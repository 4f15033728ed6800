//! Connecting to one of several addresses, or to a host by its name.

use std::future::{Future, IntoFuture, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use super::TcpStream;
use crate::buf::NoBuffer;
use crate::deliver::Overlapped;
use crate::dns::Resolver;
use crate::error::{Code, Error};
use crate::home::{Home, Shared};
use crate::op::OpKind;
use crate::time::Timers;

/// How long an attempt has for itself before the next begins beside it (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);

/// The timers and the resolver of connects that were given none: on the process's own port.
fn ambient() -> &'static (Timers, Resolver) {
    static AMBIENT: OnceLock<(Timers, Resolver)> = OnceLock::new();
    AMBIENT.get_or_init(|| (Timers::new(), Resolver::new()))
}

/// Connects to the first of these addresses that accepts, one after the other (Asio's ranged `connect`). With
/// [`block_on`](crate::block_on) it is a blocking call. More may be said with a [`Connector`].
///
/// Errors: that of the last address; [`Code::InvalidParameter`] if there is none. Dropping the future cancels the connect and
/// closes its socket.
///
/// ```
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// # let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
/// let stream = proactor::block_on(proactor::net::connect([closed, address]))?;
/// assert_eq!(stream.peer_addr()?, address);
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn connect(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<TcpStream, Error> {
    Connector::new().connect(addresses).await
}

impl TcpStream {
    /// Connects to a host by its name, as fast as its addresses allow (happy eyeballs, RFC 8305): [`Connector::connect_host`]
    /// with nothing special. With [`block_on`](crate::block_on) it is a blocking call.
    ///
    /// ```
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let port = listener.local_addr()?.port();
    /// use proactor::net::TcpStream;
    /// let stream = proactor::block_on(TcpStream::connect_host("127.0.0.1", port))?;
    /// assert_eq!(stream.peer_addr()?.port(), port);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn connect_host(host: &str, port: u16) -> Result<TcpStream, Error> {
        Connector::new().connect_host(host, port).await
    }
}

/// Makes the socket of an attempt ready: options, a port.
type Prepare<H> = Box<dyn FnMut(TcpStream, SocketAddr) -> Result<TcpStream<H>, Error> + Send>;
/// Says whether an address is to be tried.
type Condition = Box<dyn FnMut(SocketAddr, Option<&Error>) -> bool + Send>;

/// How to connect to one of several addresses. Its calls are futures, for any executor, and run to their end under
/// [`block_on`](crate::block_on). Dropping one cancels its connects and closes their sockets.
///
/// ```
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = listener.local_addr()?;
/// use proactor::{CompletionPort, net::Connector};
/// let port: std::sync::Arc<CompletionPort> = std::sync::Arc::new(CompletionPort::new(1)?);
/// let own = port.clone();
/// let mut connector = Connector::prepared(move |stream, _| own.associate(&stream, 7).map(|()| stream));
/// let stream = proactor::block_on(connector.connect([address]))?; // at home on the port
/// # drop(stream);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Connector<H: Home = Shared> {
    prepare: Prepare<H>,
    condition: Condition,
    stagger: Duration,
}

impl Default for Connector {
    fn default() -> Connector {
        Connector::new()
    }
}

impl Connector {
    /// Plain sockets, every address.
    pub fn new() -> Connector {
        Connector::prepared(|stream, _| Ok(stream))
    }
}

impl<H: Home> Connector<H> {
    /// Each attempt's socket goes through `prepare` before it connects: to set options, to be bound, to be associated with a port,
    /// shared or the thread's own. An error there is that address's.
    pub fn prepared(prepare: impl FnMut(TcpStream, SocketAddr) -> Result<TcpStream<H>, Error> + Send + 'static) -> Connector<H> {
        Connector { prepare: Box::new(prepare), condition: Box::new(|_, _| true), stagger: STAGGER }
    }

    /// Tries an address only if `condition` says so, which is told the error of the attempt before (Asio's connect condition).
    #[must_use]
    pub fn when(mut self, condition: impl FnMut(SocketAddr, Option<&Error>) -> bool + Send + 'static) -> Connector<H> {
        self.condition = Box::new(condition);
        self
    }

    /// How long [`race`](Connector::race) leaves an attempt alone: 250 ms unless said otherwise.
    #[must_use]
    pub fn stagger(mut self, stagger: Duration) -> Connector<H> {
        self.stagger = stagger;
        self
    }

    /// Tries the addresses one after the other; each is given up only when it has failed. Errors as of [`connect`].
    pub async fn connect(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<TcpStream<H>, Error> {
        let mut last = None;
        for address in addresses {
            if !(self.condition)(address, last.as_ref()) {
                continue;
            }
            match self.attempt(address) {
                Ok(attempt) => match attempt.await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = Some(error),
                },
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(nowhere))
    }

    /// Tries the addresses by turns of their families, the first one's first, each a little after the one before or as soon as that
    /// has failed; the first that connects wins, and the others are cancelled and closed (RFC 8305). Errors as of [`connect`].
    pub async fn race(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<TcpStream<H>, Error> {
        let mut race = Race {
            addresses: by_turns(addresses.into_iter().collect()).into_iter(),
            connector: self,
            attempts: Vec::new(),
            pause: None,
            last: None,
        };
        poll_fn(|cx| race.poll(cx)).await
    }

    /// Resolves the name and [races](Connector::race) for its addresses. Errors of the resolver's too: `HostNotFound`,
    /// `ResolveAgain`.
    pub async fn connect_host(&mut self, host: &str, port: u16) -> Result<TcpStream<H>, Error> {
        let addresses = ambient().1.resolve_port(host, port).await.result?;
        self.race(addresses).await
    }

    fn attempt(&mut self, address: SocketAddr) -> Result<Attempt<H>, Error> {
        let stream = (self.prepare)(TcpStream::unconnected_for(address)?, address)?;
        let connecting = stream.connect(address).into_future();
        Ok(Attempt { stream: Some(stream), connecting })
    }
}

impl<H: Home> std::fmt::Debug for Connector<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("stagger", &self.stagger).finish_non_exhaustive()
    }
}

fn nowhere() -> Error {
    Error::new(Code::InvalidParameter).hint("there is no address to connect to").of(OpKind::Connect)
}

/// One family after the other, each in its own order.
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_first = |address: &SocketAddr| addresses.first().is_some_and(|first| first.is_ipv4() == address.is_ipv4());
    let (first, second): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::with_capacity(addresses.len());
    loop {
        let before = turns.len();
        turns.extend(first.next());
        turns.extend(second.next());
        if turns.len() == before {
            return turns;
        }
    }
}

/// A connect in flight. Dropping it cancels it and closes its socket.
struct Attempt<H: Home> {
    stream: Option<TcpStream<H>>,
    connecting: Overlapped<NoBuffer, (), H>,
}

// Where it lies does not matter.
impl<H: Home> Unpin for Attempt<H> {}

impl<H: Home> Future for Attempt<H> {
    type Output = Result<TcpStream<H>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(done) = Pin::new(&mut self.connecting).poll(cx) else { return Poll::Pending };
        Poll::Ready(match (done.result, self.stream.take()) {
            (Ok(()), Some(stream)) => Ok(stream),
            (Ok(()), None) => unreachable!("polled after its end"),
            (Err(error), _) => Err(error),
        })
    }
}

struct Race<'a, H: Home> {
    connector: &'a mut Connector<H>,
    addresses: std::vec::IntoIter<SocketAddr>,
    attempts: Vec<Attempt<H>>,
    /// Until the next attempt.
    pause: Option<Overlapped<NoBuffer, ()>>,
    last: Option<Error>,
}

impl<H: Home> Race<'_, H> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<TcpStream<H>, Error>> {
        loop {
            let mut at = 0;
            while at < self.attempts.len() {
                match Pin::new(&mut self.attempts[at]).poll(cx) {
                    Poll::Ready(Ok(stream)) => {
                        // The losers go with their futures.
                        self.attempts.clear();
                        self.pause = None;
                        return Poll::Ready(Ok(stream));
                    }
                    Poll::Ready(Err(error)) => {
                        self.last = Some(error);
                        drop(self.attempts.remove(at));
                        // One that failed makes way at once.
                        self.pause = None;
                    }
                    Poll::Pending => at += 1,
                }
            }
            if let Some(pause) = &mut self.pause {
                match Pin::new(pause).poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(_) => self.pause = None,
                }
            }
            let next = self.addresses.find(|address| (self.connector.condition)(*address, self.last.as_ref()));
            let Some(address) = next else {
                return match self.attempts.is_empty() {
                    true => Poll::Ready(Err(self.last.unwrap_or_else(nowhere))),
                    false => Poll::Pending,
                };
            };
            match self.connector.attempt(address) {
                Ok(attempt) => {
                    self.attempts.push(attempt);
                    self.pause = Some(ambient().0.after(self.connector.stagger).into_future());
                }
                Err(error) => self.last = Some(error),
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse::<IpAddr>().expect("an address"), 1)
    }

    #[test]
    fn families_take_turns_and_the_first_ones_family_begins() {
        let given = ["::1", "::2", "::3", "1.0.0.1", "1.0.0.2"].map(address);
        let turns = ["::1", "1.0.0.1", "::2", "1.0.0.2", "::3"].map(address);
        assert_eq!(by_turns(given.to_vec()), turns);
        let given = ["1.0.0.1", "::1", "1.0.0.2", "1.0.0.3"].map(address);
        let turns = ["1.0.0.1", "::1", "1.0.0.2", "1.0.0.3"].map(address);
        assert_eq!(by_turns(given.to_vec()), turns);
        assert_eq!(by_turns(Vec::new()), Vec::new());
    }
}
