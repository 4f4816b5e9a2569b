//! The member `reason` of a body.

use annals_domain::event::FieldFault;
use annals_domain::reason::Reason;
use annals_http::ApiError;

/// The reason that a body gives at this pointer, if it gives one.
///
/// # Errors
/// 400 for a text that is empty or too long.
pub(crate) fn reason_at(pointer: &str, given: Option<String>) -> Result<Option<Reason>, ApiError> {
    let read = given.map(Reason::try_from).transpose();
    read.map_err(|fault| refused_reason(pointer, fault.to_string()))
}

/// 400 for a reason that is not acceptable.
pub(crate) fn refused_reason(pointer: &str, detail: impl Into<String>) -> ApiError {
    ApiError::malformed(vec![FieldFault::new(pointer, "invalid_value", detail)])
}
