//! Random data both ways at once, through each trait, over each kind of stream, in each executor; then the halves are closed.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use futures_lite::future::zip;
use futures_lite::io as futures;
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use hyper::rt as hyper_io;
use proactor::compat::Stream;
use proactor::net::TcpStream;
use proactor::pipe::{PipeClient, PipeServer};
use proactor::{Local, LocalPort};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::common::{Chance, pair};

const LEN: usize = 1_500_000;

/// What one end writes, in pieces of any size, and what it is to read.
struct Plan {
    write: Vec<u8>,
    read: Vec<u8>,
    chance: Chance,
}

fn plans(len: usize) -> (Plan, Plan) {
    let (there, back) = (Chance(1).bytes(len), Chance(2).bytes(len / 2 + 1));
    let a = Plan { write: there.clone(), read: back.clone(), chance: Chance(3) };
    (a, Plan { write: back, read: there, chance: Chance(4) })
}

impl Plan {
    fn pieces(&mut self) -> Vec<Vec<u8>> {
        let (mut rest, mut pieces) = (&self.write[..], Vec::new());
        while !rest.is_empty() {
            let n = (1 + self.chance.below(100_000)).min(rest.len());
            pieces.push(rest[..n].to_vec());
            rest = &rest[n..];
        }
        pieces
    }
}

/// One end, over tokio's traits.
async fn with_tokio<S: tokio::io::AsyncRead + tokio::io::AsyncWrite>(stream: S, mut plan: Plan) {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let pieces = plan.pieces();
    let write = async {
        for piece in pieces {
            writing.write_all(&piece).await.unwrap();
        }
        writing.shutdown().await.unwrap();
    };
    let mut all = Vec::new();
    zip(write, async { reading.read_to_end(&mut all).await.unwrap() }).await;
    assert!(all == plan.read, "{} bytes came, not the {} that were sent", all.len(), plan.read.len());
}

/// One end, over the traits of futures-io, vectored.
async fn with_futures<S: futures::AsyncRead + futures::AsyncWrite + Unpin>(stream: S, mut plan: Plan) {
    let (mut reading, mut writing) = futures::split(stream);
    let pieces = plan.pieces();
    let write = async {
        for piece in pieces {
            let mut at = 0;
            while at < piece.len() {
                let rest = &piece[at..];
                let (one, two) = rest.split_at(rest.len() / 3);
                at += writing.write_vectored(&[one, &[], two].map(io::IoSlice::new)).await.unwrap();
            }
        }
        writing.close().await.unwrap();
    };
    let read = async {
        let mut all = Vec::new();
        loop {
            let (mut one, mut two) = ([0; 1000], [0; 30_000]);
            let n = reading.read_vectored(&mut [&mut one[..], &mut two[..]].map(io::IoSliceMut::new)).await.unwrap();
            if n == 0 {
                return all;
            }
            let head = n.min(one.len());
            all.extend_from_slice(&one[..head]);
            all.extend_from_slice(&two[..n - head]);
        }
    };
    let all = zip(write, read).await.1;
    assert!(all == plan.read, "{} bytes came, not the {} that were sent", all.len(), plan.read.len());
}

/// One end, over the traits of hyper: one poll after the other, no halves.
async fn with_hyper<S: hyper_io::Read + hyper_io::Write + Unpin>(mut stream: S, plan: Plan) {
    let (mut sent, mut closed, mut all, mut over) = (0, false, Vec::new(), false);
    poll_fn(|cx| {
        loop {
            let mut went_on = false;
            if sent < plan.write.len() {
                if let std::task::Poll::Ready(n) = Pin::new(&mut stream).poll_write(cx, &plan.write[sent..]) {
                    sent += n.unwrap();
                    went_on = true;
                }
            } else if !closed && Pin::new(&mut stream).poll_flush(cx).map(Result::unwrap).is_ready() {
                closed = Pin::new(&mut stream).poll_shutdown(cx).map(Result::unwrap).is_ready();
                went_on = closed;
            }
            let mut memory = [0; 5000];
            let mut buf = hyper_io::ReadBuf::new(&mut memory);
            if !over && Pin::new(&mut stream).poll_read(cx, buf.unfilled()).map(Result::unwrap).is_ready() {
                over = buf.filled().is_empty();
                all.extend_from_slice(buf.filled());
                went_on = true;
            }
            match went_on {
                true => {}
                false if closed && over => return std::task::Poll::Ready(()),
                false => return std::task::Poll::Pending,
            }
        }
    })
    .await;
    assert!(all == plan.read, "{} bytes came, not the {} that were sent", all.len(), plan.read.len());
}

