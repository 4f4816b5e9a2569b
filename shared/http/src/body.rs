//! JSON bodies, read strictly.

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
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
    /// The body as this type.
    ///
    /// # Errors
    /// 400 `malformed_request` for a member that is missing, unknown or of another type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        // Through text, because serde_json converts large numbers of a value into maps.
        serde_json::from_str(&self.0.to_string()).map_err(|error| {
            let detail = error.to_string();
            // The place would be one in this text, not in the client's.
            let detail = detail.split(" at line ").next().unwrap_or_default();
            ApiError::bad_request("malformed_request", detail)
        })
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
        // This is checked before the body is read, so that an unwanted body is not waited for.
        require_json(request.headers())?;
        Self::parse(&bytes_of(request, state).await?)
    }
}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match <JsonBody as OptionalFromRequest<S>>::from_request(request, state).await? {
            Some(JsonBody(Value::Object(members))) if !members.is_empty() => {
                let detail = "this resource does not accept a body; send the request without one";
                Err(ApiError::bad_request("unexpected_body", detail))
            }
            _ => Ok(Self),
        }
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
        let is_json = require_json(request.headers());
        let bytes = bytes_of(request, state).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        is_json?;
        Self::parse(&bytes).map(Some)
    }
}

pub(super) async fn bytes_of<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| unreadable_body(rejection.status(), ""))
}

/// The problem for a body that could not be read completely. `advice` is what to do with a larger one.
pub fn unreadable_body(status: StatusCode, advice: &str) -> ApiError {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("the body is larger than {MAX_BODY_BYTES} bytes{advice}");
        return Problem::new(status, "body_too_large", detail).into();
    }
    ApiError::bad_request(
        "body_unreadable",
        "the body ended before its announced length, or is not what its Content-Encoding says; send it again",
    )
}

const MERGE_PATCH: &str = "application/merge-patch+json";

/// Requires that the body is `application/json` or another `application/…+json` type. Patch types are not JSON in this sense, because
/// they mean changes.
fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let essence = media_type(headers).unwrap_or_default();
    let is_patch = matches!(&*essence, MERGE_PATCH | "application/json-patch+json");
    let is_other = essence.starts_with("application/") && essence.ends_with("+json");
    match essence == "application/json" || (is_other && !is_patch) {
        true => Ok(()),
        false => Err(unsupported(
            "send the body as JSON, with the header Content-Type: application/json",
        )),
    }
}

/// The media type of the body, without parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(content_type.split(';').next()?.trim().to_ascii_lowercase())
}

fn unsupported(detail: &str) -> ApiError {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail).into()
}
