//! The answer to a small upload: its counts, and the first errors with their rows and lines.

use annals_domain::RowCounts;
use annals_import::RowError;
use annals_store::{FinishedUpload, UploadStatus};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// The answer as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    upload_id: Uuid,
    dataset: &'static str,
    status: UploadStatus,
    dry_run: bool,
    #[serde(flatten)]
    counts: RowCounts,
    /// Rejected rows that the report holds.
    rows_reported: usize,
    errors: Vec<RowError<'a>>,
    errors_truncated: bool,
    ignored_columns: &'a [String],
    warnings: &'a Value,
}

impl<'a> Answer<'a> {
    /// The answer to an upload, with at most this number of errors.
    pub(crate) fn new(finished: &'a FinishedUpload, errors_listed: usize) -> Self {
        let upload = &finished.upload;
        let errors = finished.reported.iter().flat_map(RowError::of);
        let found = usize::try_from(finished.counts.errors).unwrap_or(usize::MAX);
        Self {
            upload_id: upload.id,
            dataset: upload.dataset,
            status: finished.status,
            dry_run: upload.dry_run,
            counts: finished.counts,
            rows_reported: finished.reported.len(),
            errors: errors.take(errors_listed).collect(),
            errors_truncated: found > errors_listed,
            ignored_columns: &upload.ignored_columns,
            warnings: &upload.warnings,
        }
    }
}
