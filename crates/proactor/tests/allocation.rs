//! Nothing is allocated per operation in the steady state, as a counting allocator sees it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proactor::context::{AnyExecutor, Executor, IoContext, IoExecutor, Strand};
use proactor::fs::{File, OpenOptions};
use proactor::net::{Headers, TcpListener, TcpStream, UdpSocket};
use proactor::pool::Pool;
use proactor::sync::{self, Event, Semaphore, Waited, alertable};
use proactor::time::Timers;
use proactor::{AsObject, Block, CancelToken, CompletionPort, LocalPort, Outcome, Value, within, within_mut};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, with a count beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: passed on as given.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: passed on as given.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

struct PerIo {
    buf: [u8; 256],
    len: usize,
    sending: bool,
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let accept = listener.accept().start().unwrap();
    // Connected elsewhere: an operation of its own would have given it its home.
    let client = TcpStream::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    (client, accept.wait().result.unwrap().stream)
}

/// One stretch without an allocation must come: on a busy machine the library may need another thread or piece of a queue,
/// once, which it keeps. What each round allocates, or each hundredth, is in every stretch.
fn counted(what: &str, mut round: impl FnMut()) {
    (0..100).for_each(|_| round());
    let mut made = 0;
    for _ in 0..5 {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        (0..2000).for_each(|_| round());
        made = ALLOCATIONS.load(Ordering::SeqCst) - before;
        if made == 0 {
            return;
        }
    }
    panic!("{what}: {made} allocations in 2000 rounds, and some in all before");
}

