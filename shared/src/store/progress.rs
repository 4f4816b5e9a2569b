//! The projector's progress: parked streams, and the sweep's walk along the log.

use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::session::{As, Param, lost_is_unavailable};
use super::work::stream_from;
use super::{Store, StoreError};
use crate::domain::{Caller, StreamId};

/// A stream whose next event could not be applied.
#[derive(Debug)]
pub struct Parked<'a> {
    /// The stream.
    pub stream: &'a StreamId,
    /// The event that could not be applied.
    pub event_id: Uuid,
    /// Its number.
    pub event_number: i64,
    /// Its version.
    pub version: i32,
    /// SQLSTATE of the failure.
    pub error_code: &'a str,
    /// PostgreSQL's message.
    pub error: &'a str,
}

/// A stretch of the log, `(from, to]` by event number, that a sweep makes sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepWindow {
    /// Everything up to here is dealt with.
    pub from: i64,
    /// Everything up to here is settled.
    pub to: i64,
}

/// The head's lock makes this wait for a projector that is moving the stream on, and look again afterwards: a stream must
/// not be parked at an event that has been applied. A decision that has not been carried out yet stays.
const PARK: &str = "-- park
insert into annals.parked_streams as p (tenant_id, aggregate_type, aggregate_id, event_id, event_number, aggregate_version, error_code, error)
select h.tenant_id, h.aggregate_type, h.aggregate_id, $4, $5, $6, $7, $8
  from annals.heads h cross join (select set_config('lock_timeout', '1s', true)) as s
 where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = $3 and h.projected_version = $6 - 1
   for no key update of h
on conflict on constraint parked_streams_pkey do update
   set attempts = case when p.event_id = excluded.event_id then p.attempts + 1 else 1 end,
       decided_by = case when p.event_id = excluded.event_id and not p.retrying then p.decided_by end, retrying = false, parked_at = clock_timestamp(), error_code = excluded.error_code, error = excluded.error,
       event_id = excluded.event_id, event_number = excluded.event_number, aggregate_version = excluded.aggregate_version
returning (select e.correlation_id from annals.events e where e.event_number = $5) as correlation_id";

const SWEEP_POSITION: &str = "-- sweep_position
select position from annals.checkpoints where name = 'sweep'";

const LIST_PENDING: &str = "-- list_pending_streams
select distinct h.tenant_id, h.aggregate_type, h.aggregate_id
  from annals.events e
  join annals.heads h on h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id
 where e.event_number > $1 and e.event_number <= $2 and e.aggregate_version > h.projected_version
   and not exists (select from annals.parked_streams p
                    where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id)
 union
select p.tenant_id, p.aggregate_type, p.aggregate_id from annals.parked_streams p where p.retrying";

/// Counting and moving on are one statement: either both happen or neither, and a second sweep of the same window finds the
/// position moved and counts nothing. Minutes that no reader asks for any more go along the way, so that there are 1,500 of a
/// tenant at most.
const FINISH_WINDOW: &str = "-- finish_sweep_window
with counted as (
    select tenant_id, event_type, date_trunc('minute', created_at, 'UTC') as minute, count(*) as events
      from annals.events where event_number > $1 and event_number <= $2 group by tenant_id, event_type, minute
), moved as (
    update annals.checkpoints
       set position = $2, updated_at = clock_timestamp(), event_count = event_count + (select coalesce(sum(events), 0) from counted)
     where name = 'sweep' and position = $1
    returning position
), added as (
    insert into annals.event_counts as c (tenant_id, event_type, events)
    select tenant_id, event_type, sum(events) from counted where exists (select from moved)
     group by tenant_id, event_type order by tenant_id, event_type
    on conflict on constraint event_counts_pkey do update set events = c.events + excluded.events
), timed as (
    insert into annals.event_rates as r (tenant_id, minute, events)
    select tenant_id, minute, sum(events) from counted where exists (select from moved) and minute >= now() - interval '25 hours'
     group by tenant_id, minute order by tenant_id, minute
    on conflict on constraint event_rates_pkey do update set events = r.events + excluded.events
), gone as (
    delete from annals.event_rates where exists (select from moved) and minute < now() - interval '25 hours'
)
select position from moved";

const FIND_PARKED: &str = "-- find_parked
select event_id, parked_at from annals.parked_streams where tenant_id = $2 and event_id = $1 and decided_by is null";

impl Store {
    /// Parks a stream at an event, unless its progress has moved past it meanwhile: then the answer is none. Otherwise it is the
    /// event's correlation id, so that whoever logs it can say what it belongs to.
    ///
    /// # Errors
    /// The database's.
    pub async fn park(&self, parked: &Parked<'_>) -> Result<Option<Option<String>>, StoreError> {
        let params: [Param<'_>; 8] = [
            (parked.stream.tenant_id.as_uuid(), Type::UUID),
            (&parked.stream.aggregate_type.as_str(), Type::TEXT),
            (&parked.stream.aggregate_id.as_str(), Type::TEXT),
            (&parked.event_id, Type::UUID),
            (&parked.event_number, Type::INT8),
            (&parked.version, Type::INT4),
            (&parked.error_code, Type::TEXT),
            (&parked.error, Type::TEXT),
        ];
        let rows = self
            .write(As::Projector, PARK, &params)
            .await
            .map_err(lost_is_unavailable)?;
        Ok(rows.first().map(|row| row.try_get("correlation_id")).transpose()?)
    }

    /// Whether the caller sees a stream that is parked at this event and waits for a decision, and since when.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_parked(&self, caller: &Caller, event_id: &Uuid) -> Result<Option<DateTime<Utc>>, StoreError> {
        let rows = self
            .read(
                As::Caller(caller),
                FIND_PARKED,
                &[(event_id, Type::UUID), (caller.tenant_uuid(), Type::UUID)],
            )
            .await?;
        rows.first()
            .map(|row| row.try_get("parked_at").map_err(StoreError::from))
            .transpose()
    }

    /// How far the sweep has come.
    ///
    /// # Errors
    /// The database's.
    pub async fn sweep_position(&self) -> Result<i64, StoreError> {
        let rows = self.read(As::Projector, SWEEP_POSITION, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("the sweep has no checkpoint".to_owned()))?;
        Ok(row.try_get("position")?)
    }

    /// Streams with events in the window that are neither projected nor parked.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_pending(&self, window: SweepWindow) -> Result<Vec<StreamId>, StoreError> {
        let params: [Param<'_>; 2] = [(&window.from, Type::INT8), (&window.to, Type::INT8)];
        self.read(As::Projector, LIST_PENDING, &params)
            .await?
            .iter()
            .map(stream_from)
            .collect()
    }

    /// Moves the sweep's checkpoint over a window whose streams are all projected or parked, and counts its events by type and by
    /// minute.
    ///
    /// # Errors
    /// The database's.
    pub async fn finish_window(&self, window: SweepWindow) -> Result<(), StoreError> {
        let params: [Param<'_>; 2] = [(&window.from, Type::INT8), (&window.to, Type::INT8)];
        self.write(As::Projector, FINISH_WINDOW, &params)
            .await
            .map(|_| ())
            .map_err(lost_is_unavailable)
    }
}
