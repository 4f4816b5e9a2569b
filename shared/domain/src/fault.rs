//! What is wrong with a field of a request.

use serde::Serialize;

use super::weight::shortened;

/// One fault of one field of a request. JSON: `{"pointer", "code", "detail"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldFault {
    /// JSON pointer to the field, or `?name` for a query parameter.
    pub pointer: String,
    /// Stable code, e.g. `wrong_type`.
    pub code: &'static str,
    /// Human-readable text: what is wrong.
    pub detail: String,
}

/// Maximum number of characters of a pointer and of a detail. Both may repeat what a caller sent.
const MAX_POINTER: usize = 200;
const MAX_DETAIL: usize = 400;

impl FieldFault {
    /// A fault at a JSON pointer. Pointer and detail are cut if they are very long.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer: shortened(&pointer.into(), MAX_POINTER),
            code,
            detail: shortened(&detail.into(), MAX_DETAIL),
        }
    }
}
