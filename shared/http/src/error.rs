//! Errors of the API, and the only place where they become responses (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::framing::Framing;
use annals_domain::event::FieldFault;
use annals_domain::weight::shortened;
use annals_store::{AppendError, Refusal, RefusalKind, StoreError, redacted_error};
use annals_telemetry::request_id;

/// `Retry-After` of every 503, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Below this path, the function `console` has a page for each code. `type` is the address of that page, without the host name, so that it is
/// right behind every domain (RFC 9457 allows a relative reference, and recommends that it has the full path).
const PAGES_OF_PROBLEMS: &str = "/docs/problems";

/// Maximum number of characters of a client's name that an answer repeats.
const MAX_NAME: usize = 128;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a handler fails.
#[derive(Debug)]
pub enum ApiError {
    /// The request is at fault (4xx). The problem says how.
    Refused(Box<Problem>),
    /// Something that the server needs is unavailable or busy: 503 with `Retry-After`. The text is the answer's detail; the cause is
    /// only logged.
    Unavailable(&'static str, Cause),
    /// The database's schema is older than this program needs: 503 with `Retry-After`.
    SchemaOutdated(StoreError),
    /// The server is at fault: 500. The cause is only logged.
    Internal(Cause),
}

/// Maximum number of fields that a problem names.
pub const MAX_ERRORS: usize = 100;
/// Maximum number of characters of a problem's detail, which may repeat what a caller sent.
const MAX_DETAIL: usize = 1_000;

/// A refusal, as the client reads it: `{"type", "title", "status", "detail", "code", "request_id", "errors"}`.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    errors: Vec<FieldFault>,
    /// What may be sent instead.
    proposal: Option<Value>,
    /// The header `Allow` of a 405.
    allow: Option<String>,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: String,
    #[serde(skip_serializing_if = "<[FieldFault]>::is_empty")]
    errors: &'a [FieldFault],
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<&'a Value>,
}

impl Problem {
    /// A problem with a stable code.
    pub fn new(status: StatusCode, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            detail: shortened(&detail.into(), MAX_DETAIL),
            errors: Vec::new(),
            proposal: None,
            allow: None,
        }
    }

    /// The same problem with the methods that the resource supports, as every 405 needs them.
    pub fn allowing(mut self, methods: &[&str]) -> Self {
        self.allow = Some(methods.join(","));
        self
    }

    /// The same problem with what may be sent instead.
    pub fn with_proposal(mut self, proposal: Value) -> Self {
        self.proposal = Some(proposal);
        self
    }

    /// The same problem with the fields at fault. Only the first [`MAX_ERRORS`] are kept.
    pub fn with_errors(mut self, mut errors: Vec<FieldFault>) -> Self {
        errors.truncate(MAX_ERRORS);
        self.errors = errors;
        self
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl ApiError {
    /// 400: the request is malformed.
    pub fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, code, detail).into()
    }

    /// 400 `malformed_request`: fields of the request are malformed.
    pub fn malformed(errors: Vec<FieldFault>) -> Self {
        let detail = errors.first().map_or_else(
            || "the request is malformed".to_owned(),
            |e| format!("{} {}", e.pointer, e.detail).trim_start().to_owned(),
        );
        Problem::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
            .with_errors(errors)
            .into()
    }

    /// 401 `unauthorized`: the resource needs a token.
    pub fn unauthorized() -> Self {
        let detail = "send a token, in the header Authorization: Bearer …";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into()
    }

    /// 403: the caller may not do this.
    pub fn forbidden(code: &str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::FORBIDDEN, code, detail).into()
    }

    /// 404 `not_found`: it does not exist, or the caller may not see it.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail).into()
    }

    /// 404: no event type belongs to this aggregate type.
    pub fn no_such_kind(aggregate_type: &str) -> Self {
        let name: String = aggregate_type.chars().take(MAX_NAME).collect();
        Self::not_found(format!(
            "there is no entity type {name}; GET /api/v1/events/types lists all event types"
        ))
    }

    /// 404: the aggregate type is known, but there is no such entity.
    pub fn no_such_entity(aggregate_type: &str, aggregate_id: &str) -> Self {
        Self::not_found(format!(
            "there is no {aggregate_type} with the id {aggregate_id}, or you may not see it"
        ))
    }

    /// 404: there is no event with this id.
    pub fn no_such_event() -> Self {
        Self::not_found("there is no event with this id, or you may not see it")
    }

    /// 409: the present state does not allow the request.
    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::CONFLICT, code, detail).into()
    }

    /// 422: the request is well-formed, but refused.
    pub fn unprocessable(code: &str, detail: impl Into<String>, errors: Vec<FieldFault>) -> Self {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
            .with_errors(errors)
            .into()
    }

    /// A failed append. Pointers name the event of a batch (`/events/3/data/email`).
    pub fn from_append(error: AppendError, framing: Framing) -> Self {
        match error {
            AppendError::Refused { code, faults } => {
                let status = match code {
                    "event_type_forbidden" | "actor_forged" => StatusCode::FORBIDDEN,
                    "data_too_large" | "metadata_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
                    _ => StatusCode::UNPROCESSABLE_ENTITY,
                };
                let faults: Vec<FieldFault> = faults.into_iter().map(|found| framing.fault(found)).collect();
                let detail = faults.first().map_or_else(String::new, |f| f.detail.clone());
                Problem::new(status, code, detail).with_errors(faults).into()
            }
            AppendError::Store(StoreError::Refused(refusal)) => refused(refusal, framing),
            AppendError::Store(other) => other.into(),
        }
    }
}