// One test: the count is the process's.
#[test]
fn the_steady_state_allocates_nothing() {
    let (client, server) = pair();
    let port = CompletionPort::<PerIo, usize>::new(1).unwrap();
    port.associate(&server, 1).unwrap();
    port.associate(&client, 2).unwrap();
    let block = || Block::new(PerIo { buf: [9; 256], len: 0, sending: false });
    server.recv(within_mut(|io: &mut PerIo| &mut io.buf[..])).packet(block()).unwrap();
    let mut idle = vec![block(), block()];

    counted("an echo by packets", || {
        let receive = idle.pop().unwrap();
        let send = idle.pop().unwrap();
        client.recv(within_mut(|io: &mut PerIo| &mut io.buf[..])).packet(receive).unwrap();
        client.send(within(|io: &mut PerIo| &io.buf[..64])).packet(send).unwrap();
        while idle.len() < 2 {
            let Outcome::Packet(packet) = port.get(Duration::from_secs(5)).unwrap() else { panic!("the echo stopped") };
            let mut io = packet.block.unwrap();
            match (packet.key, io.sending) {
                (1, false) => {
                    (io.len, io.sending) = (packet.done.bytes, true);
                    server.send(within(|io: &mut PerIo| &io.buf[..io.len])).packet(io).unwrap();
                }
                (1, true) => {
                    io.sending = false;
                    server.recv(within_mut(|io: &mut PerIo| &mut io.buf[..])).packet(io).unwrap();
                }
                _ => idle.push(io),
            }
        }
    });

    let posted = std::cell::Cell::new(Some(block()));
    counted("posts", || {
        port.post(3, 1, posted.take()).unwrap();
        port.post(4, 1, None).unwrap();
        for _ in 0..2 {
            let packet = port.get(Duration::from_secs(5)).unwrap().packet().unwrap();
            if packet.key == 3 {
                posted.set(packet.block);
            }
        }
    });

    let path = std::env::temp_dir().join(format!("proactor-allocation-{}", std::process::id()));
    let file = File::open_now(&path, &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    let files = CompletionPort::<PerIo, usize>::new(1).unwrap();
    files.associate(&file, 5).unwrap();
    let mut travelling = Some(block());
    counted("file writes and reads by packets", || {
        file.write_at(within(|io: &mut PerIo| &io.buf[..]), 0).packet(travelling.take().unwrap()).unwrap();
        let io = files.get(Duration::from_secs(5)).unwrap().packet().unwrap().block.unwrap();
        file.read_at(within_mut(|io: &mut PerIo| &mut io.buf[..]), 0).packet(io).unwrap();
        travelling = files.get(Duration::from_secs(5)).unwrap().packet().unwrap().block;
    });
    std::fs::remove_file(path).unwrap();

    if cfg!(proactor_no_recycle) {
        return;
    }
    // What a timeout and a token attach comes from the thread's own store, and so do the blocks of the overlapped delivery below.
    let token = CancelToken::new();
    counted("operations with a timeout and a token", || {
        let receive = client.recv(within_mut(|io: &mut PerIo| &mut io.buf[..])).timeout(NEVER).cancel_on(&token);
        receive.packet(idle.pop().unwrap()).unwrap();
        let send = client.send(within(|io: &mut PerIo| &io.buf[..64])).timeout(NEVER).cancel_on(&token);
        send.packet(idle.pop().unwrap()).unwrap();
        while idle.len() < 2 {
            let Outcome::Packet(packet) = port.get(Duration::from_secs(5)).unwrap() else { panic!("the echo stopped") };
            let mut io = packet.block.unwrap();
            match (packet.key, io.sending) {
                (1, false) => {
                    (io.len, io.sending) = (packet.done.bytes, true);
                    server.send(within(|io: &mut PerIo| &io.buf[..io.len])).timeout(NEVER).packet(io).unwrap();
                }
                (1, true) => {
                    io.sending = false;
                    server.recv(within_mut(|io: &mut PerIo| &mut io.buf[..])).timeout(NEVER).packet(io).unwrap();
                }
                _ => idle.push(io),
            }
        }
    });

    let (client, server) = pair();
    let (mut out, mut back) = (vec![1_u8; 64], vec![0_u8; 64]);
    counted("overlapped operations", || {
        let receive = server.recv(std::mem::take(&mut back)).start().unwrap();
        out = client.send(std::mem::take(&mut out)).start().unwrap().wait().buffer;
        back = receive.wait().buffer;
        assert_eq!(back, out);
    });

    // One future for all rounds: the executor's own task is not the library's.
    let mut rounds = 0;
    let mut before = 0;
    proactor::block_on(async {
        while rounds < 2100 {
            if rounds == 100 {
                before = ALLOCATIONS.load(Ordering::SeqCst);
            }
            let receive = server.recv(std::mem::take(&mut back)).start().unwrap();
            out = client.send(std::mem::take(&mut out)).await.buffer;
            back = receive.await.buffer;
            // Pending when it is polled first.
            let mut receive = server.recv(std::mem::take(&mut back)).start().unwrap();
            let pending =
                std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut receive).poll(cx).is_pending()));
            assert!(pending.await);
            out = client.send(std::mem::take(&mut out)).await.buffer;
            back = receive.await.buffer;
            assert_eq!(back, out);
            rounds += 1;
        }
    });
    let made = ALLOCATIONS.load(Ordering::SeqCst) - before;
    assert_eq!(made, 0, "awaited operations: {made} allocations in 2000 rounds");

    // A chain of handlers, each of which starts the next.
    let (client, server) = pair();
    let port = CompletionPort::<(), usize>::new(1).unwrap();
    port.associate(&server, 1).unwrap();
    port.associate(&client, 2).unwrap();
    let shared = std::sync::Arc::new((client, server, AtomicUsize::new(0)));
    fn chain(shared: std::sync::Arc<(TcpStream, TcpStream, AtomicUsize)>, buffer: Vec<u8>) {
        let next = shared.clone();
        let sent = shared.0.send(buffer).then(move |done| {
            let (again, mut buffer) = (next.clone(), done.buffer);
            buffer.clear();
            let received = next.1.recv(buffer).then(move |done| {
                assert!(done.bytes > 0);
                again.2.fetch_add(1, Ordering::SeqCst);
                chain(again, done.buffer);
            });
            assert!(received.is_ok());
        });
        assert!(sent.is_ok());
    }
    chain(shared.clone(), vec![7; 64]);
    let mut reached = 0;
    counted("a chain of handlers", || {
        reached += 1;
        while shared.2.load(Ordering::SeqCst) < reached {
            port.get(Duration::ZERO).unwrap();
        }
    });

    let mut buffer = vec![0_u8; 256];
    let file = File::open_now(std::env::current_exe().unwrap(), &OpenOptions::new().read(true)).unwrap();
    counted("blocking reads", || {
        buffer = file.read_at(std::mem::take(&mut buffer), 0).wait().buffer;
        assert_eq!(buffer.len(), 256);
    });

    messages();
    timers();
    waits();
    contexts();
    tasks();
}

fn messages() {
    let udp = || {
        let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.receive_headers(true).unwrap();
        socket
    };
    let blocks = || Some((Block::new([0_u8; 64]), Block::new([1_u8; 64])));
    macro_rules! round {
        ($port:ident, $socket:ident, $travelling:ident) => {{
            let (receive, send) = $travelling.take().unwrap();
            let to = Headers::to($socket.local_addr().unwrap()).hop_limit(9);
            $socket.recv_msg(within_mut(|io: &mut [u8; 64]| &mut io[..])).packet(receive).unwrap();
            $socket.send_msg(within(|io: &mut [u8; 64]| &io[..]), to).packet(send).unwrap();
            let get = || {
                let packet = $port.get(Duration::from_secs(5)).unwrap().packet().unwrap();
                if let Value::Message(message) = packet.done.result.unwrap() {
                    assert_eq!(message.hop_limit, Some(9));
                }
                packet.block.unwrap()
            };
            $travelling = Some((get(), get()));
        }};
    }
    let (port, socket) = (CompletionPort::<[u8; 64], usize>::new(1).unwrap(), udp());
    port.associate(&socket, 1).unwrap();
    let mut travelling = blocks();
    counted("messages as packets", || round!(port, socket, travelling));
    let port = LocalPort::<[u8; 64], usize>::new().unwrap();
    let socket = port.associate(udp(), 1).map_err(|refused| refused.error).unwrap();
    let mut travelling = blocks();
    counted("messages as packets of a per-thread port", || round!(port, socket, travelling));
}

