//! Operations of every delivery, started and cancelled: each completes once, and no byte is lost to a cancel.

use std::cell::{Cell, RefCell};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proactor::net::{TcpListener, TcpStream};
use proactor::process::Process;
use proactor::sync::{ThreadRef, Waited, alertable};
use proactor::time::Timers;
use proactor::{Block, Code, Completion, CompletionPort, Concurrency, Fill, NoBuffer, Outcome, Overlapped, Ticket, within_mut};

use super::{LONG, SHORT, STEPS, a_while, until};
use crate::live::Dice;

const TIMERS: usize = 1;
const STREAM: usize = 2;
const POSTS: usize = 3;

/// What a packet brings back: whose it is, and room for what a receive got.
struct Parcel {
    number: usize,
    room: [u8; 3],
}

/// Started and over, so often.
#[derive(Clone, Default)]
struct Count(Arc<(AtomicUsize, AtomicUsize)>);

impl Count {
    fn began(&self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&self) {
        self.0.1.fetch_add(1, Ordering::SeqCst);
    }

    fn is_even(&self) -> bool {
        self.0.0.load(Ordering::SeqCst) == self.0.1.load(Ordering::SeqCst)
    }
}

pub struct Operations {
    port: CompletionPort<Parcel, usize>,
    /// On the port, and on the process's own.
    timers: Timers,
    homeless: Timers,
    stream: TcpStream,
    peer: TcpStream,
    /// Which packets came, by their number.
    came: Vec<AtomicBool>,
    packets: Count,
    posts: Count,
    handlers: Count,
    sent: AtomicUsize,
    received: Arc<AtomicUsize>,
    /// Ends with its input.
    child: std::sync::Mutex<(Child, Option<ChildStdin>)>,
    process: Process,
}

/// What one thread has started.
#[derive(Default)]
pub struct Own {
    timers: Vec<Ticket>,
    armed: Vec<Overlapped<NoBuffer, ()>>,
    receives: Vec<Overlapped<Fill<Vec<u8>>, ()>>,
    routines: usize,
    ran: Rc<Cell<usize>>,
    received: Rc<RefCell<usize>>,
}

const ROLE: &str = "PROACTOR_CHILD_OF_THE_STORM";

/// Not a test of its own: what the child runs.
#[test]
fn in_a_child_this_waits_for_the_end_of_its_input() {
    if std::env::var_os(ROLE).is_some() {
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()).unwrap();
    }
}

fn child() -> (Child, Option<ChildStdin>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "at_random::operations::in_a_child_this_waits_for_the_end_of_its_input", "--nocapture"]);
    command.env(ROLE, "1").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let input = child.stdin.take();
    (child, input)
}

/// A wait that nobody ends before its time but a timeout or another thread.
#[track_caller]
fn check<B>(done: &Completion<(), B>) {
    let code = done.result.as_ref().err().map(proactor::Error::code);
    assert!(matches!(code, None | Some(Code::WaitTimeout | Code::Cancelled)), "{:?}", done.result);
}

impl Operations {
    pub fn new() -> Operations {
        let port = CompletionPort::new(Concurrency::Threads(3)).unwrap();
        let (timers, homeless) = (Timers::new(), Timers::new());
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let accept = listener.accept().start().unwrap();
        let peer = TcpStream::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let stream = accept.wait().result.unwrap().stream;
        port.associate(&timers, TIMERS).unwrap();
        port.associate(&stream, STREAM).unwrap();
        let child = child();
        let process = Process::of(&child.0).unwrap();
        Operations {
            port,
            timers,
            homeless,
            stream,
            peer,
            came: (0..STEPS).map(|_| AtomicBool::new(false)).collect(),
            packets: Count::default(),
            posts: Count::default(),
            handlers: Count::default(),
            sent: AtomicUsize::new(0),
            received: Arc::default(),
            child: child.into(),
            process,
        }
    }

