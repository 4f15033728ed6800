//! What a port of one thread has of its own: a way in for other threads, blocks that stay on their thread, waits that let
//! the port's operations go on.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use proactor::net::TcpListener;
use proactor::{Block, Code, CompletionPort, LocalPort, Outcome, Value, within_mut};

use crate::common::*;

/// Every row of ARCHITECTURE.md's table of what a per-thread port does not promise has its file of tests for the shared
/// port, and every such file its row.
#[test]
fn the_table_of_promises_names_every_file_of_those_not_made_here() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("../../ARCHITECTURE.md")).unwrap();
    let mut rows: Vec<_> =
        text.split("`shared/").skip(1).filter_map(|rest| rest.split_once(".rs`").map(|(name, _)| name)).collect();
    let mut files: Vec<_> = std::fs::read_dir(root.join("tests/conformance/shared"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.iter_mut().for_each(|file| file.truncate(file.len() - ".rs".len()));
    rows.sort_unstable();
    files.sort_unstable();
    assert_eq!(rows, files);
}

/// In the children of `again`, that they are what they were meant to be.
#[cfg(target_os = "linux")]
#[test]
fn the_port_is_a_ring_where_there_is_io_uring() {
    let rings = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        open.filter(|target| target.to_string_lossy().contains("io_uring")).count()
    };
    let port = port(1);
    match proactor::backend().files {
        "blocking pool" => assert_eq!(rings(), 0, "some port of this process is a ring"),
        _ => assert!(rings() > 0, "this port is no ring"),
    }
    drop(port);
}

#[test]
fn a_post_from_another_thread_wakes_the_owner() {
    let port = port(1);
    let remote = port.remote();
    let (go, went) = std::sync::mpsc::channel();
    let poster = worker(move || {
        for key in went {
            remote.post(key, key + 1, Some(block(key, 0))).unwrap();
        }
    });
    for key in 0..200 {
        go.send(key).unwrap();
        let packet = match port.get(None).unwrap() {
            Outcome::Packet(packet) => packet,
            other => panic!("{other:?}"),
        };
        assert_eq!((packet.key, packet.done.bytes, packet.block.unwrap().tag), (key, key + 1, key));
    }
    drop(go);
    poster.join();
    nothing(&port);
}

#[test]
fn a_post_from_another_thread_wakes_an_owner_that_waits_for_an_operation_and_is_only_queued() {
    let port = port(1);
    let (ours, peer) = homeless();
    let ours = port.home(ours, 7);
    let remote = port.remote();
    let poster = worker(move || {
        (0..100).for_each(|key| remote.post(key, 0, None).unwrap());
        (&peer).write_all(b"hello").unwrap();
        peer
    });
    assert_eq!(run(ours.recv(vec![0; 16])).buffer, b"hello");
    for key in 0..100 {
        assert_eq!(success(&port).key, key);
    }
    drop(poster.join());
    nothing(&port);
}

#[test]
fn posts_of_many_threads_all_arrive_while_the_port_is_open_and_are_refused_after() {
    let life = Arc::new(());
    for round in 0..50 {
        let port = port_of::<Arc<()>, usize>();
        let remote = port.remote();
        let posters: Vec<_> = (0..3)
            .map(|_| {
                let (remote, life) = (remote.clone(), life.clone());
                worker(move || {
                    for n in 0.. {
                        match remote.post(n, 0, Some(Block::new(life.clone()))) {
                            Ok(()) => assert!(n < 1_000_000, "the close is never seen"),
                            Err(refused) => {
                                assert_eq!((refused.error.code(), refused.back.0), (Code::InvalidHandle, n));
                                assert!(refused.back.1.is_some());
                                return n;
                            }
                        }
                    }
                    unreachable!("posts without end")
                })
            })
            .collect();
        let taken = (0..round * 10).filter(|_| matches!(port.get(LONG), Ok(Outcome::Packet(_)))).count();
        assert_eq!(taken, round * 10, "a post was lost");
        port.close();
        assert!(remote.is_closed());
        let posted: usize = posters.into_iter().map(Worker::join).sum();
        assert!(posted >= taken);
        drop((port, remote));
        until("blocks of posts nobody fetched are dropped", || Arc::strong_count(&life) == 1);
    }
}

#[test]
fn a_remote_outlives_its_port_and_is_refused() {
    let port = port(1);
    let remote = port.remote();
    let again = remote.clone();
    drop(port);
    assert!(remote.is_closed() && again.is_closed());
    let refused = worker(move || again.post(5, 0, Some(block(6, 0))).unwrap_err()).join();
    assert_eq!((refused.error.code(), refused.back.0, refused.back.1.unwrap().tag), (Code::InvalidHandle, 5, 6));
}

