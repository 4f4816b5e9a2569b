//! Bodies of JSON, read strictly.

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde_json::Value;

use super::error::{ApiError, Problem};
use crate::domain::event::FieldFault;
use crate::domain::json;

/// Most bytes of a request's body: Lambda takes 6 MB, and base64 takes a third of it.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A JSON body, as [`json::parse`] reads it: an object. serde would take a list for a struct, member by member.
pub struct JsonBody(pub Value);

/// No body, or an object without members: what is not looked at must not come and be lost.
pub struct NoBody;

/// A JSON body that says what of a thing is to change.
pub enum PatchBody {
    /// `application/json`: each of its fields takes the place of the thing's.
    Fields(Value),
    /// `application/merge-patch+json` (RFC 7396): objects are merged member by member, and null takes a member out.
    Merge(Value),
}

impl JsonBody {
    fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Self, ApiError> {
        if !is_json(headers) {
            return Err(unsupported(
                "send the body as JSON, with the header Content-Type: application/json",
            ));
        }
        Self::parse(bytes)
    }

    fn parse(bytes: &Bytes) -> Result<Self, ApiError> {
        match value_of(bytes)? {
            value @ Value::Object(_) => Ok(Self(value)),
            _ => {
                let fault = FieldFault::new("", "wrong_type", "the body must be a JSON object");
                Err(ApiError::malformed(vec![fault]))
            }
        }
    }
}

fn value_of(bytes: &Bytes) -> Result<Value, ApiError> {
    json::parse(bytes).map_err(|fault| {
        let errors = vec![FieldFault::new(
            fault.pointer.clone(),
            fault.code,
            fault.message.clone(),
        )];
        let status = match fault.code {
            json::TOO_MANY_VALUES => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        let detail = match fault.pointer.as_str() {
            "" => fault.message,
            pointer => format!("{pointer} {}", fault.message),
        };
        Problem::new(status, fault.code, detail).with_errors(errors).into()
    })
}

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let headers = request.headers().clone();
        // Before the body is read: what is not wanted need not be waited for.
        if !is_json(&headers) {
            return Self::read(&headers, &Bytes::new());
        }
        Self::read(&headers, &bytes_of(request, state).await?)
    }
}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let headers = request.headers().clone();
        let bytes = bytes_of(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self);
        }
        let JsonBody(value) = JsonBody::read(&headers, &bytes)?;
        if value.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(Self);
        }
        let detail = "this resource takes no body; send the request without one";
        Err(ApiError::bad_request("unexpected_body", detail))
    }
}

impl<S: Send + Sync> FromRequest<S> for PatchBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = match media_type(request.headers()).as_deref() {
            Some("application/json") => Self::Fields,
            Some(MERGE_PATCH) => Self::Merge,
            _ => {
                let detail = "send the change as application/json (its fields replace the entity's) or as \
                              application/merge-patch+json (RFC 7396)";
                return Err(unsupported(detail));
            }
        };
        let JsonBody(value) = JsonBody::parse(&bytes_of(request, state).await?)?;
        Ok(kind(value))
    }
}

/// No body at all is none; whatever is sent is read as JSON.
impl<S: Send + Sync> OptionalFromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        let headers = request.headers().clone();
        let bytes = bytes_of(request, state).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        Self::read(&headers, &bytes).map(Some)
    }
}

async fn bytes_of<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| too_large_or_cut(rejection.status()))
}

/// The problem of a body that could not be read whole.
fn too_large_or_cut(status: StatusCode) -> ApiError {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("the body is larger than {MAX_BODY_BYTES} bytes");
        return Problem::new(status, "body_too_large", detail).into();
    }
    ApiError::bad_request(
        "body_unreadable",
        "the body ended before its announced length; send it again",
    )
}

const MERGE_PATCH: &str = "application/merge-patch+json";

/// JSON by itself, or a kind of it that means no more than its text. The kinds of patches mean something else.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(essence) = media_type(headers) else {
        return false;
    };
    let is_patch = matches!(&*essence, MERGE_PATCH | "application/json-patch+json");
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json") && !is_patch)
}

/// What the body is said to be, without parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(content_type.split(';').next()?.trim().to_ascii_lowercase())
}

fn unsupported(detail: &str) -> ApiError {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail).into()
}
