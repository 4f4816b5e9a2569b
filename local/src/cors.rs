//! Which pages of other origins may call the API. A deployment has the same rules in `CorsConfiguration` of template.yaml; a test compares both.
//!
//! Any origin may: tokens are sent in a header that the page sets and never in a cookie, so an origin without a token gains nothing.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use tower::ServiceExt;
use tower_http::cors::{Any, CorsLayer};

/// Methods that a page may use.
pub const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// Headers of requests that a page may set.
pub const REQUEST_HEADERS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    HeaderName::from_static("idempotency-key"),
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("x-request-id"),
];
/// Headers of answers that a page may read.
pub const ANSWER_HEADERS: [HeaderName; 8] = [
    header::CONTENT_DISPOSITION,
    header::ETAG,
    HeaderName::from_static("idempotency-replayed"),
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("x-request-id"),
];
/// How long a browser may remember these rules.
pub const MAX_AGE: Duration = Duration::from_secs(3600);

/// Answers the questions of browsers before a request (preflight), and adds what browsers need to all other answers.
pub(crate) fn allowed(routes: Router) -> Router {
    let rules = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(METHODS)
        .allow_headers(REQUEST_HEADERS)
        .expose_headers(ANSWER_HEADERS)
        .max_age(MAX_AGE);
    let plain = from_fn_with_state(routes.clone(), skip_plain_options);
    routes.layer(rules).layer(plain)
}

/// The layer would answer every OPTIONS request. One that asks for no method is not a browser's: the routes answer it, with `Allow`.
async fn skip_plain_options(State(routes): State<Router>, request: Request, next: Next) -> Response {
    let is_preflight = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    match *request.method() == Method::OPTIONS && !is_preflight {
        true => routes
            .oneshot(request)
            .await
            .unwrap_or_else(|never: Infallible| match never {}),
        false => next.run(request).await,
    }
}
