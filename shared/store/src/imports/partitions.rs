//! Partitions: the progress of each, and chunks of rows that are recorded together with the events that they became.

use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::leased::{LeasedImport, PartitionProgress, taken_over};
use super::uploads::counts_from;
use crate::connection::statement::{As, Param, Statement};
use crate::log::append::CheckedEvents;
use crate::{RejectedRow, Store, StoreError};

/// What a chunk of rows of one partition became.
#[derive(Debug)]
pub struct ChunkOutcome<'a> {
    /// The partition's progress before the chunk.
    pub from: PartitionProgress,
    /// Its progress after the chunk.
    pub to: PartitionProgress,
    /// The events of the chunk's rows, each with the expected version of its stream.
    pub events: CheckedEvents<'a>,
    /// Rejected rows for the report.
    pub reported: &'a [RejectedRow],
    /// How many times each content, or id, has occurred in the file up to and including this chunk.
    pub contents: &'a [(i64, i32)],
}

const LIST_PARTITIONS: &str = "-- list_import_partitions
select partition, processed_row, rows_accepted, rows_rejected, rows_duplicate, rows_updated, rows_rounded, rows_reported, reported_bytes,
       events_appended, errors_found
  from annals.import_partitions where upload_id = $1 order by partition";

/// Each entity is looked up by its whole key: a look-up by the correlation id would read all events of the upload.
const FIND_APPENDED_BY: &str = "-- find_appended_by_import
select k.aggregate_id
  from unnest($4) as k (aggregate_id)
 where exists (
       select from annals.events e
        where e.tenant_id = $2 and e.aggregate_type = $3 and e.aggregate_id = k.aggregate_id and e.correlation_id || '' = $1
       offset 0)";

/// `offset 0` forces each look-up to use the whole key. The table grows so fast that it has no statistics, and without them the
/// planner assumes that an upload has few contents.
const FIND_CONTENT_COUNTS: &str = "-- find_content_counts
select c.content, c.times
  from unnest($2) as k (content)
 cross join lateral (
       select * from annals.import_contents i where i.upload_id = $1 and i.content = k.content offset 0) as c";

const ADVANCE_PARTITION: &str = "-- advance_import_partition
with moved as (
    update annals.import_partitions l
       set processed_row = $5, rows_accepted = $6, rows_rejected = $7, rows_duplicate = $8, rows_updated = $9, rows_rounded = $10,
           rows_reported = $11, events_appended = $12, reported_bytes = $13,
           errors_found = $14
     where l.upload_id = $1 and l.partition = $3 and l.processed_row = $4
       and exists (select from annals.imports i where i.upload_id = $1 and i.holder = $2)
    returning 1
)
select exists (select from moved) or annals.refuse(409, 'import_taken_over', 'another worker has taken the import over')";

const UPSERT_CONTENT_COUNTS: &str = "-- upsert_content_counts
insert into annals.import_contents as c (upload_id, content, times)
select $1, n.content, n.times from unnest($2, $3) as n (content, times)
on conflict on constraint import_contents_pkey do update set times = excluded.times";

