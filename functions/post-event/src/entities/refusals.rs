//! Refusals of changes, as the client reads them.

use annals_domain::MAX_STATE_BYTES;
use annals_http::{ApiError, Framing, Problem};
use annals_store::{AppendError, StoreError};
use axum::http::StatusCode;

/// The code of the refusal of an idempotency key that was used for another request.
pub(super) const KEY_REUSED: &str = "idempotency_key_reused";

/// Whether another request was faster: it has changed the entity or used the idempotency key.
pub(crate) fn is_conflict(error: &AppendError) -> bool {
    is_version_conflict(error) || is_key_reused(error)
}

pub(super) fn is_version_conflict(error: &AppendError) -> bool {
    is_refused(error, "version_conflict")
}

pub(super) fn is_key_reused(error: &AppendError) -> bool {
    is_refused(error, KEY_REUSED)
}

fn is_refused(error: &AppendError, code: &str) -> bool {
    matches!(error, AppendError::Store(StoreError::Refused(refusal)) if refusal.code == code)
}

/// 409 after 20 lost races for one entity.
pub(crate) fn contended() -> ApiError {
    ApiError::conflict("version_conflict", "other requests keep changing the entity; try again")
}

/// 413 for a change whose result would not fit into a state.
pub(crate) fn state_too_large() -> ApiError {
    let detail = format!("the entity's state would be larger than {MAX_STATE_BYTES} bytes of JSON");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "state_too_large", detail).into()
}

/// The answer to an append that failed, with pointers into the fields that the client sent: `/data/email`, and with `below` = `/changes`
/// also `/data/changes/email/new`, is the client's `/email`.
pub(super) fn from_fields(error: AppendError, below: &str) -> ApiError {
    let error = match error {
        AppendError::Refused { code, mut faults } => {
            let prefix = format!("/data{below}");
            for found in &mut faults {
                if let Some(rest) = found.fault.pointer.strip_prefix(&prefix) {
                    found.fault.pointer = match below {
                        "" => rest.to_owned(),
                        _ => without_new(rest),
                    };
                }
            }
            AppendError::Refused { code, faults }
        }
        other => other,
    };
    ApiError::from_append(error, Framing::Single)
}

/// A pointer into `changes` as a pointer into the fields that were sent: `/email/new` becomes `/email`, and `/address/new/city` becomes
/// `/address/city`.
fn without_new(pointer: &str) -> String {
    let after_field = pointer
        .strip_prefix('/')
        .and_then(|path| path.find('/'))
        .map(|slash| slash + 1);
    let Some((field, below)) = after_field.map(|place| pointer.split_at(place)) else {
        return pointer.to_owned();
    };
    match below.strip_prefix("/new") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{field}{rest}"),
        _ => pointer.to_owned(),
    }
}
