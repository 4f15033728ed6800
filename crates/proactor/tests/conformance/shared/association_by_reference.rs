//! An object is associated where it is: handles of it may exist, and go on as what they were.

use std::io::Write;
use std::sync::Arc;

use proactor::net::UdpSocket;
use proactor::{Code, CompletionPort, Concurrency};

use crate::common::*;

#[test]
fn a_second_association_is_error_87() {
    let (first, second) = (port(1), port(1));
    let (ours, mut peer) = stream();
    first.associate(&ours, 1).unwrap();
    for again in [&first, &second] {
        let error = again.associate(&ours, 2).unwrap_err();
        assert_eq!((error.code(), error.code().win32()), (Code::InvalidParameter, 87));
    }
    receive(&ours, 0, 16);
    peer.write_all(b"hello").unwrap();
    assert_eq!(success(&first).key, 1, "the first association stands");
    nothing(&second);
}

#[test]
fn handles_of_one_object_share_its_association_until_the_last_is_closed() {
    let port = port(1);
    let (ours, mut peer) = stream();
    let another = ours.clone();
    port.associate(&ours, 7).unwrap();
    assert_eq!(port.associate(&another, 8).unwrap_err().code(), Code::InvalidParameter);
    drop(ours);
    receive(&another, 0, 16);
    peer.write_all(b"hello").unwrap();
    assert_eq!(success(&port).key, 7);
}

#[test]
fn a_refused_association_drops_its_key() {
    let key = Arc::new(());
    let port = CompletionPort::<Io, Arc<()>>::new(Concurrency::Threads(1)).unwrap();
    let (ours, _peer) = stream();
    port.associate(&ours, key.clone()).unwrap();
    assert!(port.associate(&ours, key.clone()).is_err());
    assert_eq!(Arc::strong_count(&key), 2);
    port.close();
    assert!(port.associate(&UdpSocket::bind(ANY).unwrap(), key.clone()).is_err());
    assert_eq!(Arc::strong_count(&key), 2);
}
