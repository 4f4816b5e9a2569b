//! A JSON body that has been written already.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;

/// A JSON body with its content type. axum's `Json` writes a body in small pieces to a buffer for which each piece costs more than for a vector.
pub struct WrittenJson(pub Vec<u8>);

impl WrittenJson {
    /// Writes the body.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn of(what: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(what).map_err(|e| ApiError::Internal(Box::new(e)))?;
        Ok(Self(body))
    }
}

impl IntoResponse for WrittenJson {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], self.0).into_response()
    }
}
