//! What surrounds every request: an id, a log line, a guard against panics, and problems for unknown routes and methods.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use super::body::MAX_BODY_BYTES;
use super::error::{ApiError, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT_REQUEST: String;
}

/// Id of the request being served; empty outside of one.
pub(super) fn request_id() -> String {
    CURRENT_REQUEST.try_with(Clone::clone).unwrap_or_default()
}

/// Completes a function's routes into what is served. Called once, on the merged routes, because only one router can answer
/// for what no route matches.
pub fn finish(routes: Router) -> Router {
    routes
        .fallback(|| async { ApiError::not_found("there is no such resource") })
        .method_not_allowed_fallback(|| async {
            ApiError::from(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this resource does not take that method",
            ))
        })
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            ApiError::Internal("a handler panicked".into()).into_response()
        }))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(identify))
}

/// Gives the request an id (the client's own where it is one that a log can hold) and logs how it went.
async fn identify(request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let usable = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let id = given
        .filter(usable)
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let method = request.method().clone();
    // The matched route, not the path: a path holds ids, which belong to the log but not to logs.
    let path = request
        .extensions()
        .get::<axum::extract::MatchedPath>()
        .map_or("unmatched", |p| p.as_str())
        .to_owned();
    let started = std::time::Instant::now();
    let mut response = CURRENT_REQUEST.scope(id.clone(), next.run(request)).await;
    let elapsed = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::info!(request.id = id, http.method = %method, http.route = path, http.status = response.status().as_u16(), duration_us = elapsed, "served");
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
