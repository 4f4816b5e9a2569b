//! Reverts of uploads: their record, their lease, the events that they compensate and those that they leave alone.
//!
//! Invariant: a revert's position moves in the transaction that appends the compensating events, only by the holder of the lease, and only
//! from the position that the worker has read. A kill therefore forgets no event and compensates none twice.
//!
//! All statements run in the projector's role. Whether the caller may see the upload is checked before.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::{LEASE_SECONDS, MAX_RUNNING_IMPORTS, caller_from};
use crate::connection::statement::{As, Param, Statement};
use crate::log::append::CheckedEvents;
use crate::log::compensation_status::ATTEMPTS;
use crate::log::events::{event_columns, event_from, joined_head, withheld_context};
use crate::read_models::facts::skipped;
use crate::{Store, StoreError};
use annals_domain::ids::{Text, TextFault};
use annals_domain::reason::Reason;
use annals_domain::{Caller, Event, EventId, Timestamp};

/// Maximum number of events that are read at a time.
const PAGE_EVENTS: i64 = 500;
/// Maximum bytes of their data, approximately.
const PAGE_BYTES: i64 = 1024 * 1024;

/// The upload whose events are compensated.
#[derive(Debug, Clone)]
pub struct RevertScope {
    /// The upload.
    pub id: Uuid,
    /// The caller who reverts it. The compensating events are appended as this caller.
    pub caller: Caller,
    /// Actor who started the upload.
    pub started_by: String,
    /// Types of the events that uploads of the dataset append.
    pub event_types: [&'static str; 2],
}

/// An event of the upload, and what was appended to its stream since.
#[derive(Debug)]
pub struct Revertible {
    /// The event, as it was stored.
    pub event: Event,
    /// Actor who started its stream.
    pub started_by: String,
    /// Whether it is the last event of its stream.
    pub is_last: bool,
    /// Whether all later events of its stream are the upload's, or come from its revert, or are those of other uploads that were reverted.
    pub is_followed_by_own: bool,
    /// Whether staff has skipped it, or its stream is parked at it or before it.
    pub is_not_applied: bool,
}

/// An event that a revert leaves alone.
#[derive(Debug, Clone, Serialize)]
pub struct LeftAlone {
    /// Position of the event over all streams.
    #[serde(skip)]
    pub event_number: i64,
    /// The event.
    pub event_id: Uuid,
    /// Type of its entity.
    pub aggregate_type: String,
    /// Id of its entity.
    pub aggregate_id: String,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub detail: String,
}

/// A revert, running or ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RevertRecord {
    /// Whether nothing is compensated.
    pub dry_run: bool,
    /// The reason that the request gave.
    pub reason: Option<String>,
    /// Actor who requested it; `None` for a dry run.
    pub requested_by: Option<String>,
    /// When it was requested; `None` for a dry run.
    pub requested_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Events that the upload appended.
    pub events_total: i64,
    /// Events that were compensated, or would be.
    pub events_compensated: i64,
    /// Events that were left alone, or would be.
    pub events_left: i64,
    /// How many events were left alone for each reason.
    pub left_by_code: BTreeMap<String, i64>,
}

/// A revert whose lease this process holds.
#[derive(Debug)]
pub struct LeasedRevert {
    /// The upload and the caller.
    pub scope: RevertScope,
    /// Name of the dataset.
    pub dataset: String,
    /// Holder of the lease: a new id for each attempt.
    pub holder: Uuid,
    /// What the server observed of the request.
    pub context: Value,
    /// The reason that the request gave.
    pub reason: Option<Reason>,
    /// Events with this number or a higher one are finished.
    pub position: Option<i64>,
}

/// A step of a revert.
#[derive(Debug)]
pub struct RevertStep<'a> {
    /// The position after it.
    pub to: i64,
    /// The compensating events, each with the expected version of its stream.
    pub events: CheckedEvents<'a>,
    /// Events that are left alone.
    pub left: &'a [LeftAlone],
}

