//! Groups of futures: all, the first that is over, the first that succeeds; with every result and every buffer.

use std::future::ready;
use std::io::Write;
use std::time::{Duration, Instant};

use proactor::time::Timers;
use proactor::{Code, compose, group};

use crate::common::*;

#[test]
fn all_waits_for_each_member_and_keeps_their_order() {
    let pairs: Vec<_> = (0..8).map(|_| stream()).collect();
    let over = block_on(async {
        let all = group::all(|_| pairs.iter().map(|(ours, _)| ours.recv(vec![0; 8])).collect::<Vec<_>>());
        for (index, (_, peer)) in pairs.iter().enumerate().rev() {
            let mut peer: &std::net::TcpStream = peer;
            peer.write_all(&[index as u8; 3]).unwrap();
        }
        all.await
    });
    assert_eq!(over.first, None);
    for (index, done) in over.results.into_iter().enumerate() {
        assert_eq!(done.buffer, [index as u8; 3]);
    }
}

#[test]
fn the_first_to_be_over_cancels_the_others_and_all_buffers_come_back() {
    let (one, _peer_of_one) = stream();
    let (two, mut peer_of_two) = stream();
    let (three, _peer_of_three) = stream();
    for _ in 0..50 {
        peer_of_two.write_all(b"first").unwrap();
        let over = block_on(group::one(|token| {
            [&one, &two, &three].map(|stream| stream.recv(vec![0; 16].into_boxed_slice()).cancel_on(token))
        }));
        assert_eq!(over.first, Some(1));
        let [first, second, third] = over.results;
        assert_eq!((code(&first), code(&second), code(&third)), (Some(Code::Cancelled), None, Some(Code::Cancelled)));
        assert_eq!((first.buffer.len(), &second.buffer[..5], third.buffer.len()), (16, &b"first"[..], 16));
    }
}

#[test]
fn a_loser_that_had_won_its_own_race_gives_its_result_too() {
    let (one, mut peer_of_one) = stream();
    let (two, mut peer_of_two) = stream();
    let (mut came_of_one, mut came_of_two) = (0, 0);
    for turn in 0..200_u32 {
        peer_of_one.write_all(b"x").unwrap();
        peer_of_two.write_all(b"y").unwrap();
        while came_of_one <= turn || came_of_two <= turn {
            let over =
                block_on(group::one(|token| (one.recv(vec![0; 1]).cancel_on(token), two.recv(vec![0; 1]).cancel_on(token))));
            let (first, second) = over.results;
            came_of_one += first.bytes as u32;
            came_of_two += second.bytes as u32;
            assert!(first.bytes + second.bytes > 0, "nobody was first");
        }
    }
    assert_eq!((came_of_one, came_of_two), (200, 200), "no byte is lost");
}

#[test]
fn the_first_success_is_waited_for_past_failures() {
    let timers = somewhere(Timers::new());
    let (ours, _peer) = stream();
    let over = block_on(group::first_success(|token| {
        (
            ours.recv(vec![0; 4]).timeout(Duration::from_millis(2)).cancel_on(token),
            timers.after(Duration::from_millis(20)).cancel_on(token),
            timers.after(LONG).cancel_on(token),
        )
    }));
    assert_eq!(over.first, Some(1));
    assert_eq!(code(&over.results.0), Some(Code::WaitTimeout));
    assert_eq!(code(&over.results.1), None);
    assert_eq!(code(&over.results.2), Some(Code::Cancelled));
    let over = block_on(group::first_success(|_| vec![ready(Err::<(), u8>(1)), ready(Err(2))]));
    assert_eq!((over.first, over.results), (None, vec![Err(1), Err(2)]));
}

#[test]
fn a_failure_cancels_the_others_of_a_group_that_wants_none() {
    let timers = somewhere(Timers::new());
    let (ours, _peer) = stream();
    let begin = Instant::now();
    let over = block_on(group::until_failure(|token| {
        (
            timers.after(Duration::from_millis(1)).cancel_on(token),
            ours.recv(vec![0; 4]).timeout(Duration::from_millis(20)).cancel_on(token),
            timers.after(LONG).cancel_on(token),
        )
    }));
    assert_eq!(over.first, Some(1));
    assert_eq!(code(&over.results.2), Some(Code::Cancelled));
    assert!(begin.elapsed() < LONG);
}

#[test]
fn compositions_and_groups_are_members_too() {
    let timers = somewhere(Timers::new());
    let (ours, mut peer) = stream();
    peer.write_all(b"half").unwrap();
    let over = block_on(group::one(|token| {
        let inner = group::one(|token| [timers.after(SHORT).cancel_on(token), timers.after(LONG).cancel_on(token)]);
        (compose::read_exactly(&ours, vec![0; 8], 8).cancel_on(token), inner)
    }));
    assert_eq!(over.first, Some(1));
    assert_eq!((code(&over.results.0), &over.results.0.buffer[..]), (Some(Code::Cancelled), &b"half"[..]));
    assert_eq!(over.results.1.first, Some(0));
}

#[test]
fn a_group_of_nobody_is_over_at_once() {
    let over = block_on(group::one(|_| Vec::<std::future::Ready<()>>::new()));
    assert_eq!((over.first, over.results), (None, vec![]));
}

#[test]
fn dropping_a_group_cancels_its_token_and_members() {
    let (ours, mut peer) = stream();
    let mut theirs = None;
    drop(group::one(|token| {
        theirs = Some(token.clone());
        [ours.recv(vec![0; 8]).cancel_on(token)]
    }));
    assert!(theirs.unwrap().is_cancelled());
    block_on(async { turn() });
    peer.write_all(b"still").unwrap();
    assert_eq!(compose::read_exactly(&ours, vec![0; 5], 5).wait().buffer, b"still");
}
