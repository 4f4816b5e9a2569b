//! The answer to an upload: every row counted once, and the first faults with their places.

use annals::telemetry::metrics::Rows;
use serde::Serialize;
use uuid::Uuid;

use crate::columns::Layout;
use crate::plan::{ChunkRow, Verdict};
use crate::row::RowFault;

/// Counts of a pass over a file.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    total: u64,
    accepted: u64,
    rejected: u64,
    duplicate: u64,
    updated: u64,
    rounded: u64,
    appended: u64,
    errors: Vec<RowError>,
    errors_truncated: bool,
}

/// What is wrong with a row, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RowError {
    row: u64,
    line: u64,
    column: Option<String>,
    code: &'static str,
    message: String,
    value: Option<String>,
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// To its end; rows may have been rejected.
    Completed,
    /// Nothing was appended, because some row was rejected and the upload is all or nothing.
    Failed,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    upload_id: Uuid,
    dataset: &'static str,
    status: Status,
    dry_run: bool,
    rows_total: u64,
    rows_accepted: u64,
    rows_rejected: u64,
    rows_duplicate: u64,
    rows_updated: u64,
    rows_rounded: u64,
    events_appended: u64,
    errors: Vec<RowError>,
    errors_truncated: bool,
    ignored_columns: Vec<String>,
}

impl Tally {
    /// Counts a row.
    pub(crate) fn count(&mut self, row: &ChunkRow, verdict: &Verdict, layout: &Layout, max_errors: usize) {
        self.total += 1;
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            Verdict::Updated => self.updated += 1,
            Verdict::Duplicate => self.duplicate += 1,
            Verdict::Rejected(faults) => {
                self.rejected += 1;
                for fault in faults {
                    self.add_error(row, fault, layout, max_errors);
                }
                return;
            }
        }
        self.rounded += u64::from(row.read.as_ref().is_ok_and(|(_, facts)| facts.rounded));
    }

    fn add_error(&mut self, row: &ChunkRow, fault: &RowFault, layout: &Layout, max_errors: usize) {
        if self.errors.len() >= max_errors {
            self.errors_truncated = true;
            return;
        }
        self.errors.push(RowError {
            row: row.row,
            line: row.line,
            column: fault.column.map(|column| layout.header(column).to_owned()),
            code: fault.code,
            message: fault.message.clone(),
            value: fault.value.clone(),
        });
    }

    /// Counts events that were appended.
    pub(crate) fn add_appended(&mut self, events: usize) {
        self.appended += u64::try_from(events).unwrap_or(u64::MAX);
    }

    /// How many rows were rejected.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The same after the refusal of the whole: what might have been appended shares the fate of the rows at fault.
    pub(crate) fn refused(self) -> Self {
        let rejected = self.rejected + self.accepted + self.updated;
        Self {
            accepted: 0,
            updated: 0,
            rounded: 0,
            appended: 0,
            rejected,
            ..self
        }
    }

    /// These counts, for the metrics.
    pub(crate) fn rows(&self) -> Rows {
        Rows {
            accepted: self.accepted,
            rejected: self.rejected,
            duplicate: self.duplicate,
            updated: self.updated,
        }
    }

    /// The answer with these counts.
    pub(crate) fn answer(
        self,
        upload_id: Uuid,
        dataset: &'static str,
        status: Status,
        dry_run: bool,
        layout: &Layout,
    ) -> Answer {
        Answer {
            upload_id,
            dataset,
            status,
            dry_run,
            rows_total: self.total,
            rows_accepted: self.accepted,
            rows_rejected: self.rejected,
            rows_duplicate: self.duplicate,
            rows_updated: self.updated,
            rows_rounded: self.rounded,
            events_appended: self.appended,
            errors: self.errors,
            errors_truncated: self.errors_truncated,
            ignored_columns: layout.ignored(),
        }
    }
}