/// A revert that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueRevert {
    /// The upload.
    pub id: Uuid,
    /// Attempts since its last progress.
    pub attempts: i32,
}

const REQUEST_REVERT: &str = "-- request_revert
with requested as (
    insert into annals.reverts (upload_id, tenant_id, requested_by, reason, claims, context, events_total)
    select u.id, u.tenant_id, $2, $3, $4, $5, u.events_appended
      from annals.uploads u where u.id = $1
    on conflict on constraint reverts_pkey do nothing
    returning 1
)
select exists (select from requested) or annals.refuse(409, 'already_reverted', 'the upload is being reverted, or has been')";

const FIND_REVERT: &str = "-- find_revert
select r.reason, r.requested_by, r.created_at, r.finished_at, r.events_total, r.events_compensated, r.events_left,
       coalesce((select jsonb_object_agg(c.code, c.events)
                   from (select l.code, count(*) as events from annals.events_left_alone l where l.upload_id = r.upload_id group by l.code) as c),
                '{}') as left_by_code
  from annals.reverts r where r.upload_id = $1";

const LIST_REVERTS_AMONG: &str = "-- list_reverts_among
select r.upload_id, r.finished_at is not null as has_ended, r.events_left from annals.reverts r where r.upload_id = any ($1)";

const LIST_LEFT_ALONE: &str = "-- list_events_left_alone
select l.event_number, l.event_id, l.aggregate_type, l.aggregate_id, l.code, l.detail
  from annals.events_left_alone l
 where l.upload_id = $1 and l.event_number < $2
 order by l.event_number desc limit $3";

/// The limit may be exceeded for a moment if workers take leases at the same time. A revert uses one or two connections.
const ACQUIRE_LEASE: &str = "-- acquire_revert_lease
update annals.reverts r
   set holder = $2, held_until = clock_timestamp() + make_interval(secs => $3), attempts = r.attempts + 1
  from annals.uploads u
 where r.upload_id = $1 and u.id = r.upload_id and r.finished_at is null and (r.held_until is null or r.held_until < clock_timestamp())
   and (select count(*) from annals.reverts o
         where o.finished_at is null and o.held_until >= clock_timestamp() and o.upload_id <> r.upload_id) < $4
returning r.claims, r.context, r.reason, r.position, u.started_by, u.dataset";

const RELEASE_LEASE: &str = "-- release_revert_lease
update annals.reverts set holder = null, held_until = null where upload_id = $1 and holder = $2";

const LIST_DUE: &str = "-- list_due_reverts
select r.upload_id, r.attempts from annals.reverts r
 where r.finished_at is null and (r.held_until is null or r.held_until < clock_timestamp())
 order by r.attempts, r.created_at limit $1";

