//! A server of HTTP/1.1 and HTTP/2, with hyper and rustls over completion streams and the library's own runtime:
//! `http [--port P] [--threads N]`.
//!
//! One port for all: a connection that begins with a TLS handshake is HTTP/2 or HTTP/1.1 as ALPN decides, one that begins with
//! HTTP/2's preface is that in the clear, any other HTTP/1.1. The certificate is made at start, for localhost, signed by itself.
//!
//! ```text
//! cargo run --release --example http -- --port 8443
//! curl http://127.0.0.1:8443/            curl -k https://127.0.0.1:8443/bytes/100000
//! wrk -t2 -c64 -d30 http://127.0.0.1:8443/
//! h2load -c16 -m32 -D30 https://127.0.0.1:8443/
//! ```

mod answers;
mod io;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use proactor::compat::Stream;
use proactor::compat::hyper::{RuntimeExecutor, Timer};
use proactor::net::{TcpListener, TcpStream};
use proactor::rt::{self, Runtime};
use tokio::io::AsyncBufReadExt;
use tokio_rustls::TlsAcceptor;

/// How long a client may take to say what it speaks; after that hyper's own limits hold.
const PATIENCE: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let (port, threads) = arguments()?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    let tls = tls::acceptor()?;
    println!("listening on {}", listener.local_addr()?);
    Runtime::shared().threads(threads).build()?.block_on(accept(listener, tls))
}

fn arguments() -> Result<(u16, usize), Failure> {
    let (mut port, mut threads) = (0, std::thread::available_parallelism().map_or(1, |n| n.get()));
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} wants a number"))?;
        match &name[..] {
            "--port" => port = value.parse()?,
            "--threads" => threads = value.parse::<usize>()?.max(1),
            _ => return Err(format!("unknown: {name}; there are --port and --threads").into()),
        }
    }
    Ok((port, threads))
}

async fn accept(listener: TcpListener, tls: TlsAcceptor) -> Result<(), Failure> {
    let timer = Timer::default();
    loop {
        let accepted = match listener.accept().await.result {
            Ok(accepted) => accepted,
            Err(error) => {
                // Descriptors are short, as a rule: those who have one will end.
                eprintln!("accept: {error}");
                rt::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, timer) = (tls.clone(), timer.clone());
        let serve = async move {
            if let Err(error) = serve(accepted.stream, tls, timer).await {
                eprintln!("a connection ended: {error}");
            }
        };
        rt::spawn(serve).detach();
    }
}

/// Finds out what the client speaks, and speaks it to the end.
async fn serve(stream: TcpStream, tls: TlsAcceptor, timer: Timer) -> Result<(), Failure> {
    socket2::SockRef::from(&stream).set_tcp_nodelay(true)?;
    let mut stream = Stream::new(stream);
    let first = rt::timeout(PATIENCE, stream.fill_buf()).await??;
    match first.first() {
        None => Ok(()),
        // A handshake record of TLS.
        Some(22) => {
            let stream = rt::timeout(PATIENCE, tls.accept(stream)).await??;
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(io::Io(stream), is_h2, timer).await
        }
        Some(_) => {
            let is_h2 = first.starts_with(b"PRI ");
            speak(stream, is_h2, timer).await
        }
    }
}

async fn speak<I>(io: I, is_h2: bool, timer: Timer) -> Result<(), Failure>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(answers::answer);
    let result = if is_h2 {
        http2::Builder::new(RuntimeExecutor).timer(timer).serve_connection(io, service).await
    } else {
        http1::Builder::new().timer(timer).serve_connection(io, service).await
    };
    match result {
        // A client that goes in the middle of something, as load generators do at their end.
        Err(error) if error.is_incomplete_message() || gone(&error) => Ok(()),
        result => Ok(result?),
    }
}

fn gone(error: &hyper::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof);
        }
        cause = error.source();
    }
    false
}