/// An echo between two tasks of a runtime: a message out and back is four operations, and at least two waits.
async fn echo<H: proactor::Home>(server: TcpStream<H>) {
    let mut buffer = Vec::with_capacity(256);
    loop {
        let received = server.recv(buffer).await;
        if received.bytes == 0 {
            return;
        }
        buffer = server.send(received.buffer).await.buffer;
    }
}

async fn echoes<H: proactor::Home>(what: &str, client: TcpStream<H>) {
    let (mut out, mut back) = (vec![3; 64], Vec::with_capacity(256));
    let mut made = 0;
    // As `counted`, which is no future.
    for stretch in 0..6 {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        for _ in 0..2000 {
            out = client.send(out).await.buffer;
            back = client.recv(back).await.buffer;
            assert_eq!(back, out);
            proactor::rt::yield_now().await;
        }
        made = ALLOCATIONS.load(Ordering::SeqCst) - before;
        if stretch > 0 && made == 0 {
            return;
        }
    }
    panic!("{what}: {made} allocations in 2000 messages, and some in all before");
}

/// A pair that has no home yet.
fn newcomers() -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client.into(), listener.accept().unwrap().0.into())
}

fn tasks() {
    use proactor::rt::{self, Runtime};
    Runtime::shared().threads(2).build().unwrap().block_on(async {
        let (client, server) = newcomers();
        rt::spawn(echo(server)).detach();
        rt::spawn(echoes("an async echo on a shared port", client)).await.unwrap();
    });
    Runtime::per_core().threads(1).build().unwrap().block_on(async {
        let (client, server) = newcomers();
        rt::spawn_local(echo(rt::here(server).map_err(|refused| refused.error).unwrap())).detach();
        let client = rt::here(client).map_err(|refused| refused.error).unwrap();
        rt::spawn_local(echoes("an async echo on a core", client)).await.unwrap();
    });
    let sleeps = async {
        let mut made = 0;
        for stretch in 0..6 {
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            for _ in 0..200 {
                rt::sleep(Duration::from_micros(1)).await;
                assert_eq!(rt::timeout(Duration::from_secs(5), async { 1 }).await, Ok(1));
            }
            made = ALLOCATIONS.load(Ordering::SeqCst) - before;
            if stretch > 0 && made == 0 {
                return;
            }
        }
        panic!("sleeps: {made} allocations in 200, and some in all before");
    };
    Runtime::per_core().threads(1).build().unwrap().block_on(sleeps);
}

fn timers() {
    let port = CompletionPort::<u64, usize>::new(1).unwrap();
    let timers = Timers::new();
    port.associate(&timers, 1).unwrap();
    let mut travelling = Some((Block::new(1), Block::new(2)));
    counted("timers as packets, one that fires and one that is cancelled", || {
        let (first, second) = travelling.take().unwrap();
        let never = timers.after(NEVER).packet(first).unwrap();
        timers.after(Duration::ZERO).packet(second).unwrap();
        timers.cancel(never).unwrap();
        let get = || port.get(Duration::from_secs(5)).unwrap().packet().unwrap().block.unwrap();
        travelling = Some((get(), get()));
    });
    counted("posts of timers", || {
        let never = timers.post_after(NEVER, 1).unwrap();
        timers.post_after(Duration::ZERO, 2).unwrap();
        timers.cancel(never).unwrap();
        assert_eq!(port.get(Duration::from_secs(5)).unwrap().packet().unwrap().done.bytes, 2);
    });
    counted("timers as handlers", || {
        timers.after(Duration::ZERO).then(|done| done.result.unwrap()).unwrap();
        assert!(matches!(port.get(Duration::from_micros(200)).unwrap(), Outcome::TimedOut));
    });
    let elsewhere = Timers::new();
    counted("timers as handles", || {
        drop(elsewhere.after(NEVER).start().unwrap());
        elsewhere.after(Duration::ZERO).start().unwrap().wait().result.unwrap();
    });
    counted("timers waited for", || elsewhere.after(Duration::ZERO).wait().result.unwrap());
    let ran = std::rc::Rc::new(std::cell::Cell::new(0));
    let mut rounds = 0;
    counted("timers with routines", || {
        rounds += 1;
        let count = ran.clone();
        elsewhere.after(Duration::ZERO).routine(move |_| count.set(count.get() + 1)).unwrap();
        while ran.get() < rounds {
            assert_eq!(alertable::sleep(Duration::from_secs(5)), Ok(Waited::Apc));
        }
    });

    let port = LocalPort::<u64, usize>::new().unwrap();
    let timers = on(&port);
    let mut travelling = Some(Block::new(1));
    counted("timers as packets of a per-thread port", || {
        let never = timers.after(NEVER).packet(travelling.take().unwrap()).unwrap();
        timers.cancel(never).unwrap();
        travelling = port.get(Duration::from_secs(5)).unwrap().packet().unwrap().block;
    });
    counted("timers as handles of a per-thread port", || {
        drop(timers.after(NEVER).start().unwrap());
        timers.after(Duration::ZERO).start().unwrap().wait().result.unwrap();
    });
}