/// The mark of an upload's events: correlation id, source, type and poster, and no cause, which compensating events have. The mark of the
/// revert's events is the command id ($8) together with a cause. Clients may write such a command id, too. They gain nothing by that,
/// because the inverse is computed from the states before the event and now. Later events of other uploads that were compensated by the revert of
/// theirs, and these compensations, change nothing together.
///
/// The page is cut by the bytes of the data. `source || ''` keeps the planner from the index by source, which has the events of all uploads.
const LIST_REVERTIBLE: &str = concat!(
    "-- list_revertible_events
select * from (
  select p.*, sum(octet_length(p.data)) over (order by p.event_number desc rows between unbounded preceding and 1 preceding) as bytes_before
    from (select ",
    event_columns!(),
    ",
                 e.started_by, h.version = e.aggregate_version as is_last,
                 h.version > e.aggregate_version and not exists (
                     select from annals.events l
                      where l.tenant_id = e.tenant_id and l.aggregate_type = e.aggregate_type and l.aggregate_id = e.aggregate_id
                        and l.aggregate_version > e.aggregate_version
                        and (l.correlation_id = $2
                             and case when l.causation_id is null then l.source = 'csv' and l.posted_by = $4 and l.event_type = any ($5)
                                      else l.command_id = $8 end) is not true
                        and case when l.causation_id is null
                                 then exists (select from annals.events c
                                               where c.tenant_id = l.tenant_id and c.aggregate_type = l.aggregate_type
                                                 and c.aggregate_id = l.aggregate_id and c.aggregate_version > l.aggregate_version
                                                 and c.causation_id = l.id and c.command_id = 'revert-' || l.correlation_id)
                                 else l.command_id = 'revert-' || l.correlation_id end is not true
                     offset 0) as is_followed_by_own,
                 ",
    skipped!(),
    ",
                 exists (select from annals.parked_streams k
                          where k.tenant_id = e.tenant_id and k.aggregate_type = e.aggregate_type and k.aggregate_id = e.aggregate_id
                            and k.aggregate_version <= e.aggregate_version) as is_parked
            from annals.events e
            ",
    joined_head!(),
    withheld_context!(),
    "
           where e.tenant_id = $1 and e.correlation_id = $2 and e.event_number < $3
             and e.source || '' = 'csv' and e.posted_by = $4 and e.event_type = any ($5) and e.causation_id is null
           order by e.event_number desc limit $6) as p) as w
 where coalesce(w.bytes_before, 0) < $7
 order by w.event_number desc"
);

const ADVANCE: &str = "-- advance_revert
with moved as (
    update annals.reverts r
       set position = $4, events_compensated = r.events_compensated + $5, events_left = r.events_left + $6, attempts = 0,
           held_until = clock_timestamp() + make_interval(secs => $7)
     where r.upload_id = $1 and r.holder = $2 and r.position is not distinct from $3
    returning 1
)
select exists (select from moved) or annals.refuse(409, 'import_taken_over', 'another worker has taken the revert over')";

const INSERT_LEFT_ALONE: &str = "-- insert_events_left_alone
insert into annals.events_left_alone (upload_id, event_number, event_id, aggregate_type, aggregate_id, code, detail)
select $1, l.* from unnest($2, $3, $4, $5, $6, $7) as l";

const FINISH: &str = "-- finish_revert
with ended as (
    update annals.reverts r set finished_at = clock_timestamp(), holder = null, held_until = null
     where r.upload_id = $1 and r.holder = $2 and r.position is not distinct from $3
    returning 1
)
select exists (select from ended) or annals.refuse(409, 'import_taken_over', 'another worker has taken the revert over')";

/// Their last events, if these could be compensations of events of a reverted upload.
const FIND_REVERTED: &str = "-- find_reverted_entities
select e.aggregate_id, e.id, e.causation_id
  from unnest($3) as k (aggregate_id)
 cross join lateral (
       select h.version from annals.heads h
        where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = k.aggregate_id offset 0) as h
 cross join lateral (
       select * from annals.events e
        where e.tenant_id = $1 and e.aggregate_type = $2 and e.aggregate_id = k.aggregate_id and e.aggregate_version = h.version offset 0) as e
 where e.causation_id is not null
   and exists (select from annals.reverts r
                where r.tenant_id = $1
                  and r.upload_id = case when e.correlation_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then e.correlation_id::uuid end)";

impl RevertScope {
    /// The command id of the revert's compensating events: `revert-` and the upload's id.
    ///
    /// # Errors
    /// It never fails in practice: the text is always valid.
    pub fn command_id(&self) -> Result<Text<128>, TextFault> {
        Text::try_from(format!("revert-{}", self.id))
    }
}

impl RevertRecord {
    /// Removes the reason if another actor gave it and the caller does not see the tenant. The same holds for the metadata of events.
    pub(super) fn hide_from(&mut self, caller: &Caller) {
        if !caller.role().sees_tenant() && self.requested_by.as_deref() != Some(caller.actor().as_str()) {
            self.reason = None;
        }
    }
}

