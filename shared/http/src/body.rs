//! JSON bodies, read strictly.

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde_json::Value;

use super::error::{ApiError, Problem};
use annals_domain::event::FieldFault;
use annals_domain::json;

/// Maximum bytes of a request's body. Lambda accepts 6 MB, and base64 adds a third.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A JSON body, as [`json::parse`] reads it. It must be an object: serde would also accept a list for a struct, member by member.
pub struct JsonBody(pub Value);

/// No body, or an object without members. Anything else is refused, because it would be ignored without the client noticing.
pub struct NoBody;

/// A JSON body that describes a change of an existing object.
pub enum PatchBody {
    /// `application/json`: each field replaces the field of the same name.
    Fields(Value),
    /// `application/merge-patch+json` (RFC 7396): objects are merged member by member, and null removes a member.
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
        // This is checked before the body is read, so that an unwanted body is not waited for.
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
        let detail = "this resource does not accept a body; send the request without one";
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

/// An absent body is `None`. Any body that is sent must be JSON.
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

/// The problem for a body that could not be read completely.
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

/// Whether the body is `application/json` or another `application/…+json` type. Patch types are not JSON in this sense, because
/// they mean changes.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(essence) = media_type(headers) else {
        return false;
    };
    let is_patch = matches!(&*essence, MERGE_PATCH | "application/json-patch+json");
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json") && !is_patch)
}

/// The media type of the body, without parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(content_type.split(';').next()?.trim().to_ascii_lowercase())
}

fn unsupported(detail: &str) -> ApiError {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail).into()
}
