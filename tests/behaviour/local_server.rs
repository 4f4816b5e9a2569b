//! The local server: how it handles clients that stop, and its other commands.

mod bucket;
mod commands;
mod progress;
mod start;
mod tail;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use annals_http::JsonBody;
use axum::Router;
use axum::routing::{get, post};
use local::server::{Limits, serve};
use local::shutdown::Shutdown;
use serde_json::Value;
use tests::{Person, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Short, to keep the test fast, but long enough for a busy machine.
const PATIENCE: Duration = Duration::from_millis(800);
/// A limit that only a failure reaches.
const LIMIT: Duration = Duration::from_secs(60);
/// More bytes than the buffers between two sockets hold.
const LARGE: usize = 64 * 1024 * 1024;

fn limits() -> Limits {
    Limits {
        head: PATIENCE,
        body: PATIENCE,
        answer: PATIENCE,
        connections: 8,
    }
}

struct Serving {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    ended: JoinHandle<()>,
}

impl Serving {
    async fn start(router: Router, limits: Limits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let ended = tokio::spawn(serve(listener, router, limits, Shutdown::from_channel(stopped)));
        Self { address, stop, ended }
    }

    async fn plain(limits: Limits) -> Self {
        let routes = Router::new()
            .route("/small", get(|| async { "small" }))
            .route("/large", get(|| async { vec![b'x'; LARGE] }))
            .route(
                "/slow",
                get(|| async {
                    sleep(PATIENCE * 2).await;
                    "slow"
                }),
            )
            .route(
                "/json",
                post(|JsonBody(body): JsonBody| async move { body.to_string() }),
            );
        Self::start(annals_http::finish(routes), limits).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a text, and reads the answer until the server closes.
    async fn answer_to(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        // A server that has already refused the request may not read all of it.
        let _ = stream.write_all(text.as_bytes()).await;
        rest(&mut stream).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(LIMIT, stream.read_to_end(&mut bytes)).await;
    read.expect("the server closes").unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Status and code of an answer that must be a complete problem.
#[track_caller]
fn problem(answer: &str) -> (u16, String) {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {answer}"));
    let head = head.to_ascii_lowercase();
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name}: {head}")).to_owned()
    };
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert_eq!(header("content-type"), "application/problem+json");
    assert_eq!(header("connection"), "close");
    assert_eq!(header("cache-control"), "private, no-store");
    assert_eq!(header("content-length"), body.len().to_string());
    assert_eq!(problem["request_id"], header("x-request-id").as_str());
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(problem["status"], status);
    (status, problem["code"].as_str().unwrap().to_owned())
}

fn pair(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_client_that_stops_within_its_head_is_answered_408_and_disconnected() {
    let serving = Serving::plain(limits()).await;
    for part in [
        "GET /small HT",
        "GET /small HTTP/1.1\r\nHost: x\r\n",
        "GET /small HTTP/1.1\r\nHost: x\r\nX-Half",
    ] {
        let began = Instant::now();
        assert_eq!(
            problem(&serving.answer_to(part).await),
            pair(408, "request_timeout"),
            "{part:?}"
        );
        assert!(began.elapsed() >= PATIENCE, "{part:?}");
    }
    // A client that has sent nothing gets no answer, both before its first request and after one.
    assert_eq!(serving.answer_to("").await, "");
    let answer = serving.answer_to("GET /small HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("small"),
        "{answer}"
    );
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
}

#[tokio::test]
async fn a_client_that_stops_within_a_body_is_answered_408_and_disconnected() {
    let serving = Serving::plain(limits()).await;
    let head = "POST /json HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for part in [
        "Content-Length: 9\r\n\r\n",
        "Content-Length: 9\r\n\r\n{\"a\"",
        "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n",
    ] {
        let answer = serving.answer_to(&format!("{head}{part}")).await;
        assert_eq!(problem(&answer), pair(408, "request_timeout"), "{part:?}");
    }
    // A body that is sent slowly but without stopping is read to its end.
    let mut stream = serving.connect().await;
    stream
        .write_all(format!("{head}Connection: close\r\nContent-Length: 9\r\n\r\n").as_bytes())
        .await
        .unwrap();
    for byte in "{\"a\": 12}".bytes() {
        sleep(PATIENCE / 3).await;
        stream.write_all(&[byte]).await.unwrap();
    }
    let answer = rest(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("{\"a\":12}"),
        "{answer}"
    );
}

/// Only one connection is allowed, so the second client's answer proves that the first one was disconnected.
#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_disconnected() {
    let serving = Serving::plain(Limits {
        connections: 1,
        ..limits()
    })
    .await;
    let mut deaf = serving.connect().await;
    deaf.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer = serving
        .answer_to("GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.ends_with("small"), "{answer}");
    let mut read = Vec::new();
    let _reset = timeout(LIMIT, deaf.read_to_end(&mut read)).await.expect("it is closed");
    assert!(read.len() < LARGE, "it was closed before all was sent");
}

#[tokio::test]
async fn input_that_is_no_http_request_is_answered_by_a_problem() {
    let serving = Serving::plain(limits()).await;
    let long = "x".repeat(70_000);
    let headers: String = (0..150).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = "x".repeat(600_000);
    for (text, expected) in [
        ("nonsense\r\n\r\n".to_owned(), pair(400, "malformed_http")),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), pair(400, "malformed_http")),
        (
            "GET /small HTTP/1.1\r\nbad header\r\n\r\n".to_owned(),
            pair(400, "malformed_http"),
        ),
        (
            "GET /small HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
            pair(400, "malformed_http"),
        ),
        (
            format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
            pair(414, "uri_too_long"),
        ),
        (
            format!("GET /small HTTP/1.1\r\n{headers}\r\n"),
            pair(431, "headers_too_large"),
        ),
        (
            format!("GET /small HTTP/1.1\r\nX-Large: {large}\r\n\r\n"),
            pair(431, "headers_too_large"),
        ),
    ] {
        assert_eq!(problem(&serving.answer_to(&text).await), expected, "{text:.60}");
    }
    // Also after another answer on the same connection.
    let mut stream = serving.connect().await;
    stream
        .write_all(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = vec![0; 1024];
    let read = stream.read(&mut first).await.unwrap();
    assert!(first[..read].ends_with(b"small"));
    stream.write_all(b"nonsense\r\n\r\n").await.unwrap();
    assert_eq!(problem(&rest(&mut stream).await), pair(400, "malformed_http"));
}

/// Problems of handlers with the same statuses are not replaced.
#[tokio::test]
async fn a_400_of_a_handler_is_not_replaced() {
    let serving = Serving::plain(limits()).await;
    let head = "POST /json HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let answer = serving.answer_to(&format!("{head}Content-Length: 1\r\n\r\n{{")).await;
    assert_eq!(problem(&answer), pair(400, "malformed_json"));
}

#[tokio::test]
async fn the_server_answers_requests_under_way_before_it_ends_and_does_not_wait_for_idle_connections() {
    let serving = Serving::plain(Limits {
        head: LIMIT,
        ..limits()
    })
    .await;
    let idle = serving.connect().await;
    let mut under_way = serving.connect().await;
    under_way
        .write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    sleep(PATIENCE / 2).await;
    serving.stop.send(true).unwrap();
    let answer = rest(&mut under_way).await;
    assert!(answer.ends_with("slow"), "{answer}");
    timeout(LIMIT / 2, serving.ended).await.expect("it ends").unwrap();
    drop(idle);
}

/// Every answer is meant for one caller, also when it passes a shared cache.
#[tokio::test]
async fn no_answer_of_the_api_may_be_stored_by_shared_caches() {
    let (world, staff) = (World::new().await, Person::staff());
    world
        .append(&staff, "customer.created", "C-1", serde_json::json!({"name": "Ada"}))
        .await;
    for (path, rule) in [
        ("/events", "private, no-store"),
        ("/events/stats", "private, no-store"),
        ("/nowhere", "private, no-store"),
        ("/entities/customer/nobody", "private, no-store"),
        ("/entities/customer/C-1", "private, no-cache"),
    ] {
        let answer = world.get(&staff, path).await;
        assert_eq!(answer.header("cache-control"), Some(rule), "{path}");
        assert_eq!(answer.header("etag").is_some(), rule == "private, no-cache", "{path}");
    }
}
