//! The HTTP example, run as a reader would, against hyper's clients over this library's streams.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/http/io.rs"]
mod io;
#[path = "http/trusting.rs"]
mod trusting;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::{or, zip};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use proactor::compat::Stream;
use proactor::compat::hyper::{Executor, Task};
use proactor::net::TcpStream;
use tokio_rustls::TlsConnector;

type Body = Full<Bytes>;

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Server {
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().and_then(|deps| deps.parent()).unwrap().join("examples");
        let program = folder.join(format!("http{}", std::env::consts::EXE_SUFFIX));
        assert!(program.exists(), "{} is not built: `cargo build -p ecosystem --examples` first", program.display());
        let mut child =
            Command::new(program).args(["--threads", "2"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        Server { child, address: address.unwrap_or_else(|| panic!("the server said '{line}'")) }
    }

    async fn connect(&self) -> Stream<TcpStream> {
        let stream = TcpStream::unconnected_for(self.address).unwrap();
        stream.connect(self.address).await.result.unwrap();
        Stream::new(stream)
    }

    /// With TLS, offering these protocols; which was chosen.
    async fn connect_securely(&self, offer: &[&[u8]]) -> (io::Io<impl Tokio + use<>>, Option<Vec<u8>>) {
        let connector = TlsConnector::from(trusting::config(offer));
        let stream = connector.connect("localhost".try_into().unwrap(), self.connect().await).await.unwrap();
        let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        (io::Io(stream), chosen)
    }

    fn request(&self, path: &str, body: Option<Bytes>) -> Request<Body> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let uri = format!("http://localhost{path}");
        Request::builder().method(method).uri(uri).header("host", "localhost").body(Full::new(body.unwrap_or_default())).unwrap()
    }
}

trait Tokio: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static> Tokio for T {}

/// Runs it, within a time that is long even for a busy machine.
fn run(test: impl Future<Output = ()>) {
    let timer = proactor::time::Timers::new();
    proactor::block_on(or(test, async {
        timer.after(Duration::from_secs(120)).await.result.unwrap();
        panic!("it does not end");
    }));
}

async fn whole(response: Response<hyper::body::Incoming>) -> (StatusCode, Bytes) {
    (response.status(), response.into_body().collect().await.unwrap().to_bytes())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

async fn check_http1(server: &Server, io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static) {
    let (mut client, connection) = http1::handshake::<_, Body>(io).await.unwrap();
    let talk = async {
        for (path, body, status, answer) in [
            ("/", None, StatusCode::OK, b"Hello from a completion port.\n".to_vec()),
            ("/bytes/3000001", None, StatusCode::OK, pattern(3_000_001)),
            ("/bytes/0", None, StatusCode::OK, vec![]),
            ("/echo", Some(pattern(2_000_003)), StatusCode::OK, pattern(2_000_003)),
            ("/echo", Some(vec![]), StatusCode::OK, vec![]),
        ] {
            let request = server.request(path, body.map(Bytes::from));
            let (came, bytes) = whole(client.send_request(request).await.unwrap()).await;
            assert!(came == status && bytes == answer, "{path}: {came}, {} bytes", bytes.len());
        }
        for (path, status) in [("/nowhere", StatusCode::NOT_FOUND), ("/bytes/x", StatusCode::BAD_REQUEST)] {
            assert_eq!(whole(client.send_request(server.request(path, None)).await.unwrap()).await.0, status);
        }
        for _ in 0..200 {
            assert_eq!(whole(client.send_request(server.request("/", None)).await.unwrap()).await.1.len(), 30);
        }
    };
    or(talk, async {
        connection.await.unwrap();
        panic!("the connection ended first");
    })
    .await;
}

async fn check_http2(server: &Server, io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static) {
    let tasks = std::sync::Arc::new(async_executor::Executor::new());
    let own = tasks.clone();
    let spawn = Executor::new(move |task: Task| own.spawn(task).detach());
    let (client, connection) = http2::handshake::<_, _, Body>(spawn, io).await.unwrap();
    let talk = async {
        // Many streams at once, of all sizes, both ways.
        let asks = (0..40).map(|turn| {
            let mut client = client.clone();
            let len = turn * turn * 400;
            async move {
                let (path, body) = match turn % 3 {
                    0 => ("/".to_owned(), None),
                    1 => (format!("/bytes/{len}"), None),
                    _ => ("/echo".to_owned(), Some(Bytes::from(pattern(len)))),
                };
                let (status, bytes) = whole(client.send_request(server.request(&path, body)).await.unwrap()).await;
                let is_right = if turn % 3 == 0 { bytes.len() == 30 } else { bytes == pattern(len) };
                assert!(status == StatusCode::OK && is_right, "{path}: {status}, {} bytes", bytes.len());
            }
        });
        let local = async_executor::LocalExecutor::new();
        let asks: Vec<_> = asks.map(|ask| local.spawn(ask)).collect();
        local
            .run(async {
                for ask in asks {
                    ask.await
                }
            })
            .await;
    };
    or(tasks.run(talk), async {
        connection.await.unwrap();
        panic!("the connection ended first");
    })
    .await;
}

#[test]
fn http1_and_http2_in_the_clear() {
    let server = Server::start();
    run(async {
        check_http1(&server, server.connect().await).await;
        check_http2(&server, server.connect().await).await;
    });
}

#[test]
fn http1_and_http2_over_tls_as_alpn_decides() {
    let server = Server::start();
    run(async {
        let (io, chosen) = server.connect_securely(&[b"h2", b"http/1.1"]).await;
        assert_eq!(chosen.as_deref(), Some(&b"h2"[..]));
        check_http2(&server, io).await;
        let (io, chosen) = server.connect_securely(&[b"http/1.1"]).await;
        assert_eq!(chosen.as_deref(), Some(&b"http/1.1"[..]));
        check_http1(&server, io).await;
        check_http1(&server, server.connect_securely(&[]).await.0).await;
    });
}

#[test]
fn all_kinds_at_once() {
    let server = Server::start();
    run(async {
        let (one, two) = (server.connect().await, server.connect().await);
        let (three, four) = (server.connect_securely(&[b"h2"]).await.0, server.connect_securely(&[]).await.0);
        let clear = zip(check_http1(&server, one), check_http2(&server, two));
        zip(clear, zip(check_http2(&server, three), check_http1(&server, four))).await;
    });
}

/// Clients that go without a word, that say nonsense, or that wait for others.
#[test]
fn bad_clients_are_nobody_elses_fault() {
    let server = Server::start();
    let connect = || std::net::TcpStream::connect(server.address).unwrap();
    let silent = connect();
    for nonsense in [&b"\x16\x03\x01\x02\x00nonsense"[..], b"PRI * HTTP/9.9\r\n", b"NONSENSE\r\n\r\n", b"GET / HT", b"\0", b""] {
        let mut client = connect();
        client.write_all(nonsense).unwrap();
        socket2::SockRef::from(&client).set_linger((nonsense.len() % 2 == 0).then_some(Duration::ZERO)).unwrap();
    }
    let mut slow = connect();
    for byte in b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" {
        slow.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nHello from a completion port.\n"), "{answer}");
    run(async { check_http1(&server, server.connect().await).await });
    drop(silent);
}