/// Every trait at either end, one after the other.
async fn every_trait<S: proactor::compat::Reads + proactor::compat::Writes>(mut pair: impl FnMut() -> (S, S), len: usize) {
    let mut streams = || {
        let (a, b) = pair();
        (Stream::new(a), Stream::new(b))
    };
    let ((a, b), (one, two)) = (streams(), plans(len));
    zip(with_tokio(a, one), with_futures(b, two)).await;
    let ((a, b), (one, two)) = (streams(), plans(len));
    zip(with_futures(a, one), with_hyper(b, two)).await;
    let ((a, b), (one, two)) = (streams(), plans(len));
    zip(with_hyper(a, one), with_tokio(b, two)).await;
}

#[test]
fn through_each_trait_on_the_librarys_own_executor() {
    proactor::block_on(every_trait(pair, LEN));
}

#[test]
fn through_each_trait_on_tokio_with_one_thread() {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(every_trait(pair, LEN));
}

#[test]
fn through_each_trait_on_smols_executor() {
    let executor = async_executor::Executor::new();
    let (first, second) = (executor.spawn(every_trait(pair, LEN)), executor.spawn(every_trait(pair, LEN / 10)));
    std::thread::scope(|scope| {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let own = &executor;
        scope.spawn(move || futures_lite::future::block_on(own.run(stopped)));
        futures_lite::future::block_on(executor.run(zip(first, second)));
        drop(stop);
    });
}

/// Each end is a task of its own, on any of three threads.
#[test]
fn eight_connections_on_tokio_with_many_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let ((a, b), (one, two)) = (pair(), plans(LEN / 4));
            tasks.push(tokio::spawn(with_tokio(Stream::new(a), one)));
            tasks.push(tokio::spawn(with_hyper(Stream::new(b), two)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[cfg(unix)]
#[test]
fn through_unix_streams() {
    use proactor::net::UnixStream;
    let pair = || {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        (UnixStream::from(a), UnixStream::from(b))
    };
    proactor::block_on(every_trait(pair, LEN / 2));
}

/// A pipe has no halves to close: its writer is dropped.
#[test]
fn through_pipes() {
    let name = format!("proactor-compat-{}", std::process::id());
    let server = PipeServer::create(&name).unwrap();
    let client = PipeClient::open(&name).unwrap();
    proactor::block_on(async {
        server.connect().await.result.unwrap();
        let data = Chance(5).bytes(300_000);
        let (mut server, mut client) = (Stream::new(server), Stream::new(client));
        let echo = async {
            let mut all = vec![0; data.len()];
            tokio::io::AsyncReadExt::read_exact(&mut server, &mut all).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut server, &all).await.unwrap();
            tokio::io::AsyncWriteExt::flush(&mut server).await.unwrap();
            server
        };
        let ask = async {
            tokio::io::AsyncWriteExt::write_all(&mut client, &data).await.unwrap();
            let mut back = vec![0; data.len()];
            tokio::io::AsyncReadExt::read_exact(&mut client, &mut back).await.unwrap();
            assert!(back == data);
        };
        drop(zip(echo, ask).await);
        assert_eq!(tokio::io::AsyncReadExt::read(&mut client, &mut [0; 8]).await.unwrap(), 0);

        let (reader, writer) = proactor::pipe::pair().unwrap();
        let (mut reader, mut writer) = (Stream::new(reader), Stream::new(writer));
        let write = async {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &data).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut writer).await.unwrap();
            drop(writer);
        };
        let mut all = Vec::new();
        zip(write, async { tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut all).await.unwrap() }).await;
        assert!(all == data);
    });
}

#[test]
fn on_a_per_thread_port() {
    let port = LocalPort::<(), usize>::new().unwrap();
    let local = |stream: TcpStream| -> TcpStream<Local> { port.associate(stream, 1).unwrap() };
    let pair = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        (local(client), local(TcpStream::from(listener.accept().unwrap().0)))
    };
    port.block_on(every_trait(pair, LEN / 2));
}

#[cfg(unix)]
#[test]
fn on_a_per_thread_port_without_io_uring() {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", "copies::on_a_per_thread_port"]).env("PROACTOR_BACKEND", "epoll").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}
