//! Lanes: how far each is, and rows settled together with the events that they became.

use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::{HeldImport, taken_over};
use crate::domain::NewEvent;
use crate::store::session::{As, Param, lost_is_unavailable};
use crate::store::uploads::RejectedColumns;
use crate::store::{RejectedRow, Store, StoreError, UploadFigures};

/// What became of rows, by kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneProgress {
    /// The lane, from 0.
    pub lane: i32,
    /// Of the rows dealt to it, those up to this number are settled.
    pub settled_row: i64,
    /// Rows that became new entities.
    pub accepted: i64,
    /// Rows that were refused.
    pub rejected: i64,
    /// Rows that say nothing new.
    pub duplicate: i64,
    /// Rows that changed known entities.
    pub updated: i64,
    /// Rows with an amount that was finer than a minor unit.
    pub rounded: i64,
    /// Refused rows that were kept.
    pub reported: i64,
    /// Bytes that these take.
    pub reported_bytes: i64,
    /// Events that were appended.
    pub appended: i64,
    /// Errors of refused rows, kept or not.
    pub errors: i64,
}

impl LaneProgress {
    /// As figures of an upload.
    pub fn figures(&self) -> UploadFigures {
        UploadFigures {
            rows_total: self.accepted + self.rejected + self.duplicate + self.updated,
            rows_accepted: self.accepted,
            rows_rejected: self.rejected,
            rows_duplicate: self.duplicate,
            rows_updated: self.updated,
            rows_rounded: self.rounded,
            events_appended: self.appended,
        }
    }
}

/// Rows of one lane that are settled together.
#[derive(Debug)]
pub struct SettledRows<'a> {
    /// Where the lane was left.
    pub from: LaneProgress,
    /// Where it is with these rows.
    pub to: LaneProgress,
    /// What they became, each at a version of its stream.
    pub events: &'a [NewEvent],
    /// Those that were refused and are kept.
    pub reported: &'a [RejectedRow],
    /// How often contents have been met, these rows included.
    pub contents: &'a [(i64, i32)],
}

const LIST_LANES: &str = "-- list_import_lanes
select lane, settled_row, rows_accepted, rows_rejected, rows_duplicate, rows_updated, rows_rounded, rows_reported, reported_bytes,
       events_appended, errors_found
  from annals.import_lanes where upload_id = $1 order by lane";

/// By the whole key, entity by entity: an upload's correlation id leads to all of its events.
const FIND_APPENDED_BY: &str = "-- find_appended_by_import
select k.aggregate_id
  from unnest($4) as k (aggregate_id)
 where exists (
       select from annals.events e
        where e.tenant_id = $2 and e.aggregate_type = $3 and e.aggregate_id = k.aggregate_id and e.correlation_id || '' = $1
       offset 0)";

/// `offset 0` keeps each look-up one by the whole key: without statistics, which a table that grows so fast has none of, the
/// planner takes an upload's contents for a few.
const FIND_TIMES: &str = "-- find_content_times
select c.content, c.times
  from unnest($2) as k (content)
 cross join lateral (
       select * from annals.import_contents i where i.upload_id = $1 and i.content = k.content offset 0) as c";

pub(super) const SETTLE_ROWS: &str = "-- settle_import_rows
with moved as (
    update annals.import_lanes l
       set settled_row = $5, rows_accepted = $6, rows_rejected = $7, rows_duplicate = $8, rows_updated = $9, rows_rounded = $10,
           rows_reported = $11, events_appended = $12, reported_bytes = $13,
           errors_found = $14
     where l.upload_id = $1 and l.lane = $3 and l.settled_row = $4
       and exists (select from annals.imports i where i.upload_id = $1 and i.holder = $2)
    returning 1
)
select exists (select from moved) or annals.refuse(409, 'import_taken_over', 'another worker has taken the import over')";

const NOTE_TIMES: &str = "-- note_content_times
insert into annals.import_contents as c (upload_id, content, times)
select $1, n.content, n.times from unnest($2, $3) as n (content, times)
on conflict on constraint import_contents_pkey do update set times = excluded.times";

