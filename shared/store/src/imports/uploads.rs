//! Uploads: the record of each file, and the report of its rejected rows.
//!
//! Records are written in the projector's role for the caller whose token was verified, and read in the caller's role. The size of a
//! report is limited by its writer. Reports are deleted after [`REPORT_DAYS`].

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};
use annals_domain::{Caller, RowCounts};

/// Days after which a report is deleted: it holds personal data that the log does not have.
const REPORT_DAYS: i32 = 30;

/// Upload and report in one statement, so both are recorded or neither.
const RECORD_UPLOAD: &str = "-- record_upload
with upload as (
    insert into annals.uploads (
        id, tenant_id, started_by, dataset, status, dry_run, options, file_sha256, header, delimiter, ignored_columns,
        rows_total, rows_accepted, rows_rejected, rows_duplicate, rows_updated, rows_rounded, rows_reported, events_appended,
        errors_found, created_at, started_at, finished_at, warnings)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, jsonb_array_length($20), $18,
        $21, clock_timestamp() - $19 * interval '1 microsecond', clock_timestamp() - $19 * interval '1 microsecond', clock_timestamp(), $22)
)
insert into annals.rejected_rows (upload_id, tenant_id, started_by, \"row\", line, fields, errors)
select $1, $2, $3, r.\"row\", r.line, r.fields, r.errors
  from jsonb_to_recordset($20) as r (\"row\" bigint, line bigint, fields text[], errors jsonb)";

const DELETE_OLD_REPORTS: &str = "-- delete_old_reports
with old as (
    select u.id from annals.uploads u
     where u.rows_reported > 0 and u.finished_at < clock_timestamp() - make_interval(days => $1)
     order by u.finished_at limit 10 for update skip locked
), deleted as (
    delete from annals.rejected_rows r using old where r.upload_id = old.id
)
update annals.uploads u set rows_reported = 0 from old where u.id = old.id
returning 1";

const FIND_REPORT: &str = "-- find_report
select u.header, u.delimiter, u.dataset from annals.uploads u where u.id = $1";

/// Up to a thousand rows, as many as the bytes allow, and at least one.
const LIST_REJECTED_ROWS: &str = "-- list_rejected_rows
select k.\"row\", k.line, k.fields, k.errors
  from (select r.*, sum(octet_length(r.fields::text)) over (order by r.\"row\" rows between unbounded preceding and 1 preceding) as before
          from annals.rejected_rows r
         where r.upload_id = $1 and r.\"row\" >= $2
         order by r.\"row\" limit 1000) as k
 where coalesce(k.before, 0) < $3
 order by k.\"row\"";

/// Without the fields, which may have a megabyte per row.
const LIST_ROW_ERRORS: &str = "-- list_row_errors
select r.\"row\", r.line, '{}'::text[] as fields, r.errors
  from annals.rejected_rows r
 where r.upload_id = $1 and r.\"row\" >= $2
 order by r.\"row\" limit $3";

/// The status of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadStatus {
    /// The file has not arrived.
    Waiting,
    /// The file is being imported.
    Running,
    /// All rows were processed; some may have been rejected.
    Completed,
    /// The file was refused as a whole, or a row was rejected and the upload is all or nothing.
    Failed,
    /// What it appended is being compensated. Only in answers: it follows from the upload's revert.
    Reverting,
    /// What it appended was compensated, except what was left alone. Only in answers.
    Reverted,
}

impl UploadStatus {
    /// The name in answers and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Reverting => "reverting",
            Self::Reverted => "reverted",
        }
    }

    /// Whether the upload, or its revert, has ended.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Reverted)
    }

    pub(crate) fn from_name(name: &str) -> Result<Self, StoreError> {
        [Self::Waiting, Self::Running, Self::Completed, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == name)
            .ok_or_else(|| StoreError::Unexpected(format!("an upload that is {name}")))
    }
}

/// A small upload that has ended.
#[derive(Debug)]
pub struct FinishedUpload {
    /// Its id.
    pub id: Uuid,
    /// Name of the dataset.
    pub dataset: &'static str,
    /// `Completed` or `Failed`.
    pub status: UploadStatus,
    /// Whether nothing was appended.
    pub dry_run: bool,
    /// The upload's fields as they were sent.
    pub options: Value,
    /// SHA-256 of the file.
    pub file_sha256: [u8; 32],
    /// The file's header.
    pub header: Vec<String>,
    /// The character that separates its fields.
    pub delimiter: char,
    /// Headers of columns that are not read.
    pub ignored_columns: Vec<String>,
    /// What the caller should know of it: a list of codes and messages.
    pub warnings: Value,
    /// What became of its rows.
    pub counts: RowCounts,
    /// How long it took. The times are the database's, because a function's clock may be wrong.
    pub took: Duration,
    /// Rejected rows for the report, in the file's order.
    pub reported: Vec<RejectedRow>,
}

/// A rejected row, as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RejectedRow {
    /// Number of the record, from 1.
    pub row: i64,
    /// Physical line that it begins on.
    pub line: i64,
    /// Its fields.
    pub fields: Vec<String>,
    /// Its errors: at least one.
    pub errors: Vec<RejectedCell>,
}

