//! The wheel beside a sorted list, driven at random; and its edges one by one.

use std::collections::BTreeMap;

use super::*;

/// All that is due, in order.
fn due(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
    let mut out = Vec::new();
    assert!(wheel.advance(now, usize::MAX, |item| {
        out.push(item);
        true
    }));
    out
}

/// xorshift64*: repeats from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A distance of any magnitude, so that every level is met.
    fn distance(&mut self) -> u64 {
        let bits = self.below(36);
        self.next() & ((1 << bits) - 1)
    }
}

/// What the wheel is to do, by a sorted map: tick, then order of insertion.
#[derive(Default)]
struct Model(BTreeMap<(u64, u64), u64>);

#[test]
fn it_does_what_a_sorted_list_does() {
    for seed in 1..=60_u64 {
        let (mut random, mut wheel, mut model) = (Random(seed), Wheel::new(), Model::default());
        let (mut places, mut now, mut number) = (BTreeMap::new(), 0, 0_u64);
        for step in 0..3000 {
            match random.below(10) {
                0..5 => {
                    number += 1;
                    // Some share a tick, some have passed.
                    let tick = match random.below(4) {
                        0 => now + random.below(4),
                        1 => now.saturating_sub(random.below(100)),
                        _ => now + random.distance(),
                    };
                    let at = wheel.insert(number, tick).expect("there is room");
                    model.0.insert((tick.max(wheel.elapsed), number), number);
                    places.insert(number, (at, tick.max(wheel.elapsed)));
                }
                5..8 => {
                    let keys: Vec<_> = places.keys().copied().take(50).collect();
                    if let Some(key) = keys.get(random.below(50) as usize) {
                        let (at, tick) = places.remove(key).expect("it is there");
                        assert_eq!(wheel.remove(at), Some(*key), "seed {seed}, step {step}");
                        assert_eq!(wheel.remove(at), None, "it is gone");
                        model.0.remove(&(tick, *key));
                    }
                }
                _ => {
                    if let Some(next) = wheel.next() {
                        let earliest = model.0.keys().next().expect("as many").0;
                        assert!(next <= earliest, "seed {seed}: it would be looked at too late");
                    }
                    // A stop in between, now and then, with insertions before it goes on.
                    now += random.distance() >> random.below(20);
                    let few = random.below(3) == 0;
                    let mut out = Vec::new();
                    let whole = wheel.advance(now, if few { random.below(20) as usize } else { usize::MAX }, |item| {
                        out.push(item);
                        true
                    });
                    let expected: Vec<_> = model.0.range(..=(now, u64::MAX)).map(|(key, item)| (*key, *item)).collect();
                    assert!(whole || few);
                    assert!(!whole || out.len() == expected.len(), "seed {seed}, step {step}: all that is due");
                    for (item, (key, wanted)) in out.iter().zip(expected) {
                        assert_eq!(*item, wanted, "seed {seed}, step {step}: in order");
                        model.0.remove(&key);
                        places.remove(&wanted);
                    }
                    if !whole {
                        assert!(wheel.next().is_none_or(|next| next <= now), "what is left is due now");
                    }
                }
            }
            assert_eq!(wheel.armed(), model.0.len(), "seed {seed}, step {step}");
        }
        let rest = due(&mut wheel, u64::MAX >> TICK);
        assert_eq!(rest, model.0.into_values().collect::<Vec<_>>(), "seed {seed}");
        assert!(wheel.next().is_none());
    }
}

#[test]
fn equal_deadlines_keep_their_order_through_every_level() {
    for distance in [0, 1, 63, 64, 4095, 4096, 1 << 20, 1 << 40] {
        let mut wheel = Wheel::new();
        assert!(due(&mut wheel, 37).is_empty());
        for item in 0..100 {
            wheel.insert(item, 37 + distance).expect("there is room");
            // Time passes between them, by halves of what is left.
            let now = 37 + distance - (distance >> (item / 2).min(60)).min(distance);
            if now < 37 + distance {
                assert!(due(&mut wheel, now).is_empty(), "not before its tick");
            }
        }
        assert_eq!(due(&mut wheel, 37 + distance), (0..100).collect::<Vec<_>>(), "at {distance}");
    }
}

#[test]
fn an_interrupted_cascade_keeps_the_order() {
    let mut wheel = Wheel::new();
    for item in 0..10 {
        wheel.insert(item, 5000).expect("there is room");
    }
    assert!(!wheel.advance(5000, 4, |_| panic!("four steps only begin the cascade")));
    wheel.insert(10, 5000).expect("there is room");
    assert_eq!(due(&mut wheel, 5000), (0..=10).collect::<Vec<_>>());
}

#[test]
fn the_first_and_the_last_moment_there_is() {
    let mut wheel = Wheel::new();
    wheel.insert(1, tick_after(u64::MAX)).expect("there is room");
    wheel.insert(0, tick_after(0)).expect("there is room");
    assert_eq!(due(&mut wheel, 0), [0]);
    assert!(due(&mut wheel, tick_after(u64::MAX) - 1).is_empty());
    assert_eq!(due(&mut wheel, tick_after(u64::MAX)), [1]);
}

#[test]
fn a_deadline_is_never_before_its_tick() {
    for nanos in [0, 1, 8191, 8192, 8193, 123_456_789, u64::MAX >> 1] {
        let tick = tick_after(nanos);
        assert!(nanos_at(tick) >= nanos && nanos_at(tick) - nanos < 1 << TICK);
        assert!(tick_at(nanos_at(tick)) == tick);
    }
}

#[test]
fn one_alone_is_looked_at_once() {
    let mut wheel = Wheel::new();
    wheel.insert(0, 1_000_000).expect("there is room");
    assert_eq!(wheel.next(), Some(1_000_000));
    let at = wheel.insert(1, 1_000_001).expect("there is room");
    assert!(wheel.next().is_some_and(|next| next < 1_000_000), "two are dealt out first");
    wheel.remove(at);
    assert_eq!(wheel.next(), Some(1_000_000));
}

#[test]
fn places_are_used_again() {
    let mut wheel = Wheel::new();
    for round in 0..100 {
        let places: Vec<_> = (0..50).map(|item| wheel.insert(item, round * 70 + item).expect("there is room")).collect();
        assert!(places.into_iter().enumerate().all(|(item, at)| wheel.remove(at) == Some(item as u64)));
    }
    assert_eq!((wheel.armed(), wheel.places()), (0, 50));
}
