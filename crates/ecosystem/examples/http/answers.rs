//! What is asked for, and what comes back.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

type Body = BoxBody<Bytes, hyper::Error>;

/// The largest answer of `/bytes/N`.
const MOST: usize = 64 << 20;

/// `GET /` is a greeting, `GET /bytes/N` is N bytes, `POST /echo` is what was posted, as it comes.
pub async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    Ok(match (request.method(), path) {
        (&Method::GET, "/") => text(StatusCode::OK, "Hello from a completion port.\n"),
        (&Method::POST, "/echo") => Response::new(request.into_body().boxed()),
        (&Method::GET, _) if path.starts_with("/bytes/") => match path["/bytes/".len()..].parse() {
            Ok(n @ 0..=MOST) => Response::new(full(bytes_of(n))),
            _ => text(StatusCode::BAD_REQUEST, "how many bytes? 0 to 67108864\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "there are GET /, GET /bytes/N and POST /echo\n"),
    })
}

/// Bytes whose place can be told from their value.
fn bytes_of(n: usize) -> Bytes {
    (0..n).map(|at| (at % 251) as u8).collect()
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
