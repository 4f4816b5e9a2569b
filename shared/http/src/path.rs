//! Path parameters, as axum reads them, and as they are written. A malformed path is a problem like any other.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// Everything except RFC 3986's `unreserved` characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path parameter as one segment, percent-encoded.
pub fn encoded(parameter: &str) -> String {
    utf8_percent_encode(parameter, RESERVED).to_string()
}

/// The parameters in the route's pattern, percent-decoded.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // PostgreSQL accepts no text with this character, so no id contains it.
        if parts.uri.path().contains("%00") {
            return Err(ApiError::bad_request(
                "nul_character",
                "the path contains the character U+0000, which no id or name contains",
            ));
        }
        let axum::extract::Path(read) = axum::extract::Path::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::bad_request("malformed_path", "the path is not valid percent-encoded UTF-8"))?;
        Ok(Self(read))
    }
}
