//! Warnings: what the caller should know of a file although it is imported.

use serde::Serialize;

/// A warning of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    code: &'static str,
    message: String,
}

impl Warning {
    /// A warning with a stable code.
    pub(crate) fn new(code: &'static str, message: String) -> Self {
        Self { code, message }
    }
}