const INSERT_REJECTED_ROWS: &str = "-- insert_rejected_rows
insert into annals.rejected_rows (upload_id, tenant_id, started_by, \"row\", line, fields, errors)
select u.id, u.tenant_id, u.started_by, r.\"row\", r.line, r.fields, r.errors
  from annals.uploads u, jsonb_to_recordset($2) as r (\"row\" bigint, line bigint, fields text[], errors jsonb)
 where u.id = $1";

const MOVE_RESUME_POINT: &str = include_str!("../queries/imports/move_resume_point.sql");

impl Store {
    pub(super) async fn import_partitions(&self, id: Uuid) -> Result<Vec<PartitionProgress>, StoreError> {
        let rows = self.read(As::Projector, LIST_PARTITIONS, &[(&id, Type::UUID)]).await?;
        rows.iter()
            .map(|row| {
                Ok(PartitionProgress {
                    partition: row.try_get("partition")?,
                    done_row: row.try_get("processed_row")?,
                    reported_bytes: row.try_get("reported_bytes")?,
                    counts: counts_from(row)?,
                })
            })
            .collect()
    }

    /// How many times each of these contents has occurred in the rows that are done. Contents that have not occurred are left out.
    pub async fn content_counts(&self, import: &LeasedImport, contents: &[i64]) -> Result<Vec<(i64, i32)>, StoreError> {
        let params: [Param<'_>; 2] = [(&import.id, Type::UUID), (&contents, Type::INT8_ARRAY)];
        let rows = self.read(As::Projector, FIND_CONTENT_COUNTS, &params).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("content")?, row.try_get("times")?)))
            .collect()
    }

    /// Those of these entities that the import has appended events to.
    pub async fn appended_by(
        &self,
        import: &LeasedImport,
        aggregate_type: &str,
        aggregate_ids: &[&str],
    ) -> Result<Vec<String>, StoreError> {
        if aggregate_ids.is_empty() {
            return Ok(Vec::new());
        }
        let params: [Param<'_>; 4] = [
            (&import.id.to_string(), Type::TEXT),
            (import.caller.tenant_uuid(), Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&aggregate_ids, Type::TEXT_ARRAY),
        ];
        let rows = self.read(As::Projector, FIND_APPENDED_BY, &params).await?;
        rows.iter().map(|row| Ok(row.try_get("aggregate_id")?)).collect()
    }

    /// Appends the events of a chunk and advances its partition, in one transaction and one round trip.
    ///
    /// # Errors
    /// A refusal of the append; [`TAKEN_OVER`](super::TAKEN_OVER) if another worker holds the lease by now. If the connection was
    /// lost, the partition's progress shows whether the chunk was appended.
    pub async fn append_chunk(&self, import: &LeasedImport, chunk: &ChunkOutcome<'_>) -> Result<(), StoreError> {
        self.append_also(&import.caller, chunk.events, &import.context, &chunk.statements(import))
            .await
    }

    /// Records that all partitions have passed a resume point: its row, and its position in the file in bytes.
    ///
    /// # Errors
    /// [`TAKEN_OVER`](super::TAKEN_OVER) if another worker holds the lease by now.
    pub async fn move_resume_point(
        &self,
        import: &LeasedImport,
        point: &Value,
        (row, position): (i64, i64),
    ) -> Result<(), StoreError> {
        let params: [Param<'_>; 5] = [
            (&import.id, Type::UUID),
            (&import.holder, Type::UUID),
            (&Json(point), Type::JSONB),
            (&row, Type::INT8),
            (&position, Type::INT8),
        ];
        let moved = self.write(As::Projector, MOVE_RESUME_POINT, &params).await;
        if moved?.is_empty() {
            return Err(taken_over());
        }
        Ok(())
    }
}

impl ChunkOutcome<'_> {
    /// The statements that record it.
    pub(super) fn statements<'a>(&'a self, import: &'a LeasedImport) -> Vec<Statement<'a>> {
        let (to, counts) = (&self.to, &self.to.counts);
        let advance = Statement::new(ADVANCE_PARTITION)
            .with(import.id, Type::UUID)
            .with(import.holder, Type::UUID)
            .with(to.partition, Type::INT4)
            .with(self.from.done_row, Type::INT8)
            .with(to.done_row, Type::INT8)
            .with(counts.accepted, Type::INT8)
            .with(counts.rejected, Type::INT8)
            .with(counts.duplicate, Type::INT8)
            .with(counts.updated, Type::INT8)
            .with(counts.rounded, Type::INT8)
            .with(counts.reported, Type::INT8)
            .with(counts.appended, Type::INT8)
            .with(to.reported_bytes, Type::INT8)
            .with(counts.errors, Type::INT8);
        let mut statements = vec![advance];
        if !self.contents.is_empty() {
            let (contents, times): (Vec<i64>, Vec<i32>) = self.contents.iter().copied().unzip();
            let upsert = Statement::new(UPSERT_CONTENT_COUNTS).with(import.id, Type::UUID);
            statements.push(upsert.with(contents, Type::INT8_ARRAY).with(times, Type::INT4_ARRAY));
        }
        if !self.reported.is_empty() {
            let insert = Statement::new(INSERT_REJECTED_ROWS).with(import.id, Type::UUID);
            statements.push(insert.with(Json(self.reported), Type::JSONB));
        }
        statements
    }
}
