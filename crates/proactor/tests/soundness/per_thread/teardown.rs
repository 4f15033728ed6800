//! A port with every kind of operation in flight, dropped in every order: no buffer is freed while the kernel may write
//! it, every buffer is freed, and no descriptor is left.

use std::any::Any;
use std::cell::RefCell;
use std::io::Write;
use std::net::{SocketAddr, TcpStream as StdStream, UdpSocket as StdUdp};
use std::path::Path;
use std::time::Duration;

use proactor::fs::{File, OpenOptions};
use proactor::net::{TcpListener, TcpStream, UdpSocket};
use proactor::{Block, BufferPool, Local, LocalPort, Outcome, within, within_mut};

use super::{descriptors, pair};
use crate::alone::alone_on_each_backend;
use crate::teardown::{Buffer, Place, Scratch, assert_untouched, forever};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const SIZE: u64 = 1 << 20;
/// Direct reads in flight, half of them packets.
const READS: u64 = 32;

type Port = LocalPort<Buffer, usize>;
/// Objects, or handles of operations.
type Things = Vec<Box<dyn Any>>;

/// A port, and what lives on it, of which nothing is over.
struct Scene {
    port: Port,
    objects: Things,
    handles: Things,
    others: Others,
}

/// The other ends.
#[derive(Default)]
struct Others {
    peers: Vec<StdStream>,
    sockets: Vec<SocketAddr>,
}

impl Others {
    /// Sends to whatever would still be received.
    fn send(&mut self) {
        for peer in &mut self.peers {
            let _ = peer.write_all(b"too late?");
        }
        let sender = StdUdp::bind(ANY).unwrap();
        for to in &self.sockets {
            let _ = sender.send_to(b"too late?", to);
        }
    }
}

/// A listener whose queue is full: a connect to it stays pending.
fn crowded() -> (socket2::Socket, SocketAddr, Vec<socket2::Socket>) {
    let stream = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = stream();
    listener.bind(&ANY.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let crowd = (0..4)
        .map(|_| {
            let client = stream();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&address);
            client
        })
        .collect();
    (listener, address.as_socket().unwrap(), crowd)
}

impl Scene {
    fn set(places: &[Place], file: &Path, pool: &BufferPool) -> Scene {
        let port = Port::new().unwrap();
        let mut places = places.iter();
        let mut buffer = || places.next().expect("a place for each operation").buffer();
        let (mut objects, mut handles): (Things, Things) = Default::default();
        let mut others = Others::default();
        let filled = || within_mut(|buffer: &mut Buffer| buffer.whole());
        let mut stream = |port: &Port| {
            let (ours, peer) = pair();
            socket2::SockRef::from(&ours).set_send_buffer_size(16 << 10).unwrap();
            others.peers.push(peer);
            port.associate(ours, 1).unwrap()
        };

        // Receives, one behind another; readiness; a receive of many.
        let (first, second, third, fourth) = (stream(&port), stream(&port), stream(&port), stream(&port));
        first.recv(filled()).packet(Block::new(buffer())).unwrap();
        handles.push(Box::new(first.recv(buffer()).start().unwrap()));
        handles.push(Box::new(second.recv(buffer()).start().unwrap()));
        second.recv(filled()).packet(Block::new(buffer())).unwrap();
        third.recv_multi(pool).packet(Block::new(buffer())).unwrap();
        handles.push(Box::new(fourth.readable().start().unwrap()));
        fourth.readable().packet(Block::new(buffer())).unwrap();
        // Sends nobody reads.
        first.send(within(|buffer: &mut Buffer| &*buffer.whole())).packet(Block::new(buffer())).unwrap();
        for _ in 0..4 {
            handles.push(Box::new(second.send(buffer()).start().unwrap()));
        }
        handles.push(Box::new(second.writable().start().unwrap()));

        // Accepts: won already by a silent client, waiting for first data, waiting for a client.
        let listener = |port: &Port| port.associate(TcpListener::bind(ANY).unwrap(), 2).unwrap();
        let (plain, many, overlapped) = (listener(&port), listener(&port), listener(&port));
        plain.accept().packet(Block::new(buffer())).unwrap();
        plain.accept_with(filled()).packet(Block::new(buffer())).unwrap();
        plain.accept().packet(Block::new(buffer())).unwrap();
        many.accept_multi().packet(Block::new(buffer())).unwrap();
        handles.push(Box::new(overlapped.accept_with(buffer()).start().unwrap()));
        handles.push(Box::new(overlapped.accept().start().unwrap()));
        for (listener, clients) in [(&plain, 2), (&many, 3), (&overlapped, 2)] {
            others.peers.extend((0..clients).map(|_| StdStream::connect(listener.local_addr().unwrap()).unwrap()));
        }

        // Datagrams.
        let sockets = [(); 2].map(|()| port.associate(UdpSocket::bind(ANY).unwrap(), 3).unwrap());
        sockets[0].recv_from(filled()).packet(Block::new(buffer())).unwrap();
        handles.push(Box::new(sockets[0].recv_from(buffer()).start().unwrap()));
        handles.push(Box::new(sockets[1].readable().start().unwrap()));
        others.sockets.extend(sockets.iter().map(|socket| socket.local_addr().unwrap()));

        // Connects that get no answer.
        let (crowded, address, crowd) = crowded();
        let connecting = [(); 2].map(|()| port.associate(TcpStream::unconnected_v4().unwrap(), 4).unwrap());
        connecting[0].connect(address).packet(Block::new(buffer())).unwrap();
        handles.push(Box::new(connecting[1].connect_with(address, buffer()).start().unwrap()));

        // Reads the device answers at its own time.
        let options = OpenOptions::new().read(true);
        let file = File::open_now(file, &options.clone().direct(true)).or_else(|_| File::open_now(file, &options)).unwrap();
        let file = port.associate(file, 5).unwrap();
        for n in 0..READS / 2 {
            file.read_at(filled(), n * SIZE).packet(Block::new(buffer())).unwrap();
            handles.push(Box::new(file.read_at(buffer(), n * SIZE).start().unwrap()));
        }

        objects.extend([first, second, third, fourth].map(|object: TcpStream<Local>| Box::new(object) as Box<dyn Any>));
        objects.extend([plain, many, overlapped].map(|object| Box::new(object) as Box<dyn Any>));
        objects.extend(sockets.map(|object| Box::new(object) as Box<dyn Any>));
        objects.extend(connecting.map(|object| Box::new(object) as Box<dyn Any>));
        objects.push(Box::new((file, crowded, crowd)));
        assert!(places.next().is_none(), "a place for each operation and no more");
        Scene { port, objects, handles, others }
    }
}