    fn parcel(&self) -> Block<Parcel> {
        let number = self.packets.0.0.fetch_add(1, Ordering::SeqCst);
        Block::new(Parcel { number, room: [0; 3] })
    }

    /// Takes a packet, if there is one; whether there was.
    fn take(&self, outcome: Outcome<Parcel, usize>) -> bool {
        let Some(packet) = outcome.packet() else { return false };
        match packet.key {
            POSTS => {
                assert!(packet.block.is_none());
                self.posts.ended();
            }
            TIMERS if packet.block.is_none() => self.posts.ended(),
            key => {
                let number = packet.block.unwrap().number;
                assert!(!self.came[number].swap(true, Ordering::SeqCst), "packet {number} came twice");
                if key == STREAM {
                    self.received.fetch_add(packet.done.bytes, Ordering::SeqCst);
                }
                self.packets.ended();
            }
        }
        true
    }

    fn with_handler(&self, own: &mut Own, dice: &mut Dice) {
        let (handlers, received) = (self.handlers.clone(), self.received.clone());
        self.handlers.began();
        match dice.roll(3) {
            0 => {
                let ended = handlers.clone();
                own.timers.push(self.timers.after(a_while(dice)).then(move |_| ended.ended()).unwrap());
            }
            _ => {
                let over = move |done: Completion<(), Vec<u8>>| {
                    received.fetch_add(done.bytes, Ordering::SeqCst);
                    handlers.ended();
                };
                let ticket = self.stream.recv(Vec::with_capacity(3)).then(over).map_err(|refused| refused.error).unwrap();
                let _ = self.stream.cancel(ticket);
            }
        }
    }

    fn with_routine(&self, own: &mut Own, dice: &mut Dice) {
        own.routines += 1;
        let (ran, received) = (own.ran.clone(), own.received.clone());
        match dice.roll(3) {
            0 => {
                let ticket = self.homeless.after(a_while(dice)).routine(move |_| ran.set(ran.get() + 1)).unwrap();
                if dice.roll(2) == 0 {
                    let _ = self.homeless.cancel(ticket);
                }
            }
            _ => {
                let over = move |done: Completion<(), Vec<u8>>| {
                    *received.borrow_mut() += done.bytes;
                    ran.set(ran.get() + 1);
                };
                let ticket = self.stream.recv(Vec::with_capacity(3)).routine(over).map_err(|refused| refused.error).unwrap();
                let _ = self.stream.cancel(ticket);
            }
        }
    }

    pub fn step(&self, own: &mut Own, dice: &mut Dice, peers: &[ThreadRef]) {
        let wait = a_while(dice);
        let room = || Vec::with_capacity(3);
        match dice.roll(14) {
            0 => own.timers.push(self.timers.after(wait).packet(self.parcel()).unwrap()),
            1 => {
                if let Some(ticket) = own.timers.pop() {
                    // Found or not, its one completion comes.
                    let _ = self.timers.cancel(ticket);
                }
            }
            2 => {
                self.posts.began();
                let ticket = self.timers.post_after(wait, 7).unwrap();
                // Cancelled, it does not come.
                if dice.roll(2) == 0 && self.timers.cancel(ticket).is_ok() {
                    self.posts.ended();
                }
            }
            3 => {
                self.posts.began();
                self.port.post(POSTS, 0, None).unwrap();
            }
            4 => {
                let timers = if dice.roll(2) == 0 { &self.timers } else { &self.homeless };
                own.armed.push(timers.after(wait).start().unwrap());
                match dice.roll(3) {
                    0 => own.armed.clear(),
                    1 => own.armed.drain(..).for_each(|timer| check(&timer.wait())),
                    _ => {}
                }
            }
            5 => self.with_routine(own, dice),
            6 => self.with_handler(own, dice),
            7..9 => {
                let done = self.peer.send(vec![1; 1 + dice.roll(12) as usize]).start().unwrap().wait();
                check(&done);
                self.sent.fetch_add(done.bytes, Ordering::SeqCst);
            }
            9 => {
                let ticket = self.stream.recv(within_mut(|io: &mut Parcel| &mut io.room[..])).packet(self.parcel()).unwrap();
                if dice.roll(2) == 0 {
                    let _ = self.stream.cancel(ticket);
                }
            }
            10 => {
                own.receives.push(self.stream.recv(room()).start().unwrap());
                if dice.roll(2) == 0 {
                    self.end_receives(own);
                }
            }
            11 => {
                let done = self.stream.recv(room()).wait_timeout(wait);
                check(&done);
                self.received.fetch_add(done.bytes, Ordering::SeqCst);
            }
            12 => match dice.roll(4) {
                0 => {
                    let exited = self.process.exited().start().unwrap();
                    exited.cancel().unwrap();
                    assert_eq!(exited.wait().result.unwrap_err().code(), Code::Cancelled, "it has not ended");
                }
                _ => drop(peers[dice.roll(peers.len() as u64) as usize].cancel_blocking()),
            },
            _ => {
                let got = if dice.roll(2) == 0 { self.port.get(wait) } else { self.port.get_alertable(wait) };
                if self.take(got.unwrap()) {
                    while self.take(self.port.get(Duration::ZERO).unwrap()) {}
                }
            }
        }
    }

