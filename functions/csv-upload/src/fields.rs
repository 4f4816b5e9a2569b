//! Faults of the fields of an inspection, whose file is in the request or in an upload.

use annals_domain::event::FieldFault;
use annals_http::ApiError;
use annals_inspect::is_about_reading;

/// Refuses fields that do not say how a file is read.
pub(crate) fn refuse_others(fields: &[(String, String)]) -> Result<(), ApiError> {
    match fields.iter().find(|(name, _)| !is_about_reading(name)) {
        Some((name, _)) => Err(fault(name, "unknown_field", "is not a field of an inspection")),
        None => Ok(()),
    }
}

/// The fault of a field.
pub(crate) fn fault(name: &str, code: &'static str, detail: &str) -> ApiError {
    ApiError::malformed(vec![FieldFault::new(format!("/{name}"), code, detail)])
}