impl Store {
    /// Records the request for a revert, together with its event.
    ///
    /// # Errors
    /// A refusal of the append; `already_reverted` if there is a revert of the upload.
    pub async fn request_revert(
        &self,
        caller: &Caller,
        event: CheckedEvents<'_>,
        context: &Value,
        (id, reason): (Uuid, Option<&Reason>),
    ) -> Result<(), StoreError> {
        let request = Statement::new(REQUEST_REVERT)
            .with(id, Type::UUID)
            .with(caller.actor().as_str(), Type::TEXT)
            .with(reason.map(Reason::as_str), Type::TEXT)
            .with(Json(caller.database_claims()), Type::JSONB)
            .with(Json(context), Type::JSONB);
        self.append_also(caller, event, context, &[request]).await
    }

    /// The revert of an upload, if there is one.
    pub async fn find_revert(&self, id: Uuid) -> Result<Option<RevertRecord>, StoreError> {
        let rows = self.read(As::Projector, FIND_REVERT, &[(&id, Type::UUID)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let time = |name: &str| -> Result<Option<Timestamp>, StoreError> {
            Ok(row.try_get::<_, Option<DateTime<Utc>>>(name)?.map(Timestamp::from))
        };
        let Json(left_by_code) = row.try_get("left_by_code")?;
        Ok(Some(RevertRecord {
            dry_run: false,
            reason: row.try_get("reason")?,
            requested_by: row.try_get("requested_by")?,
            requested_at: time("created_at")?,
            finished_at: time("finished_at")?,
            events_total: row.try_get("events_total")?,
            events_compensated: row.try_get("events_compensated")?,
            events_left: row.try_get("events_left")?,
            left_by_code,
        }))
    }

    /// Whether an upload is being reverted, or has been.
    pub async fn has_revert(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(!self.reverts_among(&[id]).await?.is_empty())
    }

    /// Those of these uploads that have a revert, each with how many events it has left alone; `None` while it runs.
    pub(super) async fn reverts_among(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Option<i64>>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let params: [Param<'_>; 1] = [(&ids, Type::UUID_ARRAY)];
        let rows = self.read(As::Projector, LIST_REVERTS_AMONG, &params).await?;
        rows.iter()
            .map(|row| {
                let (has_ended, left): (bool, i64) = (row.try_get("has_ended")?, row.try_get("events_left")?);
                Ok((row.try_get("upload_id")?, has_ended.then_some(left)))
            })
            .collect()
    }

    /// Events that the revert of an upload has left alone, newest first: those before an event number, at most `limit`.
    pub async fn list_left_alone(&self, id: Uuid, before: i64, limit: i64) -> Result<Vec<LeftAlone>, StoreError> {
        let params: [Param<'_>; 3] = [(&id, Type::UUID), (&before, Type::INT8), (&limit, Type::INT8)];
        let rows = self.read(As::Projector, LIST_LEFT_ALONE, &params).await?;
        rows.iter()
            .map(|row| {
                Ok(LeftAlone {
                    event_number: row.try_get("event_number")?,
                    event_id: row.try_get("event_id")?,
                    aggregate_type: row.try_get("aggregate_type")?,
                    aggregate_id: row.try_get("aggregate_id")?,
                    code: row.try_get("code")?,
                    detail: row.try_get("detail")?,
                })
            })
            .collect()
    }

    /// Acquires the lease of a revert. `None` if another worker holds it, if it has ended, or if [`MAX_RUNNING_IMPORTS`] other reverts are
    /// leased. `event_types` are those that uploads of a dataset append.
    pub async fn acquire_revert(
        &self,
        id: Uuid,
        event_types: impl Fn(&str) -> Option<[&'static str; 2]>,
    ) -> Result<Option<LeasedRevert>, StoreError> {
        let holder = Uuid::new_v4();
        let (seconds, most) = (f64::from(LEASE_SECONDS), i64::from(MAX_RUNNING_IMPORTS));
        let params: [Param<'_>; 4] = [
            (&id, Type::UUID),
            (&holder, Type::UUID),
            (&seconds, Type::FLOAT8),
            (&most, Type::INT8),
        ];
        let acquired = self.write(As::Projector, ACQUIRE_LEASE, &params).await?;
        let Some(row) = acquired.first() else { return Ok(None) };
        leased_from(row, id, holder, event_types).map(Some)
    }

    /// Releases the lease of a revert, so that the next attempt need not wait until it expires.
    pub async fn release_revert(&self, revert: &LeasedRevert) -> Result<(), StoreError> {
        let params: [Param<'_>; 2] = [(&revert.scope.id, Type::UUID), (&revert.holder, Type::UUID)];
        let released = self.write(As::Projector, RELEASE_LEASE, &params).await;
        released.map(|_| ())
    }

    /// Reverts that have not ended and that no worker holds a lease of.
    pub async fn due_reverts(&self, limit: i64) -> Result<Vec<DueRevert>, StoreError> {
        let rows = self.read(As::Projector, LIST_DUE, &[(&limit, Type::INT8)]).await?;
        rows.iter()
            .map(|row| {
                Ok(DueRevert {
                    id: row.try_get("upload_id")?,
                    attempts: row.try_get("attempts")?,
                })
            })
            .collect()
    }

    /// The next events of an upload, newest first: those before an event number.
    pub async fn list_revertible(
        &self,
        scope: &RevertScope,
        before: Option<i64>,
    ) -> Result<Vec<Revertible>, StoreError> {
        let before = before.unwrap_or(i64::MAX);
        let command_id = scope.command_id().map_err(|e| StoreError::Unexpected(e.to_string()))?;
        let params: [Param<'_>; 8] = [
            (scope.caller.tenant_uuid(), Type::UUID),
            (&scope.id.to_string(), Type::TEXT),
            (&before, Type::INT8),
            (&scope.started_by, Type::TEXT),
            (&&scope.event_types[..], Type::TEXT_ARRAY),
            (&PAGE_EVENTS, Type::INT8),
            (&PAGE_BYTES, Type::INT8),
            (&command_id.as_str(), Type::TEXT),
        ];
        let rows = self.read(As::Projector, LIST_REVERTIBLE, &params).await?;
        rows.iter().map(revertible_from).collect()
    }

    /// Appends the compensating events of a step and moves the position, in one transaction and one round trip. Renews the lease.
    ///
    /// # Errors
    /// A refusal of the append; [`TAKEN_OVER`](super::TAKEN_OVER) if another worker holds the lease by now. If the connection was lost, the
    /// position shows whether the step was done.
    pub async fn append_revert_step(&self, revert: &LeasedRevert, step: &RevertStep<'_>) -> Result<(), StoreError> {
        let count = |events: usize| i64::try_from(events).unwrap_or(i64::MAX);
        let id = revert.scope.id;
        let advance = Statement::new(ADVANCE)
            .with(id, Type::UUID)
            .with(revert.holder, Type::UUID)
            .with(revert.position, Type::INT8)
            .with(step.to, Type::INT8)
            .with(count(step.events.events.len()), Type::INT8)
            .with(count(step.left.len()), Type::INT8)
            .with(f64::from(LEASE_SECONDS), Type::FLOAT8);
        let mut statements = vec![advance];
        if !step.left.is_empty() {
            let insert = Statement::new(INSERT_LEFT_ALONE)
                .with(id, Type::UUID)
                .with(column(step.left, |left| left.event_number), Type::INT8_ARRAY)
                .with(column(step.left, |left| left.event_id), Type::UUID_ARRAY)
                .with(column(step.left, |left| left.aggregate_type.as_str()), Type::TEXT_ARRAY)
                .with(column(step.left, |left| left.aggregate_id.as_str()), Type::TEXT_ARRAY)
                .with(column(step.left, |left| left.code.as_str()), Type::TEXT_ARRAY)
                .with(column(step.left, |left| left.detail.as_str()), Type::TEXT_ARRAY);
            statements.push(insert);
        }
        self.append_also(&revert.scope.caller, step.events, &revert.context, &statements)
            .await
    }

    /// Ends a revert, together with its event; with [`CheckedEvents::NONE`] if the catalog refuses that event.
    ///
    /// # Errors
    /// A refusal of the append; [`TAKEN_OVER`](super::TAKEN_OVER) if another worker holds the lease by now.
    pub async fn finish_revert(&self, revert: &LeasedRevert, event: CheckedEvents<'_>) -> Result<(), StoreError> {
        let finish = Statement::new(FINISH)
            .with(revert.scope.id, Type::UUID)
            .with(revert.holder, Type::UUID)
            .with(revert.position, Type::INT8);
        self.append_also(&revert.scope.caller, event, &revert.context, &[finish])
            .await
    }

    /// Those of these entities whose last event compensates an event of an upload that has been reverted, or is being reverted. It does not
    /// matter whether the revert appended it, or a person compensated that event before. A compensation is known by its id, which is
    /// derived from the id of the event that it compensates: clients do not choose ids. It has the correlation id of that event.
    pub async fn find_reverted(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_ids: &[&str],
    ) -> Result<Vec<String>, StoreError> {
        if aggregate_ids.is_empty() {
            return Ok(Vec::new());
        }
        let params: [Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&aggregate_ids, Type::TEXT_ARRAY),
        ];
        let rows = self.read(As::Projector, FIND_REVERTED, &params).await?;
        let mut reverted = Vec::new();
        for row in &rows {
            let (id, cause): (Uuid, Uuid) = (row.try_get("id")?, row.try_get("causation_id")?);
            let cause = EventId::from(cause);
            if (0..ATTEMPTS).any(|attempt| *cause.of_compensation(attempt).as_uuid() == id) {
                reverted.push(row.try_get("aggregate_id")?);
            }
        }
        Ok(reverted)
    }
}

/// A column of the events that are left alone.
fn column<'a, T>(left: &'a [LeftAlone], of: impl Fn(&'a LeftAlone) -> T) -> Vec<T> {
    left.iter().map(of).collect()
}

fn revertible_from(row: &Row) -> Result<Revertible, StoreError> {
    Ok(Revertible {
        event: event_from(row)?,
        started_by: row.try_get("started_by")?,
        is_last: row.try_get("is_last")?,
        is_followed_by_own: row.try_get("is_followed_by_own")?,
        is_not_applied: row.try_get("skipped")? || row.try_get("is_parked")?,
    })
}

fn leased_from(
    row: &Row,
    id: Uuid,
    holder: Uuid,
    event_types: impl Fn(&str) -> Option<[&'static str; 2]>,
) -> Result<LeasedRevert, StoreError> {
    let unexpected = |what: &str| StoreError::Unexpected(format!("a revert with {what}"));
    let Json(claims) = row.try_get::<_, Json<Value>>("claims")?;
    let Json(context) = row.try_get::<_, Json<Value>>("context")?;
    let dataset: String = row.try_get("dataset")?;
    let reason: Option<String> = row.try_get("reason")?;
    let reason = reason.map(Reason::try_from).transpose();
    Ok(LeasedRevert {
        scope: RevertScope {
            id,
            caller: caller_from(&claims).ok_or_else(|| unexpected("claims that name no caller"))?,
            started_by: row.try_get("started_by")?,
            event_types: event_types(&dataset).ok_or_else(|| unexpected("an unknown dataset"))?,
        },
        dataset,
        holder,
        context,
        reason: reason.map_err(|_| unexpected("an unusable reason"))?,
        position: row.try_get("position")?,
    })
}