pub(super) const REPORT_ROWS: &str = "-- report_import_rows
insert into annals.rejected_rows (upload_id, tenant_id, started_by, \"row\", line, fields, errors)
select u.id, u.tenant_id, u.started_by, r.number, r.line, array(select jsonb_array_elements_text(r.fields::jsonb)), r.errors::jsonb
  from annals.uploads u, unnest($2, $3, $4, $5) as r (number, line, fields, errors)
 where u.id = $1";

/// The upload's own counts follow the lanes', some seconds behind.
const MOVE_PLACE: &str = "-- move_import_place
with moved as (
    update annals.imports set place = case when (place ->> 'row')::bigint <= $4 then $3 else place end, attempts = 0
     where upload_id = $1 and holder = $2
    returning 1
), figures as (
    select sum(rows_accepted)::bigint as accepted, sum(rows_rejected)::bigint as rejected, sum(rows_duplicate)::bigint as duplicate,
           sum(rows_updated)::bigint as updated, sum(rows_rounded)::bigint as rounded, sum(rows_reported)::bigint as reported,
           sum(events_appended)::bigint as appended, sum(errors_found)::bigint as errors
      from annals.import_lanes where upload_id = $1
)
update annals.uploads u
   set position = greatest(u.position, $5), rows_total = f.accepted + f.rejected + f.duplicate + f.updated, rows_accepted = f.accepted,
       rows_rejected = f.rejected, rows_duplicate = f.duplicate, rows_updated = f.updated, rows_rounded = f.rounded,
       rows_reported = f.reported, events_appended = f.appended, errors_found = f.errors
  from figures f
 where u.id = $1 and exists (select from moved)
returning 1";

pub(super) const FINISH: &str = "-- finish_import
with figures as (
    select coalesce(sum(rows_accepted), 0)::bigint as accepted, coalesce(sum(rows_rejected), 0)::bigint as rejected,
           coalesce(sum(rows_duplicate), 0)::bigint as duplicate, coalesce(sum(rows_updated), 0)::bigint as updated,
           coalesce(sum(rows_rounded), 0)::bigint as rounded, coalesce(sum(rows_reported), 0)::bigint as reported,
           coalesce(sum(events_appended), 0)::bigint as appended, coalesce(sum(errors_found), 0)::bigint as errors
      from annals.import_lanes where upload_id = $1
), ended as (
    update annals.uploads u
       set status = $3, finished_at = clock_timestamp(), failure = $4,
           position = case when $3 = 'completed' then coalesce(i.size_bytes, u.position) else u.position end,
           rows_total = f.accepted + f.rejected + f.duplicate + f.updated, rows_accepted = f.accepted, rows_rejected = f.rejected,
           rows_duplicate = f.duplicate, rows_updated = f.updated, rows_rounded = f.rounded, rows_reported = least(f.reported, $5),
           events_appended = f.appended, errors_found = f.errors
      from annals.imports i, figures f
     where u.id = $1 and i.upload_id = u.id and i.holder = $2 and u.status in ('waiting', 'running')
    returning 1
), trimmed as (
    -- Each lane has kept as many as the upload may.
    delete from annals.rejected_rows r
     where r.upload_id = $1 and exists (select from ended)
       and r.\"row\" > (select k.\"row\" from annals.rejected_rows k where k.upload_id = $1 order by k.\"row\" offset greatest($5 - 1, 0) limit 1)
), released as (
    update annals.imports set holder = null, held_until = null where upload_id = $1 and exists (select from ended)
)
select exists (select from ended) or annals.refuse(409, 'import_taken_over', 'another worker has taken the import over')";

impl Store {
    pub(super) async fn import_lanes(&self, id: Uuid) -> Result<Vec<LaneProgress>, StoreError> {
        let rows = self.read(As::Projector, LIST_LANES, &[(&id, Type::UUID)]).await?;
        rows.iter()
            .map(|row| {
                Ok(LaneProgress {
                    lane: row.try_get("lane")?,
                    settled_row: row.try_get("settled_row")?,
                    accepted: row.try_get("rows_accepted")?,
                    rejected: row.try_get("rows_rejected")?,
                    duplicate: row.try_get("rows_duplicate")?,
                    updated: row.try_get("rows_updated")?,
                    rounded: row.try_get("rows_rounded")?,
                    reported: row.try_get("rows_reported")?,
                    reported_bytes: row.try_get("reported_bytes")?,
                    appended: row.try_get("events_appended")?,
                    errors: row.try_get("errors_found")?,
                })
            })
            .collect()
    }

    /// How often the import has met these contents; those that it has not are left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn content_times(&self, import: &HeldImport, contents: &[i64]) -> Result<Vec<(i64, i32)>, StoreError> {
        let params: [Param<'_>; 2] = [(&import.id, Type::UUID), (&contents, Type::INT8_ARRAY)];
        let rows = self.read(As::Projector, FIND_TIMES, &params).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("content")?, row.try_get("times")?)))
            .collect()
    }

    /// Those of these entities that the import has appended to.
    ///
    /// # Errors
    /// The database's.
    pub async fn appended_by(
        &self,
        import: &HeldImport,
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

    /// Appends what rows became and notes that they are settled: both or neither.
    ///
    /// # Errors
    /// The append's, or that somebody else works on the import. Where the connection was lost, the lane tells what has become
    /// of it.
    pub async fn settle_rows(
        &self,
        import: &HeldImport,
        catalog_revision: i64,
        rows: &SettledRows<'_>,
    ) -> Result<(), StoreError> {
        let settle = rows.params(import);
        let (contents, times): (Vec<i64>, Vec<i32>) = rows.contents.iter().copied().unzip();
        let note: [Param<'_>; 3] = [
            (&import.id, Type::UUID),
            (&contents, Type::INT8_ARRAY),
            (&times, Type::INT4_ARRAY),
        ];
        let report = RejectedColumns::of(rows.reported)?;
        let report_params = report_params(&import.id, &report);
        let mut also = vec![(SETTLE_ROWS, &settle[..])];
        if !contents.is_empty() {
            also.push((NOTE_TIMES, &note[..]));
        }
        if !rows.reported.is_empty() {
            also.push((REPORT_ROWS, &report_params[..]));
        }
        self.append_also(&import.caller, rows.events, &import.context, catalog_revision, &also)
            .await
    }

    /// Notes where all lanes have come to.
    ///
    /// # Errors
    /// The database's, or that somebody else works on the import.
    pub async fn move_place(
        &self,
        import: &HeldImport,
        place: &serde_json::Value,
        (row, position): (i64, i64),
    ) -> Result<(), StoreError> {
        let params: [Param<'_>; 5] = [
            (&import.id, Type::UUID),
            (&import.holder, Type::UUID),
            (&Json(place), Type::JSONB),
            (&row, Type::INT8),
            (&position, Type::INT8),
        ];
        let moved = self.write(As::Projector, MOVE_PLACE, &params).await;
        if moved.map_err(lost_is_unavailable)?.is_empty() {
            return Err(taken_over());
        }
        Ok(())
    }
}

impl SettledRows<'_> {
    pub(super) fn params<'a>(&'a self, import: &'a HeldImport) -> [Param<'a>; 14] {
        let to = &self.to;
        [
            (&import.id, Type::UUID),
            (&import.holder, Type::UUID),
            (&to.lane, Type::INT4),
            (&self.from.settled_row, Type::INT8),
            (&to.settled_row, Type::INT8),
            (&to.accepted, Type::INT8),
            (&to.rejected, Type::INT8),
            (&to.duplicate, Type::INT8),
            (&to.updated, Type::INT8),
            (&to.rounded, Type::INT8),
            (&to.reported, Type::INT8),
            (&to.appended, Type::INT8),
            (&to.reported_bytes, Type::INT8),
            (&to.errors, Type::INT8),
        ]
    }
}

pub(super) fn report_params<'a>(upload_id: &'a Uuid, report: &'a RejectedColumns) -> [Param<'a>; 5] {
    [
        (upload_id, Type::UUID),
        (&report.rows, Type::INT8_ARRAY),
        (&report.lines, Type::INT8_ARRAY),
        (&report.fields, Type::TEXT_ARRAY),
        (&report.errors, Type::TEXT_ARRAY),
    ]
}
