//! The port: connections, and how long a client may let us wait.
//!
//! On Lambda API Gateway does this. `axum::serve` sets no limits, so a client that stops in the middle of a header or a body would keep
//! its connection for ever. Here every wait for a client has an end, and so does the number of connections:
//!
//! | what the client does | then |
//! |---|---|
//! | sends no whole head within 10 s | 408 and close; without a word where it has sent nothing |
//! | stops within a body for 30 s | 408 and close |
//! | takes nothing of an answer for 30 s | close |
//! | sends what is no HTTP, a target or a head that is too long | 400, 414, 431 and close |
//! | is one too many | waits until another has gone |
//!
//! All of these are problems (RFC 9457) like every other.

mod wire;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals::http::{Problem, unread};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures_util::{TryStreamExt, stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::Service;

use self::wire::Wire;
use crate::shutdown::Shutdown;

/// Most bytes of a problem's body; they have a few hundred.
const MAX_PROBLEM_BYTES: usize = 64 * 1024;
/// Most bytes that are read and thrown away after a refusal, so that it reaches a client that is still sending.
const MAX_DRAINED: u64 = 1024 * 1024;
/// A pause after a connection that could not be accepted: for want of file handles, mostly.
const AFTER_REFUSED_ACCEPT: Duration = Duration::from_millis(100);

/// How long a client may let us wait, and how many of them there are.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a whole head; also how long a connection without a request is kept.
    pub head: Duration,
    /// For more of a body.
    pub body: Duration,
    /// For taking more of an answer.
    pub answer: Duration,
    /// Connections at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            answer: Duration::from_secs(30),
            connections: 512,
        }
    }
}

/// Serves until the process is to end, and then until the requests that are under way have been answered.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, mut shutdown: Shutdown) {
    let router = router.layer(from_fn_with_state(limits.body, limit_body));
    let free = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&free).acquire_owned();
        let accepted = tokio::select! {
            accepted = async { (permit.await, listener.accept().await) } => accepted,
            // Otherwise the set would keep every connection that has ended.
            Some(_) = connections.join_next() => continue,
            () = shutdown.asked() => break,
        };
        match accepted {
            (permit, Ok((stream, peer))) => {
                let connection = converse(stream, peer, router.clone(), limits, shutdown.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(AFTER_REFUSED_ACCEPT).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Answers the requests of one connection.
async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, limits: Limits, mut shutdown: Shutdown) {
    // Answers are written at once, so there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move {
            Service::call(&mut router, request)
                .await
                .map_err(|never: Infallible| never)
        }
    });
    let wire = TokioIo::new(Wire::new(stream, limits.answer));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        // One buffer for each answer: what hyper says by itself is then recognised by its beginning.
        .writev(false)
        .serve_connection(wire, service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.asked() => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let Err(error) = ended else { return };
    let wire = connection.into_parts().io.into_inner();
    let status = match wire.unread {
        None if error.is_timeout() && wire.has_asked => Some(StatusCode::REQUEST_TIMEOUT),
        unread => unread,
    };
    if let Some(status) = status {
        let refused = refuse(wire.into_stream(), status);
        // If the client does not read this either, the connection is dropped.
        let _ = timeout(limits.answer, refused).await;
    }
}

/// Sends the problem and closes the connection.
async fn refuse(mut stream: TcpStream, status: StatusCode) -> io::Result<()> {
    let answer = unread(problem_of(status)).await;
    let (head, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, MAX_PROBLEM_BYTES).await.unwrap_or_default();
    let mut text = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    )
    .into_bytes();
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&body);
    stream.write_all(&text).await?;
    stream.shutdown().await?;
    // A connection that is closed while the client still sends is reset, and the answer lost with it.
    tokio::io::copy(&mut stream.take(MAX_DRAINED), &mut tokio::io::sink()).await?;
    Ok(())
}

fn problem_of(status: StatusCode) -> Problem {
    let (code, detail) = match status {
        StatusCode::REQUEST_TIMEOUT => (
            "request_timeout",
            "the request did not arrive in time; send it again, as a whole",
        ),
        StatusCode::URI_TOO_LONG => ("uri_too_long", "the request's path and query are too long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("headers_too_large", "the request's headers are too large or too many")
        }
        _ => ("malformed_http", "this is not a well-formed HTTP/1.1 request"),
    };
    Problem::new(status, code, detail)
}

/// Reads bodies only as long as they keep coming. The handler sees an error like that of a client which hung up; what is answered is
/// said here.
async fn limit_body(
    axum::extract::State(patience): axum::extract::State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    let stopped = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| limited(body, patience, Arc::clone(&stopped)));
    let mut response = next.run(request).await;
    if stopped.load(Ordering::SeqCst) {
        response = unread(problem_of(StatusCode::REQUEST_TIMEOUT)).await;
        // The rest of the body may come yet, and is no next request.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

fn limited(body: Body, patience: Duration, stopped: Arc<AtomicBool>) -> Body {
    let pieces = stream::try_unfold(body.into_data_stream(), move |mut pieces| {
        let stopped = Arc::clone(&stopped);
        async move {
            match timeout(patience, pieces.try_next()).await {
                Ok(Ok(piece)) => Ok(piece.map(|piece| (piece, pieces))),
                Ok(Err(error)) => Err(io::Error::other(error)),
                Err(_) => {
                    stopped.store(true, Ordering::SeqCst);
                    Err(io::ErrorKind::TimedOut.into())
                }
            }
        }
    });
    Body::from_stream(pieces)
}
