//! The HTTP server: connections and their limits.
//!
//! Deployed, API Gateway does this. `axum::serve` has no limits: a client that stops in the middle of a header or a body would keep its
//! connection for ever. Here every wait for a client has a timeout, and the number of connections is limited:
//!
//! | what the client does | what the server does |
//! |---|---|
//! | does not finish the request head within 10 s | answers 408 and closes; if the client has sent nothing, closes without an answer |
//! | sends nothing of a body for 30 s | answers 408 and closes |
//! | reads nothing of an answer for 30 s | closes |
//! | sends no valid HTTP, too long a target, or too long a head | answers 400, 414 or 431 and closes |
//! | opens one connection too many | accepts it when another one is closed |
//!
//! Each of these answers is a problem (RFC 9457), like all others.

mod client_stream;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_http::{Problem, unreadable_request};
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

use self::client_stream::ClientStream;
use crate::shutdown::Shutdown;

/// Maximum bytes of a problem's body. Problems have a few hundred.
const MAX_PROBLEM_BYTES: usize = 64 * 1024;
/// How many bytes are read and discarded after an error answer, so that the answer reaches a client that is still sending.
const MAX_DRAINED_BYTES: u64 = 1024 * 1024;
/// Pause after a failed accept. The usual reason is that the process has no free file handles.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Timeouts of a connection, and how many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Timeout for a whole request head; also how long a connection without a request is kept.
    pub head: Duration,
    /// Timeout for the next bytes of a body.
    pub body: Duration,
    /// Timeout for the client to take more of an answer.
    pub answer: Duration,
    /// Maximum number of connections at the same time.
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

/// Serves until the shutdown is requested, and then until the running requests are answered.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, mut shutdown: Shutdown) {
    let router = router.layer(from_fn_with_state(limits.body, limit_body));
    let free = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&free).acquire_owned();
        let accepted = tokio::select! {
            accepted = async { (permit.await, listener.accept().await) } => accepted,
            // Removes ended connections, which the set would keep otherwise.
            Some(_) = connections.join_next() => continue,
            () = shutdown.requested() => break,
        };
        match accepted {
            (permit, Ok((stream, peer))) => {
                let connection = serve_connection(stream, peer, router.clone(), limits, shutdown.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            (_, Err(error)) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(ACCEPT_RETRY_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Answers the requests of one connection.
async fn serve_connection(stream: TcpStream, peer: SocketAddr, router: Router, limits: Limits, mut shutdown: Shutdown) {
    // An answer is written as a whole, so waiting for more data would only delay it.
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
    let io = TokioIo::new(ClientStream::new(stream, limits.answer));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        // Each answer is written as one buffer. `ClientStream` recognises hyper's own answers by the beginning of the buffer.
        .writev(false)
        .serve_connection(io, service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.requested() => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let Err(error) = ended else { return };
    let client = connection.into_parts().io.into_inner();
    let status = match client.withheld {
        None if error.is_timeout() && client.has_sent => Some(StatusCode::REQUEST_TIMEOUT),
        withheld => withheld,
    };
    if let Some(status) = status {
        let refused = refuse(client.into_stream(), status);
        // If the client does not read the answer in time, the connection is dropped.
        let _ = timeout(limits.answer, refused).await;
    }
}

/// Sends the problem of this status and closes the connection.
async fn refuse(mut stream: TcpStream, status: StatusCode) -> io::Result<()> {
    let answer = unreadable_request(problem_of(status)).await;
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
    // If the connection were closed while the client still sends, it would be reset, and the answer would be lost.
    tokio::io::copy(&mut stream.take(MAX_DRAINED_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}

fn problem_of(status: StatusCode) -> Problem {
    let (code, detail) = match status {
        StatusCode::REQUEST_TIMEOUT => (
            "request_timeout",
            "the request did not arrive in time; send the whole request again",
        ),
        StatusCode::URI_TOO_LONG => ("uri_too_long", "the request's path and query are too long"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("headers_too_large", "the request's headers are too large or too many")
        }
        _ => ("malformed_http", "this is not a well-formed HTTP/1.1 request"),
    };
    Problem::new(status, code, detail)
}

/// Ends a request whose body stops arriving. The handler sees the same error as for a client that has disconnected; this layer then
/// replaces its answer by 408.
async fn limit_body(
    axum::extract::State(time_limit): axum::extract::State<Duration>,
    request: Request,
    next: Next,
) -> Response {
    let timed_out = Arc::new(AtomicBool::new(false));
    let request = request.map(|body| limited(body, time_limit, Arc::clone(&timed_out)));
    let mut response = next.run(request).await;
    if timed_out.load(Ordering::SeqCst) {
        response = unreadable_request(problem_of(StatusCode::REQUEST_TIMEOUT)).await;
        // The connection cannot be used again: the rest of the body may still arrive and would be taken for the next request.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

fn limited(body: Body, time_limit: Duration, timed_out: Arc<AtomicBool>) -> Body {
    let pieces = stream::try_unfold(body.into_data_stream(), move |mut pieces| {
        let timed_out = Arc::clone(&timed_out);
        async move {
            match timeout(time_limit, pieces.try_next()).await {
                Ok(Ok(piece)) => Ok(piece.map(|piece| (piece, pieces))),
                Ok(Err(error)) => Err(io::Error::other(error)),
                Err(_) => {
                    timed_out.store(true, Ordering::SeqCst);
                    Err(io::ErrorKind::TimedOut.into())
                }
            }
        }
    });
    Body::from_stream(pieces)
}
