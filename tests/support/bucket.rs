//! A bucket on loopback that stores files and fails on demand. It implements the part of S3 that Annals uses.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use annals_storage::{S3, Storage};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::stream;
use tokio::net::TcpListener;

use crate::rds::{ACCESS_KEY, REGION, SECRET_KEY};

/// The bucket's name.
pub const BUCKET: &str = "uploads-of-tests";

/// A bucket; it ends with the test's runtime.
#[derive(Clone, Default)]
pub struct Bucket {
    objects: Arc<Mutex<HashMap<String, Bytes>>>,
    troubles: Arc<Mutex<Vec<Trouble>>>,
    hides: Arc<AtomicBool>,
}

/// A fault of the next request for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is answered with 503.
    Busy,
    /// The connection breaks in the middle of the bytes.
    BreaksOff,
}

impl Bucket {
    /// Starts it on loopback.
    pub async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let routes = Router::new()
            .route("/{bucket}/{*key}", any(answer))
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        endpoint
    }

    /// The storage of a bucket at this address.
    pub fn storage(endpoint: &str) -> Storage {
        let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, Some("session".to_owned()), None, "tests");
        let credentials = SharedCredentialsProvider::new(credentials);
        Storage::S3(S3::new(
            BUCKET.to_owned(),
            REGION.to_owned(),
            credentials,
            Some(endpoint),
        ))
    }

    /// Sends a file to this signed address.
    pub async fn send(url: &str, content: impl Into<reqwest::Body>) {
        let answer = reqwest::Client::new()
            .put(url)
            .body(content)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
    }

    /// The event that AWS sends for the object with this key.
    pub fn event(bucket: &str, key: &str) -> String {
        let event = include_str!("../events/s3_file_came.json").replace(BUCKET, bucket);
        event.replace("uploads/0198c0de-0000-7000-8000-000000000000", key)
    }

    /// Plans faults, one for each of the next requests.
    pub fn trouble(&self, troubles: &[Trouble]) {
        self.troubles
            .lock()
            .expect("no panic elsewhere")
            .extend(troubles.iter().rev());
    }

    /// The next lookup of an object finds none.
    pub fn hide_once(&self) {
        self.hides.store(true, Ordering::SeqCst);
    }

    /// Keys of its objects.
    pub fn keys(&self) -> Vec<String> {
        self.objects
            .lock()
            .expect("no panic elsewhere")
            .keys()
            .cloned()
            .collect()
    }
}

async fn answer(
    State(bucket): State<Bucket>,
    Path((name, key)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    uri: axum::http::Uri,
    body: Bytes,
) -> Response {
    let signed =
        headers.contains_key(header::AUTHORIZATION) || uri.query().is_some_and(|q| q.contains("X-Amz-Signature="));
    if name != BUCKET || !signed {
        return StatusCode::FORBIDDEN.into_response();
    }
    if method == Method::PUT {
        bucket.objects.lock().expect("no panic elsewhere").insert(key, body);
        return StatusCode::OK.into_response();
    }
    if method == Method::DELETE {
        bucket.objects.lock().expect("no panic elsewhere").remove(&key);
        return StatusCode::NO_CONTENT.into_response();
    }
    let Some(object) = bucket.objects.lock().expect("no panic elsewhere").get(&key).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if method == Method::HEAD && bucket.hides.swap(false, Ordering::SeqCst) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let tag = format!(
        "\"{}-{}\"",
        object.len(),
        object.iter().map(|b| u64::from(*b)).sum::<u64>()
    );
    let Some(range) = headers.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
        return (
            [(header::ETAG, tag), (header::CONTENT_LENGTH, object.len().to_string())],
            Body::empty(),
        )
            .into_response();
    };
    if headers
        .get(header::IF_MATCH)
        .is_none_or(|expected| *expected != tag.as_str())
    {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    let (from, to) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .expect("a range");
    let (from, to): (usize, usize) = (from.parse().expect("a byte"), to.parse().expect("a byte"));
    let part = object.slice(from..=to);
    let trouble = bucket.troubles.lock().expect("no panic elsewhere").pop();
    let body = match trouble {
        Some(Trouble::Busy) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Trouble::BreaksOff) => {
            let half = part.slice(..part.len() / 2);
            Body::from_stream(stream::iter([Ok(half), Err(std::io::Error::other("cut"))]))
        }
        None => Body::from(part),
    };
    (StatusCode::PARTIAL_CONTENT, [(header::ETAG, tag)], body).into_response()
}
