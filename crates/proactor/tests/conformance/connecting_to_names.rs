//! Connecting to one of several addresses, and to hosts by name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proactor::net::{Connector, TcpStream, connect};
use proactor::{Code, block_on};

use crate::common::*;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A listener whose backlog is full, so that connects to it neither fail nor succeed for a while; and what fills it.
struct Hole {
    address: SocketAddr,
    _listener: socket2::Socket,
    _fill: Vec<socket2::Socket>,
}

/// `None` where connects to a full listener are refused or let in.
fn hole() -> Option<Hole> {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&ANY.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut fill = Vec::new();
    for _ in 0..32 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        match socket.connect_timeout(&address.into(), Duration::from_millis(200)) {
            Ok(()) => fill.push(socket),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                return Some(Hole { address, _listener: listener, _fill: fill });
            }
            Err(_) => return None,
        }
    }
    None
}

#[test]
fn addresses_are_tried_in_turn_until_one_accepts() {
    let (_listener, address) = listener();
    let (_refusing, refused) = nobody();
    let stream = block_on(connect([refused, refused, address])).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
}

#[test]
fn the_error_is_that_of_the_last_address_and_no_address_is_one_too() {
    let (_refusing, refused) = nobody();
    assert_eq!(block_on(connect([refused, refused])).unwrap_err().code(), Code::ConnectionRefused);
    assert_eq!(block_on(connect([])).unwrap_err().code(), Code::InvalidParameter);
    assert_eq!(block_on(Connector::new().race([refused, refused])).unwrap_err().code(), Code::ConnectionRefused);
    assert_eq!(block_on(Connector::new().race([])).unwrap_err().code(), Code::InvalidParameter);
}

#[test]
fn a_condition_chooses_the_addresses_and_hears_of_errors() {
    let (_listener, address) = listener();
    let (_refusing, refused) = nobody();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let own = seen.clone();
    let mut connector = Connector::new().when(move |address, last| {
        own.lock().unwrap().push((address, last.map(proactor::Error::code)));
        address != refused || last.is_none()
    });
    let stream = block_on(connector.connect([refused, refused, address])).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    let refusal = Some(Code::ConnectionRefused);
    assert_eq!(*seen.lock().unwrap(), [(refused, None), (refused, refusal), (address, refusal)]);
}

#[test]
fn each_socket_is_prepared_and_finds_its_home_before_it_connects() {
    let port = port(1);
    let (_listener, address) = listener();
    let (_refusing, refused) = nobody();
    let count = Arc::new(Mutex::new(0));
    let own = count.clone();
    let mut connector = Connector::prepared(move |stream, _| {
        *own.lock().unwrap() += 1;
        socket2::SockRef::from(&stream).set_tcp_nodelay(true).map_err(|_| proactor::Error::new(Code::Other))?;
        Ok(stream)
    });
    let stream = block_on(connector.connect([refused, address])).unwrap();
    assert!(socket2::SockRef::from(&stream).tcp_nodelay().unwrap());
    assert_eq!(*count.lock().unwrap(), 2);
    // What prepares it may fail, and that is the address's error.
    let mut connector: Connector = Connector::prepared(|_, _| Err(proactor::Error::new(Code::AccessDenied)));
    assert_eq!(block_on(connector.connect([address])).unwrap_err().code(), Code::AccessDenied);
    assert_eq!(block_on(connector.race([address])).unwrap_err().code(), Code::AccessDenied);
    drop(port);
}

#[test]
fn a_refusal_makes_way_for_the_next_at_once() {
    let (_listener, address) = listener();
    let (_refusing, refused) = nobody();
    let begin = Instant::now();
    let mut connector = Connector::new().stagger(LONG);
    let stream = block_on(connector.race([refused, refused, refused, address])).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert!(begin.elapsed() < LONG / 2, "it waited for the stagger");
}

#[test]
fn an_address_that_does_not_answer_is_overtaken_after_the_stagger() {
    let Some(hole) = hole() else {
        skip!(
            "connecting_to_names::an_address_that_does_not_answer_is_overtaken_after_the_stagger",
            "a full listener refuses or takes more here"
        );
    };
    let (_listener, address) = listener();
    let stagger = Duration::from_millis(40);
    let begin = Instant::now();
    let stream = block_on(Connector::new().stagger(stagger).race([hole.address, address])).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), address);
    assert!(begin.elapsed() >= stagger, "the first has its time");
}

#[test]
fn a_connect_that_is_dropped_closes_its_socket() {
    let Some(hole) = hole() else {
        skip!("connecting_to_names::a_connect_that_is_dropped_closes_its_socket", "a full listener refuses or takes more here");
    };
    let polled = async {
        let mut connecting = std::pin::pin!(connect([hole.address]));
        std::future::poll_fn(|cx| {
            assert!(connecting.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    };
    block_on(polled);
    let mut connector = Connector::new();
    let racing = async {
        let mut racing = std::pin::pin!(connector.race([hole.address, hole.address]));
        std::future::poll_fn(|cx| {
            assert!(racing.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    };
    block_on(racing);
}

#[test]
fn a_host_is_connected_to_by_its_name() {
    // A name may stand for both families; the listener is of one.
    let (_listener, address) = listener();
    let stream = block_on(TcpStream::connect_host("localhost", address.port())).unwrap();
    assert_eq!(stream.peer_addr().unwrap().port(), address.port());
    assert_eq!(
        block_on(TcpStream::connect_host("127.0.0.1", address.port())).unwrap().peer_addr().unwrap(),
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    );
    assert_eq!(block_on(TcpStream::connect_host("", 1)).unwrap_err().code(), Code::InvalidParameter);
}
