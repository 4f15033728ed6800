//! One signal handed to and fro. What comes of many at random is in `at_random/`.

use proactor::sync::{self, Event, Semaphore, Waited};

/// Pairs hand one signal to and fro without timeouts: a wake-up that is lost would be a hang.
#[test]
fn ten_thousand_turns_of_each_kind_without_a_timeout() {
    const TURNS: usize = 10_000;
    let (ping, pong) = (Event::auto(), Semaphore::new(0, 1).expect("a semaphore"));
    let always = Event::manual();
    always.set();
    let other = {
        let (ping, pong, always) = (ping.clone(), pong.clone(), always.clone());
        std::thread::spawn(move || {
            for turn in 0..TURNS {
                let waited = match turn % 3 {
                    0 => sync::wait_one(&ping, None),
                    1 => sync::wait_all(&[&always, &ping], None),
                    _ => sync::wait_any(&[&ping], None),
                };
                assert_eq!(waited, Ok(Waited::Signalled(0)));
                pong.release(1).expect("it was taken");
            }
        })
    };
    for _ in 0..TURNS {
        assert_eq!(sync::signal_and_wait(&ping, &pong, None), Ok(Waited::Signalled(0)));
    }
    other.join().expect("every turn came");
}
