//! The status of an upload, as its owner sees it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::reverts::RevertRecord;
use super::uploads::counts_from;
use crate::connection::statement::{As, Param};
use crate::{Store, StoreError, UploadStatus};
use annals_domain::{Caller, RowCounts, Timestamp};

/// An upload, running or ended.
#[derive(Debug, Serialize)]
pub struct UploadRecord {
    /// Its id.
    pub upload_id: Uuid,
    /// Name of the dataset.
    pub dataset: String,
    /// Its status.
    pub status: UploadStatus,
    /// Whether nothing is appended.
    pub dry_run: bool,
    /// What became of the rows so far.
    #[serde(flatten)]
    pub counts: RowCounts,
    /// Number of rejected rows that the report holds.
    pub rows_reported: i64,
    /// Headers of columns that are not read; null until the header is read.
    pub ignored_columns: Option<Vec<String>>,
    /// What the caller should know of the file: a list of codes and messages.
    pub warnings: Value,
    /// Its revert; null if there is none.
    pub revert: Option<RevertRecord>,
    /// Why the file as a whole was refused: code and detail.
    pub failure: Option<Value>,
    /// SHA-256 of the file in hexadecimal digits; null until the file is read.
    pub file_sha256: Option<String>,
    /// How many rows the file has; null until they are counted.
    pub rows_found: Option<i64>,
    /// Rows processed per second since the import began; null before.
    pub rows_per_second: Option<i64>,
    /// When the import will end at that rate; null if there is no rate yet, or if it has ended.
    pub estimated_end: Option<Timestamp>,
    /// When the upload was requested.
    pub created_at: Timestamp,
    /// When the import began.
    pub started_at: Option<Timestamp>,
    /// When the import ended.
    pub finished_at: Option<Timestamp>,
    /// The upload's fields.
    #[serde(skip)]
    pub options: Value,
    /// Actor who started it.
    #[serde(skip)]
    pub started_by: String,
}

const FIND_UPLOAD: &str = "-- find_upload
select u.dataset, u.status, u.dry_run, u.rows_total, u.rows_accepted, u.rows_rejected, u.rows_duplicate, u.rows_updated, u.rows_rounded,
       u.events_appended, u.rows_reported, u.ignored_columns, u.warnings, u.failure, encode(u.file_sha256, 'hex') as file_sha256, u.options, u.errors_found, u.created_at, u.started_by,
       u.started_at, u.finished_at
  from annals.uploads u where u.id = $1";

/// The rate is an average over the whole time: an import that makes no progress for a while shows a falling rate.
const FIND_PACE: &str = "-- find_import_pace
select i.rows_found, (u.rows_total / p.seconds)::bigint as rate,
       case when u.status = 'running' and u.rows_total > 0 and i.rows_found is not null
            then clock_timestamp() + make_interval(secs => (i.rows_found - u.rows_total) * p.seconds / u.rows_total) end as estimated_end
  from annals.imports i
  join annals.uploads u on u.id = i.upload_id
 cross join lateral (
       select greatest(extract(epoch from coalesce(u.finished_at, clock_timestamp()) - u.started_at)::float8, 0.001) as seconds) as p
 where i.upload_id = $1";

impl Store {
    /// An upload; `None` if the caller may not see it.
    pub async fn find_upload(&self, caller: &Caller, id: Uuid) -> Result<Option<UploadRecord>, StoreError> {
        let params: [Param<'_>; 1] = [(&id, Type::UUID)];
        let rows = self.read(As::Caller(caller), FIND_UPLOAD, &params).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let paces = self.read(As::Projector, FIND_PACE, &params).await?;
        let pace = paces.first();
        let time = |time: Option<DateTime<Utc>>| time.map(Timestamp::from);
        let mut revert = self.find_revert(id).await?;
        if let Some(revert) = &mut revert {
            revert.hide_from(caller);
        }
        let status = match revert.as_ref().map(|revert| revert.finished_at.is_some()) {
            None => UploadStatus::from_name(row.try_get("status")?)?,
            Some(false) => UploadStatus::Reverting,
            Some(true) => UploadStatus::Reverted,
        };
        Ok(Some(UploadRecord {
            upload_id: id,
            dataset: row.try_get("dataset")?,
            status,
            dry_run: row.try_get("dry_run")?,
            counts: counts_from(row)?,
            rows_reported: row.try_get("rows_reported")?,
            ignored_columns: row.try_get("ignored_columns")?,
            warnings: row.try_get::<_, Json<Value>>("warnings")?.0,
            revert,
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
            started_by: row.try_get("started_by")?,
        }))
    }
}