#[test]
fn blocks_need_not_be_able_to_leave_their_thread() {
    type Io = (Rc<RefCell<Vec<usize>>>, [u8; 4], usize);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let port: LocalPort<Io, usize> = LocalPort::new().unwrap();
    let (ours, mut peer) = homeless();
    let ours = port.associate(ours, 7).unwrap();
    for n in 0..10 {
        ours.recv(within_mut(|io: &mut Io| &mut io.1[..])).packet(Block::new((seen.clone(), [0; 4], n))).unwrap();
    }
    peer.write_all(&[1; 20]).unwrap();
    for _ in 0..5 {
        let Outcome::Packet(packet) = port.get(LONG).unwrap() else { panic!("a success was due") };
        let (list, _, n) = packet.block.unwrap().into_inner();
        list.borrow_mut().push(n);
    }
    assert_eq!(*seen.borrow(), [0, 1, 2, 3, 4]);
    port.post(1, 0, Some(Block::new((seen.clone(), [0; 4], 5)))).unwrap();
    assert_eq!(Rc::strong_count(&seen), 7);
    drop((port, ours));
    assert_eq!(Rc::strong_count(&seen), 1);
}

#[test]
fn an_object_with_other_handles_or_another_home_is_given_back() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let another = ours.clone();
    let refused = port.associate(ours, 1).unwrap_err();
    assert_eq!((refused.error.code(), refused.error.code().win32()), (Code::InvalidParameter, 87));
    assert!(refused.error.to_string().contains("other handles"), "{}", refused.error);
    drop(another);
    let shared = CompletionPort::<Io, usize>::new(1).unwrap();
    shared.associate(&refused.back, 2).unwrap();
    let refused = port.associate(refused.back, 1).unwrap_err();
    assert_eq!(refused.error.code(), Code::InvalidParameter);
    peer.write_all(b"hello").unwrap();
    assert_eq!(run(refused.back.recv(vec![0; 16])).buffer, b"hello", "it goes on where it lives");
}

#[test]
fn a_refused_association_drops_its_key() {
    let key = Arc::new(());
    let port = port_of::<Io, Arc<()>>();
    let (ours, _peer) = homeless();
    let _another = ours.clone();
    let refused = port.associate(ours, key.clone()).unwrap_err();
    assert_eq!(Arc::strong_count(&key), 1);
    port.close();
    assert!(port.associate(refused.back, key.clone()).is_err());
    assert_eq!(Arc::strong_count(&key), 1);
}

#[test]
fn a_handle_of_an_object_is_one_more_and_only_the_last_closes() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let another = ours.clone();
    drop(ours);
    receive(&another, 0, 16);
    peer.write_all(b"hello").unwrap();
    assert_eq!(success(&port).key, 7);
    drop(another);
    // The close may wait for the kernel.
    turn_on(&port);
    assert_eq!(peer.read(&mut [0; 4]).unwrap(), 0);
}

#[test]
fn a_wait_for_one_operation_lets_all_of_the_ports_go_on() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    let listener = port.home(TcpListener::bind(ANY).unwrap(), 8);
    receive(&ours, 1, 5);
    packet(listener.accept(), block(2, 0));
    let overlapped = start(ours.recv(vec![0; 16]));
    let _client = peer_of(listener.local_addr().unwrap());
    peer.write_all(b"firstsecond").unwrap();
    assert_eq!(finish(overlapped).buffer, b"second");
    let mut keys = [success(&port), success(&port)].map(|packet| {
        assert!(matches!(packet.done.result, Ok(Value::None | Value::Tcp(_))));
        packet.key
    });
    keys.sort_unstable();
    assert_eq!(keys, [7, 8]);
    nothing(&port);
}

#[test]
fn many_ports_of_one_thread_go_on_each_by_itself() {
    let ports: Vec<_> = (0..4).map(|_| port(1)).collect();
    let mut streams: Vec<_> = ports
        .iter()
        .enumerate()
        .map(|(key, port)| {
            let (ours, peer) = homeless();
            let ours = port.home(ours, key);
            receive(&ours, key, 16);
            (ours, peer)
        })
        .collect();
    for (n, (_, peer)) in streams.iter_mut().enumerate().rev() {
        peer.write_all(b"hello").unwrap();
        assert_eq!(success(&ports[n]).key, n);
    }
    ports.iter().for_each(|port| nothing(port));
}

#[cfg(unix)]
#[test]
fn a_blocking_call_of_the_owners_own_is_not_interrupted_by_its_operations() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 7);
    receive(&ours, 1, 16);
    turn_on(&port);
    let (mut mine, other) = std::os::unix::net::UnixStream::pair().unwrap();
    let writer = worker(move || {
        peer.write_all(b"hello").unwrap();
        std::thread::sleep(SHORT);
        (&other).write_all(b"x").unwrap();
        peer
    });
    // Not read_exact: that would try again.
    assert_eq!(mine.read(&mut [0; 1]).expect("the call goes on"), 1);
    assert_eq!(success(&port).done.bytes, 5);
    drop(writer.join());
}