fn refused(refusal: Refusal, framing: Framing) -> ApiError {
    let mut problem = Problem::new(status_of(refusal.kind), refusal.code.clone(), refusal.message.clone());
    let at = refusal
        .member
        .map_or_else(String::new, |member| framing.pointer(member));
    if !refusal.fields.is_empty() {
        let differs = |field: &String| {
            let detail = "differs from the first request with this key";
            FieldFault::new(format!("{at}/{field}"), "differs", detail)
        };
        problem.errors = refusal.fields.iter().map(differs).collect();
    } else if let (Some(member), Framing::Batch) = (refusal.member, framing) {
        // The event's fault has the problem's message. Its code is `refused`: codes of refusals come from the database as text,
        // but a fault needs a static one.
        problem.errors = vec![FieldFault::new(framing.pointer(member), "refused", refusal.message)];
    }
    problem.into()
}

/// The HTTP status of a refusal of the store.
fn status_of(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::Malformed => StatusCode::BAD_REQUEST,
        RefusalKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        RefusalKind::Forbidden => StatusCode::FORBIDDEN,
        RefusalKind::Conflict => StatusCode::CONFLICT,
        RefusalKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalKind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalKind::Retry => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => refused(refusal, Framing::Single),
            // If it was outdated, the caller of the store has retried as often as makes sense.
            StoreError::Unavailable(_)
            | StoreError::ConnectionLost(_)
            | StoreError::Contention(_)
            | StoreError::Outdated => {
                Self::Unavailable("the database is not available or too busy; try again", Box::new(error))
            }
            StoreError::Data { .. } => {
                tracing::warn!(%error, "the database refused a value that the API accepted");
                Self::unprocessable(
                    "not_storable",
                    "the database cannot store a value of this request; check that its numbers, dates and strings are within the usual limits",
                    Vec::new(),
                )
            }
            // The tenant's catalog is at fault. Its staff can correct it by registering another version.
            StoreError::Unfoldable(error) => {
                tracing::warn!(%error, "a state cannot be computed");
                Self::conflict(error.code(), error.to_string())
            }
            StoreError::SchemaOutdated(_) => Self::SchemaOutdated(error),
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(problem) => respond(&problem),
            Self::Unavailable(detail, cause) => {
                tracing::warn!(error = redacted_error(cause.as_ref()), "unavailable");
                respond(&Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail))
            }
            Self::SchemaOutdated(error) => {
                tracing::error!(error = redacted_error(&error), "the schema is too old");
                respond(&Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "schema_outdated",
                    "the database's schema is older than this version of Annals needs: run its migrations, then try again",
                ))
            }
            Self::Internal(error) => {
                tracing::error!(error = redacted_error(error.as_ref()), "internal error");
                respond(&Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the server could not process the request; its log has the cause under this request_id",
                ))
            }
        }
    }
}

fn respond(problem: &Problem) -> Response {
    let body = ProblemBody {
        r#type: format!("{PAGES_OF_PROBLEMS}/{}", problem.code),
        title: problem.status.canonical_reason().unwrap_or("Error"),
        status: problem.status.as_u16(),
        detail: &problem.detail,
        code: &problem.code,
        request_id: request_id(),
        errors: &problem.errors,
        proposal: problem.proposal.as_ref(),
    };
    let mut response = (problem.status, Json(body)).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    if let Some(allow) = problem
        .allow
        .as_deref()
        .and_then(|methods| HeaderValue::from_str(methods).ok())
    {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
