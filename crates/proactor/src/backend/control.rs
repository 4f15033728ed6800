//! Control data: how the system tells what a datagram's headers say, and is told what they shall be.
//!
//! A list of messages, each with its length (header and data), its level and its type, everything aligned to words: the same on
//! both systems, but for the numbers and the order of IPv4's fields.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::op::{Address, Headers, Message};

#[cfg(target_os = "linux")]
mod system {
    use std::net::Ipv4Addr;

    pub use libc::{
        IP_PKTINFO, IP_RECVTOS, IP_RECVTTL, IP_TOS, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPV6_HOPLIMIT, IPV6_PKTINFO,
        IPV6_RECVHOPLIMIT, IPV6_RECVPKTINFO, IPV6_RECVTCLASS, IPV6_TCLASS,
    };
    /// Its types as received, which are those as sent.
    pub const IS_TTL: [i32; 1] = [IP_TTL];
    pub const IS_TOS: [i32; 1] = [IP_TOS];

    pub fn set(socket: &super::super::ObjectState, level: i32, option: i32, value: i32) -> std::io::Result<()> {
        let len = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the value is readable for its length.
        match unsafe { libc::setsockopt(socket.raw(), level, option, (&raw const value).cast(), len) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    /// `in_pktinfo`: the interface, this system's address, the datagram's.
    pub fn info_v4(interface: u32, from: Ipv4Addr) -> [u8; 12] {
        let mut info = [0; 12];
        info[..4].copy_from_slice(&interface.to_ne_bytes());
        info[4..8].copy_from_slice(&from.octets());
        info
    }

    pub fn read_v4(info: &[u8]) -> Option<(u32, Ipv4Addr)> {
        let (interface, rest) = info.split_first_chunk::<4>()?;
        let (_, to) = rest.split_first_chunk::<4>()?;
        Some((u32::from_ne_bytes(*interface), Ipv4Addr::from(*to.first_chunk::<4>()?)))
    }
}

#[cfg(windows)]
mod system {
    use std::net::Ipv4Addr;

    pub use windows_sys::Win32::Networking::WinSock::{
        IP_PKTINFO, IP_RECVTOS, IP_RECVTTL, IP_TOS, IP_TTL, IPPROTO_IP, IPPROTO_IPV6, IPV6_HOPLIMIT, IPV6_PKTINFO,
        IPV6_RECVTCLASS, IPV6_TCLASS,
    };
    /// The options are named as the messages.
    pub const IPV6_RECVPKTINFO: i32 = IPV6_PKTINFO;
    pub const IPV6_RECVHOPLIMIT: i32 = IPV6_HOPLIMIT;
    /// Its types as received.
    pub const IS_TTL: [i32; 2] = [IP_TTL, IP_RECVTTL];
    pub const IS_TOS: [i32; 2] = [IP_TOS, IP_RECVTOS];

    pub fn set(socket: &super::super::ObjectState, level: i32, option: i32, value: i32) -> std::io::Result<()> {
        use std::os::windows::io::AsRawSocket;
        use windows_sys::Win32::Networking::WinSock::{SOCKET, setsockopt};
        let (socket, len) = (socket.borrow_socket().as_raw_socket() as SOCKET, size_of_val(&value) as i32);
        // SAFETY: the value is readable for its length.
        match unsafe { setsockopt(socket, level, option, (&raw const value).cast(), len) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    /// IN_PKTINFO: the address, the interface.
    pub fn info_v4(interface: u32, from: Ipv4Addr) -> [u8; 8] {
        let mut info = [0; 8];
        info[..4].copy_from_slice(&from.octets());
        info[4..].copy_from_slice(&interface.to_ne_bytes());
        info
    }

    pub fn read_v4(info: &[u8]) -> Option<(u32, Ipv4Addr)> {
        let (to, interface) = info.split_first_chunk::<4>()?;
        Some((u32::from_ne_bytes(*interface.first_chunk::<4>()?), Ipv4Addr::from(*to)))
    }
}

#[allow(clippy::wildcard_imports, reason = "the numbers of one system, by the names both use")]
use system::*;

/// Has the system tell the headers of what comes, or no more. Of an IPv6 socket that takes IPv4's datagrams, theirs too.
pub(crate) fn receive_headers(socket: &super::ObjectState, is_v6: bool, on: bool) -> std::io::Result<()> {
    let set = |level, option| set(socket, level, option, on.into());
    let v4 = [IP_PKTINFO, IP_RECVTTL, IP_RECVTOS].map(|option| set(IPPROTO_IP, option));
    let v6 = match is_v6 {
        true => [IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS].map(|option| set(IPPROTO_IPV6, option)),
        false => [Ok(()), Ok(()), Ok(())],
    };
    // The first, the address, is what the call is for; a system without the others leaves them out.
    let [address, ..] = if is_v6 { v6 } else { v4 };
    address
}

/// Room for what both families tell, and for some that the user's own options add.
const WORDS: usize = 32;
const WORD: usize = size_of::<usize>();
/// Length, level, type.
const HEADER: usize = WORD + 8;

/// Memory for control data.
pub(crate) struct Control {
    room: [usize; WORDS],
    len: usize,
}

impl Control {
    pub const fn empty() -> Control {
        Control { room: [0; WORDS], len: 0 }
    }

    pub const ROOM: usize = WORDS * WORD;

    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.room.as_mut_ptr().cast()
    }

    /// How much of it is data to send.
    pub fn len(&self) -> usize {
        self.len
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: words are bytes, initialized all of them.
        unsafe { std::slice::from_raw_parts(self.room.as_ptr().cast(), Control::ROOM) }
    }

    fn add(&mut self, level: i32, kind: i32, data: &[u8]) {
        let (at, len) = (self.len, HEADER + data.len());
        // SAFETY: as above, and exclusive.
        let room = unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), Control::ROOM) };
        let room = &mut room[at..at + len];
        room[..WORD].copy_from_slice(&len.to_ne_bytes());
        room[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        room[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        room[HEADER..].copy_from_slice(data);
        self.len = (at + len).next_multiple_of(WORD);
    }

    /// Becomes what tells the system of these headers.
    pub fn lower(&mut self, headers: &Headers) {
        self.len = 0;
        let is_v4 = headers.is_v4();
        let number = |value: Option<u8>| value.map(|value| i32::from(value).to_ne_bytes());
        if headers.from.is_some() || headers.interface.is_some() {
            let interface = headers.interface.unwrap_or(0);
            let from = headers.from.map(|from| from.to_canonical());
            match (is_v4, from) {
                (true, Some(IpAddr::V4(from))) => self.add(IPPROTO_IP, IP_PKTINFO, &info_v4(interface, from)),
                (true, _) => self.add(IPPROTO_IP, IP_PKTINFO, &info_v4(interface, Ipv4Addr::UNSPECIFIED)),
                (false, from) => {
                    let from = if let Some(IpAddr::V6(from)) = from { from } else { Ipv6Addr::UNSPECIFIED };
                    let mut info = [0; 20];
                    info[..16].copy_from_slice(&from.octets());
                    info[16..].copy_from_slice(&interface.to_ne_bytes());
                    self.add(IPPROTO_IPV6, IPV6_PKTINFO, &info);
                }
            }
        }
        if let Some(hops) = number(headers.hop_limit) {
            if is_v4 { self.add(IPPROTO_IP, IP_TTL, &hops) } else { self.add(IPPROTO_IPV6, IPV6_HOPLIMIT, &hops) }
        }
        if let Some(class) = number(headers.traffic_class) {
            if is_v4 { self.add(IPPROTO_IP, IP_TOS, &class) } else { self.add(IPPROTO_IPV6, IPV6_TCLASS, &class) }
        }
    }

    /// What the system wrote here, `len` bytes of it, says of a datagram from this address.
    pub fn raise(&self, len: usize, from: Address, truncated: bool) -> Message {
        let mut message = Message { from, truncated, ..Message::default() };
        let mut rest = &self.bytes()[..len.min(Control::ROOM)];
        while let Some((level, kind, data)) = next(&mut rest) {
            // A byte or an int.
            let number = || match data {
                [one] => Some(*one),
                _ => data.first_chunk().and_then(|int| u8::try_from(i32::from_ne_bytes(*int)).ok()),
            };
            match (level, kind) {
                (IPPROTO_IP, IP_PKTINFO) => {
                    if let Some((interface, to)) = read_v4(data) {
                        (message.interface, message.to) = (Some(interface), Some(to.into()));
                    }
                }
                (IPPROTO_IPV6, IPV6_PKTINFO) => {
                    if let Some((to, interface)) = data.split_first_chunk::<16>() {
                        message.to = Some(Ipv6Addr::from(*to).into());
                        message.interface = interface.first_chunk().map(|index| u32::from_ne_bytes(*index));
                    }
                }
                (IPPROTO_IP, kind) if IS_TTL.contains(&kind) => message.hop_limit = number(),
                (IPPROTO_IP, kind) if IS_TOS.contains(&kind) => message.traffic_class = number(),
                (IPPROTO_IPV6, IPV6_HOPLIMIT) => message.hop_limit = number(),
                (IPPROTO_IPV6, IPV6_TCLASS) => message.traffic_class = number(),
                _ => {}
            }
        }
        // A socket of IPv6 names IPv4's addresses in its own way, both of them alike.
        if let (Some(std::net::SocketAddr::V6(_)), Some(IpAddr::V4(to))) = (message.from.ip(), message.to) {
            message.to = Some(to.to_ipv6_mapped().into());
        }
        message
    }
}

/// Takes the first message off a list of them.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(i32, i32, &'a [u8])> {
    let len = usize::from_ne_bytes(*rest.first_chunk()?);
    let message = rest.get(..len)?;
    let level = i32::from_ne_bytes(*message.get(WORD..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*message.get(WORD + 4..)?.first_chunk()?);
    let data = message.get(HEADER..)?;
    *rest = rest.get(len.next_multiple_of(WORD)..).unwrap_or_default();
    Some((level, kind, data))
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_headers_is_read_again() {
        for (to, from) in [("192.0.2.1:9", "192.0.2.7"), ("[2001:db8::1]:9", "2001:db8::7")] {
            let headers =
                Headers::to(to.parse().unwrap()).from(from.parse().unwrap()).interface(3).hop_limit(7).traffic_class(0xb9);
            let mut control = Control::empty();
            control.lower(&headers);
            let message = control.raise(control.len(), Address::Ip(to.parse().unwrap()), false);
            assert_eq!((message.interface, message.hop_limit, message.traffic_class), (Some(3), Some(7), Some(0xb9)));
            let is_told = !cfg!(target_os = "linux") || from.contains(':');
            assert_eq!(message.to.map(|to| to.to_string()), Some(if is_told { from } else { "0.0.0.0" }.to_owned()));
        }
    }

    #[test]
    fn cut_or_senseless_control_data_is_read_as_far_as_it_makes_sense() {
        let mut control = Control::empty();
        control.lower(&Headers::to("192.0.2.1:9".parse().unwrap()).interface(3).hop_limit(7));
        for len in 0..control.len() {
            let known = control.raise(len, Address::Unnamed, false).hop_limit;
            assert_eq!(known, (len >= control.len() - 4).then_some(7), "{len} bytes of it");
        }
        for first in [0, 1, HEADER - 1, HEADER, usize::MAX - 3, usize::MAX] {
            control.room[0] = first;
            control.raise(Control::ROOM, Address::Unnamed, false);
        }
    }
}
