//! JSON that PostgreSQL returns as text, so that numbers keep their exact value.

use serde_json::{Map, Value};

use crate::StoreError;

/// Parses a JSON object from a text column.
pub(crate) fn parse_object(text: &str) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Unexpected(format!("unreadable JSON object: {e}")))
}
