//! Datagrams with their headers: what came with one, and what is chosen for one.

use std::net::{IpAddr, SocketAddr};

use super::Address;
use crate::error::{Code, Error};

/// What the headers of a received datagram say, as [`recv_msg`](crate::net::UdpSocket::recv_msg) brings it.
///
/// But for the sender they are known of datagrams that came since the socket was told to
/// [keep them](crate::net::UdpSocket::receive_headers), and `None` of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Who sent it.
    pub from: Address,
    /// The address it was sent to: one of this system's, or that of a group or a broadcast.
    pub to: Option<IpAddr>,
    /// The index of the interface it came in by.
    pub interface: Option<u32>,
    /// Its hop limit (time to live) as it arrived.
    pub hop_limit: Option<u8>,
    /// Its traffic class (type of service): the upper six bits are DSCP, the lower two ECN.
    pub traffic_class: Option<u8>,
    /// The datagram was longer than the buffer; what fitted was delivered, the rest is lost.
    pub truncated: bool,
}

impl Message {
    /// The warning a truncated datagram carries: [`Code::MessageTruncated`] (234 / 10040), with the data delivered.
    pub fn warning(&self) -> Option<Error> {
        self.truncated.then(|| Error::new(Code::MessageTruncated))
    }

    /// The headers of an answer: to its sender, from the address it was sent to. The system chooses the latter if the datagram
    /// was sent to a group, or that is not known. `None` if nobody sent it.
    ///
    /// Whether an address is its subnet's broadcast cannot be told from it: clear [`Headers::from`] where such come in, or the
    /// answer fails with `AddressNotAvailable`.
    pub fn reply(&self) -> Option<Headers> {
        let from = self.to.filter(|to| {
            let to = to.to_canonical();
            !to.is_multicast() && to != IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
        });
        Some(Headers { to: Some(self.from.ip()?), from, ..Headers::default() })
    }
}

/// The headers of a datagram that is sent by [`send_msg`](crate::net::UdpSocket::send_msg). The system chooses what is `None`.
///
/// ```
/// use proactor::net::Headers;
/// let headers = Headers::to("192.0.2.1:53".parse().unwrap()).from("192.0.2.7".parse().unwrap()).hop_limit(1);
/// assert_eq!((headers.hop_limit, headers.interface), (Some(1), None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Headers {
    /// Where it goes; `None` is the peer the socket is connected to.
    pub to: Option<SocketAddr>,
    /// The address it comes from: one of this system's. The port is the socket's.
    pub from: Option<IpAddr>,
    /// The index of the interface it leaves by.
    pub interface: Option<u32>,
    /// Its hop limit (time to live), 1 to 255.
    pub hop_limit: Option<u8>,
    /// Its traffic class (type of service): the upper six bits are DSCP, the lower two ECN.
    pub traffic_class: Option<u8>,
    /// Whether the peer of a connected socket is one of IPv4.
    pub(crate) peer_is_v4: bool,
}

impl Headers {
    /// Those of a datagram to this address.
    pub fn to(to: SocketAddr) -> Headers {
        Headers { to: Some(to), ..Headers::default() }
    }

    /// Those of a datagram to the peer the socket is connected to.
    pub fn to_peer() -> Headers {
        Headers::default()
    }

    /// From this address of the system's.
    pub fn from(self, from: IpAddr) -> Headers {
        Headers { from: Some(from), ..self }
    }

    /// By the interface of this index.
    pub fn interface(self, interface: u32) -> Headers {
        Headers { interface: Some(interface), ..self }
    }

    /// With this hop limit (time to live), 1 to 255.
    pub fn hop_limit(self, hops: u8) -> Headers {
        Headers { hop_limit: Some(hops), ..self }
    }

    /// With this traffic class (type of service).
    pub fn traffic_class(self, class: u8) -> Headers {
        Headers { traffic_class: Some(class), ..self }
    }

    /// Whether they are those of IPv4, also on a socket of IPv6 that sends to a mapped address.
    pub(crate) fn is_v4(&self) -> bool {
        let addr = self.to.map(|to| to.ip()).or(self.from);
        addr.map_or(self.peer_is_v4, |addr| addr.to_canonical().is_ipv4())
    }

    /// Whether only the peer tells which protocol's they are.
    pub(crate) fn follows_peer(&self) -> bool {
        let chooses = self.interface.is_some() || self.hop_limit.is_some() || self.traffic_class.is_some();
        chooses && self.to.is_none() && self.from.is_none()
    }

    /// Refuses what no system takes.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refused = |hint| Err(Error::new(Code::InvalidParameter).hint(hint));
        if self.from.is_some_and(|from| from.to_canonical().is_ipv4() != self.is_v4()) {
            return refused("the address it comes from and the one it goes to are of different families");
        }
        if self.hop_limit == Some(0) {
            return refused("a datagram without hops goes nowhere; use 1 to 255");
        }
        Ok(())
    }
}
