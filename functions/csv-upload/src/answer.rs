//! The answer to a small upload: its counts, and the first errors with their rows and lines.

use annals_csv::Dataset;
use annals_domain::RowCounts;
use annals_import::{RowError, SmallOutcome};
use annals_store::UploadStatus;
use serde::Serialize;
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
}

impl<'a> Answer<'a> {
    /// The answer to an upload.
    pub(crate) fn new(dataset: &Dataset, outcome: &'a SmallOutcome) -> Self {
        let errors = outcome.reported.iter().flat_map(RowError::of);
        let found = usize::try_from(outcome.counts.errors).unwrap_or(usize::MAX);
        Self {
            upload_id: outcome.id,
            dataset: dataset.name,
            status: outcome.status,
            dry_run: outcome.dry_run,
            counts: outcome.counts,
            rows_reported: outcome.reported.len(),
            errors: errors.take(outcome.errors_listed).collect(),
            errors_truncated: found > outcome.errors_listed,
            ignored_columns: &outcome.ignored_columns,
        }
    }
}
