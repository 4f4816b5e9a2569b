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

/// Minutes after which a small upload that has not ended counts as interrupted. A function may run for 15.
const INTERRUPTED_AFTER: i32 = 20;

/// The record of a small upload that is about to append. If it breaks off, what it has appended is known, and can be reverted.
const BEGIN_UPLOAD: &str = "-- begin_upload
insert into annals.uploads (
    id, tenant_id, started_by, dataset, status, dry_run, options, file_sha256, header, delimiter, ignored_columns, created_at, started_at, warnings)
values ($1, $2, $3, $4, 'running', false, $5, $6, $7, $8, $9,
    clock_timestamp() - $10 * interval '1 microsecond', clock_timestamp() - $10 * interval '1 microsecond', $11)";

/// Ends a small upload that has broken off. Its events are counted by their mark (`list_revertible_events`).
const END_INTERRUPTED: &str = "-- end_interrupted_upload
update annals.uploads u
   set status = 'failed', finished_at = clock_timestamp(), failure = $4,
       rows_total = a.created + a.updated, rows_accepted = a.created, rows_updated = a.updated, events_appended = a.created + a.updated
  from (select count(*) filter (where e.event_type = $2) as created, count(*) filter (where e.event_type = $3) as updated
          from annals.uploads o join annals.events e
            on e.tenant_id = o.tenant_id and e.correlation_id = o.id::text and e.source || '' = 'csv' and e.posted_by = o.started_by
               and e.event_type in ($2, $3) and e.causation_id is null
         where o.id = $1) as a
 where u.id = $1 and u.status = 'running'";

/// Small uploads that have neither ended nor been heard of for a time that no request takes.
const LIST_INTERRUPTED: &str = "-- list_interrupted_uploads
select u.id, u.dataset from annals.uploads u
 where u.status = 'running' and u.created_at < clock_timestamp() - make_interval(mins => $1)
   and not exists (select from annals.imports i where i.upload_id = u.id)
 order by u.created_at limit 100";

/// Upload and report in one statement, so both are recorded or neither. The upload may have begun before.
const RECORD_UPLOAD: &str = "-- record_upload
with upload as (
    insert into annals.uploads (
        id, tenant_id, started_by, dataset, status, dry_run, options, file_sha256, header, delimiter, ignored_columns,
        rows_total, rows_accepted, rows_rejected, rows_duplicate, rows_updated, rows_rounded, rows_reported, events_appended,
        errors_found, created_at, started_at, finished_at, warnings)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, jsonb_array_length($20), $18,
        $21, clock_timestamp() - $19 * interval '1 microsecond', clock_timestamp() - $19 * interval '1 microsecond', clock_timestamp(), $22)
    on conflict on constraint uploads_pkey do update
       set status = excluded.status, rows_total = excluded.rows_total, rows_accepted = excluded.rows_accepted,
           rows_rejected = excluded.rows_rejected, rows_duplicate = excluded.rows_duplicate, rows_updated = excluded.rows_updated,
           rows_rounded = excluded.rows_rounded, rows_reported = excluded.rows_reported, events_appended = excluded.events_appended,
           errors_found = excluded.errors_found, finished_at = excluded.finished_at
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

/// What a small upload is, before and after its rows are processed.
#[derive(Debug)]
pub struct NewUpload {
    /// Its id.
    pub id: Uuid,
    /// Name of the dataset.
    pub dataset: &'static str,
    /// Whether nothing is appended.
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
}

/// A small upload that has ended.
#[derive(Debug)]
pub struct FinishedUpload {
    /// What it is.
    pub upload: NewUpload,
    /// `Completed` or `Failed`.
    pub status: UploadStatus,
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
    /// Records a small upload of the caller that is about to append, `took` after it was requested.
    pub async fn begin_upload(&self, caller: &Caller, upload: &NewUpload, took: Duration) -> Result<(), StoreError> {
        let (took, delimiter) = (microseconds(took), upload.delimiter.to_string());
        let params: [Param<'_>; 11] = [
            (&upload.id, Type::UUID),
            (caller.tenant_uuid(), Type::UUID),
            (&caller.actor().as_str(), Type::TEXT),
            (&upload.dataset, Type::TEXT),
            (&Json(&upload.options), Type::JSONB),
            (&upload.file_sha256.as_slice(), Type::BYTEA),
            (&upload.header, Type::TEXT_ARRAY),
            (&delimiter, Type::TEXT),
            (&upload.ignored_columns, Type::TEXT_ARRAY),
            (&took, Type::INT8),
            (&Json(&upload.warnings), Type::JSONB),
        ];
        let begun = self.write(As::Projector, BEGIN_UPLOAD, &params).await;
        begun.map(|_| ())
    }

    /// Ends a small upload that has broken off: its status is `failed`, and its counts are those of what it has appended, which are events of
    /// these types, created and updated.
    pub async fn end_interrupted(
        &self,
        id: Uuid,
        [created, updated]: [&str; 2],
        failure: &Value,
    ) -> Result<(), StoreError> {
        let params: [Param<'_>; 4] = [
            (&id, Type::UUID),
            (&created, Type::TEXT),
            (&updated, Type::TEXT),
            (&Json(failure), Type::JSONB),
        ];
        let ended = self.write(As::Projector, END_INTERRUPTED, &params).await;
        ended.map(|_| ())
    }

    /// Small uploads whose process was killed: their ids and datasets, the oldest first.
    pub async fn interrupted_uploads(&self) -> Result<Vec<(Uuid, String)>, StoreError> {
        let params: [Param<'_>; 1] = [(&INTERRUPTED_AFTER, Type::INT4)];
        let rows = self.read(As::Projector, LIST_INTERRUPTED, &params).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("id")?, row.try_get("dataset")?)))
            .collect()
    }

    /// Records that a small upload of the caller has ended, with its report.
    ///
    /// # Errors
    /// After an error, nothing is recorded.
    pub async fn record_upload(&self, caller: &Caller, finished: &FinishedUpload) -> Result<(), StoreError> {
        let upload = &finished.upload;
        let (took, delimiter) = (microseconds(finished.took), upload.delimiter.to_string());
        let (counts, total) = (finished.counts, finished.counts.total());
        let params: [Param<'_>; 22] = [
            (&upload.id, Type::UUID),
            (caller.tenant_uuid(), Type::UUID),
            (&caller.actor().as_str(), Type::TEXT),
            (&upload.dataset, Type::TEXT),
            (&finished.status.as_str(), Type::TEXT),
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
            (&Json(&finished.reported), Type::JSONB),
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

fn microseconds(took: Duration) -> i64 {
    i64::try_from(took.as_micros()).unwrap_or(i64::MAX)
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
