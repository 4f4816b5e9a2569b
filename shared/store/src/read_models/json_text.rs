//! JSON that PostgreSQL takes and returns as text, so that numbers keep their exact value.

use serde_json::{Map, Value};

use crate::StoreError;

/// Parses a JSON object from a text column.
pub(crate) fn parse_object(text: &str) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Unexpected(format!("unreadable JSON object: {e}")))
}

/// A JSON object as text.
pub(crate) fn json_text(members: &Map<String, Value>) -> String {
    serde_json::to_string(members).unwrap_or_else(|_| unreachable!("a map with text keys is always JSON"))
}