#[test]
fn a_handlers_closure_need_not_be_send() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 1);
    let got = Rc::new(RefCell::new(Vec::new()));
    let own = got.clone();
    ours.recv(vec![0; 8]).then(move |done| *own.borrow_mut() = done.buffer[..done.bytes].to_vec()).unwrap();
    peer.write_all(b"bytes").unwrap();
    until_on(&port, "the packet is queued", || Rc::strong_count(&got) == 2);
    let end = std::time::Instant::now() + LONG;
    while got.borrow().is_empty() {
        assert!(std::time::Instant::now() < end);
        port.get(SHORT).unwrap();
    }
    assert_eq!(*got.borrow(), b"bytes");
}

/// Posts from another thread while the owner closes its port: what handlers hold is dropped by the owner alone.
#[test]
fn closures_are_dropped_on_their_own_thread_whoever_posts() {
    struct Own {
        home: std::thread::ThreadId,
        _token: Rc<()>,
    }
    impl Drop for Own {
        fn drop(&mut self) {
            assert_eq!(self.home, std::thread::current().id());
        }
    }
    for _ in 0..50 {
        let port = port(1);
        let remote = port.remote();
        let begun = Flag::default();
        let begin = begun.clone();
        let posts = worker(move || {
            begin.set();
            while remote.post(0, 0, None).is_ok() {}
        });
        let (ours, _peer) = homeless();
        let ours = port.home(ours, 1);
        let token = Rc::new(());
        for _ in 0..16 {
            let own = Own { home: std::thread::current().id(), _token: token.clone() };
            ours.send(vec![1]).then(move |_| drop(own)).unwrap();
        }
        begun.spin();
        port.close();
        posts.join();
        drop(port);
        drop(ours);
        assert_eq!(Rc::strong_count(&token), 1, "dropped, not lost");
    }
}

#[test]
fn block_on_calls_handlers_and_keeps_packets_in_order() {
    let port = port(1);
    let (ours, mut peer) = homeless();
    let ours = port.home(ours, 1);
    let (promise, promised) = proactor::promise();
    for tag in 0..3 {
        port.post(tag, 0, None).unwrap();
    }
    ours.recv(vec![0; 16]).then(|done| promise.set(done.bytes)).unwrap();
    port.post(3, 0, None).unwrap();
    peer.write_all(b"hello").unwrap();
    assert_eq!(port.block_on(promised).unwrap(), 5);
    for tag in 0..4 {
        assert_eq!(success(&port).key, tag);
    }
    nothing(&port);
}

#[test]
fn block_on_is_woken_by_other_threads() {
    let port = port(1);
    for _ in 0..200 {
        let (promise, promised) = proactor::promise();
        let setter = worker(move || promise.set(1));
        assert_eq!(port.block_on(promised).unwrap(), 1);
        setter.join();
    }
    // A wait after it knows nothing of late wakers.
    nothing(&port);
}

#[test]
fn a_late_waker_does_not_end_a_later_wait() {
    let port = port(1);
    let (mut waker, mut polled) = (None, 0);
    port.block_on(std::future::poll_fn(|cx| {
        polled += 1;
        waker = Some(cx.waker().clone());
        std::task::Poll::Ready(())
    }));
    assert_eq!(polled, 1);
    let waker = waker.unwrap();
    let late = worker(move || waker.wake());
    late.join();
    let began = std::time::Instant::now();
    nothing(&port);
    assert!(began.elapsed() >= SHORT);
    let mut batch = Batch::<Io, usize>::with_capacity(4);
    assert!(!port.get_many(&mut batch, SHORT).unwrap());
}

#[test]
fn block_on_goes_on_when_its_port_is_closed() {
    let port = port(1);
    let (promise, promised) = proactor::promise();
    let mut setter = None;
    let mut promise = Some(promise);
    let value = port.block_on(async {
        port.close();
        let promise = promise.take().unwrap();
        setter = Some(worker(move || {
            std::thread::sleep(SHORT);
            promise.set(7);
        }));
        promised.await
    });
    assert_eq!(value.unwrap(), 7);
    setter.unwrap().join();
}

#[test]
fn a_task_may_get_packets_itself() {
    let port = port(1);
    port.post(1, 0, None).unwrap();
    let (promise, promised) = proactor::promise();
    let setter = worker(move || {
        std::thread::sleep(SHORT);
        promise.set(());
    });
    let key = port.block_on(async {
        promised.await.unwrap();
        success(&port).key
    });
    assert_eq!(key, 1);
    setter.join();
}
