//! How far an upload is, as its owner sees it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::domain::{Caller, Timestamp};
use crate::store::session::{As, Param};
use crate::store::{Store, StoreError};

/// An upload by now.
#[derive(Debug, Serialize)]
pub struct UploadRecord {
    /// Its id.
    pub upload_id: Uuid,
    /// What its rows are.
    pub dataset: String,
    /// `waiting`, `running`, `completed` or `failed`.
    pub status: String,
    /// Whether it only says what would happen.
    pub dry_run: bool,
    /// Rows that have been dealt with.
    pub rows_total: i64,
    /// New entities.
    pub rows_accepted: i64,
    /// Refused.
    pub rows_rejected: i64,
    /// Nothing new.
    pub rows_duplicate: i64,
    /// Changes to known entities.
    pub rows_updated: i64,
    /// Those with an amount that was finer than a minor unit.
    pub rows_rounded: i64,
    /// Events that were appended.
    pub events_appended: i64,
    /// Refused rows that the report holds.
    pub rows_reported: i64,
    /// Headers of columns that are not read; null until the header was.
    pub ignored_columns: Option<Vec<String>>,
    /// Why the file as a whole was refused: code and detail.
    pub failure: Option<Value>,
    /// SHA-256 of the file in hexadecimal digits; null until it was read.
    pub file_sha256: Option<String>,
    /// Rows that the file has; null until they were counted.
    pub rows_found: Option<i64>,
    /// Rows dealt with per second since it began; null before.
    pub rows_per_second: Option<i64>,
    /// When it will be done at that rate; null where there is none, or no need.
    pub estimated_end: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The fields of the upload.
    #[serde(skip)]
    pub options: Value,
}

const FIND_UPLOAD: &str = "-- find_upload
select u.dataset, u.status, u.dry_run, u.rows_total, u.rows_accepted, u.rows_rejected, u.rows_duplicate, u.rows_updated, u.rows_rounded,
       u.events_appended, u.rows_reported, u.ignored_columns, u.failure, encode(u.file_sha256, 'hex') as file_sha256, u.options, u.created_at,
       u.started_at, u.finished_at
  from annals.uploads u where u.id = $1";

/// The rate over all of its time: what stands still for a while shows.
const FIND_PACE: &str = "-- find_import_pace
select i.rows_found, (u.rows_total / p.seconds)::bigint as rate,
       case when u.status = 'running' and u.rows_total > 0 and i.rows_found is not null
            then clock_timestamp() + make_interval(secs => (i.rows_found - u.rows_total) * p.seconds / u.rows_total) end as estimated_end
  from annals.imports i
  join annals.uploads u on u.id = i.upload_id
 cross join lateral (
       select greatest(extract(epoch from coalesce(u.finished_at, clock_timestamp()) - u.started_at)::float8, 0.001) as seconds) as p
 where i.upload_id = $1";

const LIST_UPLOAD_ERRORS: &str = "-- list_upload_errors
select r.\"row\", r.line, r.errors from annals.rejected_rows r where r.upload_id = $1 order by r.\"row\" limit $2";

impl UploadRecord {
    /// Whether nothing more will happen.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed")
    }
}

impl Store {
    /// An upload, if the caller may see it.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_upload(&self, caller: &Caller, id: Uuid) -> Result<Option<UploadRecord>, StoreError> {
        let params: [Param<'_>; 1] = [(&id, Type::UUID)];
        let rows = self.read(As::Caller(caller), FIND_UPLOAD, &params).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let paces = self.read(As::Projector, FIND_PACE, &params).await?;
        let pace = paces.first();
        let time = |time: Option<DateTime<Utc>>| time.map(Timestamp::from);
        Ok(Some(UploadRecord {
            upload_id: id,
            dataset: row.try_get("dataset")?,
            status: row.try_get("status")?,
            dry_run: row.try_get("dry_run")?,
            rows_total: row.try_get("rows_total")?,
            rows_accepted: row.try_get("rows_accepted")?,
            rows_rejected: row.try_get("rows_rejected")?,
            rows_duplicate: row.try_get("rows_duplicate")?,
            rows_updated: row.try_get("rows_updated")?,
            rows_rounded: row.try_get("rows_rounded")?,
            events_appended: row.try_get("events_appended")?,
            rows_reported: row.try_get("rows_reported")?,
            ignored_columns: row.try_get("ignored_columns")?,
            failure: row
                .try_get::<_, Option<Json<Value>>>("failure")?
                .map(|Json(value)| value),
            file_sha256: row.try_get("file_sha256")?,
            rows_found: pace.map_or(Ok(None), |pace| pace.try_get("rows_found"))?,
            rows_per_second: pace.map_or(Ok(None), |pace| pace.try_get("rate"))?,
            estimated_end: time(pace.map_or(Ok(None), |pace| pace.try_get("estimated_end"))?),
            created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
            started_at: time(row.try_get("started_at")?),
            finished_at: time(row.try_get("finished_at")?),
            options: row.try_get::<_, Json<Value>>("options")?.0,
        }))
    }

    /// The first things that are wrong with the rows of an upload, in the file's order, at most so many; and of how many rows.
    ///
    /// # Errors
    /// The database's.
    pub async fn upload_errors(&self, caller: &Caller, id: Uuid, limit: i64) -> Result<(Vec<Value>, i64), StoreError> {
        let params: [Param<'_>; 2] = [(&id, Type::UUID), (&limit, Type::INT8)];
        let rows = self.read(As::Caller(caller), LIST_UPLOAD_ERRORS, &params).await?;
        let (mut errors, mut told) = (Vec::new(), 0);
        for row in &rows {
            let (number, line): (i64, i64) = (row.try_get("row")?, row.try_get("line")?);
            let Json(cells) = row.try_get::<_, Json<Vec<Value>>>("errors")?;
            if i64::try_from(errors.len() + cells.len()).is_ok_and(|sum| sum > limit) {
                break;
            }
            told += 1;
            errors.extend(cells.into_iter().map(|mut cell| {
                cell["row"] = number.into();
                cell["line"] = line.into();
                cell
            }));
        }
        Ok((errors, told))
    }
}
