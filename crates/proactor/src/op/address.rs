//! Addresses of every family in one small enum.

use std::net::SocketAddr;
use std::path::Path;

use socket2::SockAddr;

use crate::backend;
use crate::error::Error;

/// An address of any family the library speaks. Unix paths are boxed, so that blocks stay small.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Address {
    /// IPv4 or IPv6, with port.
    Ip(SocketAddr),
    /// A Unix socket's path (or abstract name).
    Unix(Box<SockAddr>),
    /// None: an unnamed Unix socket.
    #[default]
    Unnamed,
}

impl Address {
    /// The IP address and port, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(addr) => Some(*addr),
            _ => None,
        }
    }

    /// The path, if it is a Unix socket's.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Address::Unix(addr) => backend::unix_path(addr),
            _ => None,
        }
    }

    /// The address of a Unix socket at `path`. Errors: a path too long for the system ([`Code::InvalidParameter`](crate::Code::InvalidParameter)).
    pub fn unix(path: impl AsRef<Path>) -> Result<Address, Error> {
        SockAddr::unix(path).map(|addr| Address::Unix(Box::new(addr))).map_err(|e| Error::from_io(&e))
    }

    pub(crate) fn from_sock(addr: &SockAddr) -> Address {
        match addr.as_socket() {
            Some(ip) => Address::Ip(ip),
            None if addr.is_unix() && !backend::is_unnamed(addr) => Address::Unix(Box::new(addr.clone())),
            None => Address::Unnamed,
        }
    }

    pub(crate) fn to_sock(&self) -> Option<SockAddr> {
        match self {
            Address::Ip(ip) => Some((*ip).into()),
            Address::Unix(addr) => Some((**addr).clone()),
            Address::Unnamed => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Address {
        Address::Ip(addr)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Ip(addr) => addr.fmt(f),
            Address::Unix(_) => match self.path() {
                Some(path) => path.display().fmt(f),
                None => f.write_str("(abstract)"),
            },
            Address::Unnamed => f.write_str("(unnamed)"),
        }
    }
}