fn on(port: &LocalPort<u64, usize>) -> <Timers as AsObject>::OnLocal {
    port.associate(Timers::new(), 1).map_err(|refused| refused.error).unwrap()
}

fn waits() {
    let (event, semaphore) = (Event::auto(), Semaphore::new(0, 9).unwrap());
    counted("an event set and waited for", || {
        event.set();
        assert_eq!(sync::wait_one(&event, Duration::from_secs(5)), Ok(Waited::Signalled(0)));
        assert_eq!(sync::wait_one(&event, Duration::ZERO), Ok(Waited::TimedOut));
        assert_eq!(alertable::wait_one(&event, Duration::from_micros(10)), Ok(Waited::TimedOut));
    });
    counted("a semaphore released and waited for", || {
        semaphore.release(1).unwrap();
        assert_eq!(sync::wait_one(&semaphore, Duration::from_secs(5)), Ok(Waited::Signalled(0)));
    });
    counted("a wait for any of several", || {
        event.set();
        assert_eq!(sync::wait_any(&[&semaphore, &event], Duration::from_secs(5)), Ok(Waited::Signalled(1)));
        assert_eq!(sync::wait_any(&[&semaphore, &event], Duration::from_micros(10)), Ok(Waited::TimedOut));
    });

    let pool = Pool::new(1, 1).unwrap();
    let done = Event::auto();
    let signal = done.clone();
    let work = pool.work(move |_| signal.set());
    counted("work submitted to a pool", || {
        work.submit().unwrap();
        assert_eq!(sync::wait_one(&done, Duration::from_secs(5)), Ok(Waited::Signalled(0)));
        work.wait_for_callbacks().unwrap();
    });
}

fn contexts() {
    static RAN: AtomicUsize = AtomicUsize::new(0);
    let ran = || _ = RAN.fetch_add(1, Ordering::SeqCst);
    let context = IoContext::new(1).unwrap();
    let _guard = context.work_guard();
    let executor = context.executor();
    let (strand, any) = (Strand::new(executor.clone()), AnyExecutor::new(executor.clone()));
    let nested = Strand::new(strand.clone());
    counted("functions posted, dispatched and deferred in a context", || {
        executor.post(ran);
        executor.dispatch(ran);
        let own = executor.clone();
        executor.post(move || {
            own.defer(ran);
            own.dispatch(ran);
        });
        any.post(ran);
        assert_eq!(context.poll().unwrap(), 5);
    });
    counted("functions on strands", || {
        for _ in 0..3 {
            strand.post(ran);
            nested.post(ran);
        }
        let own = strand.clone();
        executor.post(move || own.dispatch(ran));
        context.poll().unwrap();
    });

    let timers = Timers::new();
    context.associate(&timers).unwrap();
    counted("timers with handlers on a strand", || {
        timers.after(Duration::ZERO).on(&strand).then(|done| done.result.unwrap()).unwrap();
        assert_eq!(context.run_one().unwrap(), 1);
    });

    // A thread that has no blocks yet: of a chain of functions, each of which posts the next, each takes the block that the one
    // before it had. One is allocated, and the list that keeps it.
    fn chain(executor: IoExecutor, left: usize) {
        let next = executor.clone();
        if left > 0 {
            executor.post(move || chain(next, left - 1));
        }
    }
    let made = std::thread::spawn(move || {
        let _guard = context.work_guard();
        assert_eq!(context.poll().unwrap(), 0);
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        chain(context.executor(), 100);
        assert_eq!(context.poll().unwrap(), 100);
        ALLOCATIONS.load(Ordering::SeqCst) - before
    });
    let made = made.join().unwrap();
    assert!(made <= 2, "a handler's memory is not free before it runs: {made} allocations");
}
