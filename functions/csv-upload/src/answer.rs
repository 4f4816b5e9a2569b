//! The answer to an upload: every row counted once, and the first faults with their places.

use annals::store::{UploadFigures, UploadStatus};
use annals::telemetry::metrics::Rows;
use serde::Serialize;
use uuid::Uuid;

use crate::plan::{ChunkRow, Verdict};
use crate::report::RowError;

/// Counts of a pass over a file.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    total: u64,
    accepted: u64,
    rejected: u64,
    duplicate: u64,
    updated: u64,
    rounded: u64,
    appended: u64,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) upload_id: Uuid,
    pub(crate) dataset: &'static str,
    pub(crate) status: UploadStatus,
    pub(crate) dry_run: bool,
    #[serde(flatten)]
    pub(crate) figures: UploadFigures,
    /// Refused rows that the report holds.
    pub(crate) rows_reported: usize,
    pub(crate) errors: Vec<RowError<'a>>,
    pub(crate) errors_truncated: bool,
    pub(crate) ignored_columns: &'a [String],
}

impl Tally {
    /// Counts a row.
    pub(crate) fn count(&mut self, row: &ChunkRow, verdict: &Verdict) {
        self.total += 1;
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            Verdict::Updated => self.updated += 1,
            Verdict::Duplicate => self.duplicate += 1,
            Verdict::Rejected(_) => {
                self.rejected += 1;
                return;
            }
        }
        self.rounded += u64::from(row.read.as_ref().is_ok_and(|(_, facts)| facts.rounded));
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

    /// These counts, for the record and the answer.
    pub(crate) fn figures(&self) -> UploadFigures {
        let number = |of: u64| i64::try_from(of).unwrap_or(i64::MAX);
        UploadFigures {
            rows_total: number(self.total),
            rows_accepted: number(self.accepted),
            rows_rejected: number(self.rejected),
            rows_duplicate: number(self.duplicate),
            rows_updated: number(self.updated),
            rows_rounded: number(self.rounded),
            events_appended: number(self.appended),
        }
    }
}