    fn end_receives(&self, own: &mut Own) {
        for receive in own.receives.drain(..) {
            // What won the race is delivered.
            let _ = receive.cancel();
            self.received.fetch_add(receive.wait().bytes, Ordering::SeqCst);
        }
    }

    /// A thread has done its steps: what it started comes to its end.
    pub fn settle(&self, mut own: Own) {
        self.end_receives(&mut own);
        own.armed.drain(..).for_each(|timer| timer.wait().result.unwrap());
        self.stream.cancel_thread();
        let end = Instant::now() + LONG;
        while own.ran.get() < own.routines {
            assert_ne!(alertable::sleep(end), Ok(Waited::TimedOut), "{} of {} routines ran", own.ran.get(), own.routines);
        }
        assert_eq!(own.ran.get(), own.routines);
        self.received.fetch_add(*own.received.borrow(), Ordering::SeqCst);
    }

    /// All threads have ended.
    pub fn finish(self) {
        let Operations { port, packets, posts, handlers, received, .. } = &self;
        until("a completion", || {
            while self.take(port.get(Duration::from_millis(1)).unwrap()) {}
            packets.is_even() && posts.is_even() && handlers.is_even()
        });
        let (sent, mut got) = (self.sent.load(Ordering::SeqCst), received.load(Ordering::SeqCst));
        println!("{packets:?} packets, {posts:?} posts, {handlers:?} handlers; {got} of {sent} bytes received");
        while got < sent {
            let done = self.stream.recv(vec![0; 4096]).wait_timeout(LONG);
            done.result.expect("bytes were sent and did not come");
            got += done.bytes;
        }
        let done = self.stream.recv(vec![0; 1]).wait_timeout(SHORT);
        assert_eq!((got, done.bytes), (sent, 0), "more came than was sent");
        assert!(!self.take(port.get(SHORT).unwrap()), "a packet too many");
        assert!(packets.is_even() && posts.is_even() && handlers.is_even(), "a completion came twice");
        let exited: Vec<_> = (0..8).map(|_| self.process.exited().start().unwrap()).collect();
        let (mut child, input) = self.child.into_inner().unwrap();
        drop(input);
        for exited in exited {
            let exited = exited.wait_timeout(LONG).map_err(|refused| refused.error).unwrap().result.unwrap();
            assert!(exited.status.is_none_or(|status| status.success()));
        }
        assert!(child.wait().unwrap().success());
    }
}

impl std::fmt::Debug for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0.1.load(Ordering::SeqCst), self.0.0.load(Ordering::SeqCst))
    }
}