/// One error of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedCell {
    /// The file's name of the column; `None` if the error concerns the row as a whole.
    pub column: Option<String>,
    /// Stable code.
    pub code: String,
    /// Human-readable message.
    pub message: String,
    /// The offending cell, or its beginning.
    pub value: Option<String>,
}

/// The dataset and format of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFrame {
    /// Name of the dataset.
    pub dataset: String,
    /// The file's header; `None` until it is read.
    pub header: Option<Vec<String>>,
    /// The character that separates its fields; `None` until the header is read.
    pub delimiter: Option<char>,
}

/// The counts in a row of `annals.uploads` or `annals.import_partitions`, whose columns have the same names.
pub(super) fn counts_from(row: &Row) -> Result<RowCounts, StoreError> {
    Ok(RowCounts {
        accepted: row.try_get("rows_accepted")?,
        rejected: row.try_get("rows_rejected")?,
        duplicate: row.try_get("rows_duplicate")?,
        updated: row.try_get("rows_updated")?,
        rounded: row.try_get("rows_rounded")?,
        reported: row.try_get("rows_reported")?,
        errors: row.try_get("errors_found")?,
        appended: row.try_get("events_appended")?,
    })
}

impl Store {
    /// Records a small upload of the caller with its report.
    ///
    /// # Errors
    /// After an error, nothing is recorded.
    pub async fn record_upload(&self, caller: &Caller, upload: &FinishedUpload) -> Result<(), StoreError> {
        let took = i64::try_from(upload.took.as_micros()).unwrap_or(i64::MAX);
        let delimiter = upload.delimiter.to_string();
        let (counts, total) = (upload.counts, upload.counts.total());
        let params: [Param<'_>; 22] = [
            (&upload.id, Type::UUID),
            (caller.tenant_uuid(), Type::UUID),
            (&caller.actor().as_str(), Type::TEXT),
            (&upload.dataset, Type::TEXT),
            (&upload.status.as_str(), Type::TEXT),
            (&upload.dry_run, Type::BOOL),
            (&Json(&upload.options), Type::JSONB),
            (&upload.file_sha256.as_slice(), Type::BYTEA),
            (&upload.header, Type::TEXT_ARRAY),
            (&delimiter, Type::TEXT),
            (&upload.ignored_columns, Type::TEXT_ARRAY),
            (&total, Type::INT8),
            (&counts.accepted, Type::INT8),
            (&counts.rejected, Type::INT8),
            (&counts.duplicate, Type::INT8),
            (&counts.updated, Type::INT8),
            (&counts.rounded, Type::INT8),
            (&counts.appended, Type::INT8),
            (&took, Type::INT8),
            (&Json(&upload.reported), Type::JSONB),
            (&counts.errors, Type::INT8),
            (&Json(&upload.warnings), Type::JSONB),
        ];
        let recorded = self.write(As::Projector, RECORD_UPLOAD, &params).await;
        recorded.map(|_| ())
    }

    /// Deletes the reports that are older than 30 days, ten at a time, until the given time.
    pub async fn delete_old_reports(&self, until: Option<Instant>) -> Result<(), StoreError> {
        let params: [Param<'_>; 1] = [(&REPORT_DAYS, Type::INT4)];
        while until.is_none_or(|until| Instant::now() < until) {
            if self.write(As::Projector, DELETE_OLD_REPORTS, &params).await?.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The dataset and format of an upload's report; `None` if the caller may not see it.
    pub async fn find_report(&self, caller: &Caller, id: Uuid) -> Result<Option<ReportFrame>, StoreError> {
        let rows = self.read(As::Caller(caller), FIND_REPORT, &[(&id, Type::UUID)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let delimiter: Option<String> = row.try_get("delimiter")?;
        Ok(Some(ReportFrame {
            dataset: row.try_get("dataset")?,
            header: row.try_get("header")?,
            delimiter: delimiter.and_then(|text| text.chars().next()),
        }))
    }

    /// Rejected rows of an upload from a row number on, in the file's order, until they have `bytes` bytes.
    pub async fn list_rejected_rows(
        &self,
        caller: &Caller,
        id: Uuid,
        from: i64,
        bytes: i64,
    ) -> Result<Vec<RejectedRow>, StoreError> {
        let params: [Param<'_>; 3] = [(&id, Type::UUID), (&from, Type::INT8), (&bytes, Type::INT8)];
        let rows = self.read(As::Caller(caller), LIST_REJECTED_ROWS, &params).await?;
        rows.iter().map(rejected_from).collect()
    }

    /// Rejected rows without their fields from a row number on, in the file's order, at most `limit`.
    pub async fn list_row_errors(
        &self,
        caller: &Caller,
        id: Uuid,
        from: i64,
        limit: i64,
    ) -> Result<Vec<RejectedRow>, StoreError> {
        let params: [Param<'_>; 3] = [(&id, Type::UUID), (&from, Type::INT8), (&limit, Type::INT8)];
        let rows = self.read(As::Caller(caller), LIST_ROW_ERRORS, &params).await?;
        rows.iter().map(rejected_from).collect()
    }
}

fn rejected_from(row: &Row) -> Result<RejectedRow, StoreError> {
    let Json(errors) = row.try_get("errors")?;
    Ok(RejectedRow {
        row: row.try_get("row")?,
        line: row.try_get("line")?,
        fields: row.try_get("fields")?,
        errors,
    })
}
