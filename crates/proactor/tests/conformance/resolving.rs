//! Names and addresses. Only what needs no name server: this machine's own name, addresses as text, and names that cannot be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use proactor::dns::Resolver;
use proactor::{Code, OpKind, Value};

use crate::common::*;
use crate::deliveries::{DELIVERIES, by};

#[test]
fn this_machine_is_found_by_every_delivery() {
    let port = port(1);
    let resolver = port.home(Resolver::new(), 7);
    for delivery in DELIVERIES {
        let found = by(delivery, &port, resolver.resolve_port("localhost", 80)).unwrap();
        assert!(!found.addresses().is_empty());
        for address in found {
            assert!(address.ip().is_loopback() && address.port() == 80, "{delivery}: {address}");
        }
    }
    nothing(&port);
}

#[test]
fn an_address_as_text_is_itself() {
    let resolver = somewhere(Resolver::new());
    for (text, service) in [("127.0.0.1", "443"), ("::1", "443"), ("192.0.2.7", "")] {
        let found = run(resolver.resolve(text, service)).result.unwrap();
        let port = if service.is_empty() { 0 } else { 443 };
        assert_eq!(found.addresses(), [SocketAddr::new(text.parse().unwrap(), port)]);
        assert_eq!(run(resolver.resolve_port(text, 7)).result.unwrap().addresses()[0].port(), 7);
    }
}

#[test]
fn no_address_comes_twice() {
    let resolver = somewhere(Resolver::new());
    let mut found: Vec<_> = run(resolver.resolve("localhost", "80")).result.unwrap().into_iter().collect();
    let count = found.len();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), count);
}

#[test]
fn a_name_that_cannot_be_says_so() {
    let resolver = somewhere(Resolver::new());
    for host in ["", "nul\0byte"] {
        let error = run(resolver.resolve(host, "80")).result.unwrap_err();
        assert_eq!((error.code(), error.operation()), (Code::InvalidParameter, Some(OpKind::Resolve)), "{host:?}");
        assert_eq!(code(&run(resolver.resolve_port(host, 80))), Some(Code::InvalidParameter), "{host:?}");
    }
    assert_eq!(code(&run(resolver.resolve("localhost", "no-such-service-anywhere"))), Some(Code::InvalidParameter));
    // Longer than any name, so that no server is asked.
    let long = "x".repeat(300);
    let error = run(resolver.resolve(&long, "80")).result.unwrap_err();
    assert!(matches!(error.code(), Code::HostNotFound | Code::ResolveAgain | Code::Other), "{error:?}");
}

#[test]
fn many_questions_are_answered_each_with_its_packet() {
    let port = port(1);
    let resolver = port.home(Resolver::with_threads(3), 7);
    let mut due: Vec<_> = (1..=60).collect();
    for tag in &due {
        packet(resolver.resolve_port("localhost", *tag), block((*tag).into(), 0));
    }
    while !due.is_empty() {
        let packet = success(&port);
        let Value::Resolved(found) = packet.done.result.unwrap() else { panic!("addresses were due") };
        let tag = packet.block.unwrap().tag;
        assert_eq!(usize::from(found.addresses()[0].port()), tag);
        due.retain(|other| usize::from(*other) != tag);
    }
    nothing(&port);
}

#[test]
fn a_cancel_completes_a_question_at_once_wherever_it_is() {
    let port = port(1);
    let resolver = port.home(Resolver::with_threads(1), 7);
    // Some are asked, most wait behind them.
    let tickets: Vec<_> = (0..50).map(|tag| packet(resolver.resolve("localhost", "80"), block(tag, 0))).collect();
    let cancelled: Vec<_> = tickets.iter().map(|ticket| resolver.cancel(*ticket).is_ok()).collect();
    let mut came = vec![None; tickets.len()];
    for _ in &tickets {
        let packet = take(&port);
        came[packet.block.as_ref().unwrap().tag] = Some(packet.error().map(|error| error.code()));
    }
    for (cancelled, came) in cancelled.into_iter().zip(came) {
        // Each ends as the cancel said: one that was found is cancelled, another had its answer.
        assert_eq!(came.unwrap(), cancelled.then_some(Code::Cancelled));
    }
    nothing(&port);
    run(resolver.resolve("localhost", "80")).result.unwrap();
}

#[test]
fn dropping_the_resolver_cancels_and_waits_for_nothing() {
    let port = port(1);
    let resolver = port.home(Resolver::with_threads(1), 7);
    for tag in 0..20 {
        packet(resolver.resolve("localhost", "80"), block(tag, 0));
    }
    let overlapped = start(resolver.resolve("localhost", "80"));
    let begin = Instant::now();
    drop(resolver);
    assert!(begin.elapsed() < LONG / 10);
    for _ in 0..20 {
        let packet = take(&port);
        assert!(packet.error().is_none_or(|error| error.code() == Code::Cancelled));
    }
    assert!(finish(overlapped).result.is_err_and(|error| error.code() == Code::Cancelled));
    nothing(&port);
}

#[test]
fn an_operation_that_is_dropped_leaves_its_late_answer_to_nobody() {
    let resolver = somewhere(Resolver::with_threads(2));
    for _ in 0..100 {
        drop(start(resolver.resolve("localhost", "80")));
    }
    run(resolver.resolve("localhost", "80")).result.unwrap();
}

#[test]
fn an_address_of_this_machine_has_a_name_or_says_that_it_has_none() {
    let resolver = somewhere(Resolver::new());
    match run(resolver.reverse(IpAddr::V4(Ipv4Addr::LOCALHOST))).result {
        Ok(name) => assert!(!name.as_str().is_empty()),
        Err(error) => assert!(matches!(error.code(), Code::HostNotFound | Code::ResolveAgain), "{error:?}"),
    }
}
