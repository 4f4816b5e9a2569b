//! Faults and errors of imports as problems, and the permission to import.

use crate::App;
use annals_csv::{Dataset, FileFault};
use annals_domain::Caller;
use annals_http::{ApiError, Problem};
use annals_import::{ImportError, forbidden_event_type};
use annals_inspect::Inspection;
use annals_store::StoreError;
use axum::http::StatusCode;
use serde_json::json;

/// Checks that the caller may post the dataset's events.
///
/// # Errors
/// 403 `event_type_forbidden`, or the database's.
pub(crate) async fn check_permission(app: &App, caller: &Caller, dataset: &Dataset) -> Result<(), ApiError> {
    match forbidden_event_type(&app.store, caller, dataset).await? {
        None => Ok(()),
        Some(event_type) => {
            let role = caller.role().as_str();
            let detail = format!("the role {role} may not post {event_type}");
            Err(ApiError::forbidden("event_type_forbidden", detail))
        }
    }
}

/// The problem of an import that failed.
pub(crate) fn import_problem(error: ImportError) -> ApiError {
    match error {
        ImportError::File(fault) => file_problem(fault),
        ImportError::Store(error) => error.into(),
        ImportError::Overtaken => {
            let detail = "other requests kept changing the same entities; send the file again to continue where the import stopped";
            Problem::new(StatusCode::CONFLICT, "version_conflict", detail).into()
        }
        ImportError::Unexpected(detail) => StoreError::Unexpected(detail).into(),
        other @ (ImportError::Storage(_) | ImportError::Source(_)) => ApiError::Internal(Box::new(other)),
    }
}

/// The problem of a file that does not decide everything although the upload asks for what it decides.
pub(crate) fn uncertain(inspection: &Inspection) -> ApiError {
    let fault = annals_import::uncertain(inspection);
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, fault.code, fault.detail());
    problem.with_proposal(json!(inspection)).into()
}

fn file_problem(fault: FileFault) -> ApiError {
    let status = match fault.code {
        "file_imported_before" | "upload_reverting" => StatusCode::CONFLICT,
        "file_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Problem::new(status, fault.code, fault.detail()).into()
}
