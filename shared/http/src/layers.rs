//! Middleware for every request: an id, a log line, cache rules, gzip, links to next pages, and problems for unknown routes and methods.

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use lambda_http::Context;
use lambda_http::request::RequestContext;
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use super::body::MAX_BODY_BYTES;
use super::compression;
use super::error::{ApiError, Problem};
use super::idempotency::refuse_unread_key;
use super::links::link_next;
use annals_telemetry::{Ids, metrics};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// X-Ray's header. Lambda's adapter adds it to the request.
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Adds the middleware to a function's routes. Call it once, on the merged routes: only one router can handle requests that no
/// route matches.
pub fn finish(routes: Router) -> Router {
    routes
        // Before the two fallbacks, so that it does not run for them: a request with a method or path that does not exist is answered 405 or 404,
        // whatever else is wrong with it.
        .layer(from_fn(compression::inflate))
        .layer(from_fn(refuse_unread))
        .fallback(|| async { ApiError::not_found("there is no resource at this path") })
        .method_not_allowed_fallback(other_method)
        // This only works where panics unwind, in `local`. A panic ends a deployed function's process, and API Gateway answers.
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            ApiError::Internal("a handler panicked".into()).into_response()
        }))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(link_next))
        .layer(compression::of_answers())
        .layer(from_fn(compression::tag_compressed))
        .layer(from_fn(identify))
}

/// The answer to a method that a resource does not support. axum adds the header `Allow`, which is all that OPTIONS asks for.
async fn other_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    ApiError::from(Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this resource does not support this method; the header Allow lists the supported ones",
    ))
    .into_response()
}

/// Gives the request its ids, and adds the id to the response.
async fn identify(request: Request, next: Next) -> Response {
    let ids = ids_of(&request);
    let id = ids.request.clone();
    let response = annals_telemetry::within(ids, serve(request, next)).await;
    completed(response, &id)
}

/// The response to bytes that a server could not read as a request. It looks like every other problem.
pub async fn unreadable_request(problem: Problem) -> Response {
    let ids = Ids {
        request: Uuid::now_v7().to_string(),
        ..Ids::default()
    };
    let id = ids.request.clone();
    let answer = async { ApiError::from(problem).into_response() };
    completed(annals_telemetry::within(ids, answer).await, &id)
}

fn completed(mut response: Response, id: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    forbid_caching(response.headers_mut());
    response
}

/// Every response is for one caller only. That caller may store a response with an ETag, but must revalidate it each time.
fn forbid_caching(headers: &mut HeaderMap) {
    let rule = match headers.contains_key(header::ETAG) {
        true => "private, no-cache",
        false => "private, no-store",
    };
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static(rule));
}

async fn serve(request: Request, next: Next) -> Response {
    let method = request.method().clone();
    // The route is logged, not the path: a path contains ids, which must not appear in logs.
    let path = request
        .extensions()
        .get::<axum::extract::MatchedPath>()
        .map_or("unmatched", |p| p.as_str())
        .to_owned();
    let started = std::time::Instant::now();
    let response = next.run(request).await;
    let status = response.status();
    let elapsed = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    tracing::info!(http.method = %method, http.route = path, http.status = status.as_u16(), duration_us = elapsed, "served");
    if status == StatusCode::CONFLICT {
        metrics::conflict();
    }
    response
}

/// Refuses what no handler would read. Otherwise it would be ignored without the client noticing.
async fn refuse_unread(request: Request, next: Next) -> Result<Response, ApiError> {
    if has_stray_body(&request) {
        let detail = "a GET request must not have a body; send parameters in the query string";
        return Err(ApiError::bad_request("unexpected_body", detail));
    }
    refuse_unread_key(&request)?;
    Ok(next.run(request).await)
}

/// Whether a GET or HEAD request has a body. In HTTP/1.1 the headers announce a body; behind API Gateway only the body itself
/// shows it.
fn has_stray_body(request: &Request) -> bool {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let announced = request.headers().contains_key(header::TRANSFER_ENCODING)
        || request
            .headers()
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length != "0");
    reads && (announced || request.body().size_hint().lower() > 0)
}

/// The request id is the client's if it is short and simple enough for a log, else API Gateway's, else a new one. API Gateway's,
/// Lambda's and X-Ray's ids are logged next to it.
fn ids_of(request: &Request) -> Ids {
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let usable = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let gateway = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    let id = given.filter(usable).map(str::to_owned).or_else(|| gateway.clone());
    let trace = request.headers().get(&TRACE).and_then(|header| header.to_str().ok());
    Ids {
        request: id.unwrap_or_else(|| Uuid::now_v7().to_string()),
        gateway,
        invocation: request
            .extensions()
            .get::<Context>()
            .map(|context| context.request_id.clone()),
        trace: trace.map(str::to_owned),
    }
}
