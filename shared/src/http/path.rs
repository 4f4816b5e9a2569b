//! Parameters of a path, as axum reads them; what cannot be read is a problem like any other.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The parameters that a route's pattern names, percent-decoded.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // PostgreSQL takes no text with this character, and no id holds one.
        if parts.uri.path().contains("%00") {
            return Err(ApiError::bad_request(
                "nul_character",
                "the path holds the character U+0000, which no id and no name has",
            ));
        }
        let axum::extract::Path(read) = axum::extract::Path::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::bad_request("malformed_path", "the path is not valid percent-encoded UTF-8"))?;
        Ok(Self(read))
    }
}