/// How a scene ends.
type Order = (&'static str, fn(Scene) -> Others);

thread_local! {
    static KEPT: RefCell<Option<(Port, Things, Things)>> = const { RefCell::new(None) };
}

const ORDERS: [Order; 7] = [
    ("port, objects, handles", |Scene { port, objects, handles, others }| each(others, (port, objects, handles))),
    ("port, handles, objects", |Scene { port, objects, handles, others }| each(others, (port, handles, objects))),
    ("objects, port, handles", |Scene { port, objects, handles, others }| each(others, (objects, port, handles))),
    ("objects, handles, port", |Scene { port, objects, handles, others }| each(others, (objects, handles, port))),
    ("handles, port, objects", |Scene { port, objects, handles, others }| each(others, (handles, port, objects))),
    ("handles, objects, port", |Scene { port, objects, handles, others }| each(others, (handles, objects, port))),
    ("by the thread's end", |Scene { port, objects, handles, others }| {
        KEPT.with(|kept| *kept.borrow_mut() = Some((port, objects, handles)));
        others
    }),
];

/// A tuple's fields are dropped in their order.
fn each<A, B, C>(others: Others, in_order: (A, B, C)) -> Others {
    drop(in_order);
    others
}

const PLACES: usize = 20 + READS as usize;

fn scratch(name: &str) -> Scratch {
    let scratch = Scratch(std::env::temp_dir().join(format!("proactor-per-thread-{}-{name}", std::process::id())));
    std::fs::write(&scratch.0, vec![0x11; (READS / 2 * SIZE) as usize]).unwrap();
    std::fs::File::options().write(true).open(&scratch.0).unwrap().sync_all().unwrap();
    scratch
}

#[test]
fn everything_in_flight_is_dropped_in_every_order() {
    alone_on_each_backend("per_thread::teardown::everything_in_flight_is_dropped_in_every_order", || {
        let scratch = scratch("orders");
        let places: Vec<Place> = (0..PLACES).map(|_| Place::new()).collect();
        let pool = BufferPool::new(8, 64);
        let mut before = None;
        for turns in [0, 1, 20] {
            for (order, end) in ORDERS {
                let (places, path, pool) = (&places, &scratch.0, &pool);
                let mut others = std::thread::scope(|scope| {
                    let owner = scope.spawn(move || {
                        let scene = Scene::set(places, path, pool);
                        // Not a turn: nothing was told to the kernel. One: it has everything, and some of it is over.
                        for _ in 0..turns {
                            match scene.port.get(Duration::from_millis(1)).unwrap() {
                                // What is taken is given back at once.
                                Outcome::TimedOut => break,
                                outcome => drop(outcome),
                            }
                        }
                        end(scene)
                    });
                    // Joined by hand: a scope does not wait for a thread's own storage to go.
                    owner.join().unwrap()
                });
                others.send();
                assert_untouched(places, &format!("{order}, after {turns} turns"));
                assert_eq!(pool.available(), 8, "{order}, after {turns} turns: buffers of the pool");
                drop(others);
                // Whatever the library opens once is open after the first round.
                let now = descriptors();
                let first = *before.get_or_insert(now);
                assert!(now <= first, "{order}, after {turns} turns: {now} descriptors, {first} before");
            }
        }
    });
}

fn forget<T: 'static>(thing: T) {
    forever(Box::into_raw(Box::new(thing)));
}

/// Forgotten, nothing is freed, and nothing is touched that is.
#[test]
fn a_forgotten_port_frees_nothing_under_the_kernel() {
    alone_on_each_backend("per_thread::teardown::a_forgotten_port_frees_nothing_under_the_kernel", || {
        let scratch = scratch("forgotten");
        for (turned, objects_too) in [(false, false), (true, false), (false, true), (true, true)] {
            let places: Vec<Place> = (0..PLACES).map(|_| Place::new()).collect();
            let (inside, path) = (places.clone(), scratch.0.clone());
            let mut others = std::thread::spawn(move || {
                let Scene { port, objects, handles, others } = Scene::set(&inside, &path, &BufferPool::new(8, 64));
                if turned {
                    drop(port.get(Duration::from_millis(1)).unwrap());
                }
                forget(port);
                if objects_too {
                    forget((objects, handles));
                }
                others
            })
            .join()
            .unwrap();
            others.send();
            std::thread::sleep(Duration::from_millis(50));
            let wrong = places.iter().filter(|place| place.is_freed() && !place.is_poisoned()).count();
            assert_eq!(wrong, 0, "buffers were written after they were freed");
        }
    });
}
